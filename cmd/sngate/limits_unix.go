//go:build unix

package main

import (
	"syscall"

	"github.com/rs/zerolog"
)

// spareDescriptors is what the process needs beside one connection per device.
const spareDescriptors = 64

// warnOfDescriptors warns when the process may not open as many connections to the
// broker as there may be sessions.
func warnOfDescriptors(maxSessions int, log zerolog.Logger) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	if need := uint64(maxSessions) + spareDescriptors; uint64(limit.Cur) < need {
		log.Warn().Uint64("limit", uint64(limit.Cur)).Uint64("needed", need).
			Msg("too few file descriptors for session.max_sessions: raise the limit (LimitNOFILE, ulimit -n) or lower the number")
	}
}
