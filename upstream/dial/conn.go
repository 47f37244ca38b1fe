package dial

import (
	"container/list"
	"context"
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

// Conn is one attempt to connect and the connection it leads to. It has one goroutine,
// which dials and is followed by the reader; what is said below c.mu that shares with
// the owner and with the flusher, a goroutine that exists only while a broker does not take
// what is written.
//
// To an owner that has not abandoned it, a Conn pushes exactly one last Input:
// Refused or Ended.
type Conn struct {
	d      *Dialer
	req    Request       // Hello and Paused: of mu
	done   chan struct{} // closed when the owner wants to hear no more
	queued *list.Element // in Dialer.urgent or Dialer.waiting; of Dialer.mu
	urgent bool          // in Dialer.urgent; of Dialer.mu

	// Set with the slot.
	broker *Broker // nil: there was none yet
	began  time.Time

	serving, moving bool // accepted; asked to move to another broker; of Dialer.mu

	backlog atomic.Int64 // bytes pending or being written
	starved atomic.Bool  // the owner waits for Writable

	mu        sync.Mutex
	readable  sync.Cond // of mu: the reader may go on
	cancel    context.CancelFunc
	nc        net.Conn
	wr        writer
	abandoned bool
	cause     error // why this side closed it; nil: it did not
	leaving   bool  // DISCONNECT is sent: read on to the end, paused or not
	owed      int
	owedBytes int
	pending   []byte
	flushing  bool
}

// Request says how to connect.
type Request struct {
	Hello    []byte // CONNECT
	Inbox    Inbox
	Owner    any           // for Options.Trace
	Announce bool          // push Dialling
	Paused   bool          // as Conn.SetPaused
	Unacked  time.Duration // while paused the system ends a connection whose octets are unacknowledged for so long, where it can
}

func newConn(d *Dialer, r *Request) *Conn {
	c := &Conn{d: d, req: *r, done: make(chan struct{})}
	c.readable.L = &c.mu
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
func (c *Conn) run() {
	rd := new(reader)
	if c.req.Announce {
		c.push(&Input{Kind: Dialling})
	}
	err := c.open(rd)
	ok := err == nil && rd.in.Packet.Code == 0
	if !ok {
		c.close()
	}
	c.d.connectDone(ok)
	rd.in.Kind, rd.in.Err = Accepted, err
	if ok && c.push(&rd.in) {
		c.opened(1)
		if c.d.serve(c, rd) {
			return
		}
		c.opened(-1)
	}
	c.close()
	rd.in.Kind = Refused
	c.push(&rd.in)
	c.d.ended(c)
}

func (c *Conn) opened(n int64) {
	c.d.stats.Open.Add(n)
	c.broker.open.Add(n)
}

// serve is the goroutine of c while it is open.
func (c *Conn) serve(rd *reader) {
	defer c.d.wg.Done()
	err := c.read(rd)
	c.close()
	c.opened(-1)
	rd.in = Input{Kind: Ended, Err: c.verdict(err)}
	c.push(&rd.in)
	c.d.ended(c)
}

// open dials, sends CONNECT and reads CONNACK into rd. Time is the owner's business:
// it abandons c when it has waited long enough.
func (c *Conn) open(rd *reader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.mu.Lock()
	hello := c.req.Hello
	c.cancel, c.req.Hello = cancel, nil
	abandoned := c.abandoned
	c.mu.Unlock()
	if abandoned {
		return ErrCancelled
	}
	nc, err := c.d.opt.Dial(ctx, "tcp", c.broker.address)
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
	c.d.traceOut(c.req.Owner, hello)
	rd.Reset(nc, c.d.opt.MaxPayload)
	ack := &rd.in.Packet
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
		c.d.stats.Refusals[min(int(ack.Code), len(c.d.stats.Refusals)-1)].Add(1)
	}
	return nil
}

// adopt makes nc the connection of c, or closes it when nobody wants it any more.
func (c *Conn) adopt(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = nil
	if c.abandoned {
		nc.Close()
		return false
	}
	c.nc = nc
	if c.req.Paused {
		limitUnacked(nc, c.req.Unacked)
	}
	c.wr = newWriter(nc)
	return true
}

// read hands every packet to the owner until the connection ends.
func (c *Conn) read(rd *reader) error {
	rd.in = Input{Kind: Received}
	p := &rd.in.Packet
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
func (c *Conn) admit(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed() && !c.leaving && (c.req.Paused || c.owed >= maxOwedInputs || c.owedBytes >= maxOwedBytes) {
		c.readable.Wait()
	}
	c.owed++
	c.owedBytes += size
	return !c.closed()
}

// SetPaused stops or restarts the reader.
func (c *Conn) SetPaused(paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.req.Paused = paused
	if c.nc != nil {
		limit := c.req.Unacked
		if !paused {
			limit = 0
		}
		limitUnacked(c.nc, limit)
	}
	c.readable.Signal()
}

// Leave lets the reader run to the end of the stream.
func (c *Conn) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.readable.Signal()
}

// push gives in to the owner.
func (c *Conn) push(in *Input) bool {
	in.Conn = c
	return c.req.Inbox.Push(in, c.done)
}

// Abandon ends c at once. The done of its Push is closed: what still comes means nothing.
func (c *Conn) Abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.abandoned {
		c.abandoned = true
		close(c.done)
	}
	c.shut(ErrCancelled)
}

// Fail ends c for a reason found on this side; the reader reports it.
func (c *Conn) Fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(cause)
}

// close ends c without a cause of its own.
func (c *Conn) close() { c.Fail(net.ErrClosed) }

// shut closes what is open and wakes who waits. c.mu is held.
func (c *Conn) shut(cause error) {
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

func (c *Conn) closed() bool { return c.cause != nil }

// verdict turns the error the reader ended with into the reason for the loss: a
// cause on this side shows in the reader as a closed connection only.
func (c *Conn) verdict(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil && c.cause != net.ErrClosed {
		return c.cause
	}
	return err
}
