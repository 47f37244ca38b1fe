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
	l, err := c.d.dial(ctx, c.broker.address, c.req.Greet)
	if err != nil {
		return err
	}
	c.req.Greet = nil
	if !c.adopt(l) || !c.mayProceed() {
		return ErrCancelled
	}
	packet, err := l.hello(c.done)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	l.hello = nil
	if _, err = l.Write(packet); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	c.d.stats.PacketsOut[mqtt.TypeConnect].Add(1)
	c.d.stats.BytesOut.Add(uint64(len(packet)))
	c.d.traceOut(c.req.Owner, packet)
	rd.Reset(l.Conn, c.d.opt.MaxPayload)
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
		c.d.countFault(err)
		return fmt.Errorf("upstream: no CONNACK: %w", err)
	}
	c.d.countIn(c.req.Owner, ack, size)
	if ack.Code != 0 {
		c.d.stats.Refusals[min(int(ack.Code), len(c.d.stats.Refusals)-1)].Add(1)
	}
	return nil
}

// mayProceed waits until the owner lets CONNECT be sent, where it has asked for that.
func (c *Conn) mayProceed() bool {
	if c.req.Hold == nil {
		return true
	}
	if !c.push(&Input{Kind: Opened}) {
		return false
	}
	select {
	case <-c.req.Hold:
		return true
	case <-c.done:
		return false
	}
}

// adopt makes l the connection of c, or closes it when nobody wants it any more.
func (c *Conn) adopt(l *line) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = nil
	if c.abandoned {
		l.Close()
		return false
	}
	c.nc = l
	if c.req.Paused {
		limitUnacked(c.nc.socket(), c.req.Unacked)
	}
	c.wr = newWriter(l.Conn)
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
		c.d.countFault(err)
		return err
	}
	if p.Kind == mqtt.TypeConnack {
		p.Fault = mqtt.FaultSecondConnack
	}
	c.d.countIn(c.req.Owner, p, size)
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
		limitUnacked(c.nc.socket(), limit)
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

// packetsAtOnce is how many packets of one connection a loop takes before it looks at others.
const packetsAtOnce = 32

// beginLooped makes c one that its owner reads, where that has a loop and the socket a descriptor.
func (c *Conn) beginLooped(rd *reader) bool {
	if c.req.Loop == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, ok := c.req.Loop.Descriptor(c.nc.socket())
	if !ok || c.closed() {
		return false
	}
	from, to := nonblocking(fd, c.nc.socket())
	if c.nc.under != nil {
		if _, ok := c.nc.Conn.(resumable); !ok {
			return false
		}
		c.nc.under.nonblocking(from)
		from = c.nc.Conn
	}
	rd.Nonblocking(from)
	c.wr.direct = to
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
	if takes && (c.nc.under != nil || l.rd.Buffered()) { // TLS may have something, too
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
	c.nc.under.beginTurn()
	for range packetsAtOnce {
		takes, failed := c.reads()
		if l.released.Load() || !takes {
			return
		}
		err := failed
		if err == nil {
			err = c.next(l.rd)
			if failed := c.answer(); failed != nil && err == mqtt.ErrAgain {
				err = failed
			}
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
		if c.nc.under == nil && !l.rd.Buffered() {
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
