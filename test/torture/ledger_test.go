package torture

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ledger accounts for every message. What has to hold:
//
//   - A QoS 1 or 2 message that was acknowledged to its sender arrives: a device's at the broker, the
//     broker's at the device.
//   - A QoS 2 message arrives at most once, acknowledged or not.
//   - First arrivals of QoS 1 and 2 come in the order of sending, for each device and topic.
//   - A message arrives under the topic it was published to, only where it was meant to go.
//   - When nothing disturbs any more, every exchange ends and nothing is left waiting.
//
// What the rules of MQTT let go is excused: the queue of a session that the broker has given
// up, what was held for a device that begins a clean session.
type ledger struct {
	w        *world
	messages []*message
	streams  map[string]*stream
	offences []offence
}

// stream is what goes to one topic in one direction.
type stream struct {
	up       bool
	topic    string
	equal    bool // all payloads are the same: arrivals are counted, not told apart
	messages []*message
	latest   int // highest number that has arrived
	arrivals int
}

type message struct {
	*stream
	dev      *device
	seq      int // in the stream, from 1
	qos      byte
	payload  string
	acked    bool // its sender was told that it is safe
	refused  bool // by a return code
	arrivals int

	mayLack, mayDouble, mayBeLate string // why; "": it may not
}

func (m *message) String() string {
	direction := "to " + m.dev.id
	if m.up {
		direction = "from " + m.dev.id
	}
	return fmt.Sprintf("%q (QoS %d, number %d %s, topic %s)", m.payload, m.qos, m.seq, direction, m.topic)
}

// offence is something that must not happen.
type offence struct {
	at         time.Duration
	kind, text string
}

func newLedger(w *world) *ledger { return &ledger{w: w, streams: make(map[string]*stream)} }

func (l *ledger) offend(kind, format string, args ...any) {
	o := offence{l.w.now(), kind, fmt.Sprintf(format, args...)}
	if slices.Contains(strings.Split(*ignoreFlag, ","), kind) {
		l.w.note("ignored", "%s: %s", kind, o.text)
		return
	}
	l.offences = append(l.offences, o)
	l.w.note("OFFENCE", "%s: %s", kind, o.text)
}

func (l *ledger) stream(up bool, topic string, equal bool) *stream {
	key := fmt.Sprint(up, topic)
	s := l.streams[key]
	if s == nil {
		s = &stream{up: up, topic: topic, equal: equal}
		l.streams[key] = s
	}
	return s
}

// send takes down a message that is going to be published.
func (l *ledger) send(s *stream, d *device, qos byte) *message {
	m := &message{stream: s, dev: d, qos: qos, seq: len(s.messages) + 1}
	m.payload = fmt.Sprintf("m%d.%d", len(l.messages), qos)
	if s.equal {
		m.payload = "toggle"
	}
	s.messages = append(s.messages, m)
	l.messages = append(l.messages, m)
	return m
}

// arrived takes down what came out at the other end.
func (l *ledger) arrived(up bool, d *device, topic string, qos byte, payload string) {
	s := l.streams[fmt.Sprint(up, topic)]
	if s == nil {
		l.offend("swapped", "%q arrived under the topic %q, where nothing is sent (device %s, QoS %d)", payload, topic, d.id, qos)
		return
	}
	m := s.find(payload, qos)
	switch {
	case m == nil:
		l.offend("swapped", "%q arrived under %q (device %s, QoS %d) and was not sent there", payload, topic, d.id, qos)
		return
	case m.dev != d || m.qos != qos:
		l.offend("swapped", "%v arrived with QoS %d of device %s", m, qos, d.id)
		return
	}
	m.arrivals++
	s.arrivals++
	if s.equal {
		return
	}
	if m.arrivals > 1 {
		if m.qos == 2 && m.mayDouble == "" {
			l.offend("doubled", "%v has arrived %d times", m, m.arrivals)
		}
		return
	}
	if m.qos == 0 {
		return
	}
	if m.seq < s.latest && m.mayBeLate == "" {
		l.offend("order", "%v arrived after number %d", m, s.latest)
	}
	s.latest = max(s.latest, m.seq)
}

// find returns the message of a payload. Of equal ones it is the first that has not arrived, or the last.
func (s *stream) find(payload string, qos byte) *message {
	var last *message
	for _, m := range s.messages {
		if m.payload == payload && (m.qos == qos || !s.equal) {
			if last = m; !s.equal || m.arrivals == 0 {
				return m
			}
		}
	}
	return last
}

// owed reports whether m has still to arrive.
func (m *message) owed() bool {
	return m.qos > 0 && m.acked && m.arrivals == 0 && m.mayLack == "" && !m.refused
}

// owing returns what has still to arrive, of one device or, with nil, of all.
func (l *ledger) owing(d *device, up bool) (list []*message) {
	for _, m := range l.messages {
		if m.up == up && (d == nil || m.dev == d) && !m.equal && m.owed() {
			list = append(list, m)
		}
	}
	return list
}

// excuse lets the messages go that match.
func (l *ledger) excuse(why string, match func(*message) bool) {
	for _, m := range l.messages {
		if m.arrivals == 0 && m.mayLack == "" && match(m) {
			m.mayLack = why
		}
	}
}

// excuseDouble lets messages come again that have come.
func (l *ledger) excuseDouble(why string, match func(*message) bool) {
	for _, m := range l.messages {
		if m.mayDouble == "" && match(m) {
			m.mayDouble = why
		}
	}
}

// excuseLate lets messages of a device that may lack come after later ones, if they come.
func (l *ledger) excuseLate(why string, d *device) {
	for _, m := range l.messages {
		if m.up && m.dev == d && m.mayLack != "" {
			m.mayBeLate = why
		}
	}
}

// conclude adds what only the end can show.
func (l *ledger) conclude() {
	for _, m := range l.messages {
		if m.owed() && !m.equal {
			l.offend("lost", "%v was acknowledged and has not arrived", m)
		}
	}
	for _, s := range l.streams {
		if s.equal {
			l.countEqual(s)
		}
	}
}

// countEqual accounts for a stream whose messages cannot be told apart.
func (l *ledger) countEqual(s *stream) {
	least, most := 0, 0
	for _, m := range s.messages {
		if m.qos == 0 {
			continue
		}
		most++
		if m.acked && m.mayLack == "" && !m.refused {
			least++
		}
		if m.mayDouble != "" {
			most += 1000
		}
	}
	if qos0 := len(s.messages) > 0 && s.messages[0].qos == 0; qos0 {
		return
	}
	if s.arrivals < least {
		l.offend("lost", "%d of %d messages %q of QoS %d to %s have arrived, %d had been acknowledged",
			s.arrivals, len(s.messages), "toggle", s.messages[0].qos, s.topic, least)
	}
	if s.arrivals > most && s.messages[0].qos == 2 {
		l.offend("doubled", "%d messages %q of QoS 2 to %s have arrived, %d were sent", s.arrivals, "toggle", s.topic, most)
	}
}
