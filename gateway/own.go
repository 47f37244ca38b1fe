package gateway

import (
	"time"

	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
	"sngate/internal/deadline"
	"sngate/internal/rate"
	"sngate/topicreg"
	"sngate/upstream"
)

// Pauses of the gateway's own connection before it is tried again.
const (
	ownRetryMin  = time.Second
	ownRetryMax  = time.Minute
	ownKeepAlive = 60 // seconds
)

// startOwn opens the gateway's own connection in s, which does not run yet.
func startOwn(s *shard) {
	s.now = s.gw.now()
	o := &ownConnection{
		shard: s, entry: &entry{shard: s}, wait: ownRetryMin,
		strays: rate.NewLimiter(rate.PerSecond(s.gw.opts.StrayRate, 2*s.gw.opts.StrayRate)),
	}
	s.own = o
	o.entry.link = s.gw.dialer.NewLink(&s.queues, o.entry)
	o.connect()
	s.endStep(o.entry)
}

func (o *ownConnection) connect() {
	o.retryAt = deadline.Never
	o.entry.link.Connect(o.shard.now, &upstream.Connect{
		ClientID: o.shard.gw.opts.ClientID, CleanSession: true, KeepAlive: ownKeepAlive, Will: o.statusWill(),
	})
}

func (o *ownConnection) advance() {
	switch {
	case o.shard.now < o.retryAt:
	case o.parked:
		o.parked, o.retryAt = false, deadline.Never
		o.entry.link.Nudge(o.shard.now)
	default:
		o.connect()
	}
}

// event takes what the link reports.
func (o *ownConnection) event(ev *upstream.Event) {
	s := o.shard
	switch ev.Kind {
	case upstream.EventConnected, upstream.EventUp:
		o.parked, o.wait, o.retryAt = false, ownRetryMin, deadline.Never
		s.gw.broker.up()
		o.sayOnline()
	case upstream.EventPublished, upstream.EventPublishFailed:
		o.announced(ev)
	case upstream.EventParked:
		// It was lost alone, and no device will speak for it. It does not come back at once:
		// another gateway with the same client id may have it.
		o.parked, o.retryAt = true, s.now+ownRetryMax
	case upstream.EventReleased:
		o.entry.link.Complete(ev.Identity)
	case upstream.EventDoubted:
		o.entry.link.Await(ev.Token, false) // the connection is worth more than the status
	case upstream.EventDown:
		s.gw.broker.down(ev)
	case upstream.EventRefused:
		if s.gw.stopping.Load() {
			return
		}
		if i, _ := s.gw.dialer.InUse(); i != o.broker {
			o.broker, o.wait = i, ownRetryMin
		}
		s.gw.broker.refused(ev, o.wait)
		o.retryAt = s.now + o.wait
		o.wait = min(2*o.wait, ownRetryMax)
	}
}

// publish relays a QoS -1 PUBLISH of a device that is not connected: as QoS 0, with
// no answer whatever happens (MQTT-SN 1.2 section 6.8).
func (o *ownConnection) publish(a *arrival) {
	if why := o.relay(a); why != session.ReasonNone {
		s := o.shard
		s.report.refusedWithout(s.now, a, why)
	}
}

func (o *ownConnection) relay(a *arrival) session.Reason {
	s := o.shard
	m := a.message()
	switch {
	case !s.gw.opts.Session.QoSMinusOne:
		return session.ReasonQoSMinusOneDisabled
	case m.Fault != dialogue.NoFault:
		return session.ReasonMalformed
	}
	topic, data := "", m.Data
	switch m.TopicType {
	case dialogue.NormalTopic: // ids are given to sessions only
		if !s.gw.opts.Session.LongNames {
			return session.ReasonQoSMinusOneLongName
		}
		name, rest, ok := spoken().LongName(m)
		if !ok {
			return session.ReasonInvalidTopic
		}
		topic, data = string(name), rest
	case dialogue.PredefinedTopic:
		name, ok := s.gw.opts.Session.Predefined.Name("", m.TopicID)
		if !ok {
			return session.ReasonUnknownTopicID
		}
		topic = name
	case dialogue.ShortTopic:
		short := dialogue.ShortName(m.TopicID)
		if topicreg.ValidShort(short) != nil {
			return session.ReasonInvalidTopic
		}
		topic = string(short[:])
	default:
		return session.ReasonUnknownTopicID
	}
	limits := s.gw.opts.Session.Limits
	if why := limits.Refuses(s.gw.opts.ClientID, topic, len(data), 0, m.Retain); why != session.ReasonNone {
		return why
	}
	if !o.strays.Allow(s.now) {
		return session.ReasonMessageRate
	}
	o.entry.link.Publish(s.now, upstream.Publish{Topic: topic, Payload: data, Retain: limits.Retain(m.Retain)})
	s.endStep(o.entry)
	return session.ReasonNone
}
