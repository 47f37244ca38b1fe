package session

import "time"

// Whether the device is at the address that its datagrams claim to come from. Anybody
// can forge that of somebody else, subscribe, and have a stream of messages sent there.
// So until the address is proven, an account bounds what it is sent: three times what
// has come from there, in octets and in datagrams (the rule of QUIC, RFC 9000 section
// 8.1), one PINGREQ, and one datagram of at most proofLimit whose answer proves it. Answers
// always fit in. Messages wait when they do not: those of QoS 1 and 2 are held or stay with
// the broker, as for a device that is slow.
//
// What proves an address is an answer with a MsgId that was drawn for it, which who does
// not receive there cannot know: REGACK, PUBACK, PUBREC, PUBCOMP. PINGRESP has nothing in
// it that could not be forged. It counts only as the answer to a PINGREQ, once, and adds
// pingWorth to the account: whoever forges has to go on forging, at a bounded gain, and a
// device that only listens at QoS 0 goes on with its stream.

const (
	reachFactor = 3
	// pingWorth is what a PINGRESP adds to the account, in octets, and pingMessages in
	// datagrams.
	pingWorth    = 16 << 10
	pingMessages = 256
	// pingReserve of each is left for more PINGREQs, of two octets: while the network is away
	// for minutes, a device that has answered before must not become one that cannot.
	pingReserve = 64
	// maxGuesses bounds the answers with a wrong MsgId from an address that is not proven.
	// A device has a few left over from another address; who guesses needs 65,535.
	maxGuesses = 16
	// proofLimit bounds, in octets, the REGISTER or PUBLISH that an address is sent although
	// the account has no room for it: there are devices that answer those, and no PINGREQ.
	proofLimit = 256
	// proofPause is between two of them while no address has been proven. Or whoever forges one
	// address of a victim after the other would be given one for each PINGREQ of three octets.
	proofPause = 10 * time.Minute
)

// reach is the account of the device's address. What concerns any step may be called
// where there is none.
type reach struct {
	octets, datagrams int       // that may be sent there
	probed            bool      // the PINGREQ that is free has been sent
	proofSent         bool      // so has the REGISTER or PUBLISH
	proofAt           Time      // when the next address may be sent one, unless this one is proven
	asked             bool      // a PINGREQ has not been answered
	answered          bool      // one has been
	toldID            uint16    // MsgId of the REGISTER that has been sent to prove the address; 0: none
	silent            bool      // nothing has come since the repeats of the PINGREQ ended, or since the network has reported the address unreachable
	withheld          bool      // see withholds
	short             bool      // a message did not fit into the account
	low               bool      // one did, and leaves little
	deaf              bool      // a PINGREQ and its repeats have not been answered
	msgIDs            [2]uint16 // the last ones drawn for this address; 0: none
	wrong             int       // answers with another MsgId
	at                Time      // when the unanswered PINGREQ is repeated
	tries             int

	// Up to where the step's output has been charged.
	arena, ends int
}

// beginStep notes where the output of a step begins.
func (r *reach) beginStep(out *Out) {
	if r != nil {
		r.arena, r.ends = len(out.arena), len(out.ends)
	}
}

// charge takes what the step has sent so far from the account.
func (r *reach) charge(out *Out) {
	if r == nil {
		return
	}
	r.octets -= len(out.arena) - r.arena
	r.datagrams -= len(out.ends) - r.ends
	r.beginStep(out)
}

// credit adds a datagram that has come from the address.
func (r *reach) credit(octets int) {
	if r != nil {
		r.octets += reachFactor * octets
		r.datagrams += reachFactor
		r.silent = false
	}
}

// drawn notes a MsgId that has been drawn.
func (r *reach) drawn(msgID uint16) {
	if r != nil {
		r.msgIDs = [2]uint16{msgID, r.msgIDs[0]}
	}
}

// deadline is when the unanswered PINGREQ is repeated.
func (r *reach) deadline() Time {
	if r == nil {
		return Never
	}
	return r.at
}

// beginPump forgets that a message did not fit into the account.
func (r *reach) beginPump() {
	if r != nil {
		r.short = false
	}
}

func (r *reach) isShort() bool { return r != nil && r.short }

// withhold notes whether the first message of the queue is not sent to the address, and
// its device is not asked any more.
func (r *reach) withhold(st *step, withheld bool) {
	if r == nil {
		return
	}
	if withheld && !r.withheld {
		st.drop(ReasonAddressUnproven)
	}
	r.withheld = withheld
}

// rival is what is known of the last time that the session was contested.
type rival struct {
	began Time
	at    Time // when the unanswered PINGREQ is repeated; Never: it is not
	tries int
	lost  bool // the device has not answered
}

func (r *rival) deadline() Time {
	if r == nil {
		return Never
	}
	return r.at
}

// heard ends the contest: the device is there.
func (r *rival) heard() {
	if r != nil {
		r.at, r.lost = Never, false
	}
}
