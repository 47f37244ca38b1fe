package persist

import (
	"time"

	"github.com/rs/zerolog"
)

const (
	lookEvery = time.Second
	// logEvery keeps a disk that fails now and then from filling the log, which may be on
	// the same disk.
	logEvery = time.Minute
	// clockEvery is how often the running time is written: what a crash takes back of it.
	clockEvery = 10 * time.Minute
)

// watch logs when the store begins to fail and when it works again. It belongs to one
// goroutine.
type watch struct {
	log     zerolog.Logger
	failing bool          // as it was logged
	silent  time.Duration // until then nothing is logged
}

func (w *watch) look(now time.Duration, err error) {
	if (err != nil) == w.failing || now < w.silent {
		return
	}
	w.failing = err != nil
	if w.failing {
		w.log.Warn().Err(err).Msg("store failed: refusing what has to be stored, relaying the rest")
		return
	}
	w.log.Info().Msg("store works again")
	w.silent = now + logEvery
}

// Watch looks at the store, and keeps the running time in it, until stopped is closed. fault
// says why something that should be in the store is not; healthy is called whenever its last
// commit has succeeded.
func (k *Keeper) Watch(log zerolog.Logger, stopped <-chan struct{}, fault func() error, healthy func()) {
	w := watch{log: log}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	clock := time.NewTicker(clockEvery)
	defer clock.Stop()
	for {
		select {
		case <-tick.C:
			w.look(k.now(), fault())
			if k.store.Health() == nil {
				healthy()
			}
		case <-clock.C:
			k.SaveClock()
		case <-stopped:
			k.SaveClock()
			return
		}
	}
}
