package crash

import (
	"fmt"
	"time"
)

// The devices, 50 in all.
const (
	publishers  = 20
	subscribers = 10 // always there
	sleepers    = 10
	changers    = 10 // register, subscribe and unsubscribe all the time
)

const (
	upTopics   = 3  // of a publisher
	downTopics = 4  // under the wildcard of a subscriber
	reuse      = 40 // names of a changer before it uses them again
	maxBacklog = 20 // of a stream: senders wait for receivers
)

// publisher publishes to topics that it registered once, with all QoS.
type publisher struct {
	*device
	streams []*stream
}

func newPublisher(d *device) *publisher {
	p := &publisher{device: d}
	for i := range upTopics {
		p.streams = append(p.streams, d.w.ledger.newStream(d.id, observer, fmt.Sprintf("up/%s/%d", d.id, i), true))
	}
	return p
}

func (p *publisher) begin() {
	p.connect()
	for _, s := range p.streams {
		p.register(s.topic)
	}
}

func (p *publisher) live() {
	for p.running() {
		s := p.streams[p.rng.IntN(len(p.streams))]
		if !p.w.ending() && p.w.ledger.backlog(s) < maxBacklog {
			p.publish(s, p.qos())
		}
		p.listen(p.between(10*time.Millisecond, 60*time.Millisecond))
	}
}

// qos is 0 once, 1 and 2 twice in five.
func (d *device) qos() uint8 { return uint8(d.rng.IntN(5)+1) / 2 }

// subscriber receives what the sender publishes to its topics, by name and through a wildcard. One
// that sleeps collects it.
type subscriber struct {
	*device
	sleeps  bool
	streams []*stream // to it
	up      *stream   // from it
}

func newSubscriber(d *device, sleeps bool) *subscriber {
	s := &subscriber{device: d, sleeps: sleeps}
	s.streams = append(s.streams, d.w.ledger.newStream(sender, d.id, s.byName(), false))
	for i := range downTopics {
		s.streams = append(s.streams, d.w.ledger.newStream(sender, d.id, fmt.Sprintf("down/%s/any/%d", d.id, i), false))
	}
	s.up = d.w.ledger.newStream(d.id, observer, "up/"+d.id, true)
	return s
}

func (s *subscriber) byName() string { return "down/" + s.id + "/name" }

func (s *subscriber) begin() {
	s.connect()
	s.subscribe(s.byName())
	s.subscribe("down/" + s.id + "/any/+")
	s.register(s.up.topic)
	if s.sleeps {
		s.sleepy()
	}
}

func (s *subscriber) live() {
	for s.running() {
		if s.rng.IntN(4) == 0 && !s.w.ending() {
			// From a sleeper too: it is served and stays asleep.
			s.publish(s.up, s.qos())
		}
		length := s.between(300*time.Millisecond, 800*time.Millisecond)
		if s.sleeps {
			if !s.asleep {
				s.sleepy()
			}
			s.drowse(length)
			if s.leaves(leaveBusy) {
				s.leave()
				continue
			}
			s.wake()
		} else {
			s.listen(length)
			s.ping()
		}
	}
}

// changer subscribes to a topic, has messages sent there, waits for them and unsubscribes; and
// publishes to ever new topics meanwhile.
type changer struct{ *device }

func (c *changer) begin() { c.connect() }

func (c *changer) live() {
	for n := 0; c.running(); n++ {
		if c.w.ending() {
			c.listen(time.Second)
			c.ping()
			continue
		}
		c.subscribeAndLeave(n)
		s := c.w.ledger.newStream(c.id, observer, fmt.Sprintf("up/%s/%d", c.id, n%reuse), true)
		c.register(s.topic) // a name registered before has the id it had
		for range 3 {
			c.publish(s, c.qos())
		}
	}
}

func (c *changer) subscribeAndLeave(n int) {
	topic := fmt.Sprintf("down/%s/%d", c.id, n%reuse)
	s := c.w.ledger.newStream(sender, c.id, topic, false)
	c.subscribe(topic)
	if !c.running() {
		return
	}
	wanted := make(chan struct{})
	c.w.wg.Go(func() {
		defer close(wanted)
		for range 3 {
			c.w.sendDown(s, uint8(1+n%2))
		}
	})
	c.listenUntil(func() bool { return closed(wanted) && c.w.ledger.backlog(s) == 0 })
	c.unsubscribe(topic)
	if c.running() {
		c.w.ledger.close(s)
		c.w.sendDown(s, 1)
	}
}
