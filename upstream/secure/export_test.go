package secure

// MaxIdentities is how many client certificates are kept.
const MaxIdentities = maxIdentities

// Known returns how many there are.
func Known(t *TLS) int { return len(t.ids.byKey) }

// Sessions returns of how many clients TLS sessions are kept.
func Sessions(t *TLS) int { return len(t.sessions.byKey) }
