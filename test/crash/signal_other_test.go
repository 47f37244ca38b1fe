//go:build !unix

package crash

import "os"

// saveSignal stands for the signal that has mosquitto save its state, which exists on Unix only.
var saveSignal = os.Interrupt
