package session

import "strings"

// Limits is what the broker takes of a client. It would end the connection of one that asks for
// more, so more is kept from it. A nil *Limits is a broker that takes everything.
type Limits struct {
	MaxQoS    uint8 // 0..2, of messages, subscriptions and wills
	RefuseQoS bool  // a message above it is refused; otherwise it goes at MaxQoS

	NoRetain     bool // no RETAIN is passed on
	RefuseRetain bool // and what has it is refused

	NoWills     bool // the gateway publishes those there are: Config.PublishesWills
	RefuseWills bool // and a CONNECT with a will is refused

	NoWildcards bool // in filters

	// 0: no limit.
	MaxTopicBytes  int // octets of a name or filter as the broker has it
	MaxTopicLevels int // levels of it: one more than it has slashes
	MaxPayload     int // octets

	// PrefixSize says how many octets, and slashes among them, the broker has before a topic
	// name of the device with a client id, or before its filters. It is asked for each message,
	// by all goroutines that own sessions. nil: none.
	PrefixSize func(clientID string, filters bool) (octets, slashes int)
}

// QoS is at which QoS the broker is sent, or asked for, what a device wants at qos.
func (l *Limits) QoS(qos uint8) uint8 {
	if l == nil {
		return qos
	}
	return min(qos, l.MaxQoS)
}

// Wills reports whether the broker takes wills.
func (l *Limits) Wills() bool { return l == nil || !l.NoWills }

// Retain is with which RETAIN the broker is sent what a device wants with retain.
func (l *Limits) Retain(retain bool) bool { return retain && (l == nil || !l.NoRetain) }

// Refuses tells why a message of a client is not for the broker, of so many octets and with qos,
// 0..2, and retain as the device wants it. ReasonNone: it is, with QoS and Retain.
func (l *Limits) Refuses(clientID, topic string, octets int, qos uint8, retain bool) Reason {
	switch {
	case l == nil:
		return ReasonNone
	case qos > l.MaxQoS && l.RefuseQoS:
		return ReasonLimitsMaxQoS
	case retain && l.RefuseRetain:
		return ReasonLimitsRetain
	}
	return l.refusesContent(clientID, topic, octets)
}

// refusesContent is Refuses for what no other QoS or RETAIN makes right.
func (l *Limits) refusesContent(clientID, topic string, octets int) Reason {
	if l != nil && l.MaxPayload > 0 && octets > l.MaxPayload {
		return ReasonLimitsPayloadMax
	}
	return l.refusesName(clientID, topic, false)
}

// refusesFilter tells why the broker is not asked for a filter.
func (l *Limits) refusesFilter(clientID, filter string) Reason {
	if l != nil && l.NoWildcards && strings.ContainsAny(filter, "#+") {
		return ReasonLimitsWildcards
	}
	return l.refusesName(clientID, filter, true)
}

// refusesWill tells why a will is not taken. Its QoS is always lowered.
func (l *Limits) refusesWill(clientID, topic string, octets int, retain bool) Reason {
	if l != nil && l.RefuseWills {
		return ReasonLimitsWill
	}
	return l.Refuses(clientID, topic, octets, 0, retain)
}

func (l *Limits) refusesName(clientID, name string, filter bool) Reason {
	if l == nil || l.MaxTopicBytes == 0 && l.MaxTopicLevels == 0 {
		return ReasonNone
	}
	octets, slashes := 0, 0
	if l.PrefixSize != nil {
		octets, slashes = l.PrefixSize(clientID, filter)
	}
	switch {
	case l.MaxTopicBytes > 0 && octets+len(name) > l.MaxTopicBytes:
		return ReasonLimitsMaxTopicBytes
	case l.MaxTopicLevels > 0 && slashes+strings.Count(name, "/")+1 > l.MaxTopicLevels:
		return ReasonLimitsMaxTopicLevels
	}
	return ReasonNone
}
