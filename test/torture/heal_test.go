package torture

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	healLimit  = 20 * time.Minute // in which everything has to end when nothing goes wrong any more
	healQuiet  = 30 * time.Second // in which nothing may come then
	spoolLimit = 10 * time.Minute // in which acknowledged messages of silent devices have to arrive
)

// heal ends all trouble and waits until nothing waits any more.
func (w *world) heal() {
	w.step++
	w.note("world", "all trouble ends")
	w.calm = true
	w.recover()
	if w.process.running == nil {
		w.process.start()
	}
	if w.profile.silentEnd && !w.healSilently() {
		return
	}
	for end := time.Now().Add(healLimit); !w.failed(); {
		w.runUntilIdle()
		w.tend()
		waiting := w.waiting()
		if waiting == "" {
			break
		}
		if time.Now().After(end) {
			w.ledger.offend("stuck", "after %v without trouble: %s", healLimit, waiting)
			return
		}
	}
	for end := time.Now().Add(healQuiet); time.Now().Before(end) && !w.failed(); {
		w.runUntilIdle()
		w.tend()
	}
	if !w.failed() {
		w.ledger.conclude()
	}
}

// healSilently has the devices leave first: what they were acknowledged has to arrive without them.
func (w *world) healSilently() bool {
	for _, d := range w.devices {
		if !d.clean { // with CleanSession it would have to say goodbye, or stay what it is
			d.req, d.unfinished, d.wake, d.up, d.down = nil, nil, nil, nil, nil
			d.state = off
		}
	}
	w.note("world", "the devices are silent")
	for end := time.Now().Add(spoolLimit); len(w.ledger.owing(nil, true)) > 0 && !w.failed(); {
		w.runUntilIdle()
		time.Sleep(250 * time.Millisecond)
		if time.Now().After(end) {
			w.ledger.offend("stuck spool", "%v after the broker is well, and the device silent: %v", spoolLimit, w.ledger.owing(nil, true)[0])
			return false
		}
	}
	for _, d := range w.devices {
		if d.state == off {
			d.down = nil // its radio has been off
		}
	}
	return !w.failed()
}

// runUntilIdle moves everything that can move.
func (w *world) runUntilIdle() {
	for range 100000 {
		w.look()
		moved := false
		for _, d := range w.devices {
			for w.deliverUp(d) {
				moved = true
				w.look()
			}
			for w.deliverDown(d) {
				moved = true
				w.look()
			}
		}
		for w.serve() || w.write() {
			moved = true
			w.look()
		}
		if !moved || w.failed() {
			return
		}
	}
	w.ledger.offend("stuck", "there is no end of datagrams and packets")
}

// tend has every device go on, and lets time pass.
func (w *world) tend() {
	for _, d := range w.devices {
		switch {
		case d.req != nil:
			if d.due() {
				d.repeat()
			}
		case d.state == off:
			d.connect(d.clean)
		case d.unfinished != nil:
			d.goOn()
		case !d.sleepy():
			d.ping()
		}
	}
	time.Sleep(401 * time.Millisecond)
	w.look()
}

// unreleased counts the QoS 2 exchanges that somebody has to go on with: a device that began anew while the
// broker was away has given up what it was not acknowledged.
func (w *world) unreleased(s *brokerSession) (n int) {
	for _, in := range s.received {
		if slices.ContainsFunc(w.ledger.messages, func(m *message) bool {
			return m.up && m.acked && m.dev == s.dev && m.topic == in.topic && m.payload == in.payload
		}) {
			n++
		}
	}
	return n
}

// waiting tells what is not finished, "" if nothing is.
func (w *world) waiting() string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, d := range w.devices {
		if d.unfinished != nil {
			add("%s has not finished %s", d.id, d.unfinished.what)
		}
		if d.req != nil && d.req.sent > 3 {
			add("%s has sent %s %d times", d.id, d.req.what, d.req.sent)
		}
		if d.state == off {
			add("%s is not connected", d.id)
		}
		if s := w.broker.session(d.id); s != nil && len(s.queue)+len(s.window)+w.unreleased(s) > 0 {
			add("the broker has %d messages for %s in its queue, %v in flight, %d from it unreleased", len(s.queue), d.id, s.window, w.unreleased(s))
		}
	}
	for _, up := range []bool{true, false} {
		if owed := w.ledger.owing(nil, up); len(owed) > 0 {
			add("%d messages have not arrived, the first is %v", len(owed), owed[0])
		}
	}
	return strings.Join(list, "; ")
}
