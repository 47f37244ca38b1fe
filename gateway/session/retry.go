package session

// When something that the device does not answer is sent again, and how often at the most.

// retry is the timer of a request that the device has not answered (MQTT-SN 1.2 section
// 6.13, mirrored for the gateway). Each request that can wait at the same time as others has
// one of its own.
type retry struct {
	at    Time  // when the request is sent again; Never: no answer is awaited
	tries uint8 // how often it has been sent again
}

// start waits for the answer to a request that has just been sent.
func (r *retry) start(now Time, c *Config) { r.at, r.tries = now+c.RetryInterval, 0 }

func (r *retry) stop() { r.at = Never }

func (r *retry) runs() bool { return r.at != Never }

// again counts one more repetition, and waits for the answer to that. It reports false, and
// has stopped, when there have been RetryCount of them.
func (r *retry) again(now Time, c *Config) bool {
	if int(r.tries) >= c.RetryCount {
		r.stop()
		return false
	}
	r.tries++
	r.at = now + c.RetryInterval
	return true
}

// unanswered is how many repetitions there have been of a request that waits.
func (r *retry) unanswered() int {
	if !r.runs() {
		return 0
	}
	return int(r.tries)
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

const minPatience = 8

// patience is how often PUBLISH, REGISTER or PUBREL is sent for one message without an
// answer, at the most: all repetitions twice, and not fewer than minPatience, because a
// device that is not there for so many connections in a row may still come.
func (c *Config) patience() uint8 { return uint8(max(2*(1+c.RetryCount), minPatience)) }

// more adds without an overflow.
func more(a, b uint8) uint8 { return uint8(min(int(a)+int(b), 255)) }
