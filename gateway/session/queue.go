package session

import (
	"hash/crc32"

	"sngate/gateway/session/dialogue"
)

// outgoing is one message for the device.
type outgoing struct {
	topic     string
	payload   []byte
	handle    Handle
	identity  Identity // with the broker; QoS 2
	msgID     uint16   // under which it has been sent before; 0: never
	qos       uint8
	retain    bool
	refusal   refusal
	custodian custodian
	number    uint32 // of its RecordHeld; 0: it is the broker's
}

// refusal says whether the device has refused the id of a message (PUBACK 0x02).
type refusal uint8

const (
	unrefused refusal = iota
	refusedID         // it is told the id, or another one, by REGISTER
	toldAgain         // and has answered that
)

// size is what the message counts against MaxBytes.
func (m *outgoing) size() int { return len(m.topic) + len(m.payload) + messageOverhead }

// publish is the message as a PUBLISH without topic id and MsgId.
func (m *outgoing) publish() dialogue.Message {
	return dialogue.Message{Kind: dialogue.Publish, QoS: m.qos, Retain: m.retain, Data: m.payload}
}

// queue holds messages for a device in order. Its bounds are kept by admit.
type queue struct {
	msgs     []outgoing // msgs[head:] are held
	head     int
	bytes    int   // sum of their sizes
	qos0     int32 // how many of them are QoS 0
	numbered int32 // how many, counted from the oldest, need no number any more: see unnumbered
}

func (q *queue) len() int { return len(q.msgs) - q.head }

func (q *queue) count(m *outgoing, sign int) {
	q.bytes += sign * m.size()
	if m.qos == 0 {
		q.qos0 += int32(sign)
	}
}

// unnumbered returns the oldest message of QoS 1 or 2 without a number; nil: there is none.
// It looks at each message once, however many there are.
func (q *queue) unnumbered() *outgoing {
	for ; int(q.numbered) < q.len(); q.numbered++ {
		if m := q.at(int(q.numbered)); m.qos > 0 && m.number == 0 {
			return m
		}
	}
	return nil
}

// numberedAs finds the message with a number, from both ends: it is nearly always one of
// the newest, which are on their way to the store. nil: there is none.
func (q *queue) numberedAs(number uint32) *outgoing {
	for i, j := 0, q.len()-1; i <= j; i, j = i+1, j-1 {
		if m := q.at(j); m.number == number {
			return m
		}
		if m := q.at(i); m.number == number {
			return m
		}
	}
	return nil
}

// clearNumber takes the number of a message back: its record is removed.
func (q *queue) clearNumber(m *outgoing) { m.number, m.custodian, q.numbered = 0, brokers, 0 }

func (q *queue) push(m outgoing) {
	if q.head > len(q.msgs)/2 && len(q.msgs) == cap(q.msgs) {
		n := copy(q.msgs, q.msgs[q.head:])
		clear(q.msgs[n:])
		q.msgs, q.head = q.msgs[:n], 0
	}
	q.msgs = append(q.msgs, m)
	q.count(&m, 1)
}

// at returns the i-th message, counted from the oldest. It is valid until the queue changes.
func (q *queue) at(i int) *outgoing { return &q.msgs[q.head+i] }

// take takes the i-th message out.
func (q *queue) take(i int) outgoing {
	m := q.msgs[q.head+i]
	copy(q.msgs[q.head+1:q.head+i+1], q.msgs[q.head:q.head+i])
	q.msgs[q.head] = m
	if i >= int(q.numbered) {
		q.numbered++ // pop takes one of them off
	}
	return q.pop()
}

// unpop puts back what was taken last.
func (q *queue) unpop(m outgoing) {
	if q.head > 0 {
		q.head--
		q.msgs[q.head] = m
	} else {
		q.msgs = append([]outgoing{m}, q.msgs...)
	}
	q.numbered = 0
	q.count(&m, 1)
}

// pop takes the oldest message; the queue must not be empty. The memory of an emptied
// queue is let go: most devices have nothing waiting most of the time.
func (q *queue) pop() outgoing {
	m := q.msgs[q.head]
	q.msgs[q.head] = outgoing{}
	q.head++
	q.numbered = max(q.numbered-1, 0)
	q.count(&m, -1)
	if q.head == len(q.msgs) {
		if cap(q.msgs) > 8 {
			q.msgs = nil
		}
		q.msgs, q.head = q.msgs[:0], 0
	}
	return m
}

// dropOldestQoS0 removes the oldest QoS 0 message, if there is one.
func (q *queue) dropOldestQoS0() bool {
	if q.qos0 == 0 {
		return false
	}
	for i := q.head; i < len(q.msgs); i++ {
		if q.msgs[i].qos == 0 {
			q.take(i - q.head)
			return true
		}
	}
	return false
}

// contentSum tells a message from others with the same name for it.
func contentSum(topic string, payload []byte) uint64 {
	return uint64(crc32.ChecksumIEEE([]byte(topic)))<<32 | uint64(crc32.ChecksumIEEE(payload))
}
