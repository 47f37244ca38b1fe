package gateway

import (
	"time"

	"sngate/gateway/session"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
	"sngate/topicreg"
	"sngate/upstream"
)

// ownConnection is the gateway's own session with the broker, in shard 0. It carries
// the QoS -1 messages of devices that are not connected, and tells whether the broker
// can be reached.
type ownConnection struct {
	clientID string
	retryAt  time.Duration // when it is tried again after it was refused or lost alone
	wait     time.Duration // before that, doubling
	broker   int           // which one was tried; see upstream.Dialer.InUse

	announcing bool // "online" is published and not acknowledged
}

// Pauses of the gateway's own connection before it is tried again.
const (
	ownRetryMin  = time.Second
	ownRetryMax  = time.Minute
	ownKeepAlive = 60 // seconds
)

// startOwn opens the gateway's own connection. The shard does not run yet.
func (s *shard) startOwn() {
	s.now = s.gw.now()
	s.own = &entry{shard: s}
	s.own.link = s.gw.dialer.NewLink(&s.queues, s.own)
	s.gw.own.wait = ownRetryMin
	s.connectOwn()
	s.settle(s.own)
}

func (s *shard) connectOwn() {
	s.gw.own.retryAt = never
	s.own.link.Connect(s.now, &upstream.Connect{
		ClientID: s.gw.own.clientID, CleanSession: true, KeepAlive: ownKeepAlive, Will: s.gw.statusWill(),
	})
}

func (s *shard) advanceOwn() {
	switch {
	case s.now < s.gw.own.retryAt:
	case s.own.link.Parked():
		s.gw.own.retryAt = never
		s.own.link.Nudge(s.now)
	default:
		s.connectOwn()
	}
}

// ownParked lets the gateway's own connection come back when it was lost alone, as no
// device will speak for it. It is not at once: another gateway with the same client id
// may have it.
func (s *shard) ownParked() { s.gw.own.retryAt = s.now + ownRetryMax }

// ownEvent takes what the link of the gateway's own connection reports.
func (s *shard) ownEvent(ev *upstream.Event) {
	own := &s.gw.own
	switch ev.Kind {
	case upstream.EventConnected, upstream.EventUp:
		own.wait, own.retryAt = ownRetryMin, never
		s.gw.brokerUp()
		s.sayOnline()
	case upstream.EventPublished, upstream.EventPublishFailed:
		s.announced(ev)
	case upstream.EventReleased:
		s.own.link.Complete(ev.PacketID)
	case upstream.EventDoubted:
		s.own.link.Cancel(ev.Token) // the connection is worth more than the status
	case upstream.EventDown:
		s.gw.brokerDown(ev)
	case upstream.EventRefused:
		if s.gw.stopping.Load() {
			return
		}
		if i, _ := s.gw.dialer.InUse(); i != own.broker {
			own.broker, own.wait = i, ownRetryMin
		}
		s.gw.brokerRefused(ev)
		own.retryAt = s.now + own.wait
		own.wait = min(2*own.wait, ownRetryMax)
	}
}

// publishOwn relays a QoS -1 PUBLISH of a device that is not connected: as QoS 0, with
// no answer whatever happens (MQTT-SN 1.2 section 6.8).
func (s *shard) publishOwn(a *arrival) {
	if why := s.relayOwn(a); why != session.ReasonNone {
		s.report.refusedWithout(s.now, a, why)
	}
}

func (s *shard) relayOwn(a *arrival) session.Reason {
	var m sn12.Publish
	_, body, err := snpacket.Split(a.body)
	switch {
	case !s.gw.opts.Session.QoSMinusOne:
		return session.ReasonQoSMinusOneDisabled
	case err != nil || m.Parse(body) != nil:
		return session.ReasonMalformed
	}
	topic, data := "", m.Data
	switch m.TopicIDType {
	case sn12.TopicIDNormal: // ids are given to sessions only
		if !s.gw.opts.Session.LongNames {
			return session.ReasonQoSMinusOneLongName
		}
		var ok bool
		if topic, data, ok = session.LongName(&m); !ok {
			return session.ReasonInvalidTopic
		}
	case sn12.TopicIDPredefined:
		name, ok := s.gw.opts.Session.Predefined.Name("", m.TopicID)
		if !ok {
			return session.ReasonUnknownTopicID
		}
		topic = name
	case sn12.TopicIDShort:
		short := sn12.ShortName(m.TopicID)
		if topicreg.ValidShort(short) != nil {
			return session.ReasonInvalidTopic
		}
		topic = string(short[:])
	default:
		return session.ReasonUnknownTopicID
	}
	if !s.strays.Allow(s.now) {
		return session.ReasonMessageRate
	}
	s.own.link.Publish(s.now, upstream.Publish{Topic: topic, Payload: data, Retain: m.Retain})
	s.settle(s.own)
	return session.ReasonNone
}
