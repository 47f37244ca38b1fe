package upstreamtest

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Message is an application message.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// ErrDown is what Dial returns while the broker is killed.
var ErrDown = errors.New("upstreamtest: the broker is down")

const (
	// defaultWindow is how many QoS 1 and 2 messages a broker has unacknowledged per
	// session, and maxQueued how many wait behind them.
	defaultWindow = 20
	maxQueued     = 1000
	// maxUnsent bounds what waits to be written to a client that does not read; QoS 0
	// beyond it is dropped.
	maxUnsent = 1 << 20
)

// Broker is a small MQTT 3.1.1 broker in memory. Sessions are kept in the order of
// their creation, so that the same input gives the same output.
type Broker struct {
	// Observe, if set, is told every message a client publishes, once, with the
	// broker's lock held: it must not call the Broker.
	Observe func(clientID string, m Message)
	// Queued, Will and Ended, if set, are told of a QoS 1 or 2 message that a session has
	// taken on for its client, of a will that is published, and of a session that is given
	// up with all it has queued. The rule of Observe holds for them.
	Queued func(clientID string, m Message)
	Will   func(clientID string, m Message)
	Ended  func(clientID string)
	// Refuse, if set, gives the return code of CONNACK; 0 accepts.
	Refuse func(clientID, username string, password []byte) byte
	// KeepAlive makes the broker drop clients silent for one and a half of the
	// keep-alive they named.
	KeepAlive bool

	mu       sync.Mutex
	habits   Habits
	down     bool
	sessions []*session
	retained map[string]Message
	open     map[*client]struct{}
	wg       sync.WaitGroup

	connects  int
	takeovers int

	lastConnect map[string]time.Time // by client id, see Rules
	broken      []string             // see Broken
}

// session is what MQTT 3.1.1 section 3.1.2.4 calls the session state.
type session struct {
	id       string
	clean    bool
	client   *client // nil: offline
	subs     []subscription
	queue    []Message
	inflight []delivery
	lastID   uint16
	received map[uint16]struct{} // QoS 2 packet identifiers awaiting PUBREL
	dropped  int
}

type subscription struct {
	filter string
	qos    byte
}

type delivery struct {
	id       uint16
	m        Message
	released bool // PUBREC has come
}

// NewBroker returns a running Broker.
func NewBroker() *Broker {
	return &Broker{retained: make(map[string]Message), lastConnect: make(map[string]time.Time), open: make(map[*client]struct{})}
}

// Dial is for upstream.Options.
func (b *Broker) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, ErrDown
	}
	near, far := Pipe(0)
	c := &client{b: b, conn: far, wake: make(chan struct{}, 1)}
	b.open[c] = struct{}{}
	b.wg.Go(c.read)
	b.wg.Go(c.write)
	return near, nil
}

// Kill drops all connections, without wills, and refuses new ones until Start. Without
// keep, the broker forgets its sessions and retained messages, as one that does not
// persist them.
func (b *Broker) Kill(keep bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = true
	for c := range b.open {
		c.will = nil
		c.end()
	}
	b.drop(func(s *session) bool { return !keep || s.clean })
	if !keep {
		clear(b.retained)
	}
}

// Start lets a killed broker accept connections again.
func (b *Broker) Start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = false
}

// Close kills the broker and returns when its goroutines have ended.
func (b *Broker) Close() {
	b.Kill(false)
	b.wg.Wait()
}

// Drop closes the connection of one client; its will is published.
func (b *Broker) Drop(clientID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.session(clientID); s != nil && s.client != nil {
		s.client.leave()
	}
}

// Publish sends m to who has subscribed to it.
func (b *Broker) Publish(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.route(m)
}

// Retained returns the retained message of a topic.
func (b *Broker) Retained(topic string) (Message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.retained[topic]
	return m, ok
}

// Connected returns the number of connected clients.
func (b *Broker) Connected() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, s := range b.sessions {
		if s.client != nil {
			n++
		}
	}
	return n
}

// Connects returns how many CONNECTs were accepted, and how many of them took a
// session over from an open connection.
func (b *Broker) Connects() (total, takeovers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connects, b.takeovers
}

// Pending returns how many messages wait for a client, unacknowledged ones included,
// and how many were dropped because its queue was full.
func (b *Broker) Pending(clientID string) (waiting, dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.session(clientID)
	if s == nil {
		return 0, 0
	}
	return len(s.queue) + len(s.inflight), s.dropped
}

func (b *Broker) session(id string) *session {
	for _, s := range b.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// route delivers m to every session with a matching subscription, once, with the
// highest QoS granted, and keeps it if it is to be retained.
func (b *Broker) route(m Message) {
	if m.Retain {
		if len(m.Payload) == 0 {
			delete(b.retained, m.Topic)
		} else {
			b.retained[m.Topic] = m
		}
	}
	m.Retain = false // for who is subscribed already, MQTT 3.1.1 section 3.3.1.3
	for _, s := range b.sessions {
		granted, match := byte(0), false
		for _, sub := range s.subs {
			switch {
			case !Match(sub.filter, m.Topic):
			case b.habits.Overlap:
				b.send(s, m, sub.qos)
			default:
				granted, match = max(granted, sub.qos), true
			}
		}
		if match {
			b.send(s, m, granted)
		}
	}
}

// drop gives up the sessions that match.
func (b *Broker) drop(match func(*session) bool) {
	b.sessions = slices.DeleteFunc(b.sessions, func(s *session) bool {
		if !match(s) {
			return false
		}
		if b.Ended != nil {
			b.Ended(s.id)
		}
		return true
	})
}

// send queues m for the session's client with at most the QoS granted.
func (b *Broker) send(s *session, m Message, granted byte) {
	m.QoS = min(m.QoS, granted)
	switch {
	case m.QoS == 0 && s.client != nil:
		s.client.publish(0, m, false)
	case m.QoS == 0:
	case len(s.queue) >= maxQueued:
		s.dropped++
	default:
		if b.Queued != nil {
			b.Queued(s.id, m)
		}
		s.queue = append(s.queue, m)
		s.pump()
	}
}

// window is how many messages may be in flight.
func (b *Broker) window() int {
	if b.habits.Window > 0 {
		return b.habits.Window
	}
	return defaultWindow
}

// pump moves queued messages into the window.
func (s *session) pump() {
	for s.client != nil && len(s.queue) > 0 && len(s.inflight) < s.client.b.window() {
		if s.client.b.habits.LowestID {
			s.lastID = 0
		}
		d := delivery{id: s.newID(), m: s.queue[0]}
		s.queue = s.queue[1:]
		s.inflight = append(s.inflight, d)
		s.client.publish(d.id, d.m, false)
	}
}

// resume sends again what was in flight when the last connection ended.
func (s *session) resume() {
	if d := s.client.b.habits.RedeliverAfter; d > 0 && len(s.inflight) > 0 {
		s.later(d, len(s.inflight))
	} else {
		s.repeat(len(s.inflight))
	}
	s.pump()
}

// later sends the first n messages in flight again after d, unless there is another
// connection by then. A broker that does so does not number anew.
func (s *session) later(d time.Duration, n int) {
	c := s.client
	time.AfterFunc(d, func() {
		c.b.mu.Lock()
		defer c.b.mu.Unlock()
		if s.client == c {
			s.repeat(min(n, len(s.inflight)))
		}
	})
}

// repeat sends the first n messages in flight again.
func (s *session) repeat(n int) {
	h := &s.client.b.habits
	for i := range n {
		d := &s.inflight[i]
		switch {
		case d.released:
			s.client.ack(typePubrel, d.id)
			continue
		case h.NewIDs:
			d.id = s.newID()
		}
		s.client.publish(d.id, d.m, !h.NoDUP)
	}
}

func (s *session) newID() uint16 {
	for {
		s.lastID++
		if s.lastID != 0 && s.find(s.lastID) < 0 {
			return s.lastID
		}
	}
}

func (s *session) find(id uint16) int {
	return slices.IndexFunc(s.inflight, func(d delivery) bool { return d.id == id })
}

// done ends the delivery with the packet identifier id.
func (s *session) done(id uint16) {
	if i := s.find(id); i >= 0 {
		s.inflight = slices.Delete(s.inflight, i, i+1)
		s.pump()
	}
}

// Match reports whether a topic filter matches a topic name (MQTT 3.1.1 section 4.7).
func Match(filter, topic string) bool {
	if topic != "" && topic[0] == '$' && filter != "" && (filter[0] == '#' || filter[0] == '+') {
		return false
	}
	for {
		f, fRest, fMore := cut(filter)
		t, tRest, tMore := cut(topic)
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !fMore && !tMore:
			return true
		case !tMore:
			return fRest == "#" // "a/#" matches "a"
		case !fMore:
			return false
		}
		filter, topic = fRest, tRest
	}
}
