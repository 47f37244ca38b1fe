package snclient

import (
	"context"
	"fmt"

	"sngate/snpacket/sn12"
)

// Register gets a topic id for a topic name from the gateway (MQTT-SN 1.2 section
// 6.5). Publish does it by itself. A refusal is a *ReturnCodeError.
func (c *Client) Register(ctx context.Context, name string) (uint16, error) {
	if err := c.registering.take(ctx, c.done); err != nil {
		return 0, err
	}
	defer c.registering.put()
	return c.registerName(ctx, name)
}

// registerName is Register for a holder of the slot.
func (c *Client) registerName(ctx context.Context, name string) (uint16, error) {
	id := c.newMsgID()
	ex, err := newExchange(key{opRegister, id}, sn12.Register{MsgID: id, TopicName: []byte(name)})
	if err != nil {
		return 0, err
	}
	ex.topic = Name(name)
	if err := c.begin(ex, isActive, nil); err != nil {
		return 0, err
	}
	reply, err := c.run(ctx, ex)
	if err != nil {
		return 0, err
	}
	ack := reply.(sn12.RegAck)
	if err := refusal(sn12.TypeRegister, ack.ReturnCode); err != nil {
		return 0, err
	}
	if !usableID(ack.TopicID) {
		return 0, fmt.Errorf("REGACK with the reserved topic id 0x%04X", ack.TopicID)
	}
	return ack.TopicID, nil
}

// idOf returns what a PUBLISH to t carries as topic id, registering the name when it
// has none.
func (c *Client) idOf(ctx context.Context, t Topic) (uint16, error) {
	switch t.Type {
	case sn12.TopicIDPredefined:
		return t.ID, nil
	case sn12.TopicIDShort:
		return sn12.ShortID(t.Name), nil
	}
	if id, ok := c.knownID(t.Name); ok {
		return id, nil
	}
	if err := c.registering.take(ctx, c.done); err != nil {
		return 0, err
	}
	defer c.registering.put()
	if id, ok := c.knownID(t.Name); ok { // another call has registered it meanwhile
		return id, nil
	}
	return c.registerName(ctx, t.Name)
}

func (c *Client) knownID(name string) (uint16, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.topics.ids[name]
	return id, ok
}

// Publish sends a message (MQTT-SN 1.2 section 6.6) with QoS 0, 1, 2 or
// sn12.QoSMinusOne. At QoS 1 and 2 it returns when the gateway has acknowledged; at
// QoS 0 and -1 when the datagram is sent. A name is registered first when it has
// no topic id, and once more when the gateway says that the id is not valid. QoS -1
// works without a connection, and only with pre-defined ids and short names (section
// 6.8).
//
// A refusal is a *ReturnCodeError. An exchange that began and did not end is an
// *IncompleteError. payload must not change before Publish returns.
func (c *Client) Publish(ctx context.Context, t Topic, payload []byte, qos uint8, retain bool) error {
	if err := t.check(); err != nil {
		return err
	}
	p := sn12.Publish{QoS: qos, Retain: retain, TopicIDType: t.Type, Data: payload}
	switch qos {
	case sn12.QoSMinusOne:
		if t.Type == sn12.TopicIDNormal {
			return fmt.Errorf("QoS -1 needs a pre-defined topic id or a short topic name, not the name %q", t.Name)
		}
		p.TopicID = t.ID
		if t.Type == sn12.TopicIDShort {
			p.TopicID = sn12.ShortID(t.Name)
		}
		return c.send(p)
	case 0:
		id, err := c.idOf(ctx, t)
		if err != nil {
			return err
		}
		if s := c.State(); s != Active {
			return fmt.Errorf("%w (%v)", ErrNotConnected, s)
		}
		p.TopicID = id
		return c.send(p)
	case 1, 2:
		if err := c.publishing.take(ctx, c.done); err != nil {
			return err
		}
		defer c.publishing.put()
		p.MsgID = c.newMsgID()
		return c.exchangePublish(ctx, t, p)
	}
	return fmt.Errorf("QoS %d: want 0, 1, 2 or %d for -1", qos, sn12.QoSMinusOne)
}

// Continue completes a PUBLISH that Publish or Continue left incomplete: with PUBREL where
// PUBREC was seen, otherwise with the PUBLISH, DUP set. It returns as Publish does.
func (c *Client) Continue(ctx context.Context, e *IncompleteError) error {
	if err := c.publishing.take(ctx, c.done); err != nil {
		return err
	}
	defer c.publishing.put()
	p := e.publish
	if !e.released {
		p.DUP = true
		return c.exchangePublish(ctx, e.topic, p)
	}
	ex, err := newExchange(key{opPublish, p.MsgID}, sn12.PubRel{MsgID: p.MsgID})
	if err != nil {
		return err
	}
	ex.step = 1
	_, err = c.runPublish(ctx, ex, e.topic, p)
	return err
}

// exchangePublish runs the QoS 1 or 2 exchange for p, whose TopicID it fills in. A
// name whose id the gateway does not know is registered again, once: the message was
// refused, so sending it again is not a repetition.
func (c *Client) exchangePublish(ctx context.Context, t Topic, p sn12.Publish) error {
	for again := false; ; again = true {
		id, err := c.idOf(ctx, t)
		if err != nil {
			if p.DUP { // resumed: still as much in doubt as before
				return &IncompleteError{Err: err, topic: t, publish: p}
			}
			return err
		}
		p.TopicID = id
		ex, err := newExchange(key{opPublish, p.MsgID}, p)
		if err != nil {
			return err
		}
		code, err := c.runPublish(ctx, ex, t, p)
		if err != nil {
			return err
		}
		if code == sn12.RejectedInvalidTopicID && t.Type == sn12.TopicIDNormal && !again {
			c.mu.Lock()
			c.topics.forget(id)
			c.mu.Unlock()
			p.DUP, p.MsgID = false, c.newMsgID()
			continue
		}
		return refusal(sn12.TypePublish, code)
	}
}

// runPublish runs one exchange to its end and returns the code of the PUBACK, or
// Accepted for a PUBCOMP.
func (c *Client) runPublish(ctx context.Context, ex *exchange, t Topic, p sn12.Publish) (sn12.ReturnCode, error) {
	if err := c.begin(ex, isActive, nil); err != nil {
		if p.DUP || ex.step > 0 { // a resumed exchange stays resumable
			return 0, &IncompleteError{Err: err, topic: t, publish: p, released: ex.step > 0}
		}
		return 0, err
	}
	reply, err := c.run(ctx, ex)
	if err != nil {
		p.Data = append([]byte(nil), p.Data...)
		return 0, &IncompleteError{Err: err, topic: t, publish: p, released: ex.step > 0}
	}
	if ack, ok := reply.(sn12.PubAck); ok {
		return ack.ReturnCode, nil
	}
	return sn12.Accepted, nil
}

// Subscribe subscribes to a topic filter, pre-defined id or short name with at most
// the given QoS, 0..2, and returns the QoS the gateway grants (MQTT-SN 1.2 section
// 6.9). A refusal is a *ReturnCodeError.
func (c *Client) Subscribe(ctx context.Context, t Topic, qos uint8) (granted uint8, err error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	if qos > 2 {
		return 0, fmt.Errorf("subscribe with QoS %d: want 0 to 2", qos)
	}
	if err := c.subscribing.take(ctx, c.done); err != nil {
		return 0, err
	}
	defer c.subscribing.put()
	id := c.newMsgID()
	name, topicID := t.fields()
	ex, err := newExchange(key{opSubscribe, id}, sn12.Subscribe{
		QoS: qos, TopicIDType: t.Type, MsgID: id, TopicName: name, TopicID: topicID,
	})
	if err != nil {
		return 0, err
	}
	ex.topic = t
	if err := c.begin(ex, isActive, nil); err != nil {
		return 0, err
	}
	reply, err := c.run(ctx, ex)
	if err != nil {
		return 0, err
	}
	ack := reply.(sn12.SubAck)
	return ack.QoS, refusal(sn12.TypeSubscribe, ack.ReturnCode)
}

// Unsubscribe takes a subscription back (MQTT-SN 1.2 section 6.9). There is no
// refusal.
func (c *Client) Unsubscribe(ctx context.Context, t Topic) error {
	if err := t.check(); err != nil {
		return err
	}
	if err := c.subscribing.take(ctx, c.done); err != nil {
		return err
	}
	defer c.subscribing.put()
	id := c.newMsgID()
	name, topicID := t.fields()
	_, err := c.request(ctx, key{opUnsubscribe, id}, sn12.Unsubscribe{
		TopicIDType: t.Type, MsgID: id, TopicName: name, TopicID: topicID,
	}, isActive)
	return err
}

// fields returns what SUBSCRIBE and UNSUBSCRIBE carry for the topic: a name or an id.
func (t Topic) fields() (name []byte, id uint16) {
	switch t.Type {
	case sn12.TopicIDPredefined:
		return nil, t.ID
	case sn12.TopicIDShort:
		return nil, sn12.ShortID(t.Name)
	}
	return []byte(t.Name), 0
}
