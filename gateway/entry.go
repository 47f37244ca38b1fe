package gateway

import (
	"container/list"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/internal/deadline"
	"sngate/internal/rate"
	"sngate/upstream"
)

// entry is one device as its shard keeps it: the session, its link to the broker, and
// where it is. All of it belongs to the shard's goroutine, except that the directory
// maps its address to it, and that readers use flow and the client id.
//
// The gateway's own connection is an entry without a session.
type entry struct {
	deadline.Slot
	shard   *shard
	session *session.Session
	serial  uint64        // in shard.roster
	link    upstream.Link // nil until the first ActionConnect
	home    string        // until then: which broker had the session in an earlier process

	// flow counts all that the device sends against session.datagram_rate, before it takes a
	// place in a queue. When the device moves, two readers may meet here.
	flow     rate.AtomicBucket
	overload overload // what readers have dropped of it
	peer     listen.Peer
	// unreachable: the shard has yet to be told that the network says so.
	unreachable atomic.Bool
	bound       bool // the directory maps peer to this entry

	loading loading

	ended   *list.Element // in shard.ended; nil: not there
	endedAt time.Duration // when it was put there

	holder holder // of shard.holders

	halfOpen *list.Element // in shard.halfOpen; nil: not there

	heardAt  time.Duration   // when the device last spoke; never: not in this process
	refusals *oplog.Refusals // nil: none

	claim bool // see shard.claims; not in shard.clients

	accepted   bool          // it has been active
	acceptedAt time.Duration // since when
	gone       bool          // forgotten; what still refers to it is late

	counted counted
}

// loading is how far an entry has come whose session is being loaded from the store. Until then
// the session knows what its RecordSession says, and nothing else: it is shown and counted, but
// no step is made with it, and nothing of it is stored or erased. The zero value is a session
// that is loaded, as those are that have not come from the store.
type loading struct {
	on      bool
	asked   bool // the store, or it has failed and will be
	urgent  bool // the device has spoken
	evicted bool // its address is another device's now, and it has yet to be told
}

// isOwn reports whether this is the gateway's own connection.
func (e *entry) isOwn() bool { return e.session == nil }

// The link has room for every exchange that the session can name.
const _ = uint(upstream.MaxExchanges - session.MaxExchanges)

// toConnect translates what a session asks for into what a link is asked for.
func toConnect(clientID string, a *session.Action) *upstream.Connect {
	c := &upstream.Connect{ClientID: clientID, CleanSession: a.Clean, KeepAlive: a.KeepAlive, Will: toWill(a.Will)}
	for _, message := range a.Taken {
		c.Taken = append(c.Taken, upstream.Identity(message))
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

// partly stands before the home of a session whose subscriptions are being repeated.
// Alone it is no address: earlier versions wrote it so.
const partly = "-"

// homeNow returns the address of the broker that has the session, "" if none ever had.
func (e *entry) homeNow() string {
	home := e.home
	if e.link != nil {
		home = e.link.Home()
	}
	if e.session.Restoring() && !strings.HasPrefix(home, partly) {
		home = partly + home
	}
	return home
}

// setHome takes back what homeNow has said in an earlier process.
func (e *entry) setHome(home string) {
	e.home = home
	if rest, found := strings.CutPrefix(home, partly); found && rest != "" {
		e.home = rest
		e.session.Restore()
	}
}

// idle reports whether e has nothing on the way to the broker.
func (e *entry) idle() bool {
	spooled, _ := e.session.Spooled()
	return spooled == 0 && (e.link == nil || e.link.Deadline() == deadline.Never)
}

// keptFor is how long a session of a device that has gone (CleanSession=0) is kept
// however full the gateway is, so that a crowd of strangers cannot push it out.
const keptFor = time.Hour

// known reports whether e has been here for long enough, or has shown that it is where it
// says it is, so that it is not one of a crowd that has just come.
func (e *entry) known(now time.Duration) bool {
	return e.accepted && (now-e.acceptedAt >= keptFor || e.session.Proven())
}

// live reports whether a session in this state could be stolen: one that has ended and
// is kept may come back from anywhere.
func live(st session.State) bool {
	return st != session.StateNew && st != session.StateDisconnected && st != session.StateLost
}

func connected(st session.State) bool {
	return st == session.StateActive || st == session.StateAsleep || st == session.StateAwake
}

// retracted takes a message back from a link.
func retracted(link upstream.Link, t upstream.Token) session.Event {
	m, ok := link.Retract(t)
	return session.Event{
		Kind: session.EventRetracted, Token: session.Token(t), Failed: !ok,
		Topic: m.Topic, Payload: m.Payload, Retain: m.Retain, Dup: m.Again,
	}
}
