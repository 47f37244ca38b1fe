package torture

import (
	"strings"
	"time"
)

// act has a device do something of its own accord.
func (w *world) act(d *device) {
	switch {
	case d.req != nil:
		d.busy()
	case d.state == off:
		d.connect(d.choose())
	case d.sleepy():
	case d.unfinished != nil && w.rng.IntN(2) == 0:
		d.goOn()
	case d.state == asleep:
		d.sleeping()
	default:
		d.idle()
	}
}

// busy is for a device that waits for an answer: mostly it repeats the request when it is time.
func (d *device) busy() {
	w := d.w
	switch n := w.rng.IntN(40); {
	case d.req.what == connecting || d.req.what == "DISCONNECT":
		if d.due() {
			d.repeat()
		}
	case n < 2 && w.profile.byes:
		d.leave()
	case n == 2 && w.profile.sleeps && d.req.what != "sleep":
		d.sleep()
	case d.due():
		d.repeat()
	}
}

// choose says what CleanSession the next CONNECT has: another than before only if the last one is so long
// ago that no answer to it can be on its way, which would be taken for the answer to this one.
func (d *device) choose() bool {
	clean := d.w.profile.cleans && d.w.rng.IntN(3) == 0
	if time.Since(d.connectAt) < connectChange {
		return d.clean
	}
	return clean
}

func (d *device) leave() {
	d.w.counts.goodbyes++
	d.goodbye()
}

// sleeping is for a sleeper that waits for nothing.
func (d *device) sleeping() {
	w := d.w
	switch n := w.rng.IntN(20); {
	case n == 0 && !d.clean: // with CleanSession it has to leave first
		d.connect(false)
	case n == 1 && w.profile.byes:
		d.leave()
	case n < 5:
		d.publishSomething()
	default:
		d.ping()
	}
}

// idle is for an active device that waits for nothing.
func (d *device) idle() {
	w := d.w
	for _, filter := range d.filters() {
		if !d.subscribed[filter] && w.rng.IntN(3) > 0 {
			qos := 2 - byte(w.rng.IntN(5))/4
			if strings.Contains(filter, "equal") {
				qos = 2
			}
			d.subscribe(filter, qos)
			return
		}
	}
	switch n := w.rng.IntN(40); {
	case n < 3 && w.profile.byes:
		d.leave()
	case n < 6 && w.profile.sleeps:
		d.sleep()
	case n == 6 && time.Since(d.connectAt) >= connectChange: // sooner it would be taken for a duplicate
		d.connect(d.choose())
	case n == 7 && w.profile.unsubscribes:
		d.unsubscribe(d.filters()[w.rng.IntN(2)])
	case n < 11:
		d.ping()
	default:
		d.publishSomething()
	}
}

// publishSomething publishes, or goes on with what it has begun to publish: its messages have an order.
func (d *device) publishSomething() {
	w := d.w
	if d.unfinished != nil {
		d.goOn()
		return
	}
	topic, qos, equal := "u/"+d.id+"/"+string('a'+rune(w.rng.IntN(2))), byte(w.rng.IntN(5)+1)/2, false
	if w.profile.equal && w.rng.IntN(2) == 0 {
		qos, equal = byte(1+w.rng.IntN(2)), true
		topic = d.equalTopic("u", qos)
	}
	if _, ok := d.ids[topic]; !ok {
		d.register(topic)
		return
	}
	d.publish(topic, qos, equal)
}
