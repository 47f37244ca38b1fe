package snclient

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// pauseAfterError keeps a broken transport from spinning the reading goroutine. A
// UDP socket reports a closed port at the other end as an error of Read, which
// ends nothing: the gateway may come back.
const pauseAfterError = 10 * time.Millisecond

// read is the reading goroutine: it ends when the transport does.
func (c *Client) read() {
	defer close(c.done)
	// One octet more than allowed shows that a datagram was cut off.
	buf := make([]byte, c.o.MaxPacketSize+1)
	for {
		if err := c.conn.SetReadDeadline(c.keepAlive(time.Now())); err != nil {
			c.finish()
			return
		}
		n, err := c.conn.Read(buf)
		switch {
		case err == nil:
			c.handling <- struct{}{}
			c.receive(buf[:n])
			c.handling.put()
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
			c.finish()
			return
		default:
			c.transportError(err)
			time.Sleep(pauseAfterError)
		}
	}
}

// finish fails what is open when the transport has ended.
func (c *Client) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		c.state = Disconnected // the end was asked for: no loss to report
	}
	c.closing = true
	c.downLocked(ErrClosed)
}

// transportError ends an open CONNECT: the host says that nothing listens there. All
// other requests are repeated until the gateway is back or they have used their
// repetitions.
func (c *Client) transportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ex := c.open[key{op: opConnect}]; ex != nil {
		c.endLocked(ex, nil, err)
	}
}

// receive handles one datagram.
func (c *Client) receive(datagram []byte) {
	if c.o.Trace != nil {
		c.o.Trace(false, datagram)
	}
	var m sn12.Message
	var err error
	if len(datagram) <= c.o.MaxPacketSize {
		m, err = sn12.Parse(datagram)
	}
	c.mu.Lock()
	c.stats.Received++
	if m == nil || err != nil {
		c.stats.Malformed++
		c.mu.Unlock()
		return
	}
	if ex := c.open[key{op: opPing}]; ex != nil && c.state == Awake {
		// Every message sent to a waking client restarts its Tretry for the PINGREQ
		// (MQTT-SN 1.2 section 6.14).
		ex.moved = time.Now()
	}
	state, clean := c.state, c.o.CleanSession
	c.mu.Unlock()

	if c.answer(m) {
		return
	}
	// A session that is resumed may start to deliver before CONNACK arrives.
	if state == Active || state == Awake || state == Connecting && !clean {
		c.serve(m)
		return
	}
	c.count(&c.stats.Unexpected)
}

// answer handles the messages that answer, or carry on, a request of ours. Answers
// to nothing are late repetitions and ignored.
func (c *Client) answer(m sn12.Message) bool {
	switch m := m.(type) {
	case sn12.ConnAck:
		c.connAck(m)
	case sn12.WillTopicReq:
		c.dialogue(1, c.o.Will.topic())
	case sn12.WillMsgReq:
		c.dialogue(2, c.o.Will.message())
	case sn12.RegAck:
		c.complete(key{opRegister, m.MsgID}, m, func(ex *exchange) {
			if m.ReturnCode == sn12.Accepted {
				c.topics.learn(m.TopicID, ex.topic.Name)
			}
		})
	case sn12.PubAck:
		c.pubAck(m)
	case sn12.PubRec:
		c.pubRec(m)
	case sn12.PubComp:
		c.complete(key{opPublish, m.MsgID}, m, nil)
	case sn12.SubAck:
		c.complete(key{opSubscribe, m.MsgID}, m, func(ex *exchange) {
			if m.ReturnCode == sn12.Accepted && ex.topic.Type == sn12.TopicIDNormal && !topicreg.HasWildcard(ex.topic.Name) {
				c.topics.learn(m.TopicID, ex.topic.Name)
			}
		})
	case sn12.UnsubAck:
		c.complete(key{opUnsubscribe, m.MsgID}, m, nil)
	case sn12.WillTopicResp:
		c.complete(key{op: opWillTopicUpd}, m, nil)
	case sn12.WillMsgResp:
		c.complete(key{op: opWillMsgUpd}, m, nil)
	case sn12.GWInfo:
		m.GwAdd = append([]byte(nil), m.GwAdd...)
		c.complete(key{op: opSearch}, m, nil)
	case sn12.PingResp:
		c.pingResp(m)
	case sn12.Disconnect:
		c.disconnected(m)
	case sn12.Advertise:
	default:
		return false
	}
	return true
}

// complete ends the exchange of k, if it is open. then sees it first, under mu.
func (c *Client) complete(k key, m sn12.Message, then func(*exchange)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ex := c.open[k]
	if ex == nil {
		return
	}
	if then != nil {
		then(ex)
	}
	c.endLocked(ex, m, nil)
}

func (c *Client) connAck(m sn12.ConnAck) {
	c.complete(key{op: opConnect}, m, func(*exchange) {
		if m.ReturnCode == sn12.Accepted {
			c.state = Active
			c.pings = 0
		}
	})
}

// dialogue answers a prompt of the will dialogue (MQTT-SN 1.2 section 6.3). A prompt
// that comes again is answered again, but does not take the exchange back a step.
func (c *Client) dialogue(step int, m sn12.Message) {
	packet, err := m.Append(nil)
	if err != nil {
		return // a will too long for a datagram: Connect has refused it
	}
	c.mu.Lock()
	ex := c.open[key{op: opConnect}]
	if ex == nil {
		c.mu.Unlock()
		return
	}
	if step >= ex.step {
		ex.packet, ex.step, ex.moved = packet, step, time.Now()
	}
	c.mu.Unlock()
	_ = c.send(m) // a failure is a lost datagram: the exchange repeats it
}

// pubAck ends a QoS 1 PUBLISH, or a QoS 2 one that is refused. It is also how the
// gateway refuses a QoS 0 PUBLISH, which nobody waits for: then the topic id is
// registered anew before it is used again.
func (c *Client) pubAck(m sn12.PubAck) {
	k := key{opPublish, m.MsgID}
	c.mu.Lock()
	ex := c.open[k]
	if ex == nil && m.ReturnCode == sn12.RejectedInvalidTopicID {
		c.topics.forget(m.TopicID)
	}
	c.mu.Unlock()
	c.complete(k, m, nil)
}

// pubRec takes a QoS 2 PUBLISH to its second half. A PUBREC for an exchange that was
// abandoned is not answered: the gateway must not release what Continue may yet send
// again.
func (c *Client) pubRec(m sn12.PubRec) {
	c.mu.Lock()
	ex := c.open[key{opPublish, m.MsgID}]
	if ex == nil {
		c.mu.Unlock()
		return
	}
	ex.packet, _ = sn12.PubRel{MsgID: m.MsgID}.Append(nil) // of fixed size: cannot fail
	ex.step, ex.moved = 1, time.Now()
	c.mu.Unlock()
	_ = c.transmit(ex, false) // a failure is a lost datagram: the exchange repeats it
}

func (c *Client) pingResp(m sn12.PingResp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pings = 0
	ex := c.open[key{op: opPing}]
	if ex == nil {
		return
	}
	if c.state == Awake {
		c.state = Asleep
	}
	c.endLocked(ex, m, nil)
}

// disconnected handles DISCONNECT: the answer to ours, or the gateway's own.
func (c *Client) disconnected(m sn12.Disconnect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ex := c.open[key{op: opDisconnect}]; ex != nil {
		c.state = Disconnected
		if ex.sleep > 0 {
			c.state = Asleep
		}
		c.endLocked(ex, m, nil)
		return
	}
	switch c.state {
	case Active, Awake:
		c.downLocked(ErrDisconnected)
	case Connecting:
		// A late answer to an earlier DISCONNECT, or the gateway has given up the will
		// dialogue. Either way CONNECT is what to say next, after Tretry.
		if ex := c.open[key{op: opConnect}]; ex != nil {
			ex.packet, ex.step = c.connectPacket, 0
		}
	case Asleep:
		// The radio is off. If the gateway has forgotten us, the next PINGREQ tells.
		c.stats.Unexpected++
	}
}

// keepAlive sends the PINGREQ that is due at now and returns when to look again,
// the zero time for never. The first PINGREQ goes out one Tretry before the
// keep-alive time is over, but not before half of it, so that one loss does not make
// the gateway think the client lost.
func (c *Client) keepAlive(now time.Time) time.Time {
	c.mu.Lock()
	if c.state != Active || c.o.KeepAlive == 0 {
		c.mu.Unlock()
		return time.Time{}
	}
	due := c.lastSent.Add(max(c.o.KeepAlive-c.o.RetryInterval, c.o.KeepAlive/2))
	if c.pings > 0 {
		due = c.pingAt.Add(c.o.RetryInterval)
	}
	if now.Before(due) {
		c.mu.Unlock()
		return due
	}
	if c.pings > c.o.RetryCount {
		c.downLocked(ErrTimeout)
		c.mu.Unlock()
		return time.Time{}
	}
	if c.pings > 0 {
		c.stats.Retransmitted++
	}
	c.pings++
	c.pingAt = now
	c.mu.Unlock()
	_ = c.send(sn12.PingReq{}) // a failure is a lost datagram: it is repeated
	return now.Add(c.o.RetryInterval)
}
