package soak

import (
	"context"
	"time"
)

// sleep goes to sleep, wakes a few times, and connects again.
func (d *device) sleep() {
	sleepFor := time.Duration(30+d.rng.IntN(600)) * time.Second
	d.w.ledger.sleeps(d, sleepFor)
	if !d.done("DISCONNECT with duration", d.client.Sleep(d.w.ctx, sleepFor)) {
		return
	}
	for range 1 + d.rng.IntN(8) {
		if !d.pause(copiesLiveFor + d.between(sleepFor/5, sleepFor*4/5)) {
			break
		}
		if d.crashes && d.chance(0.02) {
			d.crash(d.between(3*time.Second, 40*time.Second))
			return
		}
		if d.roams && d.chance(0.4) {
			d.move()
		}
		if !d.wake() {
			return
		}
	}
	d.online = false // CONNECT is what is next
}

// wake fetches what the gateway holds; sometimes the device crashes while it does.
func (d *device) wake() bool {
	if !d.crashes || !d.chance(0.02) {
		d.w.ledger.count(func(c *counts) { c.wakes++ })
		return d.done("wake", d.client.Wake(d.w.ctx))
	}
	ctx, cancel := context.WithTimeout(d.w.ctx, d.between(0, 300*time.Millisecond))
	defer cancel()
	d.done("wake", d.client.Wake(ctx))
	d.crash(d.between(3*time.Second, 40*time.Second))
	return false
}

// crash restarts the device: it remembers nothing, and has said nothing.
func (d *device) crash(boot time.Duration) {
	d.w.ledger.count(func(c *counts) { c.crashes++ })
	d.powerOff()
	d.wait(boot)
}

// vanish is a crash after which the device stays away until the gateway must have
// noticed.
func (d *device) vanish() {
	d.w.ledger.count(func(c *counts) { c.vanished++ })
	silent := d.keepAlive
	if silent == 0 {
		silent = idleProbe
	}
	d.powerOff()
	// A delivery that was just begun, or a probe, ends after all repetitions.
	if !d.pause(silent*3/2 + time.Minute) {
		return
	}
	if d.w.ledger.timesLost(d) == d.lostAt {
		d.w.fail(d, "the device was silent for %s and its session was not ended as lost", silent*3/2+time.Minute)
	}
	d.pause(d.between(0, 20*time.Minute))
}

// restart disconnects in good order and comes back, some devices with the other
// CleanSession.
func (d *device) restart() {
	if !d.done("DISCONNECT", d.client.Disconnect(d.w.ctx)) {
		return
	}
	d.online = false
	d.w.ledger.away(d)
	if d.switches {
		d.powerOff()
		d.w.ledger.switchClean(d)
	}
	d.pause(copiesLiveFor + d.between(0, 2*time.Minute))
}

func (d *device) updateWill() {
	number := d.w.ledger.newWill(d)
	d.w.ledger.offerWill(d, number)
	if d.done("WILLMSGUPD", d.client.UpdateWillMessage(d.w.ctx, encode(tagWill, 0, number, 1, 0))) {
		d.w.ledger.willIs(d, number)
	}
}

// move gives the device another address.
func (d *device) move() {
	old := d.addr
	d.addr = d.w.addresses.take(d.w.now(), d.rng)
	d.w.addresses.give(d.w.now(), old)
	d.w.ledger.count(func(c *counts) { c.moves++ })
	d.note("moves from %s to %s", old, d.addr)
	if err := d.radio.move(d.addr); err != nil {
		d.w.fail(d, "%v", err)
	}
}
