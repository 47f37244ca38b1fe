package crash

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ledger knows of every message who sent it, whether its sender was told that it is safe, and
// when it arrived. What has to hold, over all kills:
//
//   - A QoS 1 message that was acknowledged to its sender arrives. It may arrive more than once.
//   - A QoS 2 message that was acknowledged to its sender arrives, and no QoS 2 message arrives twice,
//     acknowledged or not. A device is told by PUBREC, an MQTT client by PUBCOMP.
//   - A message arrives under the topic it was published to, and only at who asked for it:
//     neither a topic id nor a MsgId ever means something else after a restart.
//   - First arrivals of a stream come in the order of sending, QoS 1 and 2 together: its sender has
//     been told that one message is safe before it sends the next.
//   - Every sender gets its answer in the end.
//
// QoS 0 may be lost; it must have the right topic.
//
// A stream is what one sender publishes to one topic for one receiver. Senders of a stream
// publish one message after the other: the next when the last has been acknowledged or refused.
type ledger struct {
	mu       sync.Mutex // guards all, and the books of streams and messages
	now      func() time.Duration
	streams  []*stream
	kills    []kill
	offences []offence
	counts   counts
	lastAck  time.Duration
	silence  time.Duration // the longest time in which nobody was acknowledged anything
	arrival  time.Duration // the latest
}

type stream struct {
	id              int
	from, to, topic string
	up              bool // from a device to the broker
	closed          bool // unsubscribed: what is sent must not arrive
	messages        []*message
	latest          [3]int // highest number that has arrived, by QoS
	unarrived       int    // QoS 1 and 2 messages
}

// message is one message of a stream; its number in it counts from 1. Times are those of the
// ledger's clock, 0: not yet.
type message struct {
	stream   *stream
	seq      int
	qos      uint8
	sent     time.Duration
	acked    time.Duration
	refused  bool // by a return code: it may arrive or not
	unwanted bool // sent after its receiver had unsubscribed
	arrivals []time.Duration
}

// kill is one kill, with what came of it.
type kill struct {
	number   int
	what     string
	at, back time.Duration // killed, and started again
}

// counts are what the devices have seen besides messages.
type counts struct {
	connects    int // CONNECTs accepted after the first ones
	disconnects int // DISCONNECTs that no device had asked for
	forgotten   int // topic ids of a device that the gateway did not know, PUBACK 0x02
	unknown     int // topic ids of the gateway that the device did not know
	congested   int // return code 0x01
	refused     int // other return codes
	asleep      int // datagrams to a device whose radio was off
	wakes       int
	registers   int
	subscribes  int
	goodbyes    int
}

// offence is something that must not happen.
type offence struct {
	at   time.Duration
	kind string
	who  string   // the device it happened to; "" if it concerns a message
	m    *message // nil: it concerns no message
	text string
}

func newLedger(now func() time.Duration) *ledger { return &ledger{now: now} }

func (l *ledger) newStream(from, to, topic string, up bool) *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &stream{id: len(l.streams), from: from, to: to, topic: topic, up: up}
	l.streams = append(l.streams, s)
	return s
}

// send takes down the next message of a stream and returns it with its payload, which says all
// about it to whoever reads a trace.
func (l *ledger) send(s *stream, qos uint8) (*message, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &message{stream: s, seq: len(s.messages) + 1, qos: qos, sent: l.now(), unwanted: s.closed}
	s.messages = append(s.messages, m)
	if qos > 0 && !m.unwanted {
		s.unarrived++
	}
	return m, fmt.Appendf(nil, "%d %d %d %s", s.id, m.seq, qos, s.topic)
}

func (l *ledger) acked(m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.acked = l.now()
	if l.lastAck > 0 {
		l.silence = max(l.silence, m.acked-l.lastAck)
	}
	l.lastAck = m.acked
}

func (l *ledger) refused(m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.refused = true
	if len(m.arrivals) == 0 {
		m.stream.unarrived--
	}
}

// close says that the receiver has unsubscribed.
func (l *ledger) close(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.closed = true
}

// arrived takes down what a receiver got.
func (l *ledger) arrived(to, topic string, qos uint8, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.find(payload)
	if m == nil {
		l.offends(nil, "nobody sent it", "%s got %q under %q", to, payload, topic)
		return
	}
	s := m.stream
	if topic != s.topic || to != s.to || qos != m.qos {
		l.offends(m, "another name", "it arrived at %s under %q with QoS %d", to, topic, qos)
		return
	}
	l.arrival = l.now()
	m.arrivals = append(m.arrivals, l.arrival)
	switch {
	case m.unwanted:
		l.offends(m, "after UNSUBACK", "it arrived at %s", to)
	case qos == 0:
	case len(m.arrivals) > 1:
		if qos == 2 {
			l.offends(m, "QoS 2 doubled", "it arrived at %s again", to)
		}
	default:
		if !m.refused {
			s.unarrived--
		}
		l.order(s, m)
	}
}

// order checks a first arrival. A mix of QoS 1 and 2 is told apart: MQTT promises an order only
// among messages of one QoS, a gateway that acknowledges one after the other has to see to more.
func (l *ledger) order(s *stream, m *message) {
	other := 3 - m.qos
	switch {
	case m.seq < s.latest[m.qos]:
		l.offends(m, "out of order", "it arrived after number %d", s.latest[m.qos])
	case m.seq < s.latest[other]:
		l.offends(m, "QoS 1 and 2 out of order", "it arrived after number %d, QoS %d", s.latest[other], other)
	}
	s.latest[m.qos] = max(s.latest[m.qos], m.seq)
}

// find returns the message of a payload; nil if it is none of ours.
func (l *ledger) find(payload []byte) *message {
	var id, seq int
	var qos uint8
	var topic string
	if _, err := fmt.Fscanf(bytes.NewReader(payload), "%d %d %d %s", &id, &seq, &qos, &topic); err != nil {
		return nil
	}
	if id < 0 || id >= len(l.streams) || seq < 1 || seq > len(l.streams[id].messages) {
		return nil
	}
	m := l.streams[id].messages[seq-1]
	if m.qos != qos || m.stream.topic != topic {
		return nil
	}
	return m
}

func (l *ledger) count(add func(*counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(&l.counts)
}

// offend takes down an offence that concerns a device.
func (l *ledger) offend(kind, who, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offences = append(l.offences, offence{at: l.now(), kind: kind, who: who, text: who + ": " + fmt.Sprintf(format, args...)})
}

// offends takes down an offence that concerns a message, nil if nobody sent it.
func (l *ledger) offends(m *message, kind, format string, args ...any) {
	l.offences = append(l.offences, offence{at: l.now(), kind: kind, m: m, text: fmt.Sprintf(format, args...)})
}

func (l *ledger) killed(k kill) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills = append(l.kills, k)
}

// backlog is how many QoS 1 and 2 messages of the stream have not arrived.
func (l *ledger) backlog(s *stream) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.unarrived
}

// settled reports whether every message has been answered and has arrived, and nothing has come
// for a while.
func (l *ledger) settled(quiet time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if slices.ContainsFunc(s.messages, func(m *message) bool { return m.unanswered() || m.lost() }) {
			return false
		}
	}
	return l.now()-max(l.arrival, l.lastAck) >= quiet
}

func (m *message) unanswered() bool { return m.qos > 0 && m.acked == 0 && !m.refused }

func (m *message) lost() bool {
	return m.qos > 0 && m.acked > 0 && len(m.arrivals) == 0 && !m.unwanted
}

// conclude adds what only the end can show. It is called once.
func (l *ledger) conclude() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		for _, m := range s.messages {
			if m.lost() {
				l.offends(m, "lost", "it was acknowledged and has not arrived")
			}
			if m.unanswered() {
				l.offends(m, "unanswered", "its sender waits for an answer")
			}
		}
	}
}

// history tells the history of a message with the kills around it.
func (l *ledger) history(m *message) string {
	var b strings.Builder
	s := m.stream
	fmt.Fprintf(&b, "message %d, QoS %d, from %s to %s, topic %s: sent %s, acknowledged %s, refused %v, arrived",
		m.seq, m.qos, s.from, s.to, s.topic, clock(m.sent), clock(m.acked), m.refused)
	for _, at := range m.arrivals {
		fmt.Fprintf(&b, " %s", clock(at))
	}
	if len(m.arrivals) == 0 {
		b.WriteString(" never")
	}
	end := max(m.acked, m.sent)
	if len(m.arrivals) > 0 {
		end = max(end, m.arrivals[len(m.arrivals)-1])
	}
	shown := 0
	for _, k := range l.kills {
		if k.back >= m.sent-time.Second && k.at <= end+time.Second && shown < 8 {
			shown++
			fmt.Fprintf(&b, "\n      kill %d of %s at %s, back %s", k.number, k.what, clock(k.at), clock(k.back))
		}
	}
	return b.String()
}

// clock writes a time so that it can be searched for in the trace.
func clock(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return fmt.Sprintf("%.3f", d.Seconds())
}
