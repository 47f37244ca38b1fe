package torture

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway"
	"sngate/snpacket/sn12"
)

// A scene is a world in which nothing is left to chance: what random worlds have found, in a few steps.

// scene plays one with a device that is connected and subscribed with QoS 2, then lets everything heal
// and accounts for every message.
func scene(t *testing.T, change func(*profile), play func(*world, *device)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := profile{devices: 1, durable: true, onStop: gateway.StopKeep, maxMessages: 10, sendWindow: 16, window: 10, lowestID: true, equal: true}
		if change != nil {
			change(&p)
		}
		w := newWorld(t, 1, p)
		w.rng, w.calm = rand.New(rand.NewPCG(1, 1)), true
		d := w.devices[0]
		w.runUntilIdle()
		d.connect(false)
		w.runUntilIdle()
		for _, filter := range d.filters() {
			d.subscribe(filter, 2)
			w.runUntilIdle()
		}
		d.register(upTopic)
		w.runUntilIdle()
		play(w, d)
		if !w.failed() {
			w.heal()
		}
		w.end()
		if w.failed() {
			o := w.ledger.offences[0]
			t.Errorf("%s: %s\n%s", o.kind, o.text, excerpt(w.trace))
			t.Logf("log of the gateway:\n%s", w.log)
		}
	})
}

const (
	upTopic     = "u/dev0/a"
	downTopic   = "d/dev0/name"
	toggleTopic = "d/dev0/equal/"
)

// mqtt is the device's connection to the broker.
func (d *device) mqtt() *brokerConn {
	d.w.look()
	s := d.w.broker.session(d.id)
	if s == nil || s.conn == nil {
		d.w.t.Fatalf("%s has no connection to the broker\n%s", d.id, strings.Join(d.w.trace, "\n"))
	}
	return s.conn
}

// reaches lets arrive at the gateway what the device has sent.
func (d *device) reaches() {
	for d.w.deliverUp(d) {
		d.w.look()
	}
}

// hears lets arrive at the device what the gateway has sent.
func (d *device) hears() {
	d.w.look()
	for d.w.deliverDown(d) {
		d.w.look()
	}
}

// misses has the device miss what the gateway has sent.
func (d *device) misses() {
	d.w.look()
	d.down = nil
}

// serves has the broker take everything that has come on all connections.
func (w *world) serves() {
	w.look()
	for w.serve() {
		w.look()
	}
}

// writes has the broker write everything that waits on all connections.
func (w *world) writes() {
	w.look()
	for w.write() {
		w.look()
	}
}

// closes has the broker close the device's connection.
func (d *device) closes() {
	d.mqtt().cut(false)
	d.w.look()
}

// passes lets so much time pass.
func (w *world) passes(t time.Duration) {
	time.Sleep(t)
	w.look()
}

// speaks has an active device say something and be answered: a gateway may wait for that before it connects again.
func (d *device) speaks() {
	d.ping()
	d.reaches()
	d.hears()
}

// A QoS 2 message is on its way to the store, and not acknowledged to the broker, when the device
// connects anew, and leaves again. The message is the broker's again, which sends it once more.
func TestQoS2MessageThatWasNotStoredYetComesAgain(t *testing.T) {
	scene(t, nil, func(w *world, d *device) {
		d.sleep()
		d.reaches()
		d.hears()
		w.process.store.StopCommits()
		w.broker.publish(d, downTopic, 2, false)
		w.writes()
		// A CONNECT with a will that comes to nothing, and one without.
		d.send(sn12.Connect{CleanSession: true, Will: true, ProtocolID: sn12.ProtocolID, Duration: 60, ClientID: []byte(d.id)})
		d.reaches()
		d.misses()
		d.connect(false)
		d.reaches()
		d.goodbye()
		d.reaches()
		w.serves()
		w.process.store.StartCommits()
		w.look()
		d.hears()
	})
}
