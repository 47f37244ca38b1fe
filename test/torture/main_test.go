package torture

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	forFlag    = flag.Duration("torture.for", time.Minute, "begin no further world after so long")
	seedFlag   = flag.Uint64("torture.seed", 1, "`seed` of the first world, the others follow; 0: a random one")
	worldsFlag = flag.Int("torture.worlds", 0, "number of worlds at most; 0: as many as there is time for")
	keepFlag   = flag.String("torture.keep", "", "the `steps` to take of each world, as in 0-7,9; empty: all")
	ignoreFlag = flag.String("torture.ignore", "", "`kinds` of faults that are let pass, separated by commas")
	goOnFlag   = flag.Bool("torture.goon", false, "go on after a world that has failed, and count the kinds of faults")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
