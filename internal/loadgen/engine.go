package loadgen

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sngate/snpacket/sn12"
)

// engine owns the devices and all that is counted. Its clock sends what is due and repeats
// what is not answered; the readers of the wire and of the broker hand it what arrives.
type engine struct {
	o      *Options
	begin  time.Time
	wire   wire
	broker *brokerConn // nil in mode Connect
	stop   context.CancelCauseFunc
	parts  sync.WaitGroup

	mu       sync.Mutex // guards all below
	devices  []device
	waiting  timeouts // devices with a request or message that is not answered
	credit   timeouts // closed loop: devices whose message of the broker is under way
	phase    phase
	up, down way
	running  bool  // messages are sent
	leaving  bool  // the devices say goodbye, and what arrives is not looked at
	measured int64 // ns, from when on what is sent counts for the latencies
	counts   counts
	times    times
	random   *rand.Rand
	payload  []byte
	answer   []byte // the datagram that answers the gateway
}

// way is one direction: what is counted of it, and when the next message of an open loop is
// due.
type way struct {
	tally
	latency histogram
	from    int64   // ns, when the first message was due
	gap     float64 // ns from one message to the next; 0: none are due
	n       int64   // of messages that were due
	last    int64   // how many will be due, 0: no end
}

func (w *way) due() int64 { return w.from + int64(float64(w.n)*w.gap) }

// more reports whether there is an open loop that goes on.
func (w *way) more() bool { return w.gap > 0 && (w.last == 0 || w.n < w.last) }

// phase is a plan that all devices carry out, some at a time.
type phase struct {
	plan []step
	next int // the device that starts next
	open int // devices that have started and not ended
	done chan struct{}
}

// counts are those of the whole run.
type counts struct {
	connected, failed   int64 // devices
	rejected            int64 // requests, by the gateway
	refused, gaveUp     int64 // messages
	acked               int64
	repeats, timeouts   int64
	disconnects, broken int64 // by the gateway
	early               int64 // messages for devices that slept
	thrownAway          int64 // datagrams, as Loss has it
}

// times are the latencies that are measured beside those of the messages.
type times struct {
	connect, ack, wake histogram
	late               histogram // open loop: how long after it was due a message was sent
}

func (e *engine) now() int64 { return int64(time.Since(e.begin)) }

// sendNext sends what the device owes, or in a closed loop the next message.
func (e *engine) sendNext(i int, now int64) {
	d := &e.devices[i]
	switch {
	case !e.running || d.failed:
	case e.o.closed():
		e.sendUp(i, now, now)
	case d.owed > 0:
		due := int64(d.owedAt)
		d.owed--
		d.owedAt += e.up.gap * float64(len(e.devices))
		e.sendUp(i, now, due)
	}
}

// sendUp has device i publish a message that was due at due.
func (e *engine) sendUp(i int, now, due int64) {
	d := &e.devices[i]
	e.stamp(&e.up, i, now, due)
	if d.publish(e.o.QoS, e.payload) != nil {
		return
	}
	if e.o.QoS == 0 {
		e.send(i, d.repeat)
		if e.o.closed() {
			d.awaits = echo
			e.waiting.add(i, now+int64(e.o.RetryInterval))
		}
		return
	}
	d.tries, d.firstAt = 0, now
	e.transmit(i, now)
}

// sendDown has the broker publish a message to device i that was due at due.
func (e *engine) sendDown(i int, now, due int64) {
	d := &e.devices[i]
	if d.failed {
		return
	}
	e.stamp(&e.down, i, now, due)
	e.broker.publish(d.topic, e.payload, e.o.QoS)
	if e.o.closed() {
		e.credit.add(i, now+int64(e.o.RetryInterval))
	}
}

// stamp makes the payload of the next message.
func (e *engine) stamp(w *way, i int, now, due int64) {
	stamp{now, uint32(i), w.number(i)}.put(e.payload)
	if e.o.Rate > 0 && now >= e.measured {
		e.times.late.record(time.Duration(now - due))
	}
}

// transmit sends what device i will repeat, and waits for the answer.
func (e *engine) transmit(i int, now int64) {
	e.send(i, e.devices[i].repeat)
	e.waiting.add(i, now+int64(e.o.RetryInterval))
}

func (e *engine) send(i int, datagram []byte) {
	if !e.lose() {
		e.wire.send(i, datagram)
	}
}

// lose decides about one datagram.
func (e *engine) lose() bool {
	if e.o.Loss == 0 || e.random.Float64() >= e.o.Loss {
		return false
	}
	e.counts.thrownAway++
	return true
}

// reply answers the gateway, without an allocation whatever the message is.
func reply[M sn12.Message](e *engine, i int, m M) {
	if b, err := m.Append(e.answer[:0]); err == nil {
		e.answer = b
		e.send(i, b)
	}
}

// Intervals at which a wait looks whether it is over, and tells the progress.
const (
	lookInterval     = 10 * time.Millisecond
	progressInterval = 500 * time.Millisecond
)

// wait waits for limit, or less if done, unless nil, says so.
func (e *engine) wait(ctx context.Context, name string, limit time.Duration, done func() bool) error {
	tick := progressInterval
	if done != nil {
		tick = lookInterval
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	over := time.NewTimer(limit)
	defer over.Stop()
	told := time.Now()
	for done == nil || !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			return nil
		case now := <-ticker.C:
			if e.o.Progress != nil && now.Sub(told) >= progressInterval {
				told = now
				e.o.Progress(e.progress(name))
			}
		}
	}
	return nil
}

func (e *engine) progress(name string) (p Progress) {
	e.locked(func() {
		p = Progress{name, int(e.counts.connected), e.up.sent + e.down.sent, e.up.received + e.down.received, e.counts.repeats}
	})
	return p
}

func (e *engine) locked(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}
