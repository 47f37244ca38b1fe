package session

import (
	"math/rand/v2"
	"testing"
)

// FuzzSession feeds a session what the octets of script mean: datagrams valid, mutated
// and random, events expected and not, time. See TestInvariants for what is checked.
func FuzzSession(f *testing.F) {
	f.Add([]byte{})
	for n := range uint64(8) {
		rng := rand.New(rand.NewPCG(n, 1))
		script := make([]byte, 64<<n)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		runScript(t, script[:min(len(script), 16<<10)])
	})
}
