package snclient

import (
	"fmt"

	"sngate/snpacket/sn12"
)

// Topic is a topic, or in a subscription a topic filter, in one of the three forms
// MQTT-SN knows (MQTT-SN 1.2 section 3). Make one with Name, Predefined or Short.
type Topic struct {
	Type sn12.TopicIDType
	// Name is the topic name or filter. Under TopicIDPredefined it is empty unless
	// Options.Predefined says what the id stands for.
	Name string
	// ID is the pre-defined topic id, 0x0001..0xFFFE, under TopicIDPredefined. In a
	// received message it is the topic id of the PUBLISH, whatever its type.
	ID uint16
}

// Name is a topic name of any length or, in a subscription, a filter. The client
// registers the name when it needs a topic id.
func Name(name string) Topic { return Topic{Type: sn12.TopicIDNormal, Name: name} }

// Predefined is a topic id both sides know without registration.
func Predefined(id uint16) Topic { return Topic{Type: sn12.TopicIDPredefined, ID: id} }

// Short is a topic name of exactly two octets that needs no topic id.
func Short(name string) Topic { return Topic{Type: sn12.TopicIDShort, Name: name} }

// String returns the name, or "#ID" for a pre-defined id without a known name.
func (t Topic) String() string {
	if t.Type == sn12.TopicIDPredefined && t.Name == "" {
		return fmt.Sprintf("#%d", t.ID)
	}
	return t.Name
}

// check refuses what cannot be put into a message. Whether a name is a good one is
// for the gateway to say.
func (t Topic) check() error {
	switch t.Type {
	case sn12.TopicIDNormal:
		if t.Name == "" {
			return fmt.Errorf("empty topic name")
		}
	case sn12.TopicIDPredefined:
		if !usableID(t.ID) {
			return fmt.Errorf("pre-defined topic id 0x%04X is reserved, want 0x0001 to 0xFFFE", t.ID)
		}
	case sn12.TopicIDShort:
		if len(t.Name) != 2 {
			return fmt.Errorf("short topic name %q has %d octets, want exactly 2", t.Name, len(t.Name))
		}
	default:
		return fmt.Errorf("topic id type %v", t.Type)
	}
	return nil
}

// usableID reports whether id may stand for a topic: 0x0000 and 0xFFFF are reserved
// (MQTT-SN 1.2 section 5.3.11).
func usableID(id uint16) bool { return id != 0x0000 && id != 0xFFFF }

// topicIDs is the table of normal topic ids. Each id has one name and each name at
// most one id to publish with, so the size of the id space bounds both maps.
type topicIDs struct {
	names map[uint16]string
	ids   map[string]uint16
}

func newTopicIDs() topicIDs {
	return topicIDs{names: make(map[uint16]string), ids: make(map[string]uint16)}
}

func (t *topicIDs) learn(id uint16, name string) {
	if !usableID(id) {
		return
	}
	t.forget(id)
	// An older id of the same name stays in names: messages on their way may still
	// carry it. The way out uses the new one.
	t.names[id] = name
	t.ids[name] = id
}

// forget takes an id out of both directions.
func (t *topicIDs) forget(id uint16) {
	name, ok := t.names[id]
	if !ok {
		return
	}
	delete(t.names, id)
	if t.ids[name] == id {
		delete(t.ids, name)
	}
}

// forgetOut makes every name be registered again before it is published to. What
// the gateway sends is still understood.
func (t *topicIDs) forgetOut() { clear(t.ids) }
