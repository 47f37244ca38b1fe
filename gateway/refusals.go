package gateway

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
)

// A device that is refused something, or whose datagrams are dropped, often cannot say so.
// The first drop or refusal of a device, reason and minute is logged with what would be
// right, and the last few are kept for who asks: GET /api/v1/sessions/{client_id}.

const (
	// maxRefusals is how many reasons are kept of one device: those it has met last.
	maxRefusals = 8
	// pastRefusals is how many devices without a session a shard remembers the refusals of.
	pastRefusals = 256
	// strangerSlots is the length of a table of senders that have been logged.
	strangerSlots = 512
)

// refusal is one reason for which something of a device, or for it, was dropped or refused.
type refusal struct {
	reason session.Reason
	count  uint64 // since the device is known
	told   uint64 // count of the last line
	last   time.Duration
	explanation
}

// refusals is what is remembered of one device. It belongs to the shard.
type refusals struct {
	recent []refusal // at most maxRefusals
	// loggedIn is, by reason, the minute of the last line, counted from 1; 0: never.
	loggedIn []uint32
	// The same for its connection to the broker: refused, or lost.
	refusedIn, lostIn uint32
}

func newRefusals() *refusals { return &refusals{loggedIn: make([]uint32, len(session.ReasonNames()))} }

// minuteOf counts minutes from 1.
func minuteOf(now time.Duration) uint32 { return uint32(now/time.Minute) + 1 }

// note counts one, and reports whether it is the first of its reason and minute.
func (r *refusals) note(now time.Duration, why session.Reason) (*refusal, bool) {
	f := r.slot(now, why)
	f.count++
	f.last = now
	if minute := minuteOf(now); r.loggedIn[why] != minute {
		r.loggedIn[why] = minute
		return f, true
	}
	return f, false
}

// slot finds the place of a reason, or makes it in place of the one that is longest ago.
func (r *refusals) slot(now time.Duration, why session.Reason) *refusal {
	oldest := 0
	for i := range r.recent {
		if r.recent[i].reason == why {
			return &r.recent[i]
		}
		if r.recent[i].last < r.recent[oldest].last {
			oldest = i
		}
	}
	if len(r.recent) < maxRefusals {
		r.recent = append(r.recent, refusal{reason: why})
		return &r.recent[len(r.recent)-1]
	}
	r.recent[oldest] = refusal{reason: why}
	return &r.recent[oldest]
}

// past keeps the refusals of devices that have no session any more, or were never given
// one: the newest pastRefusals. It belongs to the shard.
type past struct {
	byID map[string]*refusals
	ring [pastRefusals]string // client ids, "" where there is none
	next int
}

func newPast() *past { return &past{byID: make(map[string]*refusals)} }

func (p *past) put(clientID string, r *refusals) {
	if clientID == "" || r == nil {
		return
	}
	if _, known := p.byID[clientID]; !known {
		delete(p.byID, p.ring[p.next])
		p.ring[p.next] = clientID
		p.next = (p.next + 1) % len(p.ring)
	}
	p.byID[clientID] = r
}

// take gives them to a session that begins. The place in the ring stays and may be in use
// twice then, which costs another client its place at worst.
func (p *past) take(clientID string) *refusals {
	r := p.byID[clientID]
	delete(p.byID, clientID)
	return r
}

// cause is what a session is being fed with: it tells what was dropped.
type cause struct {
	datagram []byte
	event    *upstream.Event
}

// noteDrops counts what a step of e's session has dropped or refused, and logs the first
// of each reason and minute.
func (s *shard) noteDrops(e *entry) {
	for i, why := range s.out.Drops {
		s.counters.Drop(why)
		s.noteRefusal(e, why, s.out.About(i))
	}
}

func (s *shard) refusalsOf(e *entry) *refusals {
	if e.refusals == nil {
		e.refusals = newRefusals()
	}
	return e.refusals
}

// remember is noteRefusal without a line in the log.
func (s *shard) remember(e *entry, why session.Reason) {
	f, _ := s.refusalsOf(e).note(s.now, why)
	f.explanation = explanation{advice: adviceFor[why]}
	f.told = f.count
}

// noteRefusal logs what was dropped or refused of a device or for it, if it is the first of
// its reason and minute, and keeps it for who asks.
func (s *shard) noteRefusal(e *entry, why session.Reason, about session.About) {
	f, first := s.refusalsOf(e).note(s.now, why)
	if !first {
		return
	}
	f.explanation = s.gw.explain(e, why, &s.cause, about)
	kind := strangerLines
	if e.accepted {
		kind = deviceLines
	}
	if why == session.ReasonBrokerRefused || why == session.ReasonBrokerUnreachable {
		f.told = f.count
		return // logLink has told it
	}
	level := zerolog.InfoLevel
	if why == session.ReasonDuplicate { // the broker's, and no loss
		level = zerolog.DebugLevel
	}
	s.gw.logRefusal(kind, level, e.session.ClientID(), e.peer, why, &f.explanation, f.count-f.told)
	f.told = f.count
}

// refusedWithout notes what was refused to somebody who has no session here, or not that
// of the client id that they name: there it shows.
func (s *shard) refusedWithout(a *arrival, why session.Reason) {
	s.counters.Drop(why)
	id, x := s.gw.noteStranger(s.strangersSeen, s.now, a.peer, a.body, why)
	if x == nil || id == "" || len(id) > s.gw.opts.Session.MaxClientID {
		return
	}
	var r *refusals
	if e := s.clients[id]; e != nil {
		r = s.refusalsOf(e)
	} else if r = s.past.byID[id]; r == nil {
		r = newRefusals()
		s.past.put(id, r)
	}
	f, _ := r.note(s.now, why)
	f.explanation = *x
}

// strangersSeen is a table of who has been logged for what in this minute. It is of fixed
// size: two that share a place are told more often, within the bounds of strangerLines. It
// belongs to one goroutine.
type strangersSeen struct {
	seed  maphash.Seed
	slots [strangerSlots]struct {
		key    uint64
		minute uint32
	}
}

func newStrangersSeen() *strangersSeen { return &strangersSeen{seed: maphash.MakeSeed()} }

type strangerKey struct {
	peer listen.Peer
	why  session.Reason
}

func (t *strangersSeen) first(now time.Duration, p listen.Peer, why session.Reason) bool {
	key := maphash.Comparable(t.seed, strangerKey{p, why})
	slot := &t.slots[key%strangerSlots]
	minute := minuteOf(now)
	if slot.key == key && slot.minute == minute {
		return false
	}
	slot.key, slot.minute = key, minute
	return true
}

// noteStranger logs the first drop or refusal of a sender without a session, by reason and
// minute, and returns what it was explained by, and the client id the sender claims, if
// any; nil if it is not the first.
func (g *Gateway) noteStranger(seen *strangersSeen, now time.Duration, p listen.Peer, body []byte, why session.Reason) (clientID string, x *explanation) {
	if !seen.first(now, p, why) {
		return "", nil
	}
	explained := g.explain(nil, why, &cause{datagram: body}, session.About{})
	clientID = claimedID(body)
	g.logRefusal(strangerLines, zerolog.InfoLevel, printable(clientID, loggedIDLimit), p, why, &explained, 1)
	return clientID, &explained
}

// noteSender is noteStranger for a sender whose session the reader has found.
func (g *Gateway) noteSender(seen *strangersSeen, now time.Duration, sender *entry, p listen.Peer, body []byte, why session.Reason) {
	if !seen.first(now, p, why) {
		return
	}
	x := g.explain(nil, why, &cause{datagram: body}, session.About{})
	g.logRefusal(deviceLines, zerolog.InfoLevel, sender.session.ClientID(), p, why, &x, 1)
}

// noteMalformed returns what discovery tells of messages that it cannot read. It may be
// called from many goroutines.
func (g *Gateway) noteMalformed() func(p listen.Peer, msgType sn12.Type, err error) {
	var mu sync.Mutex
	seen := newStrangersSeen()
	return func(p listen.Peer, msgType sn12.Type, err error) {
		mu.Lock()
		defer mu.Unlock()
		if !seen.first(g.now(), p, session.ReasonMalformed) {
			return
		}
		x := explanation{advice: err.Error()}
		if msgType.Known() {
			x.packet = msgType.String()
		}
		g.logRefusal(strangerLines, zerolog.InfoLevel, "", p, session.ReasonMalformed, &x, 1)
	}
}

// logRefusal writes the line. n is how many there were since the last one, this included.
func (g *Gateway) logRefusal(kind lineKind, level zerolog.Level, clientID string, p listen.Peer, why session.Reason, x *explanation, n uint64) {
	if !g.lines.enabled(level) {
		return
	}
	addr := p.String()
	ev := g.lines.at(kind, level, clientID, addr, x.topic, x.advice)
	if ev == nil {
		return
	}
	if clientID != "" {
		ev.Str("client_id", clientID)
	}
	ev.Str("addr", addr).Stringer("reason", why)
	x.addTo(ev)
	if n > 1 {
		ev.Uint64("times", n)
	}
	if x.packet == connectPacket {
		ev.Msg("connect refused")
		return
	}
	ev.Msg("dropped or refused")
}
