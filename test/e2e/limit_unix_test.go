//go:build unix

package e2e

import "syscall"

// raiseDescriptorLimit lets this process and its children have as many descriptors as
// the system allows: the tests with 1,000 devices need more than the usual 1,024. The
// Go runtime raises its own limit by itself, but not that of children.
func raiseDescriptorLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
