package upstreamtest

import (
	"strings"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Strict is what a broker such as those in the cloud takes of its clients. It closes the
// connection of one that asks for more, and notes the rule: see Broker.Broken.
type Strict struct {
	MaxQoS      byte // of PUBLISH, SUBSCRIBE and wills
	NoRetain    bool // of wills too
	NoWills     bool
	NoWildcards bool

	// 0: no limit.
	MaxTopicBytes  int
	MaxTopicLevels int
	MaxPayload     int
}

// breaks reports whether a packet breaks a rule, and notes it.
func (c *client) breaks(p packets.ControlPacket) bool {
	strict := c.b.habits.Strict
	if strict == nil {
		return false
	}
	id := ""
	if c.s != nil {
		id = c.s.id
	}
	rule := ""
	switch p := p.(type) {
	case *packets.ConnectPacket:
		id = p.ClientIdentifier
		switch {
		case !p.WillFlag:
		case strict.NoWills:
			rule = "will"
		default:
			rule = strict.message(p.WillTopic, len(p.WillMessage), p.WillQos, p.WillRetain)
		}
	case *packets.PublishPacket:
		rule = strict.message(p.TopicName, len(p.Payload), p.Qos, p.Retain)
	case *packets.PubrelPacket:
		if strict.MaxQoS < 2 {
			rule = "QoS"
		}
	case *packets.SubscribePacket:
		for i, filter := range p.Topics {
			if rule = strict.filter(filter); rule == "" && p.Qoss[i] > strict.MaxQoS {
				rule = "QoS of a subscription"
			}
			if rule != "" {
				break
			}
		}
	case *packets.UnsubscribePacket:
		for _, filter := range p.Topics {
			if rule = strict.filter(filter); rule != "" {
				break
			}
		}
	}
	return rule != "" && !c.b.broke(id, "%s", rule)
}

func (s *Strict) message(topic string, octets int, qos byte, retain bool) string {
	switch {
	case qos > s.MaxQoS:
		return "QoS"
	case retain && s.NoRetain:
		return "retain"
	case s.MaxPayload > 0 && octets > s.MaxPayload:
		return "payload"
	}
	return s.name(topic)
}

func (s *Strict) filter(filter string) string {
	if s.NoWildcards && strings.ContainsAny(filter, "#+") {
		return "wildcard"
	}
	return s.name(filter)
}

func (s *Strict) name(name string) string {
	switch {
	case s.MaxTopicBytes > 0 && len(name) > s.MaxTopicBytes:
		return "topic length"
	case s.MaxTopicLevels > 0 && strings.Count(name, "/")+1 > s.MaxTopicLevels:
		return "topic levels"
	}
	return ""
}
