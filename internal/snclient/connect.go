package snclient

import (
	"context"
	"fmt"
	"time"

	"sngate/snpacket/sn12"
)

func anyState(State) bool   { return true }
func isActive(s State) bool { return s == Active }

// Connect sets up the connection, with the will dialogue where Options.Will is set
// (MQTT-SN 1.2 sections 6.2 and 6.3). It may be called in any state: it ends a sleep,
// and repeats a connection that is there or was lost. A refusal is a
// *ReturnCodeError. An error of the transport, such as a closed port at the other
// end, fails it at once, as its only request.
func (c *Client) Connect(ctx context.Context) error {
	keepAlive, err := seconds(c.o.KeepAlive)
	if err != nil {
		return err
	}
	for _, m := range []sn12.Message{c.o.Will.topic(), c.o.Will.message()} {
		if _, err := m.Append(nil); err != nil {
			return fmt.Errorf("%v: %w", m.Type(), err)
		}
	}
	ex, err := newExchange(key{op: opConnect}, sn12.Connect{
		Will:         c.o.Will != nil,
		CleanSession: c.o.CleanSession,
		ProtocolID:   sn12.ProtocolID,
		Duration:     keepAlive,
		ClientID:     []byte(c.o.ClientID),
	})
	if err != nil {
		return err
	}
	if err := c.begin(ex, anyState, func() { c.startConnect(ex.packet) }); err != nil {
		return err
	}
	reply, err := c.run(ctx, ex)
	if err == nil {
		err = refusal(sn12.TypeConnect, reply.(sn12.ConnAck).ReturnCode)
	}
	if err != nil {
		c.mu.Lock()
		if c.state == Connecting && c.open[ex.key] == nil {
			c.state = Disconnected
		}
		c.mu.Unlock()
	}
	return err
}

// startConnect prepares the state for a new connection. Topic ids belong to a
// connection: names are registered again before they are published to, except when
// the CONNECT ends a sleep. What a gateway that kept the session sends without
// REGISTER is understood, unless the session is to be clean.
func (c *Client) startConnect(packet []byte) {
	resumes := c.state == Asleep || c.state == Awake
	for _, ex := range c.open {
		if ex.key.op != opSearch {
			c.endLocked(ex, nil, ErrDisconnected)
		}
	}
	c.state = Connecting
	c.connectPacket = packet
	c.inbound.forgetRecent()
	if !resumes {
		c.topics.forgetOut()
	}
	if c.o.CleanSession {
		c.topics = newTopicIDs()
		c.inbound = inboundIDs{}
	}
	select {
	case <-c.lost:
	default:
	}
}

// Disconnect ends the connection, so that the will is not published, and waits for
// the gateway's answer (MQTT-SN 1.2 section 6.12). Whatever it returns, the client is
// disconnected after it, unless the context was done.
func (c *Client) Disconnect(ctx context.Context) error {
	return c.disconnect(ctx, 0)
}

// Sleep announces that the client goes to sleep for d, 1 to 65535 whole seconds, and
// waits for the gateway's answer (MQTT-SN 1.2 section 6.14). Then the client takes
// nothing from the gateway before Wake or Connect; the application has to call one of
// them within d. A client asleep may call Sleep again to change d.
func (c *Client) Sleep(ctx context.Context, d time.Duration) error {
	if s, err := seconds(d); err != nil || s == 0 {
		return fmt.Errorf("sleep for %v: want whole seconds from 1 to %d", d, maxSeconds)
	}
	return c.disconnect(ctx, d)
}

func (c *Client) disconnect(ctx context.Context, sleep time.Duration) error {
	ex, err := newExchange(key{op: opDisconnect}, sn12.Disconnect{
		HasDuration: sleep > 0,
		Duration:    uint16(sleep / time.Second),
	})
	if err != nil {
		return err
	}
	ex.sleep = sleep
	// A message that was just taken is acknowledged first. After DISCONNECT it would be
	// too late, and the message would come again.
	if err := c.handling.take(ctx, c.done); err != nil {
		return err
	}
	c.handling.put()
	connected := func(s State) bool { return s == Active || s == Asleep }
	if err := c.begin(ex, connected, nil); err != nil {
		return err
	}
	_, err = c.run(ctx, ex)
	return err
}

// Wake fetches what the gateway holds for a client asleep: PINGREQ with the client
// id, then every message with its exchange, until PINGRESP says that there is no
// more; then the client is asleep again (MQTT-SN 1.2 section 6.14). Messages not
// taken are not acknowledged, so the gateway sends them again before it sends PINGRESP:
// the application must go on reading Messages meanwhile. ErrDisconnected says that the
// gateway does not know the client (any more): it has to Connect.
func (c *Client) Wake(ctx context.Context) error {
	ex, err := newExchange(key{op: opPing}, sn12.PingReq{ClientID: []byte(c.o.ClientID)})
	if err != nil {
		return err
	}
	asleep := func(s State) bool { return s == Asleep }
	if err := c.begin(ex, asleep, func() { c.state = Awake }); err != nil {
		return err
	}
	if _, err = c.run(ctx, ex); err != nil {
		c.mu.Lock()
		if c.state == Awake && c.open[ex.key] == nil {
			c.state = Asleep // the context was done: the radio is off again
		}
		c.mu.Unlock()
	}
	return err
}

// Ping asks for a sign of life (MQTT-SN 1.2 section 6.11). The keep-alive does the
// same by itself.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.request(ctx, key{op: opPing}, sn12.PingReq{}, isActive)
	return err
}

// UpdateWillTopic changes topic, QoS and retain flag of the will the gateway holds
// (MQTT-SN 1.2 section 6.4); w.Message is not sent. nil deletes topic and message. The
// Will of the Options is not changed.
func (c *Client) UpdateWillTopic(ctx context.Context, w *Will) error {
	m := sn12.WillTopicUpd{Empty: true}
	if w != nil {
		m = sn12.WillTopicUpd{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)}
	}
	reply, err := c.request(ctx, key{op: opWillTopicUpd}, m, isActive)
	if err != nil {
		return err
	}
	return refusal(m.Type(), reply.(sn12.WillTopicResp).ReturnCode)
}

// UpdateWillMessage changes the message of the will the gateway holds (MQTT-SN 1.2
// section 6.4).
func (c *Client) UpdateWillMessage(ctx context.Context, message []byte) error {
	m := sn12.WillMsgUpd{Message: message}
	reply, err := c.request(ctx, key{op: opWillMsgUpd}, m, isActive)
	if err != nil {
		return err
	}
	return refusal(m.Type(), reply.(sn12.WillMsgResp).ReturnCode)
}

// Gateway is what a GWINFO says.
type Gateway struct {
	ID      uint8
	Address []byte // empty when the gateway answered itself
}

// SearchGateway sends SEARCHGW and returns the first answer (MQTT-SN 1.2 section 6.1).
// radius is in hops, 0 for the whole network. It needs no connection and does not
// wait the random time that keeps devices from asking all at once.
func (c *Client) SearchGateway(ctx context.Context, radius uint8) (Gateway, error) {
	reply, err := c.request(ctx, key{op: opSearch}, sn12.SearchGW{Radius: radius}, anyState)
	if err != nil {
		return Gateway{}, err
	}
	info := reply.(sn12.GWInfo)
	return Gateway{ID: info.GwID, Address: info.GwAdd}, nil
}

// request makes one exchange and returns the answer.
func (c *Client) request(ctx context.Context, k key, m sn12.Message, allowed func(State) bool) (sn12.Message, error) {
	ex, err := newExchange(k, m)
	if err != nil {
		return nil, err
	}
	if err := c.begin(ex, allowed, nil); err != nil {
		return nil, err
	}
	return c.run(ctx, ex)
}

// refusal is nil when code is "accepted".
func refusal(request sn12.Type, code sn12.ReturnCode) error {
	if code == sn12.Accepted {
		return nil
	}
	return &ReturnCodeError{Request: request, Code: code}
}
