package session

import "sngate/snpacket/sn12"

// What a device makes the gateway keep beside messages: its will, its topic names and its
// subscriptions. All of it is counted, because a device can make it as long as it likes.

// What a topic name and a subscription cost beside their octets.
const (
	topicOverhead        = 96
	subscriptionOverhead = 48
)

func (w *Will) size() int {
	if w == nil {
		return 0
	}
	return len(w.Topic) + len(w.Message) + messageOverhead
}

// Kept returns how many octets are kept for the device beside the messages that Held and
// Spooled count. One copy of each is kept.
func (s *Session) Kept() int {
	n := len(s.clientID) + s.topics.Octets() + s.topics.Len()*topicOverhead + int(s.filterOctets) + len(s.subs)*subscriptionOverhead
	for i := range s.asked {
		n += len(s.asked[i].filter) + subscriptionOverhead
	}
	if s.dialogue != nil && s.dialogue.will != s.will {
		n += s.dialogue.will.size()
	}
	if s.carried != s.will {
		n += s.carried.size()
	}
	return n + s.will.size()
}

// mayKeep reports whether so many octets more may be kept for the device. What is kept
// already stays, whatever the limit is now.
func (s *Session) mayKeep(st *step, octets int) bool {
	return s.Kept()+octets <= st.KeepLimit
}

// willFits reports whether a will of such a topic and message keeps the bound on its size.
func (s *Session) willFits(topic, message int) bool {
	return s.cfg.MaxWill == 0 || topic+message <= s.cfg.MaxWill
}

// refusesWill tells with what code, and why, a will that takes the place of the one that
// is kept is refused; ReasonNone: it is not.
func (s *Session) refusesWill(st *step, topic, message int) (sn12.ReturnCode, Reason) {
	switch {
	case !s.willFits(topic, message):
		return sn12.RejectedNotSupported, ReasonWill
	case !s.mayKeep(st, topic+message+messageOverhead-s.will.size()):
		return sn12.RejectedCongestion, ReasonMemoryLimit
	}
	return sn12.Accepted, ReasonNone
}
