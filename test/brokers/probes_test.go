package brokers

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The probes, in the order of the table.

func emptyID(t testing.TB, b broker) string {
	return dialWire(t, b).answer(connectPacket(b, "", false))
}

func answerToQoS2(t testing.TB, b broker) string {
	return short(connectWire(t, b, fresh("q2"), true).answer(publishPacket("q2", "x", 2, false, 5)))
}

func granted(t testing.TB, b broker) string {
	got := connectWire(t, b, fresh("granted"), true).answer(subscribePacket(5, "granted", 2))
	return "QoS " + strings.TrimPrefix(got, "900300050")
}

func emptyLevel(t testing.TB, b broker) string {
	retain(t, b, "t")
	w := connectWire(t, b, fresh("late"), true)
	w.send(subscribePacket(5, "/#", 0))
	for _, p := range w.rest() {
		if m, ok := parsePublish(p); ok && m.topic == "t" {
			return "comes"
		}
	}
	return "does not come"
}

// short names the packets of the answer to a PUBLISH.
func short(p string) string {
	for prefix, name := range map[string]string{"4002": "PUBACK", "5002": "PUBREC"} {
		if strings.HasPrefix(p, prefix) {
			return name
		}
	}
	return p
}

func levels(n int) string { return strings.Repeat("l/", n-1) + "l" }

func clientID(id string) func(testing.TB, broker) string {
	return func(t testing.TB, b broker) string {
		if got := dialWire(t, b).answer(connectPacket(b, id, true)); got != "20020000" {
			return got
		}
		return "accepted"
	}
}

func takenOver(t testing.TB, b broker) string {
	old := connectWire(t, b, "twin", true)
	connectWire(t, b, "twin", true)
	return join(untilClosed(old))
}

// untilClosed returns all that comes before the end.
func untilClosed(w *wire) (list []string) {
	for {
		p := w.next(patience)
		if list = append(list, p); p == closed || p == nothing {
			return list
		}
	}
}

func join(list []string) string {
	if len(list) == 0 {
		return nothing
	}
	return strings.Join(list, ", ")
}

// watch subscribes a new client with QoS 2.
func watch(t testing.TB, b broker, id, filter string) *wire {
	t.Helper()
	w := connectWire(t, b, id, true)
	if got := w.answer(subscribePacket(1, filter, 2)); !strings.HasPrefix(got, "90030001") || got > "9003000102" {
		t.Fatalf("SUBSCRIBE to %s is answered by %s", filter, got)
	}
	return w
}

// messages acknowledges and returns what comes until it is quiet.
func (w *wire) messages() (list []published) {
	for {
		m, ok := parsePublish(w.next(quiet))
		if !ok {
			return list
		}
		w.acknowledge(m)
		list = append(list, m)
	}
}

func (w *wire) acknowledge(m published) {
	switch m.qos {
	case 1:
		w.send(ackPacket(0x40, m.id))
	case 2:
		if got := w.answer(ackPacket(0x50, m.id)); !strings.HasPrefix(got, "6202") {
			w.t.Fatalf("PUBREC is answered by %s", got)
		}
		w.send(ackPacket(0x70, m.id))
	}
}

func willOfTakenOver(t testing.TB, b broker) string {
	heir := watch(t, b, fresh("heir"), "will/taken")
	old := dialWire(t, b)
	old.answer(willPacket(b, "twin-will", false, "will/taken", "gone"))
	connectWire(t, b, "twin-will", true)
	return isPublished(heir)
}

// publish publishes "x", with the whole exchange.
func (w *wire) publish(topic string, qos byte) {
	if got := w.answer(publishPacket(topic, "x", qos, false, 3)); short(got) == "PUBREC" {
		w.answer(ackPacket(0x62, 3))
	}
}

func isPublished(heir *wire) string {
	if len(heir.messages()) > 0 {
		return "published"
	}
	return "not published"
}

func repeatedQoS2(t testing.TB, b broker) string {
	sub, pub := watch(t, b, fresh("sub2"), "repeated"), connectWire(t, b, fresh("pub2"), true)
	p := publishPacket("repeated", "x", 2, false, 7)
	first := pub.answer(p)
	p[0] |= 8
	pub.answer(p)
	if short(first) == "PUBREC" {
		pub.answer(ackPacket(0x62, 7))
	}
	return fmt.Sprint(len(sub.messages()))
}

// retain leaves a retained QoS 1 message.
func retain(t testing.TB, b broker, topic string) {
	t.Helper()
	pub := connectWire(t, b, fresh("retainer"), true)
	if got := pub.answer(publishPacket(topic, "r", 1, true, 9)); short(got) != "PUBACK" {
		t.Fatalf("a retained PUBLISH is answered by %s", got)
	}
	pub.send([]byte{0xe0, 0})
	time.Sleep(quiet) // some store it after they have answered
}

// retainedOrder tries several times: with some brokers it is chance.
func retainedOrder(t testing.TB, b broker) string {
	retain(t, b, "retained/order")
	before := false
	for range 10 {
		w := connectWire(t, b, fresh("late"), true)
		w.send(subscribePacket(5, "retained/order", 1))
		first, second := w.next(patience), w.next(patience)
		if _, ok := parsePublish(first); ok {
			before = true
		} else if _, ok := parsePublish(second); !ok {
			return "none"
		}
	}
	if before {
		return "before SUBACK"
	}
	return "after SUBACK"
}

func retainedFlags(t testing.TB, b broker) string {
	retain(t, b, "retained/flags")
	w := connectWire(t, b, fresh("late"), true)
	w.send(subscribePacket(5, "retained/flags", 2))
	for _, p := range w.rest() {
		if m, ok := parsePublish(p); ok {
			return fmt.Sprintf("QoS %d, RETAIN=%d", m.qos, bit(m.retain))
		}
	}
	return "none"
}

func retainedAgain(t testing.TB, b broker) string {
	retain(t, b, "retained/again")
	w := connectWire(t, b, fresh("late"), true)
	w.send(subscribePacket(5, "retained/again", 0))
	w.rest()
	w.send(subscribePacket(6, "retained/again", 0))
	if len(w.rest()) > 1 {
		return "comes again"
	}
	return "does not come"
}

func arrivesOn(topic, filter string) func(testing.TB, broker) string {
	return func(t testing.TB, b broker) string {
		sub := connectWire(t, b, fresh("reader"), true)
		if got := sub.answer(subscribePacket(1, filter, 1)); got != "9003000101" {
			return "filter `" + filter + "`: " + got
		}
		payload := fresh("x")
		answer := connectWire(t, b, fresh("writer"), true).answer(publishPacket(topic, payload, 1, false, 3))
		if short(answer) != "PUBACK" {
			return answer
		}
		for _, m := range sub.messages() {
			if m.payload == payload {
				return "`" + m.topic + "`"
			}
		}
		return "PUBACK, nowhere"
	}
}

func publishTo(topic string) func(testing.TB, broker) string {
	return func(t testing.TB, b broker) string {
		return short(connectWire(t, b, fresh("to"), true).answer(publishPacket(topic, "x", 1, false, 3)))
	}
}

func payloadOf(n int) func(testing.TB, broker) string {
	return func(t testing.TB, b broker) string {
		return short(connectWire(t, b, fresh("large"), true).answer(publishPacket("large", strings.Repeat("x", n), 1, false, 3)))
	}
}

func subscribeTo(filter string) func(testing.TB, broker) string {
	return func(t testing.TB, b broker) string {
		w := connectWire(t, b, fresh("filters"), true)
		w.send(subscribePacket(5, filter, 1))
		for { // a topic of the broker's own may come first
			if p := w.next(patience); !strings.HasPrefix(p, "3") {
				return p
			}
		}
	}
}

func overlapping(t testing.TB, b broker) string {
	w := watch(t, b, fresh("overlap"), "overlap/+")
	w.answer(subscribePacket(2, "overlap/#", 1))
	connectWire(t, b, fresh("writer"), true).answer(publishPacket("overlap/x", "x", 1, false, 3))
	return fmt.Sprint(len(w.messages()))
}

const flood = 1200

func window(t testing.TB, b broker) string {
	w := watch(t, b, fresh("window"), "window")
	pub := connectWire(t, b, fresh("writer"), true)
	for i := range flood {
		pub.send(publishPacket("window", "x", 1, false, uint16(1+i%100)))
		if got := pub.next(patience); short(got) != "PUBACK" {
			return got
		}
	}
	n := len(w.rest())
	if n >= flood {
		return fmt.Sprintf("at least %d", flood)
	}
	return fmt.Sprint(n)
}

func identifiers(t testing.TB, b broker) string {
	w := watch(t, b, fresh("ids"), "ids")
	pub := connectWire(t, b, fresh("writer"), true)
	var ids []string
	first := uint16(0)
	for range 3 {
		pub.answer(publishPacket("ids", "x", 1, false, 3))
		m, ok := parsePublish(w.next(patience))
		if !ok {
			return nothing
		}
		w.acknowledge(m)
		time.Sleep(quiet / 4)
		if ids == nil {
			first = m.id
		}
		ids = append(ids, fmt.Sprint(m.id-first+1))
	}
	return strings.Join(ids, ", ")
}
