package oplog

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rs/zerolog"

	"sngate/gateway/session"
	"sngate/internal/explain"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// Explanation says what was dropped or refused, and what would be right. It is made once
// per device, reason and minute, not on the way of every datagram.
type Explanation struct {
	packet      string // "PUBLISH"; "": none
	hasTopicID  bool
	topicID     uint16
	topicIDType string // "normal", "pre-defined"
	topic       string // shortened
	octets      int    // of the payload; 0: not told
	Advice      string
}

const (
	loggedTopicLimit = 128 // octets of a topic name in a line
	adviceIDs        = 5   // topic ids that an advice lists
)

// connectPacket is the packet of an explanation of a CONNECT.
const connectPacket = "CONNECT"

func (x *Explanation) addTo(ev *zerolog.Event) {
	if x.packet != "" {
		ev.Str("packet", x.packet)
	}
	if x.hasTopicID {
		ev.Uint16("topic_id", x.topicID).Str("topic_id_type", x.topicIDType)
	}
	if x.topic != "" {
		ev.Str("topic", x.topic)
	}
	if x.octets > 0 {
		ev.Int("payload_octets", x.octets)
	}
	if x.Advice != "" {
		ev.Str("advice", x.Advice)
	}
}

// Explain says what is known of a drop: s is the device's session, nil for a stranger;
// datagram is what it came of, nil for something else.
func (l *Log) Explain(s *session.Session, why session.Reason, datagram []byte, about session.About) Explanation {
	x := Explanation{Advice: adviceFor[why], topic: printable(about.Topic, loggedTopicLimit), octets: about.Octets}
	if datagram != nil {
		l.explainDatagram(s, why, datagram, &x)
	}
	return x
}

// explainDatagram adds what a datagram of the device tells.
func (l *Log) explainDatagram(s *session.Session, why session.Reason, datagram []byte, x *Explanation) {
	t, _, err := snpacket.Split(datagram)
	if err == nil && sn12.Type(t).Known() {
		x.packet = sn12.Type(t).String()
	}
	if why == session.ReasonMalformed {
		var fault *explain.Error
		if errors.As(explain.Datagram(io.Discard, datagram), &fault) {
			x.Advice = fault.Error()
		}
		return
	}
	m, err := sn12.Parse(datagram)
	if err != nil {
		return
	}
	switch m := m.(type) {
	case sn12.Publish:
		x.setTopicID(m.TopicIDType, m.TopicID)
	case sn12.Subscribe:
		x.setTopic(m.TopicIDType, m.TopicID, m.TopicName)
	case sn12.Unsubscribe:
		x.setTopic(m.TopicIDType, m.TopicID, m.TopicName)
	case sn12.Register:
		x.topic = printable(string(m.TopicName), loggedTopicLimit)
	case sn12.PubAck:
		x.setTopicID(sn12.TopicIDNormal, m.TopicID)
		if why == session.ReasonClientRejected {
			x.Advice = fmt.Sprintf("the device answered with return code %d (%s)", m.ReturnCode, m.ReturnCode)
		}
	}
	if why == session.ReasonUnknownTopicID {
		x.Advice = l.topicAdvice(s, x)
	}
}

func (x *Explanation) setTopic(t sn12.TopicIDType, id uint16, name []byte) {
	if t == sn12.TopicIDNormal {
		x.topic = printable(string(name), loggedTopicLimit)
		return
	}
	x.setTopicID(t, id)
}

func (x *Explanation) setTopicID(t sn12.TopicIDType, id uint16) {
	if t == sn12.TopicIDShort {
		name := sn12.ShortName(id)
		x.topic = printable(string(name[:]), loggedTopicLimit)
		return
	}
	x.hasTopicID, x.topicID, x.topicIDType = true, id, t.String()
}

// topicAdvice says which ids would have been right.
func (l *Log) topicAdvice(s *session.Session, x *Explanation) string {
	clientID := ""
	if s != nil {
		clientID = s.ClientID()
	}
	predefined, isPredefined := l.predefined.Name(clientID, x.topicID)
	if x.topicIDType == sn12.TopicIDPredefined.String() {
		if s != nil {
			if name, ok := s.TopicName(x.topicID); ok {
				return fmt.Sprintf("%d is an id the device has registered (%s): use topic id type 0b00 (normal) for it", x.topicID, printable(name, loggedTopicLimit))
			}
		}
		return fmt.Sprintf("topics.predefined has no id %d for this client id; it has %s", x.topicID,
			listIDs(func(yield func(uint16, string) bool) { l.predefined.All(clientID, yield) }))
	}
	switch {
	case isPredefined:
		return fmt.Sprintf("%d is a predefined id (%s): use topic id type 0b01 (pre-defined) for it", x.topicID, printable(predefined, loggedTopicLimit))
	case s == nil:
		return "a device without a session has predefined ids and short topic names only: CONNECT and REGISTER, or use one of those"
	}
	return fmt.Sprintf("REGISTER the topic name and use the id of the REGACK; a CONNECT with CleanSession=1 ends earlier ids; the device has %s",
		listIDs(s.Topics))
}

// listIDs names the first few topic ids.
func listIDs(all func(yield func(id uint16, name string) bool)) string {
	var b strings.Builder
	n := 0
	all(func(id uint16, name string) bool {
		if n++; n > adviceIDs {
			b.WriteString(", ...")
			return false
		}
		if n > 1 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d (%s)", id, printable(name, loggedTopicLimit/2))
		return true
	})
	if n == 0 {
		return "none"
	}
	return b.String()
}

// claimedID is the client id in a CONNECT or PINGREQ, "" in anything else.
func claimedID(datagram []byte) string {
	t, body, err := snpacket.Split(datagram)
	switch {
	case err != nil:
		return ""
	case sn12.Type(t) == sn12.TypeConnect:
		return string(sn12.ConnectClientID(body))
	case sn12.Type(t) == sn12.TypePingReq:
		return string(body)
	}
	return ""
}
