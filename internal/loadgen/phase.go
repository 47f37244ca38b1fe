package loadgen

import (
	"context"
	"time"

	"sngate/snpacket/sn12"
)

// perform has every device that has not failed carry out the plan, AtOnce of them at a time,
// and returns when all have ended or failed.
func (e *engine) perform(ctx context.Context, name string, plan ...step) error {
	done := make(chan struct{})
	e.mu.Lock()
	e.phase = phase{plan: plan, done: done}
	e.launch(e.now())
	e.mu.Unlock()
	return e.wait(ctx, name, time.Hour*24, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// launch starts devices while there is room.
func (e *engine) launch(now int64) {
	p := &e.phase
	for p.next < len(e.devices) && p.open < e.o.AtOnce {
		i := p.next
		p.next++
		if d := &e.devices[i]; !d.failed {
			p.open++
			d.doing = 0
			e.begins(i, now)
		}
	}
	if p.next == len(e.devices) && p.open == 0 && p.done != nil {
		close(p.done)
		p.done = nil
	}
}

// begins sends the request of the step that device i is at.
func (e *engine) begins(i int, now int64) {
	d, s := &e.devices[i], e.phase.plan[e.devices[i].doing]
	d.tries, d.firstAt = 0, now
	if err := d.ask(s, e.o); err != nil {
		e.stop(err)
		return
	}
	if s == wakes {
		d.asleep = false
	}
	e.transmit(i, now)
}

// ends goes on with the next step of device i, or with the next device.
func (e *engine) ends(i int, now int64) {
	d := &e.devices[i]
	if d.doing++; !d.failed && int(d.doing) < len(e.phase.plan) {
		e.begins(i, now)
		return
	}
	e.phase.open--
	e.launch(now)
}

// isMessage reports whether what a device waits for answers a message, and not a request.
func isMessage(awaits sn12.Type) bool {
	switch awaits {
	case sn12.TypePubAck, sn12.TypePubRec, sn12.TypePubComp, echo:
		return true
	}
	return false
}

// answered handles what may answer a request or message of device i.
func (e *engine) answered(i int, kind sn12.Type, body []byte, now int64) {
	d := &e.devices[i]
	result := d.answered(kind, body)
	switch {
	case result == unrelated && kind == sn12.TypeDisconnect:
		e.counts.disconnects++
		e.fail(i, now)
		return
	case result == unrelated:
		var m sn12.PubAck // of QoS 0, which is answered only if it is refused
		if kind == sn12.TypePubAck && m.Parse(body) == nil && m.ReturnCode != sn12.Accepted {
			e.counts.refused++
		}
		return
	case result == received:
		e.transmit(i, now)
		return
	}
	awaited := d.awaits
	e.waiting.remove(i)
	d.awaits = 0
	if isMessage(awaited) {
		e.acknowledged(d, result, now)
		e.sendNext(i, now)
		return
	}
	if result == refused {
		e.counts.rejected++
		d.failed = true
		e.counts.failed++
	} else {
		e.done(d, now)
	}
	e.ends(i, now)
}

// acknowledged counts the end of a message's exchange.
func (e *engine) acknowledged(d *device, result outcome, now int64) {
	if result == refused {
		e.counts.refused++
		return
	}
	e.counts.acked++
	if d.firstAt >= e.measured {
		e.times.ack.record(time.Duration(now - d.firstAt))
	}
}

// done notes that a step has succeeded.
func (e *engine) done(d *device, now int64) {
	took := time.Duration(now - d.firstAt)
	switch e.phase.plan[d.doing] {
	case connects:
		e.counts.connected++
		e.times.connect.record(took)
	case sleeps:
		d.asleep = true
	case wakes:
		d.asleep = true
		e.times.wake.record(took)
	}
}

// giveUp ends what device i waits for without an answer.
func (e *engine) giveUp(i int, now int64) {
	d := &e.devices[i]
	if isMessage(d.awaits) {
		d.awaits = 0
		e.counts.gaveUp++
		e.sendNext(i, now)
		return
	}
	e.fail(i, now)
}

// fail ends the part of device i in the run.
func (e *engine) fail(i int, now int64) {
	d := &e.devices[i]
	if d.failed {
		return
	}
	d.failed = true
	e.counts.failed++
	e.waiting.remove(i)
	awaited := d.awaits
	d.awaits = 0
	switch {
	case awaited == 0:
	case isMessage(awaited):
		e.counts.gaveUp++
	default:
		e.ends(i, now)
	}
}

// The devices say goodbye some at a time, so that no buffer overflows.
const (
	goodbyes     = 50
	goodbyePause = 5 * time.Millisecond
)

// goodbye ends the sessions of the devices. Nothing that arrives is looked at any more, and
// nothing else is sent.
func (e *engine) goodbye() {
	e.mu.Lock()
	e.running, e.leaving = false, true
	count := len(e.devices)
	e.mu.Unlock()
	for i := 0; i < count; i += goodbyes {
		e.mu.Lock()
		for k := i; k < min(i+goodbyes, count); k++ {
			reply(e, k, sn12.Disconnect{})
		}
		e.mu.Unlock()
		time.Sleep(goodbyePause)
	}
}
