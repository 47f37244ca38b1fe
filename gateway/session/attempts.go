package session

// How often something has been sent without an answer.

import "hash/crc32"

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

const minPatience = 8

// patience is how often PUBLISH, REGISTER or PUBREL is sent for one message without an
// answer, at the most: all repetitions twice, and not fewer than minPatience, because a
// device that is not there for so many connections in a row may still come.
func (c *Config) patience() uint8 { return uint8(max(2*(1+c.RetryCount), minPatience)) }

// more adds without an overflow.
func more(a, b uint8) uint8 { return uint8(min(int(a)+int(b), 255)) }

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
