package probe

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"sngate/topicreg"
	"sngate/upstream/credential"
)

// Limits is what the broker takes of a client (broker.limits). All but MaxQoS and
// ConnectInterval: 0 is no limit. A probe sends no will, no RETAIN, and no wildcard that
// credential.Topics does not make.
type Limits struct {
	MaxQoS         uint8 // the message has at most 1
	MaxTopicBytes  int   // of a topic or filter, as the broker has it
	MaxTopicLevels int
	MaxPayload     int // octets
	// ConnectInterval is between two connects of one client id.
	ConnectInterval time.Duration
}

// message is the one that is published, with the ways that it and the subscription go.
type message struct {
	name, filter string // as the device has topic and filter
	topic, asked string // as the broker has them
	text         string
	qos          uint8 // of the message and of the subscription, 0 or 1
	oneWay       bool  // nothing is subscribed to
}

// message is that of a client whose topics are at t.
func (a *Aim) message(t credential.Topics, text string) message {
	m := message{name: a.Topic, filter: a.Topic, topic: t.Publish + a.Topic, text: text, qos: min(a.Limits.MaxQoS, 1), oneWay: a.NoReceive}
	if t.DeliverAs != "" {
		m.filter = t.DeliverAs
	}
	m.asked = t.Filter(m.filter)
	return m
}

// newText makes the text of one probe, which no other has, of at most so many octets; 0: any.
func newText(most int) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	text := "sngate probe " + hex.EncodeToString(b[:])
	if most > 0 {
		text = text[max(0, len(text)-most):]
	}
	return text
}

// shownAs is a topic or filter of the device, with that of the broker where it is another.
func shownAs(name, atBroker string) string {
	if name == atBroker {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q, at the broker %q", name, atBroker)
}

// sent says what has become of the message.
func (m *message) sent() outcome {
	as := shownAs(m.name, m.topic)
	if m.qos == 0 {
		return found("to %s, QoS 0", as)
	}
	return found("to %s, QoS 1, acknowledged", as)
}

// noSubscription is why nothing is subscribed to.
const noSubscription = "left out, as --no-receive says"

// noReturn says why the message is not waited for; ok is false if it has to come back.
func (m *message) noReturn() (o outcome, ok bool) {
	done := "published and acknowledged"
	if m.qos == 0 {
		done = "published"
	}
	switch {
	case m.oneWay:
		return skipped(done + "; nothing is to come back, as --no-receive says"), true
	case !topicreg.Matches(m.asked, m.topic):
		return skipped(fmt.Sprintf("%s; this broker sends nothing back: by broker.topic_map the message is at %q, and the client is subscribed to %q", done, m.topic, m.asked)), true
	}
	return outcome{}, false
}

// keeps says which limit keeps a topic or filter from the broker; ok is false if none does. The
// gateway answers a device 0x03 for it.
func (l *Limits) keeps(atBroker string) (o outcome, ok bool) {
	const advice = "the gateway refuses it, too, with return code 0x03: give another by --topic"
	fault := func(limit, unit string, has, most int) (outcome, bool) {
		return failed("limits_"+limit, fmt.Sprintf("%q is not sent: it has %d %s, and broker.limits.%s is %d", atBroker, has, unit, limit, most), advice), true
	}
	levels := strings.Count(atBroker, "/") + 1
	switch {
	case l.MaxTopicBytes > 0 && len(atBroker) > l.MaxTopicBytes:
		return fault("max_topic_bytes", "octets", len(atBroker), l.MaxTopicBytes)
	case l.MaxTopicLevels > 0 && levels > l.MaxTopicLevels:
		return fault("max_topic_levels", "levels", levels, l.MaxTopicLevels)
	}
	return outcome{}, false
}
