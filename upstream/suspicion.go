package upstream

import (
	"slices"
	"sync"
	"time"
)

// Some brokers close the connection on a message they do not allow, and some never answer
// one. Which one that was is found out by sending one at a time: only what was alone
// unanswered, in several connections that otherwise worked, while other messages pass, is
// given up. While nothing passes the broker is ill, and nothing is given up.

const (
	// asideAfter is from how many such connections on a packet is set aside: others go before it.
	asideAfter = 2
	// A message is given up after so many connections if others have passed before each of
	// them, after fewer if it was only left unanswered, and after fewer still if the last
	// message to its topic had to be given up.
	provenToReject       = 6
	provenSilentToReject = 5
	provenDeniedToReject = 2
	aloneDeniedToReject  = 4
	// Where nothing else is left to pass, one proof is enough after this many connections and
	// this long.
	aloneToReject = 8
	quietToReject = 20 * time.Second
	// A SUBSCRIBE or UNSUBSCRIBE is only refused for it, so it needs no proof.
	aloneToRefuse = 3

	// Where nothing but messages to the topic of the one that is set aside is left, the next
	// of them is tried after this many connections and this long: if it passes, the order of
	// the topic is at stake, but without it nothing would ever be known.
	// Some brokers take no retained messages: behind one of those the next is tried soon.
	// If connections have ended of that one as well, the broker is probably ill, and the next
	// trial has time.
	aloneToOvertake         = 12
	aloneToOvertakeRetained = 5
	quietToOvertake         = 30 * time.Second
	retryOvertaking         = 10 * time.Minute

	maxSuspects = 32
	maxDenied   = 16
	deniedFor   = time.Hour
	// turnAfter is how many others pass at the most before one that is set aside is tried again.
	turnAfter = 16
)

// suspect is a packet that connections have ended of, known by its content: so it is known
// again when the owner has taken it back and publishes it once more.
type suspect struct {
	key      uint64
	alone    uint8         // connections that ended with it as the only one unanswered
	proven   uint8         // of them, those with a pass of another since the one before
	silent   bool          // the last one was not closed by the broker: no answer came
	passes   uint64        // what had passed at the last of them
	since    time.Duration // the first of them
	passedAt time.Duration // the last one that was proven
}

// denial remembers what messages of one kind to one topic have come to.
type denial struct {
	key   uint64
	until time.Duration
}

// suspicion is what a Link knows of the packets its connections have ended of.
type suspicion struct {
	suspects []suspect
	denied   []denial
	last     uint64        // key of the packet tried last among those set aside and those behind it
	overtook time.Duration // when one behind was tried last; 0: never
}

func (s *suspicion) none() bool { return s == nil }

func (s *suspicion) find(key uint64) *suspect {
	if s == nil {
		return nil
	}
	for i := range s.suspects {
		if s.suspects[i].key == key {
			return &s.suspects[i]
		}
	}
	return nil
}

// isAside reports whether others go before a packet.
func (s *suspicion) isAside(key, topicKey uint64, now time.Duration) bool {
	if u := s.find(key); u != nil && u.alone >= asideAfter {
		return true
	}
	return s.isDenied(topicKey, now)
}

func (s *suspicion) isDenied(topicKey uint64, now time.Duration) bool {
	if s == nil {
		return false
	}
	for i := range s.denied {
		if s.denied[i].key == topicKey {
			return now < s.denied[i].until
		}
	}
	return false
}

// note adds a connection that ended with a packet alone. Where there are too many the
// oldest is forgotten.
func (s *suspicion) note(now time.Duration, key, passes uint64, silent bool) *suspect {
	u := s.find(key)
	if u == nil {
		if len(s.suspects) >= maxSuspects {
			s.suspects = slices.Delete(s.suspects, 0, 1)
		}
		s.suspects = append(s.suspects, suspect{key: key, since: now, passes: passes, passedAt: now})
		u = &s.suspects[len(s.suspects)-1]
	}
	if u.alone < 255 {
		u.alone++
	}
	u.silent = silent
	if passes != u.passes {
		u.proven++
		u.passes, u.passedAt = passes, now
	}
	return u
}

// clear forgets a packet that has passed, or has been given up.
func (s *suspicion) clear(key uint64) {
	s.suspects = slices.DeleteFunc(s.suspects, func(u suspect) bool { return u.key == key })
	if len(s.suspects) == 0 {
		s.suspects = nil
	}
}

// allow forgets that messages to a topic were given up: one has passed.
func (s *suspicion) allow(topicKey uint64) {
	s.denied = slices.DeleteFunc(s.denied, func(d denial) bool { return d.key == topicKey })
	if len(s.denied) == 0 {
		s.denied = nil
	}
}

func (s *suspicion) deny(topicKey uint64, now time.Duration) {
	s.allow(topicKey)
	if len(s.denied) >= maxDenied {
		s.denied = slices.Delete(s.denied, 0, 1)
	}
	s.denied = append(s.denied, denial{topicKey, now + deniedFor})
}

// recovered takes note of a message that has passed though connections had ended of it: so
// they may end of anything, and those of the others prove nothing.
func (s *suspicion) recovered() {
	for i := range s.suspects {
		u := &s.suspects[i]
		u.proven, u.alone = 0, min(u.alone, asideAfter)
	}
}

// guilty reports whether a message is given up. ill: the broker ends connections on messages
// to other topics as well, and none passes.
func (u *suspect) guilty(now time.Duration, denied, ill bool) bool {
	switch {
	case u.proven >= provenToReject, u.silent && u.proven >= provenSilentToReject, denied && u.proven >= provenDeniedToReject,
		denied && !ill && u.alone >= aloneDeniedToReject:
		return true
	}
	return !ill && u.proven > 0 && u.alone >= aloneToReject && now-u.passedAt >= quietToReject
}

// mayOvertake reports whether the next message to the topic of u may be tried, after so many
// closes.
func (s *suspicion) mayOvertake(u *suspect, now time.Duration, closes uint8) bool {
	if s.overtook > 0 && now-s.overtook < retryOvertaking && len(s.suspects) > 1 {
		return false
	}
	return u.alone >= closes && now-u.since >= quietToOvertake
}

// illness tells a broker that ends connections on one message from one that does so on all
// of them. It is common to the Links of a Dialer.
type illness struct {
	mu     sync.Mutex
	passes uint64
	key    uint64
	other  bool // another message than key came to the same end, and none passed in between
}

// note takes one message that a connection has ended of, and reports whether there were
// others and none has passed since.
func (i *illness) note(key, passes uint64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.passes != passes {
		i.passes, i.key, i.other = passes, key, false
		return false
	}
	if i.key == 0 {
		i.key = key
	}
	i.other = i.other || i.key != key
	return i.other
}

// forget forgets a message that was given up.
func (i *illness) forget(key uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.key == key {
		i.key = 0
	}
}
