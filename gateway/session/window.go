package session

// The window: the QoS 1 and 2 PUBLISHes of the device that wait for an answer.

import (
	"hash/crc32"

	"sngate/gateway/session/dialogue"
	"sngate/internal/binrec"
)

// repeated handles a PUBLISH whose MsgId is in flight. It is a new message all the same
// if its QoS or content is another one, or if it comes without DUP and the MsgId is free
// for it: it is of an earlier connection and the device has started to count anew, or the
// exchange is complete. Of a device that counts, the latter can only be a duplicate that
// the network has delivered late.
func (ul *uplink) repeated(st *step, m *dialogue.Message) bool {
	for i := range ul.window {
		f := &ul.window[i]
		if f.msgID != m.MsgID {
			continue
		}
		if f.qos != m.QoS || !m.Dup && (f.old || f.stage == upFinished && !ul.msgIDs.counts) || f.sum != checksum(m) {
			ul.settle(st, i)
			return false
		}
		f.old = false
		switch {
		case f.stage == upSaving:
		case ul.overdue(st, f):
			f.stage, f.waitUntil = upRelaying, st.Now+ul.s.cfg.BrokerWait
			ul.retract(st)
		case f.stage == upAnswered || f.stage == upFinished:
			send(st, dialogue.Message{Kind: dialogue.PubRec, MsgID: f.msgID})
		case f.waitUntil == Never: // refused, or of an earlier connection: the device waits again
			f.stage = upRelaying
			f.waitUntil = st.Now + ul.s.cfg.BrokerWait
			st.do(Action{Kind: ActionAwait, Token: f.token, Awaited: true})
		}
		return true
	}
	return false
}

// onPublished acknowledges a message the broker has now (and not before).
func (ul *uplink) onPublished(st *step, t Token) {
	i := ul.inflightOf(t)
	if i < 0 {
		return
	}
	f := &ul.window[i]
	answer := f.stage == upRelaying && !f.old
	if f.qos == 1 {
		if answer {
			send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID})
		}
		ul.settle(st, i)
		return
	}
	if f.stage == upRefused {
		f.old = true // it may be repeated with DUP, or be given up: evictable
	}
	f.stage = upAnswered
	f.waitUntil = Never
	if answer {
		send(st, dialogue.Message{Kind: dialogue.PubRec, MsgID: f.msgID})
	}
}

// onPublishFailed refuses a message the link has not sent and will not send.
func (ul *uplink) onPublishFailed(st *step, ev *Event) {
	i := ul.inflightOf(ev.Token)
	if i < 0 {
		return
	}
	why, code := ReasonBrokerCongested, dialogue.Congestion
	if ev.Rejected {
		why, code = ReasonPublishRejected, dialogue.NotSupported
	}
	if f := &ul.window[i]; f.stage == upRelaying && !f.old {
		st.drop(why)
		send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID, Code: code})
	} else if ev.Rejected {
		st.drop(why)
	}
	ul.settle(st, i)
}

// expireWaiting refuses what has waited for the broker for BrokerWait.
func (ul *uplink) expireWaiting(st *step) {
	for i := 0; i < len(ul.window); i++ {
		f := &ul.window[i]
		if st.Now < f.waitUntil {
			continue
		}
		if f.stage == upFinished {
			ul.settle(st, i)
			i--
			continue
		}
		if f.qos == 1 && ul.spools(st) {
			f.waitUntil = st.Now + ul.s.cfg.BrokerWait
			ul.retract(st)
			continue
		}
		f.waitUntil = Never
		f.stage = upRefused
		st.drop(ReasonBrokerDown)
		send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID, Code: dialogue.Congestion})
		st.do(Action{Kind: ActionAwait, Token: f.token})
	}
	ul.s.subs.expireAsked(st)
}

// onPubRel ends a QoS 2 exchange. It is answered also when the exchange is not known:
// the PUBCOMP may have been lost.
func (ul *uplink) onPubRel(st *step, m *dialogue.Message) {
	for i := range ul.window {
		f := &ul.window[i]
		if f.msgID != m.MsgID || f.qos != 2 {
			continue
		}
		if f.stage != upAnswered && f.stage != upFinished {
			st.drop(ReasonUnexpectedMessage) // PUBREL without PUBREC: the message is not safe yet
			return
		}
		if f.stored {
			f.stored = false
			ul.s.journal.remove(st, RecordReceived, key16(f.msgID))
		}
		f.stage, f.waitUntil = upFinished, st.Now+lateWindow
		break
	}
	send(st, dialogue.Message{Kind: dialogue.PubComp, MsgID: m.MsgID})
}

// settle removes window[i], which the device has been answered. The others stay in order.
func (ul *uplink) settle(st *step, i int) {
	if f := &ul.window[i]; f.stored {
		ul.s.journal.remove(st, RecordReceived, key16(f.msgID))
	}
	ul.window = append(ul.window[:i], ul.window[i+1:]...)
}

func (ul *uplink) begin(f inflight) { ul.window = append(ul.window, f) }

func (ul *uplink) inflightOf(t Token) int {
	for i := range ul.window {
		if t != 0 && ul.window[i].token == t {
			return i
		}
	}
	return -1
}

func (ul *uplink) refusePublish(st *step, m *dialogue.Message, code dialogue.Code, why Reason) {
	st.drop(why)
	send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: m.TopicID, MsgID: m.MsgID, Code: code})
}

// checksum tells a repeat of a PUBLISH from a new one with the same MsgId: what a
// restarted device sends may have the MsgId of an exchange that it has forgotten, and
// there are devices that always use the same one.
func checksum(m *dialogue.Message) uint32 {
	return crc32.ChecksumIEEE(m.Data) + uint32(m.TopicID) + uint32(m.TopicType)<<16
}

func (ul *uplink) putReceived(st *step, f *inflight) {
	ul.s.journal.put(st, RecordReceived, key16(f.msgID), binrec.New(6).U32(f.sum).U16(f.topicID))
}

// published notes the MsgId of a new message.
func (d *deviceIDs) published(msgID uint16) {
	d.counts = d.last != 0 && msgID != d.last
	d.last = msgID
}

// evict makes room by forgetting the oldest exchange that is finished or left over from
// an earlier connection, or PUBLISH the device has been told to send again later.
func (ul *uplink) evict(st *step) bool {
	for i := range ul.window {
		if f := &ul.window[i]; f.stage == upRefused || f.stage == upFinished || f.old && f.stage != upSaving {
			ul.settle(st, i)
			return true
		}
	}
	return false
}

// retire marks what is in flight as of an earlier connection, to which no answer is
// owed. QoS 1 is forgotten: the device sends it again if it wants to be sure.
func (ul *uplink) retire(st *step) {
	rest := ul.window[:0]
	for _, f := range ul.window {
		if f.qos == 2 && f.stage != upFinished {
			f.old = true
			f.waitUntil = Never
			rest = append(rest, f)
		} else if f.stored {
			ul.s.journal.remove(st, RecordReceived, key16(f.msgID))
		}
	}
	ul.window = rest
	if len(rest) == 0 {
		ul.window = nil
	}
}

func (ul *uplink) forget() { ul.window = nil }

// patience is how long a QoS 1 PUBLISH waits for the broker before its repetition is
// taken into the spool: a connection may be dead long before that shows.
const patience = Time(5e9)

// overdue reports whether a PUBLISH that the device repeats is better taken into the
// spool than left with the link.
func (ul *uplink) overdue(st *step, f *inflight) bool {
	if f.qos != 1 || f.stage != upRelaying && f.stage != upRefused || !ul.spools(st) {
		return false
	}
	return ul.s.broker.link != linkUp || f.stage == upRefused || st.Now >= f.waitUntil-ul.s.cfg.BrokerWait+patience
}

// retract takes the QoS 1 PUBLISHes that wait for the broker back from the link, all of
// them and in order, to put them into the spool: there is no telling when the broker
// answers.
func (ul *uplink) retract(st *step) {
	if !ul.spools(st) {
		return
	}
	for i := range ul.window {
		if f := &ul.window[i]; f.qos == 1 && f.stage == upRelaying && !f.old {
			st.do(Action{Kind: ActionRetract, Token: f.token})
		}
	}
}
