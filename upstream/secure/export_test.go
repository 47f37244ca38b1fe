package secure

// MaxIdentities is how many client certificates are kept.
const MaxIdentities = maxIdentities

// Known returns how many there are.
func Known(t *TLS) int { return len(t.ids.byFiles) }
