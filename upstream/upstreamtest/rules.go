package upstreamtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Rules are what a hub allows of its clients. A connection that breaks one is closed, and what it
// did is noted: see Broker.Broken. The zero value allows everything.
type Rules struct {
	// KeepAliveMin and KeepAliveMax bound the keep-alive in CONNECT. KeepAliveMax 0: any.
	KeepAliveMin, KeepAliveMax uint16
	// ConnectInterval is the least time between two CONNECTs of a client id.
	ConnectInterval time.Duration
	// PublishRate is how many PUBLISH a connection may bring within a second. 0: any number.
	PublishRate int
	// Prefix is what all topics of a client begin with, and Filters what its filters begin with.
	// nil: with anything.
	Prefix, Filters func(clientID string) string
}

// Broken returns the rules that clients have broken, in words.
func (b *Broker) Broken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.broken...)
}

// broke notes that a rule is broken, and reports false to end the connection.
func (b *Broker) broke(clientID, format string, args ...any) bool {
	b.broken = append(b.broken, clientID+": "+fmt.Sprintf(format, args...))
	return false
}

// keepsTo reports whether the client may send p.
func (c *client) keepsTo(p packets.ControlPacket) bool {
	r := &c.b.habits.Rules
	switch p := p.(type) {
	case *packets.ConnectPacket:
		return c.mayConnect(r, p)
	case *packets.PublishPacket:
		if r.PublishRate > 0 && c.publishes(r.PublishRate) {
			return c.b.broke(c.s.id, "more than %d PUBLISH in a second", r.PublishRate)
		}
		return c.within("topic", p.TopicName, c.s.id, r.Prefix)
	case *packets.SubscribePacket:
		for _, filter := range p.Topics {
			if !c.within("filter", filter, c.s.id, r.Filters) {
				return false
			}
		}
	case *packets.UnsubscribePacket:
		for _, filter := range p.Topics {
			if !c.within("filter", filter, c.s.id, r.Filters) {
				return false
			}
		}
	}
	return true
}

func (c *client) mayConnect(r *Rules, p *packets.ConnectPacket) bool {
	id, now := p.ClientIdentifier, time.Now()
	last, again := c.b.lastConnect[id]
	c.b.lastConnect[id] = now
	switch {
	case again && now.Sub(last) < r.ConnectInterval:
		return c.b.broke(id, "CONNECT %v after another", now.Sub(last))
	case r.KeepAliveMax > 0 && (p.Keepalive < r.KeepAliveMin || p.Keepalive > r.KeepAliveMax):
		return c.b.broke(id, "keep-alive %d", p.Keepalive)
	}
	return !p.WillFlag || c.within("will topic", p.WillTopic, id, r.Prefix)
}

func (c *client) within(what, topic, clientID string, prefix func(clientID string) string) bool {
	if prefix != nil && !strings.HasPrefix(topic, prefix(clientID)) {
		return c.b.broke(clientID, "%s %q", what, topic)
	}
	return true
}

// publishes counts a PUBLISH, and reports whether there are more than n within a second.
func (c *client) publishes(n int) bool {
	now := time.Now()
	for len(c.recent) > 0 && now.Sub(c.recent[0]) >= time.Second {
		c.recent = c.recent[1:]
	}
	c.recent = append(c.recent, now)
	return len(c.recent) > n
}
