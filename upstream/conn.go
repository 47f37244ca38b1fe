package upstream

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sngate/upstream/mqtt"
)

// A connection may have this much with its owner that the owner has not taken in.
// Then its reader waits: one device cannot fill the inbox of them all.
const (
	maxOwedInputs = 32
	maxOwedBytes  = 256 << 10
)

// conn is one attempt to connect and the connection it leads to. It has one goroutine,
// which dials and is followed by the reader; what is said below c.mu that shares with
// the owner of the Link and with the flusher, a goroutine that exists only while a
// broker does not take what is written.
//
// To a Link that has not abandoned it, a conn pushes exactly one last Input:
// inputRefused or inputEnded.
type conn struct {
	d      *Dialer
	inbox  Inbox
	link   Link
	owner  any
	done   chan struct{} // closed when the owner wants to hear no more
	queued *list.Element // in Dialer.urgent or Dialer.waiting; of Dialer.mu
	hasty  bool          // in Dialer.urgent; of Dialer.mu

	// Set with the slot.
	broker *broker // nil: there was none yet
	began  time.Time

	serving, moving bool // accepted; asked to move to another broker; of Dialer.mu

	// Set before start.
	announce bool          // push inputDialling
	unacked  time.Duration // for limitUnacked while paused

	backlog atomic.Int64 // bytes pending or being written
	starved atomic.Bool  // the owner waits for inputWritable

	mu        sync.Mutex
	readable  sync.Cond // of mu: the reader may go on
	hello     []byte    // CONNECT, until it is written
	cancel    context.CancelFunc
	nc        net.Conn
	wr        writer
	abandoned bool
	cause     error // why this side closed it; nil: it did not
	paused    bool
	leaving   bool // DISCONNECT is sent: read on to the end, paused or not
	owed      int
	owedBytes int
	pending   []byte
	flushing  bool
}

func newConn(l *dedicated, hello []byte) *conn {
	c := &conn{d: l.d, inbox: l.inbox, link: l, owner: l.owner, hello: hello, paused: l.paused, done: make(chan struct{})}
	c.readable.L = &c.mu
	_, limit := l.pingTimes()
	c.unacked = limit * 3 / 4 // so that the next PINGREQ finds it over
	return c
}

// reader is what the reader goroutine works with. It is not on its stack, which has to
// stay at the two kilobytes a goroutine begins with.
type reader struct {
	mqtt.Decoder
	in Input
}

// run connects: it is the goroutine of c until CONNACK. The reader is a new one,
// because a dial needs a stack several times as large, and a stack does not shrink by
// much.
func (c *conn) run() {
	rd := new(reader)
	if c.announce {
		c.push(&Input{kind: inputDialling})
	}
	err := c.open(rd)
	ok := err == nil && rd.in.pkt.Code == 0
	if !ok {
		c.close()
	}
	c.d.settled(ok)
	rd.in.kind, rd.in.err = inputAccepted, err
	if ok && c.push(&rd.in) {
		c.opened(1)
		if c.d.serve(c, rd) {
			return
		}
		c.opened(-1)
	}
	c.close()
	rd.in.kind = inputRefused
	c.push(&rd.in)
	c.d.ended(c)
}

func (c *conn) opened(n int64) {
	c.d.stats.Open.Add(n)
	c.broker.open.Add(n)
}

// serve is the goroutine of c while it is open.
func (c *conn) serve(rd *reader) {
	defer c.d.wg.Done()
	err := c.read(rd)
	c.close()
	c.opened(-1)
	rd.in = Input{kind: inputEnded, err: c.verdict(err)}
	c.push(&rd.in)
	c.d.ended(c)
}

// open dials, sends CONNECT and reads CONNACK into rd. Time is the owner's business:
// it abandons c when it has waited long enough.
func (c *conn) open(rd *reader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.mu.Lock()
	hello := c.hello
	c.cancel, c.hello = cancel, nil
	abandoned := c.abandoned
	c.mu.Unlock()
	if abandoned {
		return ErrCancelled
	}
	nc, err := c.d.dial(ctx, c.broker)
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	if !c.adopt(nc) {
		return ErrCancelled
	}
	if _, err = nc.Write(hello); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	c.d.stats.PacketsOut[mqtt.TypeConnect].Add(1)
	c.d.stats.BytesOut.Add(uint64(len(hello)))
	c.d.traceOut(c.owner, hello)
	rd.Reset(nc, c.d.opt.MaxPayload)
	ack := &rd.in.pkt
	size, err := rd.Next(ack)
	switch {
	case err != nil:
	case ack.Kind == mqtt.TypeDisconnect:
		err = mqtt.Disconnected(ack.Code)
	case ack.Fault != mqtt.FaultNone:
		err = mqtt.ProtocolError(ack.Fault.Error())
	}
	if err != nil {
		*ack = mqtt.Packet{}
		c.countFault(err)
		return fmt.Errorf("upstream: no CONNACK: %w", err)
	}
	c.countIn(ack, size)
	if ack.Code != 0 {
		c.d.stats.countRefusal(ack.Code)
	}
	return nil
}

// adopt makes nc the connection of c, or closes it when nobody wants it any more.
func (c *conn) adopt(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = nil
	if c.abandoned {
		nc.Close()
		return false
	}
	c.nc = nc
	if c.paused {
		limitUnacked(nc, c.unacked)
	}
	c.wr = newWriter(nc)
	return true
}

// read hands every packet to the owner until the connection ends.
func (c *conn) read(rd *reader) error {
	rd.in = Input{kind: inputPacket}
	p := &rd.in.pkt
	for {
		// An idle reader waits here, not deeper.
		if err := rd.Await(); err != nil {
			return err
		}
		size, err := rd.Next(p)
		if err != nil {
			c.countFault(err)
			return err
		}
		if p.Kind == mqtt.TypeConnack {
			p.Fault = mqtt.FaultSecondConnack
		}
		c.countIn(p, size)
		if p.Kind == mqtt.TypeDisconnect {
			return mqtt.Disconnected(p.Code)
		}
		rd.in.size = len(p.Topic) + len(p.Payload) + 1
		if !c.admit(rd.in.size) || !c.push(&rd.in) {
			return net.ErrClosed
		}
		*p = mqtt.Packet{} // its topic and payload are the owner's
	}
}

// admit waits until the owner wants another Input, of the given size.
func (c *conn) admit(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed() && !c.leaving && (c.paused || c.owed >= maxOwedInputs || c.owedBytes >= maxOwedBytes) {
		c.readable.Wait()
	}
	c.owed++
	c.owedBytes += size
	return !c.closed()
}

// taken gives back the credit of an Input the owner has taken in.
func (c *conn) taken(size int) {
	if size == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed--
	c.owedBytes -= size
	c.readable.Signal()
}

// setPaused stops or restarts the reader.
func (c *conn) setPaused(paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = paused
	if c.nc != nil {
		limit := c.unacked
		if !paused {
			limit = 0
		}
		limitUnacked(c.nc, limit)
	}
	c.readable.Signal()
}

// leave lets the reader run to the end of the stream.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.readable.Signal()
}

// push adds the address to in and gives it to the owner.
func (c *conn) push(in *Input) bool {
	in.Link, in.Owner, in.conn = c.link, c.owner, c
	return c.inbox.Push(*in, c.done)
}

// abandon ends c at once. Nothing more is pushed to the owner.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.abandoned {
		c.abandoned = true
		close(c.done)
	}
	c.shut(ErrCancelled)
}

// fail ends c for a reason found on this side; the reader reports it.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(cause)
}

// close ends c without a cause of its own.
func (c *conn) close() { c.fail(net.ErrClosed) }

// shut closes what is open and wakes who waits. c.mu is held.
func (c *conn) shut(cause error) {
	if c.cause == nil {
		c.cause = cause
	}
	if c.cancel != nil {
		c.cancel()
	}
	if c.nc != nil {
		c.nc.Close()
	}
	c.pending = nil
	c.readable.Signal()
}

func (c *conn) closed() bool { return c.cause != nil }

// verdict turns the error the reader ended with into the reason for the loss: a
// cause on this side shows in the reader as a closed connection only.
func (c *conn) verdict(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil && c.cause != net.ErrClosed {
		return c.cause
	}
	return err
}

func (c *conn) countIn(p *mqtt.Packet, size int) {
	c.d.stats.PacketsIn[p.Kind].Add(1)
	c.d.stats.BytesIn.Add(uint64(size))
	c.d.traceIn(c.owner, p)
	if p.Oversize {
		c.d.stats.Oversize.Add(1)
	}
	if p.Fault != mqtt.FaultNone {
		c.d.stats.BadPackets.Add(1)
	}
}

func (c *conn) countFault(err error) {
	var fault mqtt.ProtocolError
	if errors.As(err, &fault) {
		c.d.stats.ProtocolErrors.Add(1)
	}
}

// traceIn shows a packet of the broker.
func (d *Dialer) traceIn(owner any, p *mqtt.Packet) {
	if d.opt.Trace == nil {
		return
	}
	if show := d.opt.Trace(owner, false); show != nil {
		show(p.String())
	}
}

// traceOut shows packets for the broker: whole ones, one behind the other.
func (d *Dialer) traceOut(owner any, b []byte) {
	if d.opt.Trace == nil {
		return
	}
	if show := d.opt.Trace(owner, true); show != nil {
		mqtt.DescribeSent(b, show)
	}
}
