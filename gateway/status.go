package gateway

import (
	"errors"

	"github.com/rs/zerolog"

	"sngate/gateway/session"
	"sngate/internal/deadline"
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

// statusWill is the will of the gateway's own connection; nil without a status topic, and where
// the broker takes no wills.
func (o *ownConnection) statusWill() *upstream.Will {
	opts := &o.shard.gw.opts
	if opts.StatusTopic == "" || o.untold() != session.ReasonNone || !opts.Session.Limits.Wills() {
		return nil
	}
	m := o.status(statusOffline)
	return &upstream.Will{Topic: m.Topic, Message: m.Payload, QoS: m.QoS, Retain: m.Retain}
}

// status is the message that tells a status, as the broker takes it.
func (o *ownConnection) status(text string) upstream.Publish {
	opts := &o.shard.gw.opts
	limits := opts.Session.Limits
	return upstream.Publish{Topic: opts.StatusTopic, Payload: []byte(text), QoS: limits.QoS(statusQoS), Retain: limits.Retain(true)}
}

// untold tells why the broker is not told a status. What stands before the topic at the broker
// may come from a file, so it is seen only now.
func (o *ownConnection) untold() session.Reason {
	opts := &o.shard.gw.opts
	return opts.Session.Limits.Refuses(opts.ClientID, opts.StatusTopic, len(statusOffline), 0, false)
}

// sayOnline is called when the gateway's own connection is up, for the first time or
// again: the broker may have published the will, or have forgotten its retained messages.
func (o *ownConnection) sayOnline() {
	if gw := o.shard.gw; gw.opts.StatusTopic == "" || o.announcing || gw.stopping.Load() {
		return // the link sends again what the broker has not acknowledged
	}
	if why := o.untold(); why != session.ReasonNone {
		o.statusFailed(errors.New(why.String()))
		return
	}
	o.announcing = true
	o.publishStatus(statusToken, statusOnline)
}

func (o *ownConnection) publishStatus(t upstream.Token, status string) {
	m := o.status(status)
	m.Token = t
	o.entry.link.Publish(o.shard.now, m)
}

// announced takes the link's last word on a status.
func (o *ownConnection) announced(ev *upstream.Event) {
	if ev.Token != statusToken {
		return
	}
	o.announcing = false
	if ev.Err != nil {
		o.statusFailed(ev.Err)
	}
}

func (o *ownConnection) statusFailed(why error) {
	topic := o.shard.gw.opts.StatusTopic
	o.shard.gw.broker.line(zerolog.WarnLevel, topic+why.Error()).Err(why).Str("topic", topic).Msg("publishing the gateway status failed")
}

// stop ends the gateway's own connection, with a last word if it is up. Should the
// broker not acknowledge that, the connection is cut off at the end of the stop, and the
// broker has the will.
func (o *ownConnection) stop() {
	s := o.shard
	o.retryAt = deadline.Never
	mode := upstream.CloseGraceful
	if s.gw.opts.StatusTopic != "" && o.untold() == session.ReasonNone && s.gw.broker.ready.Load() {
		// Without a token there is always room for it.
		o.publishStatus(0, statusOffline)
		mode = upstream.CloseDrain
	}
	s.close(o.entry, mode)
	s.endStep(o.entry)
}
