package session

import "hash/crc32"

// tally counts what has been sent for a message without an answer, over the connections of
// the device. The broker repeats a message under another handle, so it is known by its
// content. The counts begin anew with the gateway.
type tally struct {
	sum       uint64
	qos       uint8
	sends     uint8 // of PUBLISH
	registers uint8 // of REGISTER
}

// contentSum tells a message from others with the same name for it.
func contentSum(topic string, payload []byte) uint64 {
	return uint64(crc32.ChecksumIEEE([]byte(topic)))<<32 | uint64(crc32.ChecksumIEEE(payload))
}

// attempts counts how often one thing has been sent without an answer.
type attempts struct {
	before uint8 // in earlier connections and wakes
	now    uint8 // in this one
	heard  bool  // the device has said something else meanwhile
}

func (t *attempts) count() uint8 { return more(t.before, t.now) }

// end takes this connection to the earlier ones. To a device that was silent all sends
// together count as one: it may not have been there at all.
func (t *attempts) end() uint8 {
	if t.now > 0 && !t.heard {
		t.now = 1
	}
	*t = attempts{before: t.count()}
	return t.before
}

// maxTallies bounds the messages that are counted; the oldest goes.
const maxTallies = 8

// patience is how often PUBLISH, REGISTER or PUBREL is sent for one message without an
// answer, at the most: all repetitions twice, and not fewer than minPatience, because a
// device that is not there for so many connections in a row may still come.
func (c *Config) patience() uint8 { return uint8(max(2*(1+c.RetryCount), minPatience)) }

const minPatience = 8

// more adds without an overflow.
func more(a, b uint8) uint8 { return uint8(min(int(a)+int(b), 255)) }

// tallyOf returns the tally of a message; nil if there is none.
func (dl *downlink) tallyOf(m *outgoing) *tally {
	if len(dl.tallies) == 0 {
		return nil
	}
	sum := contentSum(m.topic, m.payload)
	for i := range dl.tallies {
		if t := &dl.tallies[i]; t.sum == sum && t.qos == m.qos {
			return t
		}
	}
	return nil
}

// tally returns the tally of a message, made if there is none. It is valid until the next
// call.
func (dl *downlink) tally(m *outgoing) *tally {
	if t := dl.tallyOf(m); t != nil {
		return t
	}
	if len(dl.tallies) == maxTallies {
		dl.tallies = append(dl.tallies[:0], dl.tallies[1:]...)
	}
	dl.tallies = append(dl.tallies, tally{sum: contentSum(m.topic, m.payload), qos: m.qos})
	return &dl.tallies[len(dl.tallies)-1]
}

// forgetTally ends the count: the device has answered, or the message is given up.
func (dl *downlink) forgetTally(m *outgoing) {
	t := dl.tallyOf(m)
	if t == nil {
		return
	}
	if *t = dl.tallies[len(dl.tallies)-1]; len(dl.tallies) == 1 {
		dl.tallies = nil
		return
	}
	dl.tallies = dl.tallies[:len(dl.tallies)-1]
}
