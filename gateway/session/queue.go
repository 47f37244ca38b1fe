package session

import (
	"hash/crc32"
	"slices"

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

// queue holds messages for a device in order. Its bounds are kept by admit. They are in chunks,
// all of them full but for the last, so that room for a message that is held costs little more
// than the message, and never a copy of those before it.
type queue struct {
	chunks   [][]outgoing
	head     int32 // index of the oldest message in the first chunk
	n        int32 // how many are held
	bytes    int   // sum of their sizes
	qos0     int32 // how many of them are QoS 0
	numbered int32 // how many, counted from the oldest, need no number any more: see unnumbered
}

// chunkLen is how many messages a chunk has room for: 512 octets, beyond which Go adds a header to
// what it allocates, and rounds it up by more.
const chunkLen = 8

func (q *queue) len() int { return int(q.n) }

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

// push adds a message. It shares the name of its topic with the message before it: each comes with
// a copy of its own.
func (q *queue) push(m outgoing) {
	if n := q.len(); n > 0 && q.at(n-1).topic == m.topic {
		m.topic = q.at(n - 1).topic
	}
	c := q.room()
	*c = append(*c, m)
	q.n++
	q.count(&m, 1)
}

// room returns the last chunk, which has room for one more message. The first one grows with what
// is in it, since most devices never have more than a few messages waiting.
func (q *queue) room() *[]outgoing {
	last := len(q.chunks) - 1
	switch {
	case last < 0:
		q.chunks = append(q.chunks, nil)
	case len(q.chunks[last]) < chunkLen:
	case last == 0 && q.head > 0: // messages come and go, and it is never empty
		c := q.chunks[0]
		n := copy(c, c[q.head:])
		clear(c[n:])
		q.chunks[0], q.head = c[:n], 0
	default:
		q.chunks = append(q.chunks, make([]outgoing, 0, chunkLen))
	}
	return &q.chunks[len(q.chunks)-1]
}

// at returns the i-th message, counted from the oldest. It is valid until the queue changes.
func (q *queue) at(i int) *outgoing {
	i += int(q.head)
	return &q.chunks[i/chunkLen][i%chunkLen]
}

// take takes the i-th message out.
func (q *queue) take(i int) outgoing {
	m := *q.at(i)
	for k := i; k > 0; k-- {
		*q.at(k) = *q.at(k - 1)
	}
	*q.at(0) = m
	if i >= int(q.numbered) {
		q.numbered++ // pop takes one of them off
	}
	return q.pop()
}

// unpop puts back what was taken last.
func (q *queue) unpop(m outgoing) {
	q.numbered = 0
	if q.n == 0 {
		q.push(m)
		return
	}
	if q.head == 0 {
		q.chunks = slices.Insert(q.chunks, 0, make([]outgoing, chunkLen))
		q.head = chunkLen
	}
	q.head--
	q.n++
	*q.at(0) = m
	q.count(&m, 1)
}

// pop takes the oldest message; the queue must not be empty. The memory of an emptied
// queue is let go: most devices have nothing waiting most of the time.
func (q *queue) pop() outgoing {
	c := q.chunks[0]
	m := c[q.head]
	c[q.head] = outgoing{}
	q.head++
	q.n--
	q.numbered = max(q.numbered-1, 0)
	q.count(&m, -1)
	switch {
	case q.n == 0 && cap(c) == chunkLen:
		q.chunks, q.head = nil, 0
	case q.n == 0:
		q.chunks[0], q.head = c[:0], 0
	case q.head == chunkLen:
		q.chunks[0] = nil
		q.chunks, q.head = q.chunks[1:], 0
	}
	return m
}

// dropOldestQoS0 removes the oldest QoS 0 message, if there is one.
func (q *queue) dropOldestQoS0() bool {
	if q.qos0 == 0 {
		return false
	}
	for i := range q.len() {
		if q.at(i).qos == 0 {
			q.take(i)
			return true
		}
	}
	return false
}

// contentSum tells a message from others with the same name for it.
func contentSum(topic string, payload []byte) uint64 {
	return uint64(crc32.ChecksumIEEE([]byte(topic)))<<32 | uint64(crc32.ChecksumIEEE(payload))
}
