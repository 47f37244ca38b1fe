package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// request is a SUBSCRIBE or UNSUBSCRIBE waiting for the broker.
type request struct {
	waitUntil Time
	token     Token // 0: not with the link
	sent      bool  // it has been: the broker may know of it
	filter    string
	idType    dialogue.TopicType
	id        uint16 // predefined id, or short name
	msgID     uint16
	qos       uint8
	remove    bool // UNSUBSCRIBE
	quiet     bool // the device does not wait for the answer any more
	presumed  bool // the device has been told that it is granted: see presume
	moot      bool // an UNSUBSCRIBE with a SUBSCRIBE of the same filter behind it
}

// announces reports whether the device waits for the SUBACK of a subscription that a
// message on topic belongs to.
func (r *request) announces(topic string) bool {
	return !r.remove && !r.quiet && topicreg.Matches(r.filter, topic)
}
