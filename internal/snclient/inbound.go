package snclient

import (
	"sngate/snpacket/sn12"
)

// serve handles the messages by which the gateway asks something of the client.
func (c *Client) serve(m sn12.Message) {
	switch m := m.(type) {
	case sn12.Register:
		c.reply(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: c.register(m)})
	case sn12.Publish:
		c.publication(m)
	case sn12.PubRel:
		c.mu.Lock()
		c.inbound.release(m.MsgID)
		c.mu.Unlock()
		// An unknown MsgId is one whose PUBCOMP was lost: it gets its PUBCOMP again.
		c.reply(sn12.PubComp{MsgID: m.MsgID})
	case sn12.PingReq:
		c.reply(sn12.PingResp{})
	default:
		c.count(&c.stats.Malformed) // a message only clients send
	}
}

// reply answers the gateway. A failure to send is a lost datagram: the gateway
// repeats its request.
func (c *Client) reply(m sn12.Message) { _ = c.send(m) }

func (c *Client) register(m sn12.Register) sn12.ReturnCode {
	if !usableID(m.TopicID) {
		return sn12.RejectedInvalidTopicID
	}
	if len(m.TopicName) == 0 {
		return sn12.RejectedNotSupported
	}
	c.mu.Lock()
	c.topics.learn(m.TopicID, string(m.TopicName))
	c.mu.Unlock()
	return sn12.Accepted
}

// publication takes a PUBLISH and acknowledges it if it was taken.
func (c *Client) publication(p sn12.Publish) {
	if p.QoS > 2 {
		c.count(&c.stats.Malformed) // QoS -1 is for clients only
		return
	}
	topic, ok := c.topicOf(p)
	if !ok {
		// The way to say so at any QoS (MQTT-SN 1.2 section 6.6).
		c.reply(sn12.PubAck{TopicID: p.TopicID, MsgID: p.MsgID, ReturnCode: sn12.RejectedInvalidTopicID})
		return
	}
	switch p.QoS {
	case 0:
		if !c.deliver(topic, p) {
			c.count(&c.stats.Dropped)
		}
	case 1:
		if !c.deliver(topic, p) {
			c.count(&c.stats.NotTaken)
			return
		}
		c.reply(sn12.PubAck{TopicID: p.TopicID, MsgID: p.MsgID, ReturnCode: sn12.Accepted})
	case 2:
		c.publication2(topic, p)
	}
}

// publication2 delivers a QoS 2 message at its PUBLISH and remembers the MsgId until
// PUBREL. Only the reading goroutine changes the set, so mu need not be held across
// the delivery.
func (c *Client) publication2(topic Topic, p sn12.Publish) {
	c.mu.Lock()
	known, full := c.inbound.knows(p), c.inbound.full()
	c.mu.Unlock()
	switch {
	case known:
		c.count(&c.stats.Duplicates)
	case full || !c.deliver(topic, p):
		c.count(&c.stats.NotTaken)
		return
	default:
		c.mu.Lock()
		c.inbound.add(p)
		c.mu.Unlock()
	}
	c.reply(sn12.PubRec{MsgID: p.MsgID})
}

func (c *Client) deliver(topic Topic, p sn12.Publish) bool {
	taken := c.o.Handler(Message{
		Topic:   topic,
		Payload: append([]byte(nil), p.Data...),
		QoS:     p.QoS,
		Retain:  p.Retain,
		DUP:     p.DUP,
		MsgID:   p.MsgID,
	})
	if taken {
		c.count(&c.stats.Messages)
	}
	return taken
}

// topicOf finds what the topic id of a PUBLISH stands for. A pre-defined id is taken
// as it is, with or without a name known for it.
func (c *Client) topicOf(p sn12.Publish) (Topic, bool) {
	t := Topic{Type: p.TopicIDType, ID: p.TopicID}
	switch p.TopicIDType {
	case sn12.TopicIDNormal:
		c.mu.Lock()
		t.Name = c.topics.names[p.TopicID]
		c.mu.Unlock()
		return t, t.Name != ""
	case sn12.TopicIDPredefined:
		t.Name = c.o.Predefined[p.TopicID]
		return t, usableID(p.TopicID)
	case sn12.TopicIDShort:
		name := sn12.ShortName(p.TopicID)
		t.Name = string(name[:])
		return t, true
	}
	return t, false
}
