package oplog

import (
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/admin"
	"sngate/gateway/session"
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
	Explanation
}

// Refusals is what is remembered of one device. It belongs to the shard.
type Refusals struct {
	recent []refusal // at most maxRefusals
	// loggedIn is, by reason, the minute of the last line, counted from 1; 0: never.
	loggedIn []uint32
	// The same for its connection to the broker: refused, or lost.
	refusedIn, lostIn uint32
}

// NewRefusals returns those of a device of which nothing is remembered.
func NewRefusals() *Refusals { return &Refusals{loggedIn: make([]uint32, len(session.ReasonNames()))} }

// minuteOf counts minutes from 1.
func minuteOf(now time.Duration) uint32 { return uint32(now/time.Minute) + 1 }

// Note counts one. fresh reports whether it is the first of its reason and minute.
func (r *Refusals) Note(now time.Duration, why session.Reason) (f *refusal, fresh bool) {
	f = r.slot(now, why)
	f.count++
	f.last = now
	if minute := minuteOf(now); r.loggedIn[why] != minute {
		r.loggedIn[why] = minute
		return f, true
	}
	return f, false
}

// LinkLevel returns the level at which a fault of the device's connection to the broker is
// logged: debug if one has been in this minute. refused tells that the broker did not take
// the connection, and not that it was lost.
func (r *Refusals) LinkLevel(now time.Duration, refused bool, level zerolog.Level) zerolog.Level {
	last := &r.lostIn
	if refused {
		last = &r.refusedIn
	}
	if minute := minuteOf(now); *last == minute {
		return zerolog.DebugLevel
	} else if level > zerolog.DebugLevel {
		*last = minute
	}
	return level
}

// slot finds the place of a reason, or makes it in place of the one that is longest ago.
func (r *Refusals) slot(now time.Duration, why session.Reason) *refusal {
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

// Shown is every one as the API shows it.
func (r *Refusals) Shown(now time.Duration) []admin.Refusal {
	list := make([]admin.Refusal, len(r.recent))
	for i := range r.recent {
		f := &r.recent[i]
		list[i] = admin.Refusal{
			Reason: f.reason.String(), Times: f.count, AgoSeconds: max(now-f.last, 0).Round(time.Millisecond).Seconds(),
			Packet: f.packet, Topic: f.topic, Advice: f.Advice,
		}
		if f.hasTopicID {
			id := f.topicID
			list[i].TopicID, list[i].TopicIDType = &id, f.topicIDType
		}
	}
	return list
}

// Untold is how many there were since the last line, and begins anew.
func (f *refusal) Untold() uint64 {
	n := f.count - f.told
	f.told = f.count
	return n
}

// Past keeps the refusals of devices that have no session any more, or were never given
// one: the newest pastRefusals. It belongs to the shard.
type Past struct {
	byID map[string]*Refusals
	ring [pastRefusals]string // client ids, "" where there is none
	next int
}

// NewPast returns an empty one.
func NewPast() *Past { return &Past{byID: make(map[string]*Refusals)} }

// Put keeps those of a session that ends; r may be nil.
func (p *Past) Put(clientID string, r *Refusals) {
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

// Find returns those of a client id; nil: there are none.
func (p *Past) Find(clientID string) *Refusals { return p.byID[clientID] }

// Len is how many clients are remembered.
func (p *Past) Len() int { return len(p.byID) }

// Take gives them to a session that begins. The place in the ring stays and may be in use
// twice then, which costs another client its place at worst.
func (p *Past) Take(clientID string) *Refusals {
	r := p.byID[clientID]
	delete(p.byID, clientID)
	return r
}
