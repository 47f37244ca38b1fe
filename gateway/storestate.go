package gateway

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// degraded returns what the gateway does without for now. It goes on relaying, so
// nobody should take it out of service or restart it for that.
func (g *Gateway) degraded() []string {
	if err := g.storeFault(); err != nil {
		return []string{"store: " + err.Error()}
	}
	return nil
}

// storeFault returns why something that should be in the store is not, or nil.
func (g *Gateway) storeFault() error {
	if err := g.opts.Store.Health(); err != nil {
		return err
	}
	n := int64(0)
	for _, s := range g.shards {
		n += s.unsavedClients.Load()
	}
	if n > 0 {
		return fmt.Errorf("changes to %d sessions were not taken and have to be written again", n)
	}
	return nil
}

// storeLine describes the store on the page for people.
func (g *Gateway) storeLine() string {
	if !g.opts.Store.Durable() {
		return "none, everything is in memory"
	}
	s := g.opts.Store.Stats()
	return fmt.Sprintf("%.1f MiB in the file, %d commits, the last one took %v",
		float64(s.FileBytes)/(1<<20), s.Commits, s.LastCommit.Round(10*time.Microsecond))
}

const (
	storeLookEvery = time.Second
	// storeLogEvery keeps a disk that fails now and then from filling the log, which
	// may be on the same disk.
	storeLogEvery = time.Minute
)

// storeWatch logs when the store begins to fail and when it works again. It belongs to
// one goroutine.
type storeWatch struct {
	log     zerolog.Logger
	failing bool          // as it was logged
	silent  time.Duration // until then nothing is logged
}

func (w *storeWatch) look(now time.Duration, err error) {
	if (err != nil) == w.failing || now < w.silent {
		return
	}
	w.failing = err != nil
	if w.failing {
		w.log.Warn().Err(err).Msg("the store fails: what has to be stored is refused, the rest is relayed")
		return
	}
	w.log.Info().Msg("the store works again")
	w.silent = now + storeLogEvery
}

// watchStore looks at the store, and keeps the running time in it, until the gateway has
// stopped.
func (g *Gateway) watchStore() {
	w := storeWatch{log: g.log}
	tick := time.NewTicker(storeLookEvery)
	defer tick.Stop()
	clock := time.NewTicker(clockEvery)
	defer clock.Stop()
	for {
		select {
		case <-tick.C:
			w.look(g.now(), g.storeFault())
			if g.opts.Store.Health() == nil {
				g.storeWorks()
			}
		case <-clock.C:
			g.saveClock()
		case <-g.stopped:
			g.saveClock()
			return
		}
	}
}
