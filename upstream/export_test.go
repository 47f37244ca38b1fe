package upstream

// StateOf names the state of a Link.
func StateOf(l Link) string { return l.(*dedicated).state.String() }

// DrainingOf reports whether a Link waits for acknowledgements before it closes.
func DrainingOf(l Link) bool { return l.(*dedicated).draining() }

// Parked reports whether a Link waits for its device to speak, or for a long pause.
func Parked(l Link) bool { return l.(*dedicated).state == stateParked }
