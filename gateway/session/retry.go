package session

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
