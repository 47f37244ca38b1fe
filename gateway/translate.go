package gateway

// What a session asks for in the words of links, and what a link reports in those of sessions.

import (
	"errors"
	"time"

	"sngate/gateway/session"
	"sngate/upstream"
)

// The link has room for every exchange that the session can name.
const _ = uint(upstream.MaxExchanges - session.MaxExchanges)

// toConnect translates what a session asks for into what a link is asked for.
func toConnect(clientID string, a *session.Action) *upstream.Connect {
	c := &upstream.Connect{ClientID: clientID, CleanSession: a.Clean, KeepAlive: a.KeepAlive, Will: toWill(a.Will)}
	for _, message := range a.Unreleased {
		c.Unreleased = append(c.Unreleased, upstream.Identity(message))
	}
	return c
}

func toWill(w *session.Will) *upstream.Will {
	if w == nil {
		return nil
	}
	return &upstream.Will{Topic: w.Topic, Message: w.Message, QoS: w.QoS, Retain: w.Retain}
}

// eventKinds translates what a link reports into what a session is told.
var eventKinds = [...]session.EventKind{
	upstream.EventConnected:     session.EventConnected,
	upstream.EventRefused:       session.EventRefused,
	upstream.EventDown:          session.EventDown,
	upstream.EventUp:            session.EventUp,
	upstream.EventParked:        session.EventParked,
	upstream.EventPublished:     session.EventPublished,
	upstream.EventPublishFailed: session.EventPublishFailed,
	upstream.EventSubscribed:    session.EventSubscribed,
	upstream.EventUnsubscribed:  session.EventUnsubscribed,
	upstream.EventMessage:       session.EventMessage,
	upstream.EventPong:          session.EventPong,
	upstream.EventClosed:        session.EventClosed,
	upstream.EventReceived:      session.EventReceived,
	upstream.EventReleased:      session.EventReleased,
	upstream.EventForgotten:     session.EventForgotten,
	upstream.EventRenewed:       session.EventRenewed,
	upstream.EventRepeated:      session.EventRepeated,
	upstream.EventDoubted:       session.EventDoubted,
}

func toEvent(ev *upstream.Event) session.Event {
	return session.Event{
		Kind:           eventKinds[ev.Kind],
		Granted:        ev.Granted,
		Refused:        toRefusal(ev.Refusal.Kind),
		SessionPresent: ev.SessionPresent,
		Failed:         ev.Err != nil,
		Token:          session.Token(ev.Token),
		Handle:         session.Handle(ev.Handle),
		Identity:       session.Identity(ev.Identity),
		Congested:      errors.Is(ev.Err, upstream.ErrCongested),
		Rejected:       errors.Is(ev.Err, upstream.ErrRejected),
		NoWill:         ev.NoWill,
		OldWill:        ev.OldWill,
		QoS:            ev.QoS,
		Retain:         ev.Retain,
		Dup:            ev.Dup,
		Oversize:       ev.Oversize,
		Topic:          ev.Topic,
		Payload:        ev.Payload,
	}
}

func toRefusal(k upstream.RefusalKind) session.Refusal {
	switch k {
	case upstream.NotRefused:
		return session.NotRefused
	case upstream.RefusedForNow:
		return session.RefusedForNow
	case upstream.RefusedWithoutCredentials:
		return session.RefusedWithoutCredentials
	}
	return session.RefusedForGood
}

// do carries out one action of a session on its link.
func (e *entry) do(s *shard, a *session.Action) {
	if e.claim { // the session that it claims has the link: see grant
		return
	}
	now := s.now
	if a.Kind == session.ActionConnect || a.Kind == session.ActionReopen {
		if e.link == nil {
			e.link = s.gw.dialer.NewLink(&s.queues, e)
		}
		e.open(now, a)
		return
	}
	if e.link == nil {
		return
	}
	t := upstream.Token(a.Token)
	switch a.Kind {
	case session.ActionSetWill:
		e.link.SetWill(toWill(a.Will))
	case session.ActionPublish:
		e.link.Publish(now, upstream.Publish{
			Token: t, Topic: a.Topic, Payload: a.Payload, QoS: a.QoS, Retain: a.Retain,
			Exchange: a.Exchange, Again: a.Again, Released: a.Released,
		})
	case session.ActionRelease:
		e.link.Release(now, t)
	case session.ActionAwait:
		e.link.Await(t, a.Awaited)
	case session.ActionRetract:
		s.answer(e, retracted(e.link, t))
	case session.ActionSubscribe:
		e.link.Subscribe(now, t, a.Topic, a.QoS)
	case session.ActionUnsubscribe:
		e.link.Unsubscribe(now, t, a.Topic)
	case session.ActionAck:
		e.link.Ack(now, upstream.Handle(a.Handle))
	case session.ActionComplete:
		e.link.Complete(upstream.Identity(a.Identity))
	case session.ActionPing:
		e.link.Ping(now, t)
	case session.ActionCloseClean:
		s.close(e, upstream.CloseGraceful)
	case session.ActionCloseDrain:
		s.close(e, upstream.CloseDrain)
	case session.ActionCloseAbort:
		s.close(e, upstream.CloseAbort)
	case session.ActionPause:
		e.link.Pause()
	case session.ActionResume:
		e.link.Resume()
	case session.ActionWant:
		e.link.Want(now, a.Wanted)
	}
}

func (e *entry) open(now time.Duration, a *session.Action) {
	c := toConnect(e.session.ClientID(), a)
	c.Home = e.home
	switch {
	case a.Kind == session.ActionConnect:
		e.link.Connect(now, c)
	case a.Lazy:
		e.link.Reopen(now, c, upstream.ReopenWhenNudged)
	default:
		e.link.Reopen(now, c, upstream.ReopenNow)
	}
}

// retracted takes a message back from a link.
func retracted(link upstream.Link, t upstream.Token) session.Event {
	m, ok := link.Retract(t)
	return session.Event{
		Kind: session.EventRetracted, Token: session.Token(t), Failed: !ok,
		Topic: m.Topic, Payload: m.Payload, Retain: m.Retain, Dup: m.Again,
	}
}
