package secure

import "sync"

// MaxIdentities is how many client certificates are kept.
const MaxIdentities = maxIdentities

// Known returns how many there are.
func Known(t *TLS) int { return len(t.ids.byKey) }

// Sessions returns of how many clients TLS sessions are kept.
func Sessions(t *TLS) int { return len(t.sessions.byKey) }

// Reading makes all files seem to be read by another connect until it is over.
func Reading(t *TLS) (over func()) {
	locks := []*sync.Mutex{&t.roots.reading}
	for _, e := range t.ids.byKey {
		locks = append(locks, &e.Value.(entry[[2]string, *known]).value.reading)
	}
	for _, l := range locks {
		l.Lock()
	}
	return func() {
		for _, l := range locks {
			l.Unlock()
		}
	}
}
