package upstream

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"sngate/upstream/mqtt"
)

// The broker in use is left when failTries connects to it in a row came to nothing, the
// first of which began failAfter ago: a broker that is restarted has that long. Neither
// counts while connections to it are open and it has been heard in the last one and a
// half of Options.PingInterval: then it is one connect that fails, and not the broker.
// With every round in which no broker has answered, each is given twice the time, up to
// four times.
const (
	failTries = 3
	failAfter = 10 * time.Second
	failSlow  = 2 // doublings
	// Where there are several brokers the first quickTries pauses of a Link are at most
	// twice quickPause, so that a gateway with few Links finds out soon, too.
	quickTries = 6
	quickPause = 2 * time.Second
	// moveWithin is over how many seconds the connections that are left at another broker
	// are moved, unless they are so few that Options.MaxDials a second take less.
	moveWithin = 60
)

// broker is one of the brokers of a Dialer.
type broker struct {
	address string
	open    atomic.Int64  // connections it has accepted and that are open
	heardAt atomic.Int64  // last packet from it, give or take a second
	habits  atomic.Uint32 // bits 1 << Habit that have been reported
}

// heard notes a sign of life.
func (b *broker) heard(now time.Duration) {
	// Seldom written, because the owners of all Links would write it all the time.
	if now-time.Duration(b.heardAt.Load()) >= time.Second {
		b.heardAt.Store(int64(now))
	}
}

// failover says which broker is in use. There is one for all Links of a Dialer, because
// the devices behind them want to reach each other. It is guarded by Dialer.mu.
type failover struct {
	brokers  []broker // as configured: the first is preferred
	current  int
	failures int           // connects to it that came to nothing, in a row
	since    time.Duration // the first of them began
	moves    int           // since a broker has answered
	tending  bool          // there is a goroutine tend
	moved    chan struct{} // wakes it
}

func newFailover(o *Options) failover {
	f := failover{brokers: make([]broker, 1+len(o.Fallbacks)), moved: make(chan struct{}, 1)}
	for i, address := range slices.Concat([]string{o.Address}, o.Fallbacks) {
		f.brokers[i].address = address
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
			d.rouse()
		}
	}
}

// brokerAt returns the broker with this address, which may be none of those configured;
// nil for "".
func (d *Dialer) brokerAt(address string) *broker {
	for i := range d.fail.brokers { // the addresses never change
		if d.fail.brokers[i].address == address {
			return &d.fail.brokers[i]
		}
	}
	if address == "" {
		return nil
	}
	return &broker{address: address}
}

func (f *failover) broker() *broker { return &f.brokers[f.current] }

// InUse returns the broker in use: its place among Options.Address and Options.Fallbacks,
// and its address.
func (d *Dialer) InUse() (index int, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fail.current, d.fail.broker().address
}

// answered notes that a broker has answered the connect c.
func (d *Dialer) answered(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.broker == d.fail.broker() {
		d.fail.failures, d.fail.moves = 0, 0
	}
}

// failed notes that the connect c came to nothing, takes the next broker into use if it
// is time, and reports whether c was to another one than is in use now. A connect that
// never had a slot says nothing of a broker.
func (d *Dialer) failed(now time.Duration, c *conn) (outdated bool) {
	d.mu.Lock()
	f := &d.fail
	b := c.broker
	if b == nil || b != f.broker() {
		d.mu.Unlock()
		return b != nil
	}
	if d.serving(now, b) {
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
	d.rouse()
	d.mu.Unlock()
	d.tell(b, next)
	return true
}

// use takes a broker into use. d.mu is held.
func (d *Dialer) use(i int) { d.fail.current, d.fail.failures = i, 0 }

// rouse starts tend, or wakes it. d.mu is held.
func (d *Dialer) rouse() {
	switch {
	case d.closed:
	case !d.fail.tending:
		d.fail.tending = true
		d.wg.Go(d.tend)
	default:
		select {
		case d.fail.moved <- struct{}{}:
		default: // it will wake already
		}
	}
}

func (d *Dialer) tell(from *broker, to int) {
	if d.opt.Moved != nil {
		d.opt.Moved(from.address, d.fail.brokers[to].address)
	}
}

// tend moves the connections that are left at other brokers than the one in use, some
// each second, and looks after the preferred broker while another is in use. It ends
// when there is nothing of both to do.
func (d *Dialer) tend() {
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

// idle ends tend, unless the preferred broker is to be gone back to or another has just
// been taken into use.
func (d *Dialer) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail.current != 0 && d.opt.FailBack > 0 || len(d.fail.moved) > 0 {
		return false
	}
	d.fail.tending = false
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
	var stale []*conn
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
		c.push(&Input{kind: inputMove})
	}
	return batch
}

// probe reports whether a broker accepts CONNECT: an open port is not enough, as it may be
// that of something that stands in front of it, nor is a refusal, as it may be that of a
// broker whose accounts have not been restored.
func (d *Dialer) probe(address string) bool {
	ctx, cancel := context.WithTimeout(d.life, d.opt.ConnectTimeout)
	defer cancel()
	nc, err := d.opt.Dial(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	hello := d.opt.connect(&Connect{ClientID: d.opt.ProbeClientID, CleanSession: true})
	if _, err := nc.Write(hello); err != nil {
		return false
	}
	var rd mqtt.Decoder
	rd.Reset(nc, d.opt.MaxPayload)
	var ack mqtt.Packet
	if _, err := rd.Next(&ack); err != nil || ack.Kind != mqtt.TypeConnack || ack.Code != 0 {
		return false
	}
	_, _ = nc.Write(mqtt.AppendBare(nil, mqtt.TypeDisconnect)) // it has served its purpose
	return true
}
