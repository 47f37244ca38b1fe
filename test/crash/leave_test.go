package crash

import (
	"time"

	"sngate/snpacket/sn12"
)

// Devices say goodbye and return, at any point of what they are doing: one in leaveIdle of those who listen for
// a message, one in leaveBusy of those in the middle of an exchange.
const (
	leaveIdle = 80
	leaveBusy = 25
	awayMax   = 400 * time.Millisecond
)

// leaves decides whether the device leaves now, with one chance in n.
func (d *device) leaves(n int) bool {
	return !d.leaving && !d.w.ending() && d.rng.IntN(n) == 0
}

// leave says goodbye, stays away for a while, or not at all, and returns with CleanSession=0. The device believes
// that the session is what it was, and goes on with the exchange it is in.
func (d *device) leave() {
	d.leaving = true
	defer func() { d.leaving, d.restless = false, false }()
	d.w.ledger.count(func(c *counts) { c.goodbyes++ })
	sent := 0
	d.exchange(func(bool) sn12.Message {
		sent++
		return sn12.Disconnect{}
	}, func(m sn12.Message) bool {
		_, ok := m.(sn12.Disconnect)
		return ok
	})
	switch {
	case sent > 1: // the other answers come to a radio that is off
		d.drowse(retryMax)
	case d.rng.IntN(3) > 0:
		d.drowse(d.between(0, awayMax))
	}
	d.connect()
}

// perhapsLeave lets the device leave between two messages, or with a QoS 2 message from the gateway half done.
func (d *device) perhapsLeave() {
	if d.restless && !d.leaving || d.leaves(leaveIdle) {
		d.leave()
	}
}

// sendAndLeave sends the first message of an exchange and leaves before the answer is here, once in a
// while. It reports whether it has: then the exchange goes on with a repetition.
func (d *device) sendAndLeave(m sn12.Message) bool {
	if !d.leaves(leaveBusy) {
		return false
	}
	d.send(m)
	d.leave()
	return true
}
