//go:build unix

package main

import "syscall"

// maxDescriptors is how many files this process may have open; 0 if it is not known.
func maxDescriptors() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur)
}
