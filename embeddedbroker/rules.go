package embeddedbroker

import (
	"log/slog"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// rules lets everyone in, and keeps the bounds that the broker itself has no
// setting for: sessions of absent clients, subscriptions of a session, and
// retained messages.
type rules struct {
	mqtt.HookBase
	server      *mqtt.Server
	maxSessions int
	log         *slog.Logger

	mu            sync.Mutex     // the hook is called by every connection's goroutine
	retained      map[string]int // topic name -> retainedCost of its message
	retainedBytes int            // sum of retained
}

func newRules(server *mqtt.Server, maxSessions int, log *slog.Logger) *rules {
	return &rules{server: server, maxSessions: maxSessions, log: log, retained: make(map[string]int)}
}

func (r *rules) ID() string { return "rules" }

func (r *rules) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSubscribe,
		mqtt.OnPublish, mqtt.OnWill, mqtt.OnRetainedExpired, mqtt.OnClientExpired, mqtt.OnPacketEncode:
		return true
	}
	return false
}

func (r *rules) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (r *rules) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// OnConnect refuses a client that would need one session more than allowed.
func (r *rules) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	if _, known := r.server.Clients.Get(cl.ID); known || r.server.Clients.Len() < r.maxSessions {
		return nil
	}
	r.log.Warn("client refused: too many sessions", "limit", r.maxSessions, "client", cl.ID)
	code := packets.ErrServerUnavailable
	if cl.Properties.ProtocolVersion == 5 {
		code = packets.ErrServerBusy
	}
	_ = r.server.SendConnack(cl, code, false, nil)
	return code
}

// OnSubscribe makes filters beyond the bound invalid, so that they are answered
// with a failure, each in its place.
func (r *rules) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	have := cl.State.Subscriptions.Len()
	for i, sub := range pk.Filters {
		if _, replaced := cl.State.Subscriptions.Get(sub.Filter); replaced {
			continue
		}
		if have++; have > maxSubscriptions {
			r.log.Warn("subscription refused: too many in one session", "limit", maxSubscriptions, "client", cl.ID)
			pk.Filters[i].Filter = ""
		}
	}
	return pk
}

// OnPublish delivers a message that finds no room among the retained ones as
// an ordinary message.
func (r *rules) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Retain && !r.retain(pk.TopicName, len(pk.Payload)) {
		pk.FixedHeader.Retain = false
	}
	return pk, nil
}

// OnWill is OnPublish for wills, which do not pass it.
func (r *rules) OnWill(_ *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	if will.Retain && !r.retain(will.TopicName, len(will.Payload)) {
		will.Retain = false
	}
	return will, nil
}

// OnRetainedExpired gives back the room of a message with an expiry of its own (MQTT 5).
func (r *rules) OnRetainedExpired(topic string) { r.retain(topic, 0) }

// retain accounts for a retained message about to replace what topic has, and
// reports whether it has room. An empty payload removes the topic's message.
func (r *rules) retain(topic string, payload int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.retained[topic]
	if payload == 0 {
		r.retainedBytes -= before
		delete(r.retained, topic)
		return true
	}
	cost := retainedCost(len(topic), payload)
	if r.retainedBytes-before+cost > maxRetainedBytes {
		r.log.Warn("message not retained: too many bytes", "limit", maxRetainedBytes, "topic", topic)
		return false
	}
	r.retainedBytes += cost - before
	r.retained[topic] = cost
	return true
}

// retainedCost is about what the broker needs for one retained message, in bytes.
func retainedCost(topic, payload int) int {
	const overhead = 1024 // the broker's packet, tree nodes and map entries
	return overhead + 2*topic + payload
}

// OnClientExpired removes the subscriptions of a session that has expired; the
// broker removes only the session and would keep matching its filters for ever.
func (r *rules) OnClientExpired(cl *mqtt.Client) { r.server.UnsubscribeClient(cl) }

// OnPacketEncode suppresses DISCONNECT towards clients older than MQTT 5, where
// only a client may send it (MQTT 3.1.1 section 3.14); the broker would send
// one on a takeover. Packet type 0 is not encodable, so nothing is written,
// and the connection is closed as it should be.
func (r *rules) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Disconnect && cl.Properties.ProtocolVersion < 5 {
		pk.FixedHeader.Type = packets.Reserved
	}
	return pk
}
