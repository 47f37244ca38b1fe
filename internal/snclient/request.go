package snclient

import (
	"context"
	"errors"
	"fmt"
	"sngate/snpacket/sn12"
	"time"
)

// begin opens ex. allowed says which states the request may be made in; enter, if
// it is not nil, changes the state. Both run under mu.
func (c *Client) begin(ex *exchange, allowed func(State) bool, enter func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ErrClosed
	}
	if !allowed(c.state) {
		return fmt.Errorf("%w (%v)", ErrNotConnected, c.state)
	}
	if c.open[ex.key] != nil {
		return ErrBusy
	}
	if enter != nil {
		enter()
	}
	ex.moved = time.Now()
	c.open[ex.key] = ex
	return nil
}

// run sends an exchange that begin has opened and waits for its end, repeating
// what is due. A result that is there is preferred to a context that is done.
func (c *Client) run(ctx context.Context, ex *exchange) (sn12.Message, error) {
	if err := c.transmit(ex, false); err != nil && ex.key.op == opConnect {
		// Nothing listens there, or there is no way to it. Other requests go on: what
		// they have to do is survive a gateway's restart.
		c.end(ex, nil, err)
	}
	timer := time.NewTimer(c.o.RetryInterval)
	defer timer.Stop()
	for tries := 0; ; {
		select {
		case <-ex.done:
		case <-ctx.Done():
			c.end(ex, nil, ctx.Err())
		case now := <-timer.C:
			if rest := c.o.RetryInterval - now.Sub(c.movedAt(ex)); rest > 0 {
				tries = 0
				timer.Reset(rest)
				continue
			}
			if tries == c.o.RetryCount {
				c.giveUp(ex, tries)
				break
			}
			tries++
			timer.Reset(c.o.RetryInterval)
			// A datagram that could not be sent is as good as one that was lost.
			_ = c.transmit(ex, true)
			continue
		}
		<-ex.done
		return ex.reply, ex.err
	}
}

func (c *Client) movedAt(ex *exchange) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ex.moved
}

// transmit writes what the exchange has to say now; again marks it as a repetition.
func (c *Client) transmit(ex *exchange, again bool) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.mu.Lock()
	if c.open[ex.key] != ex {
		c.mu.Unlock()
		return nil
	}
	if again {
		setDUP(ex.packet)
		c.stats.Retransmitted++
	}
	packet := ex.packet
	c.mu.Unlock()
	return c.write(packet)
}

// send writes a message that belongs to no exchange.
func (c *Client) send(m sn12.Message) error {
	packet, err := m.Append(nil)
	if err != nil {
		return fmt.Errorf("%v: %w", m.Type(), err)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.write(packet)
}

// write is the only place that writes. The caller holds wmu.
func (c *Client) write(packet []byte) error {
	c.mu.Lock()
	if !unanswered(packet) {
		c.lastSent = time.Now()
	}
	c.stats.Sent++
	c.mu.Unlock()
	if c.o.Trace != nil {
		c.o.Trace(true, packet)
	}
	_, err := c.conn.Write(packet)
	return err
}

// end finishes an exchange unless it is over already.
func (c *Client) end(ex *exchange, reply sn12.Message, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(ex, reply, err)
}

func (c *Client) endLocked(ex *exchange, reply sn12.Message, err error) {
	if c.open[ex.key] != ex {
		return
	}
	delete(c.open, ex.key)
	ex.reply, ex.err = reply, err
	close(ex.done)
}

// giveUp ends an exchange the gateway has not answered, and with it the connection:
// a client whose repetitions stay unanswered considers itself disconnected (MQTT-SN
// 1.2 section 6.13). A CONNECT and a search for a gateway have nothing to lose yet.
func (c *Client) giveUp(ex *exchange, tries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[ex.key] != ex {
		return
	}
	err := fmt.Errorf("%w after %d transmissions", ErrTimeout, tries+1)
	c.endLocked(ex, nil, err)
	if ex.key.op == opSearch || ex.key.op == opConnect {
		return
	}
	if ex.key.op == opDisconnect && ex.sleep == 0 {
		c.state = Disconnected // as was asked for: no loss to report
	}
	c.downLocked(err)
}

// downLocked ends the connection for a reason the client did not choose.
func (c *Client) downLocked(err error) {
	was := c.state
	c.state = Disconnected
	c.pings = 0
	for k, ex := range c.open {
		if k.op != opSearch || errors.Is(err, ErrClosed) {
			c.endLocked(ex, nil, err)
		}
	}
	if was == Disconnected || was == Connecting {
		return // Connect reports it
	}
	select {
	case <-c.lost:
	default:
	}
	c.lost <- err // never blocks: mu is held, so nobody has filled it since
}

// newMsgID returns a MsgId no open exchange uses, never 0x0000 (MQTT-SN 1.2 section
// 5.3.12).
func (c *Client) newMsgID() uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.lastID++
		if c.lastID != 0 && !c.usesLocked(c.lastID) {
			return c.lastID
		}
	}
}

func (c *Client) usesLocked(id uint16) bool {
	for _, o := range []op{opRegister, opPublish, opSubscribe, opUnsubscribe} {
		if c.open[key{o, id}] != nil {
			return true
		}
	}
	return false
}
