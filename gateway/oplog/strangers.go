package oplog

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// Seen is a table of who has been logged for what in this minute. It is of fixed
// size: two that share a place are told more often, within the bounds of Strangers. It
// belongs to one goroutine.
type Seen struct {
	seed  maphash.Seed
	slots [strangerSlots]struct {
		key    uint64
		minute uint32
	}
}

// NewSeen returns an empty table.
func NewSeen() *Seen { return &Seen{seed: maphash.MakeSeed()} }

type strangerKey struct {
	peer listen.Peer
	why  session.Reason
}

func (t *Seen) first(now time.Duration, p listen.Peer, why session.Reason) bool {
	key := maphash.Comparable(t.seed, strangerKey{p, why})
	slot := &t.slots[key%strangerSlots]
	minute := minuteOf(now)
	if slot.key == key && slot.minute == minute {
		return false
	}
	slot.key, slot.minute = key, minute
	return true
}

// Stranger logs the first drop or refusal of a sender without a session, by reason and
// minute, and returns what it was explained by, and the client id the sender claims, if
// any; nil if it is not the first.
func (l *Log) Stranger(seen *Seen, now time.Duration, p listen.Peer, body []byte, why session.Reason) (clientID string, x *Explanation) {
	if !seen.first(now, p, why) {
		return "", nil
	}
	explained := l.Explain(nil, why, body, session.About{})
	clientID = claimedID(body)
	l.Refusal(Strangers, zerolog.InfoLevel, printable(clientID, loggedIDLimit), p, why, &explained, 1)
	return clientID, &explained
}

// Sender is Stranger for a sender whose session the reader has found.
func (l *Log) Sender(seen *Seen, now time.Duration, clientID string, p listen.Peer, body []byte, why session.Reason) {
	if !seen.first(now, p, why) {
		return
	}
	x := l.Explain(nil, why, body, session.About{})
	l.Refusal(Devices, zerolog.InfoLevel, clientID, p, why, &x, 1)
}

// Malformed returns what discovery tells of messages that it cannot read. It may be
// called from many goroutines.
func (l *Log) Malformed() func(p listen.Peer, msgType sn12.Type, err error) {
	var mu sync.Mutex
	seen := NewSeen()
	return func(p listen.Peer, msgType sn12.Type, err error) {
		mu.Lock()
		defer mu.Unlock()
		if !seen.first(l.now(), p, session.ReasonMalformed) {
			return
		}
		x := Explanation{Advice: err.Error()}
		if msgType.Known() {
			x.packet = msgType.String()
		}
		l.Refusal(Strangers, zerolog.InfoLevel, "", p, session.ReasonMalformed, &x, 1)
	}
}

// Refusal writes the line. n is how many there were since the last one, this included.
func (l *Log) Refusal(kind Kind, level zerolog.Level, clientID string, p listen.Peer, why session.Reason, x *Explanation, n uint64) {
	if !l.Enabled(level) {
		return
	}
	addr := p.String()
	ev := l.At(kind, level, clientID, addr, x.topic, x.Advice)
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
