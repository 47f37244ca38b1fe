//go:build unix

package crash

import "syscall"

// saveSignal has mosquitto save its state.
const saveSignal = syscall.SIGUSR1
