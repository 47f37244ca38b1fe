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
	n := len(s.clientID) + s.ids.topics.Octets() + s.ids.topics.Len()*topicOverhead + int(s.subs.filterOctets) + len(s.subs.list)*subscriptionOverhead
	for i := range s.subs.asked {
		n += len(s.subs.asked[i].filter) + subscriptionOverhead
	}
	if s.dialogue != nil && s.dialogue.will != s.wills.current {
		n += s.dialogue.will.size()
	}
	if s.wills.carried != s.wills.current {
		n += s.wills.carried.size()
	}
	return n + s.wills.current.size()
}

// mayKeep reports whether so many octets more may be kept for the device. What is kept
// already stays, whatever the limit is now.
func (s *Session) mayKeep(st *step, octets int) bool {
	return s.Kept()+octets <= st.KeepLimit
}

// willFits reports whether a will of such a topic and message keeps the bound on its size.
func (ws *wills) fits(topic, message int) bool {
	return ws.s.cfg.MaxWill == 0 || topic+message <= ws.s.cfg.MaxWill
}

// refusesWill tells with what code, and why, a will that takes the place of the one that
// is kept is refused; ReasonNone: it is not.
func (ws *wills) refuses(st *step, topic, message int) (sn12.ReturnCode, Reason) {
	switch {
	case !ws.fits(topic, message):
		return sn12.RejectedNotSupported, ReasonWill
	case !ws.s.mayKeep(st, topic+message+messageOverhead-ws.current.size()):
		return sn12.RejectedCongestion, ReasonMemoryLimit
	}
	return sn12.Accepted, ReasonNone
}
