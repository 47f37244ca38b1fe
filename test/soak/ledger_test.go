package soak

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"sngate/internal/snclient"
	"sngate/upstream/upstreamtest"
)

// ledger knows of every message who has to get it. It is told by the devices, by the
// broker and by the publisher at the broker's side, and fails the run when what it is
// told cannot be.
//
// # Device to broker
//
// A message is one call of Publish; a Continue sends the same message, a new
// attempt after a refusal is another one.
//
//   - Acknowledged is a QoS 1 or 2 message whose Publish or Continue returned nil. The
//     broker must have it at that moment already: the gateway acknowledges after it.
//   - Refused ("congestion"), timed out and interrupted ones are in doubt: they may
//     arrive later, or never. None may arrive after a muster: then everybody is
//     connected, the broker has been there for a while, and nothing is on its way.
//   - First arrivals of a stream come in the order of sending.
//   - A QoS 2 message arrives at most once, in doubt or not. The one exception is in
//     docs/PROTOCOL.md: a broker that forgets a clean session while the exchange is open.
//
// # Broker to device
//
//   - A QoS 1 or 2 message has to arrive at a device when the broker has queued it for
//     the device's session, unless the broker gives that session up before: which it does
//     for a clean session when its connection ends.
//   - The broker has to queue what is published for every device that has been told SUBACK:
//     always when the session is persistent; for a clean one as long as the gateway has
//     its connection. So a device with a clean session may miss messages while the broker
//     is down or when it was declared lost, but not for longer than it takes to notice.
//   - First arrivals of a stream, QoS 1 and 2 together, come in the order in which the broker
//     has queued them, at the QoS it has granted.
//   - A QoS 2 message arrives once for each time that it came to the broker. A device that
//     crashed with the exchange open has lost the memory of it and may get it once more.
//
// QoS 0 may be lost and doubled; it must come with the right topic.
type ledger struct {
	w *world

	mu      sync.Mutex // guards what follows, and the books of streams and devices
	streams []*stream
	kills   int // how often the broker has been killed
	counts  counts
}

// counts is what the run did, for the report.
type counts struct {
	acked, doubt                int // device to broker, QoS 1 and 2
	delivered, repeated         int // broker to device, QoS 1 and 2
	forgiven                    int // queued for a clean session that ended
	noise                       int // QoS 0, both ways
	connects, wakes, moves      int
	crashes, vanished           int
	losses                      int // sessions that the gateway ended as lost
	surprising                  int // of those, of devices that had not gone away
	wills, outages, congestions int
}

// stream is the messages of one publisher to one topic, numbered from 1.
type stream struct {
	id        uint16
	topic     string
	owner     *device // nil: the publisher at the broker's side
	listeners []*device
	next      uint32

	// Device to broker.
	last uint32    // the latest first arrival
	open []sending // handed out and not arrived, oldest first
	twos []sending // the latest QoS 2 messages that have arrived
}

// sending is one message on its way to the broker.
type sending struct {
	seq   uint32
	qos   uint8
	clean bool // of a clean session
	kills int  // when it was sent
}

// flow is what one device gets of one stream.
type flow struct {
	want     []wanted
	queued   uint32          // the latest that the broker has queued
	last     uint32          // the latest that has arrived
	forgiven uint32          // the latest that need not arrive
	repeat   map[uint32]bool // QoS 2 messages that may arrive once more
}

type wanted struct {
	seq uint32
	qos uint8
	at  time.Duration
}

// A payload is: tag, number of the stream, number in the stream, QoS, padding.
const (
	tagMessage = 'm'
	tagNoise   = 'n'
	tagWill    = 'w'
	headerLen  = 8
)

func encode(tag byte, stream uint16, seq uint32, qos uint8, padding int) []byte {
	b := make([]byte, headerLen+padding)
	b[0], b[7] = tag, qos
	binary.BigEndian.PutUint16(b[1:], stream)
	binary.BigEndian.PutUint32(b[3:], seq)
	return b
}

// decode returns the stream of a payload; nil if it is none of ours.
func (l *ledger) decode(b []byte) (tag byte, s *stream, seq uint32, qos uint8) {
	if len(b) < headerLen || int(binary.BigEndian.Uint16(b[1:])) >= len(l.streams) {
		return 0, nil, 0, 0
	}
	return b[0], l.streams[binary.BigEndian.Uint16(b[1:])], binary.BigEndian.Uint32(b[3:]), b[7]
}

func (l *ledger) newStream(topic string, owner *device) *stream {
	s := &stream{id: uint16(len(l.streams)), topic: topic, owner: owner}
	l.streams = append(l.streams, s)
	return s
}

// send takes the next message of a device's stream down and returns its payload.
func (l *ledger) send(s *stream, qos uint8, padding int) (seq uint32, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if qos == 0 {
		l.counts.noise++
		return 0, encode(tagNoise, s.id, 0, 0, padding)
	}
	s.next++
	s.open = append(s.open, sending{seq: s.next, qos: qos, clean: s.owner.clean, kills: l.kills})
	return s.next, encode(tagMessage, s.id, s.next, qos, padding)
}

// acknowledged says that the gateway has acknowledged message seq.
func (l *ledger) acknowledged(s *stream, seq uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.acked++
	if slices.ContainsFunc(s.open, func(m sending) bool { return m.seq == seq }) {
		l.w.fail(s.owner, "message %d to %s is acknowledged and the broker does not have it", seq, s.topic)
	}
}

// arrived is told by the broker what clients publish.
func (l *ledger) arrived(clientID string, m upstreamtest.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.w.byID[clientID]
	tag, s, seq, qos := l.decode(m.Payload)
	switch {
	case tag == tagWill && d != nil:
		l.willPublished(d, m)
		return
	case s == nil || d == nil || s.owner != d || s.topic != m.Topic || qos != m.QoS || tag == tagNoise != (m.QoS == 0):
		l.w.fail(d, "client %q published what was not sent: topic %q QoS %d payload % x", clientID, m.Topic, m.QoS, m.Payload)
		return
	case tag == tagNoise:
		return
	}
	d.history.note(l.w.now(), "the broker gets message %d to %s", seq, s.topic)
	i := slices.IndexFunc(s.open, func(o sending) bool { return o.seq == seq })
	if i < 0 {
		l.arrivedAgain(s, seq, qos)
		return
	}
	if seq < s.last {
		l.w.fail(d, "message %d to %s arrives at the broker after %d", seq, s.topic, s.last)
	}
	s.last = seq
	if qos == 2 {
		if len(s.twos) == 8 {
			s.twos = append(s.twos[:0], s.twos[1:]...)
		}
		s.twos = append(s.twos, s.open[i])
	}
	s.open = slices.Delete(s.open, i, i+1)
}

func (l *ledger) arrivedAgain(s *stream, seq uint32, qos uint8) {
	if qos == 1 && seq <= s.last {
		return
	}
	for _, m := range s.twos {
		if m.seq == seq && m.clean && m.kills != l.kills {
			return // the exception
		}
	}
	l.w.fail(s.owner, "message %d to %s, QoS %d, arrives at the broker again, or long after it was given up (latest %d)", seq, s.topic, qos, s.last)
}

// queued is told by the broker what it has taken on for a client.
func (l *ledger) queued(clientID string, m upstreamtest.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.w.byID[clientID]
	tag, s, seq, _ := l.decode(m.Payload)
	if d == nil || s == nil || tag != tagMessage {
		return
	}
	f := d.flow(s)
	if seq <= f.queued { // a device's message that came to the broker twice, as arrived allows
		f.mayRepeat(seq)
		return
	}
	f.queued = seq
	f.want = append(f.want, wanted{seq: seq, qos: m.QoS, at: l.w.now()})
}

// ended is told by the broker that it has given up a session.
func (l *ledger) ended(clientID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.w.byID[clientID]
	if d == nil {
		return
	}
	d.history.note(l.w.now(), "the broker gives up the session")
	for _, f := range d.flows {
		l.counts.forgiven += len(f.want)
		f.want, f.forgiven = nil, f.queued
	}
}

// received is told by a device what it has got.
func (l *ledger) received(d *device, m *snclient.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tag, s, seq, _ := l.decode(m.Payload)
	if s == nil || s.topic != m.Topic.Name || tag != tagMessage && tag != tagNoise || tag == tagNoise && m.QoS > 0 {
		l.w.fail(d, "the device gets what nobody sent: topic %q QoS %d payload % x", m.Topic.Name, m.QoS, m.Payload)
		return
	}
	if m.QoS == 0 {
		l.counts.noise++
		return
	}
	f := d.flow(s)
	d.history.note(l.w.now(), "the device gets message %d of %s, QoS %d", seq, s.topic, m.QoS)
	i := slices.IndexFunc(f.want, func(o wanted) bool { return o.seq == seq })
	switch {
	case i > 0:
		l.w.fail(d, "message %d of %s arrives and %d, queued at %s, has not: lost, or out of order", seq, s.topic, f.want[0].seq, clock(f.want[0].at))
	case i == 0 && f.want[0].qos != m.QoS:
		l.w.fail(d, "message %d of %s arrives with QoS %d instead of %d", seq, s.topic, m.QoS, f.want[0].qos)
	case i == 0:
		f.want = f.want[1:]
		f.last = seq
		l.counts.delivered++
	case seq > f.last && seq <= f.forgiven:
		f.last = seq // still held by the gateway when the broker gave it up
	case seq > f.last:
		l.w.fail(d, "message %d of %s arrives and the broker has not queued it (latest %d)", seq, s.topic, f.queued)
	case m.QoS == 2 && !f.repeat[seq]:
		l.w.fail(d, "message %d of %s, QoS 2, arrives again (latest %d)", seq, s.topic, f.last)
	default:
		l.counts.repeated++
		delete(f.repeat, seq)
	}
}

// forgetful says that the device crashed while the exchange of a QoS 2 message with this
// payload was open.
func (l *ledger) forgetful(d *device, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, s, seq, _ := l.decode(payload); s != nil {
		d.flow(s).mayRepeat(seq)
	}
}

func (f *flow) mayRepeat(seq uint32) {
	if f.repeat == nil {
		f.repeat = make(map[uint32]bool)
	}
	f.repeat[seq] = true
}
