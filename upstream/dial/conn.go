package dial

import (
	"context"
	"fmt"
	"net"

	"sngate/upstream/mqtt"
)

// A connection may have this much with its owner that the owner has not taken in.
// Then its reader waits: one device cannot fill the inbox of them all.
const (
	maxOwedInputs = 32
	maxOwedBytes  = 256 << 10
)

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
	c.cancel = cancel
	abandoned := c.abandoned
	c.mu.Unlock()
	if abandoned {
		return ErrCancelled
	}
	greet := c.req.Greet
	c.req.Greet = nil
	nc, hello, err := c.d.dial(ctx, c.broker.address, greet)
	if err != nil {
		return err
	}
	if !c.adopt(nc) || !c.mayProceed() {
		return ErrCancelled
	}
	packet, err := hello()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	if _, err = nc.Write(packet); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	c.d.stats.PacketsOut[mqtt.TypeConnect].Add(1)
	c.d.stats.BytesOut.Add(uint64(len(packet)))
	c.d.traceOut(c.req.Owner, packet)
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

// dial opens a connection, and returns what makes CONNECT.
func (d *Dialer) dial(ctx context.Context, address string, greet Greeter) (nc net.Conn, hello func() ([]byte, error), err error) {
	g, err := greet(address)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	nc, err = d.opt.Dial(ctx, "tcp", address)
	if err == nil && g.Secure != nil {
		nc, err = g.Secure(ctx, nc)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("upstream: %w", err)
	}
	return nc, g.Hello, nil
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
		if err := c.next(rd); err != nil {
			return err
		}
		rd.in.size = len(p.Topic) + len(p.Payload) + 1
		if !c.admit(rd.in.size) || !c.push(&rd.in) {
			return net.ErrClosed
		}
		*p = mqtt.Packet{} // its topic and payload are the owner's
	}
}

// next reads a packet into rd.in.
func (c *Conn) next(rd *reader) error {
	p := &rd.in.Packet
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
	return nil
}

// admit waits until the owner wants another Input, of the given size.
func (c *Conn) admit(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed() && !c.leaving && (c.req.Paused || c.owed.inputs >= maxOwedInputs || c.owed.bytes >= maxOwedBytes) {
		c.readable.Wait()
	}
	c.owed.inputs++
	c.owed.bytes += size
	return !c.closed()
}

// SetPaused stops or restarts the reader.
func (c *Conn) SetPaused(paused bool) {
	l := c.setPaused(paused)
	if l != nil {
		c.readOn()
	}
}

func (c *Conn) setPaused(paused bool) *looped {
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
	return c.looped
}

// Leave lets the reader run to the end of the stream.
func (c *Conn) Leave() {
	c.mu.Lock()
	c.leaving = true
	c.readable.Signal()
	l := c.looped
	c.mu.Unlock()
	if l != nil {
		c.readOn()
	}
}

// push gives in to the owner.
func (c *Conn) push(in *Input) bool {
	in.Conn = c
	return c.req.Inbox.Push(in, c.done)
}

// Abandon ends c at once. The done of its Push is closed: what still comes means nothing.
func (c *Conn) Abandon() {
	c.mu.Lock()
	if !c.abandoned {
		c.abandoned = true
		close(c.done)
	}
	c.shut(ErrCancelled)
	l := c.looped
	c.mu.Unlock()
	if l != nil {
		c.release()
	}
}

// Fail ends c for a reason the owner has found; the reader reports it.
func (c *Conn) Fail(cause error) {
	if l := c.fail(cause); l != nil {
		l.loop.Soon(c)
	}
}

func (c *Conn) fail(cause error) *looped {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(cause)
	return c.looped
}

// close ends c without a cause of its own.
func (c *Conn) close() { c.fail(net.ErrClosed) }

// shut closes what is open and wakes who waits, but for a connection that the owner reads,
// which is closed by release. c.mu is held.
func (c *Conn) shut(cause error) {
	if c.cause == nil {
		c.cause = cause
	}
	if c.cancel != nil {
		c.cancel()
	}
	if c.nc != nil && c.looped == nil {
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

// packetsAtOnce is how many packets of one connection a loop takes before it looks at others.
const packetsAtOnce = 32

// beginLooped makes c one that its owner reads, where that has a loop and nc a descriptor.
func (c *Conn) beginLooped(rd *reader) bool {
	if c.req.Loop == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, ok := descriptor(c.nc)
	if !ok || c.closed() {
		return false
	}
	rd.Nonblocking(fd)
	c.wr.nonblocking(fd)
	c.looped = &looped{loop: c.req.Loop, fd: fd, rd: rd}
	return true
}

// attach begins to read: the owner has taken Accepted.
func (c *Conn) attach() {
	l := c.looped
	if l.released.Load() {
		return
	}
	l.rd.in = Input{}
	l.rd.Idle() // the buffer that CONNACK came in
	if err := l.loop.Add(l.fd, c); err != nil {
		c.Fail(err)
		return
	}
	l.attached = true
	c.readOn()
}

// readOn has the loop tell when there is something to read, if the owner wants to know.
func (c *Conn) readOn() {
	l := c.looped
	if !l.attached || l.released.Load() {
		return
	}
	takes, _ := c.reads()
	if err := l.loop.Want(l.fd, takes, false); err != nil {
		c.Fail(err)
		return
	}
	if takes && l.rd.Buffered() {
		l.loop.Soon(c)
	}
}

// reads reports whether the owner wants to read on, and why there is nothing to read any
// more.
func (c *Conn) reads() (takes bool, failed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed() || c.leaving || !c.req.Paused, c.cause
}

// Ready implements eventloop.Handler: it takes what has come.
func (c *Conn) Ready(bool, bool) {
	l := c.looped
	in := &l.rd.in
	for range packetsAtOnce {
		takes, failed := c.reads()
		if l.released.Load() || !takes {
			return
		}
		err := failed
		if err == nil {
			err = c.next(l.rd)
		}
		switch {
		case err == mqtt.ErrAgain:
			l.rd.Idle()
			return
		case err != nil:
			c.endLooped(err)
			return
		}
		in.Kind, in.Conn = Received, c
		c.req.Inbox.Deliver(in)
		in.Packet = mqtt.Packet{} // its topic and payload are the owner's
		if !l.rd.Buffered() {
			l.rd.Idle()
			return // the loop tells when more has come
		}
	}
	l.loop.Soon(c)
}

// endLooped tells the owner that the connection has ended.
func (c *Conn) endLooped(err error) {
	c.mu.Lock()
	c.shut(err)
	c.mu.Unlock()
	c.release()
	c.req.Inbox.Deliver(&Input{Conn: c, Kind: Ended, Err: c.verdict(err)})
}

// release closes the connection, and forgets it.
func (c *Conn) release() {
	l := c.looped
	if l.released.Swap(true) {
		return
	}
	if l.attached {
		l.loop.Remove(l.fd) // before the number may be another descriptor's
	}
	c.nc.Close()
	l.rd.Idle()
	c.opened(-1)
	c.d.ended(c)
}
