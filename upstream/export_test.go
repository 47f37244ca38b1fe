package upstream

// StateOf names the state of a Link.
func StateOf(l Link) string {
	d := l.(*dedicated)
	switch d.state {
	case stateIdle:
		return "idle"
	case stateDormant:
		return "dormant"
	case stateOpening:
		if d.answer {
			return "connecting"
		}
		return "reconnecting"
	case stateUp:
		return "up"
	case stateBackoff:
		return "backoff"
	case stateParked:
		return "parked"
	case stateMoving:
		return "moving"
	}
	if d.redial {
		return "replacing"
	}
	return "closing"
}

// DrainingOf reports whether a Link waits for acknowledgements before it closes.
func DrainingOf(l Link) bool { return l.(*dedicated).draining }
