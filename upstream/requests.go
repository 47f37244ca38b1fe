package upstream

import "slices"

// request is a SUBSCRIBE or UNSUBSCRIBE that is not answered.
type request struct {
	id      uint16
	kind    EventKind // of the answer
	token   Token
	sent    bool
	alone   bool   // nothing else is written before it is answered
	refused bool   // the broker ends connections on it
	key     uint64 // see suspicion
	filter  string
	qos     uint8  // of SUBSCRIBE
	raw     []byte // the packet
}

// failed is the answer to a request whose connection is gone.
func (r *request) failed() Event {
	e := Event{Kind: r.kind, Token: r.token, Err: ErrLost}
	switch {
	case r.refused && r.kind == EventSubscribed:
		e.Refusal.Kind, e.Err, e.Topic = RefusedForGood, ErrRejected, r.filter
	case r.refused: // what cannot be asked for was not granted either
		e.Err = nil
	}
	return e
}

// requests are those of a Link, in order.
type requests []request

// restart has them sent again, in a new connection.
func (q requests) restart() {
	for i := range q {
		q[i].sent, q[i].alone = false, false
	}
}

// sent reports whether one is unanswered.
func (q requests) sent() bool {
	return slices.ContainsFunc(q, func(r request) bool { return r.sent })
}

func (q requests) find(id uint16) int {
	return slices.IndexFunc(q, func(r request) bool { return r.id == id })
}

// maxRequests bounds the SUBSCRIBE and UNSUBSCRIBE, and the barrier PINGREQ, outstanding.
const maxRequests = 64
