package upstream

import "slices"

// inbound holds the QoS 1 and 2 messages received from the broker whose exchange is
// not over, by packet identifier: at most 65,535 of them.
type inbound struct {
	list map[uint16]received // nil while empty
	seq  uint16
	conn uint8 // tells the open connection from those before

	// owed are the acknowledgements of QoS 1 and of QoS 2 that the open connection is owed:
	// MQTT wants them in the order in which the messages came (MQTT 3.1.1 section 4.6).
	owed [2][]owedAck
}

type owedAck struct {
	id    uint16
	ready bool
}

// owedRoom is for how many acknowledgements the room is kept while none is owed: one
// message at a time costs no allocation.
const owedRoom = 16

// received is one of them. Acknowledged ones stay while the broker may send the
// message again: QoS 2 until PUBREL; QoS 1 only if it has not come in the open connection,
// until it does: an answer to what the broker is about to send is none.
type received struct {
	sum   uint64 // of topic and payload
	seq   uint16 // tells this message from an earlier one with the same identifier
	qos   uint8
	conn  uint8 // the last one it has come in
	acked bool
	bad   bool // the owner was not given it
	told  bool // the owner has said that it is unreleased, and it has not come since
}

// repeats reports whether a PUBLISH repeats the message. A QoS 1 message without DUP is a new
// one, whatever its identifier was used for, and so is one of QoS 2 while nothing but the
// owner's word tells of the message. So is one with other content: a broker that was killed may
// come back with an old state, in which identifiers are free that are in use here.
func (m *received) repeats(qos uint8, dup bool, sum uint64) bool {
	return m.qos == qos && m.sum == sum && (dup || qos == 2 && !m.told)
}

// identity is how the owner knows a message with the identifier id.
func (m *received) identity(id uint16) Identity { return identityOf(id, m.sum) }

// opened begins a connection.
func (r *inbound) opened() {
	r.conn++
	r.owed = [2][]owedAck{}
}

// owe notes that a message has come and is to be acknowledged some time.
func (r *inbound) owe(id uint16, qos uint8) {
	list := &r.owed[qos-1]
	if !slices.ContainsFunc(*list, func(o owedAck) bool { return o.id == id }) {
		*list = append(*list, owedAck{id: id})
	}
}

func (r *inbound) clear() { r.list = nil }

// setUnreleased notes which messages the owner has in custody, where nothing newer is known: see
// Connect.Unreleased. Those of which only its word told before, and does no more, are the
// broker's again.
func (r *inbound) setUnreleased(messages []Identity) {
	for id, m := range r.list {
		if m.told && !slices.Contains(messages, m.identity(id)) {
			r.remove(id)
		}
	}
	for _, message := range messages {
		if _, known := r.list[message.id()]; !known {
			r.add(message.id(), received{sum: message.sum(), qos: 2, acked: true, told: true})
		}
	}
}

// forgetUnacked forgets what the owner has not acknowledged, so that the broker's sending it
// again is not taken for a repetition.
func (r *inbound) forgetUnacked() {
	for id, m := range r.list {
		if !m.acked {
			r.remove(id)
		}
	}
}

func (r *inbound) remove(id uint16) {
	if delete(r.list, id); len(r.list) == 0 {
		r.list = nil
	}
}

// add adds a message, in place of one that has had its identifier.
func (r *inbound) add(id uint16, m received) Handle {
	if r.list == nil {
		r.list = make(map[uint16]received)
	}
	r.seq++
	m.seq, m.conn = r.seq, r.conn
	r.list[id] = m
	return Handle(r.seq)<<16 | Handle(id)
}
