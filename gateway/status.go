package gateway

import (
	"github.com/rs/zerolog"

	"sngate/upstream"
)

// The gateway's status is a retained message on a topic of the operator's choice: it
// tells whether the gateway is there. The gateway's own connection carries it, and its
// own will is what the broker publishes when the gateway does not end in good order.

// The payloads, as MQTT clients commonly have them.
const (
	statusOnline  = "online"
	statusOffline = "offline"
)

// statusToken is the only one in use on the gateway's own connection.
const statusToken upstream.Token = 1

const statusQoS = 1

// statusWill is the will of the gateway's own connection; nil without a status topic.
func (g *Gateway) statusWill() *upstream.Will {
	if g.opts.StatusTopic == "" {
		return nil
	}
	return &upstream.Will{Topic: g.opts.StatusTopic, Message: []byte(statusOffline), QoS: statusQoS, Retain: true}
}

// sayOnline is called when the gateway's own connection is up, for the first time or
// again: the broker may have published the will, or have forgotten its retained messages.
func (s *shard) sayOnline() {
	own := &s.gw.own
	if s.gw.opts.StatusTopic == "" || own.announcing || s.gw.stopping.Load() {
		return // the link sends again what the broker has not acknowledged
	}
	own.announcing = true
	s.publishStatus(statusToken, statusOnline)
}

func (s *shard) publishStatus(t upstream.Token, status string) {
	s.own.link.Publish(s.now, upstream.Publish{
		Token: t, Topic: s.gw.opts.StatusTopic, Payload: []byte(status), QoS: statusQoS, Retain: true,
	})
}

// announced takes the link's last word on a status.
func (s *shard) announced(ev *upstream.Event) {
	if ev.Token != statusToken {
		return
	}
	s.gw.own.announcing = false
	if ev.Err != nil {
		s.gw.brokerLine(zerolog.WarnLevel, s.gw.opts.StatusTopic+ev.Err.Error()).Err(ev.Err).Str("topic", s.gw.opts.StatusTopic).Msg("the status of the gateway was not published")
	}
}

// stopOwn ends the gateway's own connection, with a last word if it is up. Should the
// broker not acknowledge that, the connection is cut off at the end of the stop, and the
// broker has the will.
func (s *shard) stopOwn() {
	s.gw.own.retryAt = never
	mode := upstream.CloseGraceful
	if s.gw.opts.StatusTopic != "" && s.gw.brokerReady.Load() {
		// Without a token there is always room for it.
		s.publishStatus(0, statusOffline)
		mode = upstream.CloseDrain
	}
	s.close(s.own, mode)
	s.settle(s.own)
}
