package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/snpacket"
)

// Env is what a session has to know of its surroundings for one step. The shell says all
// of it anew for each: nothing is remembered from one step to the next.
type Env struct {
	Now Time

	StoreOK   bool // the store takes records
	SpoolRoom bool // all devices together have less in their spools than they may
	HeldRoom  bool // the same of held messages

	// FootprintLimit bounds Footprint, in octets. What there is already stays, whatever the limit
	// is now.
	FootprintLimit int

	// Allowance is how many octets may be held for the device, as Held counts them, if that
	// is less than MaxBytes. Whatever it is, one message may be held, or a device could be
	// kept from its messages for ever.
	Allowance int

	// Overhead is how many octets are put around each message towards the device, by a
	// forwarder's encapsulation.
	Overhead int
}

// step is one step of a session: where it takes place, what the device is told in, and where
// the output goes.
type step struct {
	Env
	*Out
	dialogue dialogue.Dialogue
}

// parse reads the message that the step is for. It is valid until the next step.
func (st *step) parse(f snpacket.Frame) *dialogue.Message {
	st.dialogue.Parse(f, &st.received)
	return &st.received
}

// size is the length of a message in octets.
func (st *step) size(m dialogue.Message) int { return st.dialogue.Len(m) }

// pingSize is that of a PINGREQ to the device.
func (st *step) pingSize() int { return st.size(dialogue.Message{Kind: dialogue.PingReq}) }

// send queues one datagram for the device. Messages are built by the session itself
// and sized before, so Append does not fail; were it to, nothing is sent.
func send(st *step, m dialogue.Message) {
	b, err := st.dialogue.Append(st.arena, m)
	if err != nil {
		return
	}
	st.arena = b
	st.ends = append(st.ends, len(b))
}
