package upstream

import (
	"slices"

	"sngate/upstream/mqtt"
)

// phase is how far the exchange of a message has come. These are the legal transitions:
//
//	publishing        awaitingRelease (PUBREC, of an exchange of the owner), releasing (PUBREC)
//	awaitingRelease   releasing (Link.Release), publishing (the broker has lost the session)
//	releasing         publishing (the broker has lost the session)
//
// The exchange ends with PUBACK or PUBREC of QoS 1, with PUBACK of QoS 2 while publishing, and
// with PUBCOMP while releasing.
type phase uint8

const (
	publishing      phase = iota // PUBLISH is due or sent
	awaitingRelease              // QoS 2: PUBREC has come, PUBREL waits for the owner
	releasing                    // QoS 2: PUBREL is due or sent
)

// outgoing is a message not yet acknowledged by the broker. Those of QoS 0 are here only
// while the Link is cautious, and are answered by PINGRESP.
type outgoing struct {
	token    Token
	id       uint16 // packet identifier; above lastOwnID it is of an exchange of the owner
	qos      uint8
	phase    phase
	written  bool         // to the connection that is open: what phase says
	given    bool         // nobody awaits it, see Link.Await
	alone    bool         // nothing else is written before it is answered
	silent   bool         // it is known that it is not answered: others do not wait for it
	rejected bool         // QoS 0 only: it has been counted as given up
	again    bool         // it has been written to a connection: DUP is set
	raw      mqtt.Publish // kept until the end
}

// lastOwnID is the greatest packet identifier that a Link chooses, for messages, SUBSCRIBE and
// UNSUBSCRIBE. Those above stand for exchanges of the owner. Files of stores count on it that
// this does not change: the broker may be in the middle of an exchange of an earlier process.
const lastOwnID = 65534 - MaxExchanges

// exchangeID is the packet identifier of an exchange of the owner.
func exchangeID(exchange uint16) uint16 { return lastOwnID + exchange }

// exchange is the number that the owner has given the exchange; 0: none.
func (m *outgoing) exchange() uint16 { return max(m.id, lastOwnID) - lastOwnID }

// owned reports whether the owner of the Link has numbered the exchange.
func (m *outgoing) owned() bool { return m.exchange() != 0 }

// awaitsBroker reports whether the broker has to answer m next.
func (m *outgoing) awaitsBroker() bool { return m.written && m.phase != awaitingRelease }

// pubrec takes PUBREC of QoS 2, which may be a repeated one. PUBREL follows at once, unless the
// owner has to be told before: then PUBREL awaits Link.Release, and that is reported once.
func (m *outgoing) pubrec() (awaits bool) {
	switch {
	case !m.owned():
		m.phase = releasing
	case m.phase == publishing:
		m.phase = awaitingRelease
		return true
	}
	return false
}

// release lets PUBREL follow, and reports whether that was awaited.
func (m *outgoing) release() bool {
	if m.phase != awaitingRelease {
		return false
	}
	m.phase = releasing
	return true
}

// ends reports whether an acknowledgement of kind ends the exchange.
func (m *outgoing) ends(kind uint8) bool {
	switch kind {
	case mqtt.TypePuback: // some brokers treat QoS 2 as QoS 1
		return m.phase == publishing
	case mqtt.TypePubrec: // of QoS 1: the broker has it, and waits for PUBREL
		return m.qos == 1
	case mqtt.TypePubcomp:
		return m.phase == releasing
	}
	return false
}

// restart prepares for a new connection. Without a session at the broker the exchange begins
// anew.
func (m *outgoing) restart(present bool) {
	m.written, m.alone, m.silent = false, false, false
	if !present {
		m.phase = publishing
	}
}

// hopeless reports whether m is not to be written to another connection. An exchange of
// QoS 2 is finished though its owner has given it up: the broker may be in the middle of it.
func (m *outgoing) hopeless() bool { return m.given && m.qos == 1 }

// outbox holds the outgoing messages in the order they were published.
//
// A QoS 2 message is kept whole until PUBCOMP. When the broker comes back without the
// session, it is published again even if its PUBREC had come: the broker may have
// forgotten it before passing it on. The device has not been told anything, so
// nothing acknowledged is lost; a duplicate is possible only where the broker passed
// the message on and forgot its session before PUBCOMP.
type outbox struct {
	list   []outgoing
	sent   int  // how many are written to the connection that is open
	mixed  bool // they are not the first of the list
	qos2   int  // messages of QoS 2 in the list
	bytes  int
	lastID uint16
}

// byToken returns the index of the message of t, or -1; 0 is no message's.
func (o *outbox) byToken(t Token) int {
	if t == 0 {
		return -1
	}
	return slices.IndexFunc(o.list, func(m outgoing) bool { return m.token == t })
}

// add appends a message whose PUBLISH is made.
func (o *outbox) add(m outgoing) {
	o.list = append(o.list, m)
	o.bytes += len(m.raw)
	o.qos2 += int(m.qos >> 1)
}

func (o *outbox) len() int { return len(o.list) }

// restart prepares for a new connection. Without a session at the broker, every
// exchange begins anew. The messages that are hopeless are dropped and returned.
func (o *outbox) restart(present bool) (dropped []outgoing) {
	o.sent, o.mixed = 0, false
	for i := 0; i < len(o.list); i++ {
		m := &o.list[i]
		m.restart(present)
		if m.hopeless() {
			dropped = append(dropped, *m)
			o.remove(i)
			i--
		}
	}
	return dropped
}

// forgo drops the messages nobody waits for, which are wills, and returns how many
// there were.
func (o *outbox) forgo() (dropped int) {
	for i := 0; i < len(o.list); i++ {
		if o.list[i].token == 0 && o.list[i].qos > 0 {
			o.remove(i)
			i--
			dropped++
		}
	}
	return dropped
}

// forgetQoS0 forgets the QoS 0 messages that have been written.
func (o *outbox) forgetQoS0() {
	for i := len(o.list) - 1; i >= 0; i-- {
		if o.list[i].qos == 0 && o.list[i].written {
			o.remove(i)
		}
	}
}

// find returns the index of the message with the packet identifier id among those
// sent, or -1.
func (o *outbox) find(id uint16) int {
	return slices.IndexFunc(o.list, func(m outgoing) bool { return m.id == id && m.written && m.qos > 0 })
}

// exchanging reports whether the broker may be in the middle of an exchange of QoS 2.
func (o *outbox) exchanging() bool {
	return o.qos2 > 0 && slices.ContainsFunc(o.list, func(m outgoing) bool { return m.qos == 2 && m.written })
}

func (o *outbox) uses(id uint16) bool {
	return slices.ContainsFunc(o.list, func(m outgoing) bool { return m.id == id && m.qos > 0 })
}

func (o *outbox) remove(i int) {
	o.bytes -= len(o.list[i].raw)
	if o.list[i].written {
		o.sent--
	}
	o.qos2 -= int(o.list[i].qos >> 1)
	o.list = slices.Delete(o.list, i, i+1)
	if len(o.list) == 0 && cap(o.list) > 4 {
		o.list = nil
	}
}

// clear forgets everything and returns the tokens that wanted a result.
func (o *outbox) clear() []Token {
	var tokens []Token
	for _, m := range o.list {
		if m.token != 0 {
			tokens = append(tokens, m.token)
		}
	}
	*o = outbox{lastID: o.lastID}
	return tokens
}
