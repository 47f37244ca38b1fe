package session

// The window: what the device publishes and waits for an answer to.

import (
	"hash/crc32"

	"sngate/gateway/session/dialogue"
	"sngate/internal/binrec"
)

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

// connectAnswered ends that wait: the connection is up, or has failed.
func (ul *uplink) connectAnswered() { ul.awaitsConnect = false }

// awaitConnect begins to wait for the first connection to the broker after a restart.
func (ul *uplink) awaitConnect() { ul.awaitsConnect = true }

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
