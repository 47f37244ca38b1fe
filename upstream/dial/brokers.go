package dial

import (
	"context"
	"time"

	"sngate/upstream/mqtt"
)

// The broker in use is left when failTries connects to it in a row came to nothing, the
// first of which began failAfter ago: a broker that is restarted has that long. Neither
// counts while connections to it are open and it has been heard in the last Options.Quiet: then it is one connect that fails, and not the broker.
// With every round in which no broker has answered, each is given twice the time, up to
// four times.
const (
	failTries = 3
	failAfter = 10 * time.Second
	failSlow  = 2 // doublings
	// moveWithin is over how many seconds the connections that are left at another broker
	// are moved, unless they are so few that Options.MaxDials a second take less.
	moveWithin = 60
)

// Address returns the broker's address as in Options.
func (b *Broker) Address() string { return b.address }

// First reports whether it is the first call for this broker with n, 0..31.
func (b *Broker) First(n uint8) bool { return b.seen.Or(1<<n)&(1<<n) == 0 }

// Serving reports whether b has connections and has been heard of late.
func (b *Broker) Serving(now time.Duration) bool {
	return b.open.Load() > 0 && now-time.Duration(b.heardAt.Load()) <= b.quiet
}

// Heard notes a sign of life.
func (b *Broker) Heard(now time.Duration) {
	// Seldom written, because the owners of all Links would write it all the time.
	if now-time.Duration(b.heardAt.Load()) >= time.Second {
		b.heardAt.Store(int64(now))
	}
}

func newFailover(o *Options) failover {
	f := failover{brokers: make([]Broker, len(o.Addresses)), moved: make(chan struct{}, 1)}
	for i, address := range o.Addresses {
		f.brokers[i].address, f.brokers[i].quiet = address, o.Quiet
	}
	return f
}

// StartAt takes the broker with this address into use, as the one that was in use when an
// earlier process ended. An address that is none of the brokers' changes nothing. It is
// for the time before the first connect.
func (d *Dialer) StartAt(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.fail.brokers {
		if d.fail.brokers[i].address == address && i > 0 {
			d.fail.current = i
			d.wakeWatch()
		}
	}
}

// BrokerAt returns the broker with this address, which may be none of those configured;
// nil for "".
func (d *Dialer) BrokerAt(address string) *Broker {
	for i := range d.fail.brokers { // the addresses never change
		if d.fail.brokers[i].address == address {
			return &d.fail.brokers[i]
		}
	}
	if address == "" {
		return nil
	}
	return &Broker{address: address}
}

func (f *failover) broker() *Broker { return &f.brokers[f.current] }

// InUse returns the broker in use: its place in Options.Addresses, and its address.
func (d *Dialer) InUse() (index int, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fail.current, d.fail.broker().address
}

// Broker returns the broker that c is to, for who has had Opened or a later Input; nil: it has
// not been tried.
func (c *Conn) Broker() *Broker { return c.broker }

// Answered notes that the broker has answered the connect c.
func (c *Conn) Answered() {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.broker == d.fail.broker() {
		d.fail.failures, d.fail.moves = 0, 0
	}
}

// Failed notes that the connect c came to nothing, takes the next broker into use if it
// is time, and reports whether c was to another one than is in use now. A connect that
// never had a slot says nothing of a broker.
func (c *Conn) Failed(now time.Duration) (outdated bool) {
	d := c.d
	d.mu.Lock()
	f := &d.fail
	b := c.broker
	if b == nil || b != f.broker() {
		d.mu.Unlock()
		return b != nil
	}
	if b.Serving(now) {
		f.failures = 0
		d.mu.Unlock()
		return false
	}
	if f.failures == 0 {
		f.since = now - time.Since(c.began)
	}
	f.failures++
	n := len(f.brokers)
	if n == 1 || f.failures < failTries || now-f.since < failAfter<<min(f.moves/n, failSlow) {
		d.mu.Unlock()
		return false
	}
	next := (f.current + 1) % n
	f.moves++
	d.stats.Failovers.Add(1)
	d.use(next)
	d.wakeWatch()
	d.mu.Unlock()
	d.tell(b, next)
	return true
}

// use takes a broker into use. d.mu is held.
func (d *Dialer) use(i int) { d.fail.current, d.fail.failures = i, 0 }

// wakeWatch starts watch, or wakes it. d.mu is held.
func (d *Dialer) wakeWatch() {
	switch {
	case d.closed:
	case !d.fail.watching:
		d.fail.watching = true
		d.wg.Go(d.watch)
	default:
		select {
		case d.fail.moved <- struct{}{}:
		default: // it will wake already
		}
	}
}

func (d *Dialer) tell(from *Broker, to int) {
	if d.opt.Moved != nil {
		d.opt.Moved(from.address, d.fail.brokers[to].address)
	}
}

// watch moves the connections that are left at other brokers than the one in use, some
// each second, and looks after the preferred broker while another is in use. It ends
// when there is nothing of both to do.
func (d *Dialer) watch() {
	batch := 0
	probeAt := time.Now().Add(d.opt.FailBack)
	for {
		batch = d.moveSome(batch)
		wait := time.Second
		if batch == 0 {
			if d.idle() {
				return
			}
			wait = time.Until(probeAt)
		}
		select {
		case <-d.life.Done():
			return
		case <-d.fail.moved:
			probeAt = time.Now().Add(d.opt.FailBack)
			continue
		case <-time.After(wait):
		}
		if time.Now().Before(probeAt) {
			continue
		}
		if i, _ := d.InUse(); i != 0 && d.opt.FailBack > 0 && d.probe(d.fail.brokers[0].address) {
			d.failBack()
		}
		probeAt = time.Now().Add(d.opt.FailBack)
	}
}

// idle ends watch, unless the preferred broker is to be gone back to or another has just
// been taken into use.
func (d *Dialer) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail.current != 0 && d.opt.FailBack > 0 || len(d.fail.moved) > 0 {
		return false
	}
	d.fail.watching = false
	return true
}

// failBack takes the preferred broker into use again.
func (d *Dialer) failBack() {
	d.mu.Lock()
	from := d.fail.broker()
	if from == &d.fail.brokers[0] || d.closed {
		d.mu.Unlock()
		return
	}
	d.stats.FailBacks.Add(1)
	d.use(0)
	d.mu.Unlock()
	d.tell(from, 0)
}

// moveSome asks the owners of some connections that are left at another broker to move
// them, and returns how many it would ask at a time: 0 when none is left.
func (d *Dialer) moveSome(batch int) int {
	var stale []*Conn
	d.mu.Lock()
	b, count := d.fail.broker(), 0
	for c := range d.conns {
		if c.broker != b {
			count++
			if c.serving && !c.moving {
				stale = append(stale, c)
			}
		}
	}
	if count == 0 {
		d.mu.Unlock()
		return 0
	}
	batch = max(batch, d.opt.MaxDials, count/moveWithin)
	if d.opt.DialRate > 0 {
		batch = min(batch, d.opt.DialRate) // others would wait without a connection
	}
	stale = stale[:min(len(stale), batch)]
	for _, c := range stale {
		c.moving = true
	}
	d.mu.Unlock()
	for _, c := range stale {
		c.push(&Input{Kind: Move})
	}
	return batch
}

// probe reports whether a broker accepts CONNECT: an open port is not enough, as it may be
// that of something that stands in front of it, nor is a refusal, as it may be that of a
// broker whose accounts have not been restored.
func (d *Dialer) probe(address string) bool {
	ctx, cancel := context.WithTimeout(d.life, d.opt.ConnectTimeout)
	defer cancel()
	l, err := d.dial(ctx, address, d.opt.Probe)
	if err != nil {
		return false
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	packet, err := l.hello(ctx.Done())
	if err != nil {
		return false
	}
	if _, err := l.Write(packet); err != nil {
		return false
	}
	var rd mqtt.Decoder
	rd.Reset(l.Conn, d.opt.MaxPayload)
	var ack mqtt.Packet
	if _, err := rd.Next(&ack); err != nil || ack.Kind != mqtt.TypeConnack || ack.Code != 0 {
		return false
	}
	_, _ = l.Write(mqtt.AppendBare(nil, mqtt.TypeDisconnect)) // it has served its purpose
	return true
}
