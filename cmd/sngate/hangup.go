package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
)

// catchHangups keeps SIGHUP from ending the process, from now on and for good: terminals
// that close and habits of operators send it, also at the start and during a stop. Nor does
// a log that nobody reads any more end it (SIGPIPE).
func catchHangups() <-chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	return hangups
}

// logHangups logs each SIGHUP until done is closed.
func logHangups(hangups <-chan os.Signal, done <-chan struct{}, log zerolog.Logger) {
	for {
		select {
		case <-hangups:
			log.Warn().Msg("ignoring SIGHUP: the configuration is read at the start only, restart sngate for a change")
		case <-done:
			return
		}
	}
}
