package session

// How often a message has been sent to the device without an answer. One that it does not
// answer, awake or asleep, in this connection or a later one, must not keep the ones behind
// it from coming.

// tally counts what has been sent for a message without an answer, over the connections of
// the device. The broker repeats a message under another handle, so it is known by its
// content. The counts begin anew with the gateway.
type tally struct {
	sum       uint64
	qos       uint8
	sends     uint8 // of PUBLISH
	registers uint8 // of REGISTER
}

// tallies are those of the messages that the device has left unanswered, oldest first.
type tallies []tally

// maxTallies bounds the messages that are counted; the oldest goes.
const maxTallies = 8

// find returns the tally of a message; nil if there is none.
func (ts *tallies) find(m *outgoing) *tally {
	if len(*ts) == 0 {
		return nil
	}
	sum := contentSum(m.topic, m.payload)
	for i := range *ts {
		if t := &(*ts)[i]; t.sum == sum && t.qos == m.qos {
			return t
		}
	}
	return nil
}

// of returns the tally of a message, made if there is none. It is valid until the next
// call.
func (ts *tallies) of(m *outgoing) *tally {
	if t := ts.find(m); t != nil {
		return t
	}
	if len(*ts) == maxTallies {
		*ts = append((*ts)[:0], (*ts)[1:]...)
	}
	*ts = append(*ts, tally{sum: contentSum(m.topic, m.payload), qos: m.qos})
	return &(*ts)[len(*ts)-1]
}

// forget ends the count: the device has answered, or the message is given up.
func (ts *tallies) forget(m *outgoing) {
	t := ts.find(m)
	if t == nil {
		return
	}
	last := len(*ts) - 1
	if *t = (*ts)[last]; last == 0 {
		*ts = nil
		return
	}
	*ts = (*ts)[:last]
}
