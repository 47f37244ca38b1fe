package torture

import (
	"slices"
	"time"
)

// next takes one step.
func (w *world) next() {
	d := w.devices[w.rng.IntN(len(w.devices))]
	switch n := w.rng.IntN(100); {
	case n < 20:
		w.deliverUp(d)
	case n < 40:
		w.deliverDown(d)
	case n < 54:
		w.serve()
	case n < 68:
		w.write()
	case n < 80:
		w.act(d)
	case n < 88:
		w.publish(d)
	case n < 95:
		w.pass()
	default:
		w.trouble(d)
	}
	w.look()
}

// deliverUp lets a datagram of a device arrive at the gateway, or get lost on the way.
func (w *world) deliverUp(d *device) bool {
	if len(d.up) == 0 {
		return false
	}
	b := d.up[0]
	d.up = d.up[1:]
	if w.chance(w.profile.loss) {
		d.note("   lost: % x", b)
		d.disturb()
		return true
	}
	for range 1 + w.count(w.profile.dup) {
		if _, err := d.conn.WriteTo(b, gatewayAddr); err != nil {
			w.t.Fatal(err)
		}
	}
	return true
}

// count is 1 with the probability p, otherwise 0.
func (w *world) count(p float64) int {
	if w.chance(p) {
		return 1
	}
	return 0
}

// deliverDown lets a datagram of the gateway arrive at a device, or get lost on the way.
func (w *world) deliverDown(d *device) bool {
	if len(d.down) == 0 {
		return false
	}
	b := d.down[0]
	d.down = d.down[1:]
	if w.chance(w.profile.loss) {
		d.note("   lost on the way to it: % x", b)
		d.disturb()
		return true
	}
	for range 1 + w.count(w.profile.dup) {
		d.receive(b)
	}
	return true
}

// serve has the broker take a packet, and perhaps close before it has answered.
func (w *world) serve() bool {
	conns := slices.DeleteFunc(slices.Clone(w.broker.open()), func(c *brokerConn) bool { return !c.ready() })
	if len(conns) == 0 {
		return false
	}
	c := conns[w.rng.IntN(len(conns))]
	c.serve()
	w.counts.packets++
	w.maybeCut(c)
	return true
}

// write has the broker write a packet, and perhaps close after half of it or all of it.
func (w *world) write() bool {
	conns := slices.DeleteFunc(slices.Clone(w.broker.open()), func(c *brokerConn) bool { return len(c.out) == 0 })
	if len(conns) == 0 {
		return false
	}
	c := conns[w.rng.IntN(len(conns))]
	if w.profile.cuts && w.chance(0.02) {
		c.write(true)
		w.counts.cuts++
		c.cut(false)
		return true
	}
	c.write(false)
	w.counts.packets++
	w.maybeCut(c)
	return true
}

func (w *world) maybeCut(c *brokerConn) {
	if !w.profile.cuts || !w.chance(0.03) {
		return
	}
	w.look() // the gateway has read what was written
	w.counts.cuts++
	c.cut(w.profile.disconnects)
}

// pass lets time pass.
func (w *world) pass() {
	d := []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 6 * time.Second}
	n := d[w.rng.IntN(len(d))] + time.Duration(w.rng.IntN(1000))*time.Microsecond
	time.Sleep(n)
	for _, d := range w.devices {
		d.linger(n)
	}
}

// publish has the broker publish to a device, sometimes a burst.
func (w *world) publish(d *device) {
	n := 1
	if w.rng.IntN(6) == 0 {
		n += w.rng.IntN(8)
	}
	if len(w.ledger.owing(d, false)) > 40 {
		return
	}
	for range n {
		if w.profile.equal && w.rng.IntN(2) == 0 {
			qos := byte(1 + w.rng.IntN(2))
			w.broker.publish(d, d.equalTopic("d", qos), qos, true)
			continue
		}
		w.broker.publish(d, downTopics(d)[w.rng.IntN(4)], byte(w.rng.IntN(5)+1)/2, false)
	}
}

func downTopics(d *device) []string {
	return []string{"d/" + d.id + "/name", "d/" + d.id + "/any/0", "d/" + d.id + "/any/1", "d/" + d.id + "/any/2"}
}

// equalTopic is where all messages have one payload and one QoS.
func (d *device) equalTopic(direction string, qos byte) string {
	return direction + "/" + d.id + "/equal/" + string('0'+rune(qos))
}

// filters are what a device subscribes to.
func (d *device) filters() []string {
	list := []string{"d/" + d.id + "/name", "d/" + d.id + "/any/+"}
	if d.w.profile.equal {
		list = append(list, "d/"+d.id+"/equal/+")
	}
	return list
}

// trouble is what goes wrong besides.
func (w *world) trouble(d *device) {
	p := &w.profile
	switch n := w.rng.IntN(10); {
	case n < 2 && p.outages:
		w.outage()
	case n < 4 && (p.kills || p.stops):
		w.restart()
	case n == 4 && p.forgets:
		w.forget(d)
	case n == 5 && p.moves:
		d.note("has another address")
		d.disturb()
		d.listen()
	case n == 6 && p.cuts:
		if conns := w.broker.open(); len(conns) > 0 {
			w.counts.cuts++
			conns[w.rng.IntN(len(conns))].cut(p.disconnects)
		}
	}
}

// outage takes the broker away, or brings it back.
func (w *world) outage() {
	if w.broker.down || w.broker.ill != 0 {
		w.recover()
		return
	}
	w.counts.outages++
	if w.rng.IntN(4) == 0 {
		w.note("broker", "refuses CONNECT")
		w.broker.ill = 3
	} else {
		w.note("broker", "is down")
		w.broker.setDown(true)
	}
	w.closeAll()
}

func (w *world) recover() {
	if w.broker.down || w.broker.ill != 0 {
		w.note("broker", "is well again")
	}
	w.broker.setDown(false)
	w.broker.ill = 0
}

func (w *world) closeAll() {
	for _, c := range slices.Clone(w.broker.open()) {
		c.cut(w.profile.disconnects)
	}
}

// restart ends the gateway, or starts it.
func (w *world) restart() {
	if w.process.running == nil {
		w.process.start()
		return
	}
	for _, d := range w.devices {
		d.disturb()
	}
	if w.profile.kills && (!w.profile.stops || w.rng.IntN(2) == 0) {
		w.counts.kills++
		w.process.kill()
	} else {
		w.counts.stops++
		w.process.stop()
	}
	if w.rng.IntN(2) == 0 {
		w.process.start()
	}
}

// forget has the broker forget the session of a device, with its connection.
func (w *world) forget(d *device) {
	s := w.broker.session(d.id)
	if s == nil {
		return
	}
	if s.conn != nil {
		s.conn.cut(w.profile.disconnects)
	}
	if w.broker.session(d.id) == s {
		s.giveUp("the broker has lost it")
	}
}
