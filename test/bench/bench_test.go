//go:build unix

package bench

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"go.uber.org/goleak"

	"sngate/internal/loadgen"
	"sngate/test/testgateway"
)

var (
	whatFlag   = flag.String("yardstick.what", "smoke", "what to measure: smoke, performance, sizing or profile")
	roundsFlag = flag.Int("yardstick.rounds", 5, "rounds of performance")
	loadsFlag  = flag.String("yardstick.loads", "", "only loads whose `name` contains this; the page is not rewritten then")
	beforeFlag = flag.String("yardstick.before", "", "another sngate to compare with: the `path` of the program")
	updateFlag = flag.Bool("update", false, "rewrite the table of docs/PERFORMANCE.md or docs/SIZING.md, or the profile that sngate is compiled by")
)

// built are the programs. They are set before the first test and then only read.
var built = make(programs)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sngate-bench-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err == nil {
		err = raiseDescriptorLimit()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// build builds the programs, as they are shipped if they are to be measured.
func build(dir string) (err error) {
	var args []string
	if *whatFlag != "smoke" { // which is spared the time that it takes to compile all packages once more
		path, err := filepath.Abs(compiledBy)
		if err != nil {
			return err
		}
		args = append(args, "-pgo="+path)
	}
	if built[gateway], err = testgateway.Build(dir, false, args...); err != nil {
		return err
	}
	built[floor] = filepath.Join(dir, "floor")
	cmd := exec.Command("go", "build", "-trimpath", "-o", built[floor], "sngate/test/bench/floor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	if *beforeFlag != "" {
		built[before], err = filepath.Abs(*beforeFlag)
	}
	return err
}

// raiseDescriptorLimit lets this process and its children have as many descriptors as the
// system allows: one for each of 5,000 devices.
func raiseDescriptorLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// TestYardstick measures what -yardstick.what says.
func TestYardstick(t *testing.T) {
	switch *whatFlag {
	case "smoke":
		smoke(t)
	case "performance":
		performance(t)
	case "sizing":
		sizing(t)
	case "profile":
		profileLoads(t)
	default:
		t.Fatalf("-yardstick.what: %q is not known", *whatFlag)
	}
}

// smokeRounds is how many rounds a measure of smoke has to be reached in one of: a busy machine
// may spoil some, and makes none better than it is.
const smokeRounds = 5

// smoke finds a gateway that has become several times slower.
func smoke(t *testing.T) {
	up, down := common(loadgen.Up, 100, 1), common(loadgen.Down, 100, 1)
	for _, o := range []*loadgen.Options{&up, &down} {
		o.Rate, o.WarmUp, o.Duration, o.Drain, o.RetryInterval = 3000, 200*time.Millisecond, 1500*time.Millisecond, 20*time.Second, 5*time.Second
	}
	all := []load{{"up", []peer{gateway, floor}, up, inMemory()}, {"down", []peer{gateway}, down, inMemory()}}
	open := []measure{ // two and three times the targets of docs/PERFORMANCE.md: half as much again as is measured there
		{text: "QoS 1 up, CPU per message", load: "up", value: perMessage, peer: floor, target: 2 * .72},
		{text: "QoS 1 down, CPU per message, compared with QoS 1 up", load: "down", value: perMessage, peer: floor, peerLoad: "up", target: 3 * .4},
	}
	for n := range smokeRounds {
		r := playRound(t, all)
		var still []measure
		for _, m := range open {
			f := m.figure([]round{r})
			t.Logf("round %d: %s: %.1f us and %.1f us, ratio %.2f, at most %.2f", n+1, m.text, f.value, f.other, f.ratio, m.target)
			if f.rounds == 0 || !m.reached(f.ratio) {
				still = append(still, m)
			}
		}
		if open = still; len(open) == 0 {
			return
		}
	}
	for _, m := range open {
		t.Errorf("%s: in none of %d rounds at most %.2f times that of the floor", m.text, smokeRounds, m.target)
	}
}

// playRound runs loads with all their peers.
func playRound(t *testing.T, all []load) round {
	r := make(round)
	for _, l := range all {
		r[l.name] = make(map[peer]*loadgen.Result)
		for _, p := range l.peers {
			if built[p] != "" {
				r[l.name][p] = stage(t, built, l, p)
			}
		}
	}
	return r
}

// chosen are the loads that -yardstick.loads names.
func chosen(t *testing.T, all []load) (list []load) {
	for _, l := range all {
		if strings.Contains(l.name, *loadsFlag) {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		t.Fatalf("no load has %q in its name", *loadsFlag)
	}
	return list
}

// performance measures docs/PERFORMANCE.md.
func performance(t *testing.T) {
	var all []round
	var others []float64
	for range *roundsFlag {
		r := playRound(t, chosen(t, loads()))
		if quiet := r[idle][gateway]; quiet != nil {
			others = append(others, quiet.OtherCores)
		}
		all = append(all, r)
		t.Logf("after %d rounds:\n%s", len(all), performanceTable(all))
	}
	if *updateFlag && *loadsFlag == "" {
		busy := -1.0
		if len(others) > 0 {
			busy = median(others)
		}
		writeBlock(t, performancePage, origin(len(all), busy)+performanceTable(all))
	}
}

func performanceTable(all []round) string {
	var rows [][]string
	for _, m := range measures() {
		rows = append(rows, m.cells(all))
	}
	return table(performanceHead(), rows)
}

// sizing measures docs/SIZING.md.
func sizing(t *testing.T) {
	var rows [][]string
	var others []float64
	for _, l := range chosen(t, sizes()) {
		r := stage(t, built, l, gateway)
		if r != nil && r.Mode == loadgen.Connect {
			others = append(others, r.OtherCores)
		}
		rows = append(rows, sizeRow(l, r))
	}
	text := table(sizingHead(), rows)
	t.Logf("sizes:\n%s", text)
	if *updateFlag && *loadsFlag == "" {
		writeBlock(t, sizingPage, origin(1, median(others))+text)
	}
}

// compiledBy is the profile that what is shipped is compiled by: it tells the compiler which
// calls are worth an inlining.
const compiledBy = "../../cmd/sngate/cpu.pgo"

// profileLoads writes it: what a gateway does for each kind of message, with and without a store.
func profileLoads(t *testing.T) {
	dir := t.TempDir()
	var all []*profile.Profile
	for i, l := range chosen(t, loads()) {
		switch l.name {
		case up1000, upQoS0, downClosed, upQoS2, asleep:
			file := filepath.Join(dir, fmt.Sprint(i))
			if stage(t, built, l, gateway, "--cpu-profile", file) == nil {
				return
			}
			all = append(all, readProfile(t, file))
		}
	}
	merged, err := profile.Merge(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range merged.Mapping {
		m.File = filepath.Base(m.File) // where the program was does not matter
	}
	if *updateFlag {
		var b bytes.Buffer
		if err := merged.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(compiledBy, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readProfile(t *testing.T, path string) *profile.Profile {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.ParseData(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
