package snclient

import (
	"hash/crc32"
	"slices"

	"sngate/snpacket/sn12"
)

// Message is a PUBLISH received from the gateway. It belongs to the receiver.
type Message struct {
	Topic   Topic
	Payload []byte
	QoS     uint8 // 0..2
	Retain  bool
	DUP     bool
	MsgID   uint16 // 0 at QoS 0
}

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

// inboundIDs remembers the MsgIds of QoS 2 messages that were delivered, so that a
// repetition is not delivered again: those between PUBREC and PUBREL, and the latest
// few after that. The latter because networks duplicate and reorder too: a copy of a
// PUBLISH may arrive after its exchange is over. As the MsgId is free again by then,
// only a message that is the same in all else is taken for a copy.
type inboundIDs struct {
	open   map[uint16]uint32 // MsgId -> checksum
	recent [recentIDs]finished
	next   int // in recent, which is a ring
}

// finished is an exchange that is over. MsgId 0x0000 is reserved: it marks a free entry.
type finished struct {
	id  uint16
	sum uint32
}

const (
	maxOpenIDs = 1024 // a gateway has one exchange open towards a client; more is its fault
	recentIDs  = 16
)

func (s *inboundIDs) knows(p sn12.Publish) bool {
	if _, ok := s.open[p.MsgID]; ok {
		return true
	}
	return p.MsgID != 0 && slices.Contains(s.recent[:], finished{p.MsgID, checksum(p)})
}

func (s *inboundIDs) full() bool { return len(s.open) >= maxOpenIDs }

func (s *inboundIDs) add(p sn12.Publish) {
	if s.open == nil {
		s.open = make(map[uint16]uint32)
	}
	s.open[p.MsgID] = checksum(p)
}

func (s *inboundIDs) release(id uint16) {
	sum, ok := s.open[id]
	if !ok {
		return
	}
	delete(s.open, id)
	s.recent[s.next] = finished{id, sum}
	s.next = (s.next + 1) % recentIDs
}

// forgetRecent is for a new connection: its gateway may count MsgIds from the start,
// and what it sends first must not be taken for a copy.
func (s *inboundIDs) forgetRecent() { s.recent = [recentIDs]finished{} }

func checksum(p sn12.Publish) uint32 {
	topic := [3]byte{byte(p.TopicIDType), byte(p.TopicID >> 8), byte(p.TopicID)}
	return crc32.Update(crc32.ChecksumIEEE(topic[:]), crc32.IEEETable, p.Data)
}
