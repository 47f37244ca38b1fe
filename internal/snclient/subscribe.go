package snclient

import (
	"context"
	"fmt"

	"sngate/snpacket/sn12"
)

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
	defer c.subscribing.release()
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
	defer c.subscribing.release()
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
