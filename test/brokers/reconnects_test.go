package brokers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Probes of what a broker does when a client comes back, and when it comes back itself.

// away opens a kept session with one subscription and breaks its connection after use.
func away(t testing.TB, b broker, id, topic string, use func(w *wire)) {
	t.Helper()
	w := connectWire(t, b, id, false)
	w.answer(subscribePacket(1, topic, 2))
	if use != nil {
		use(w)
	}
	w.close()
	time.Sleep(quiet)
}

// queuedOrder tries more than once: with some brokers it is chance.
func queuedOrder(t testing.TB, b broker) string {
	for round := range 3 {
		client := fmt.Sprintf("queued-%d", round)
		away(t, b, client, client, nil)
		pub := connectWire(t, b, fresh("writer"), true)
		for i := range 30 {
			pub.answer(publishPacket(client, fmt.Sprintf("%02d", i), 1, false, 3))
		}
		w := connectWire(t, b, client, false)
		var got []string
		for _, m := range w.messages() {
			got = append(got, m.payload)
		}
		if len(got) != 30 {
			return fmt.Sprintf("%d", len(got))
		}
		if !slices.IsSorted(got) {
			return "out of order"
		}
	}
	return "in order"
}

// veryPatient is longer than brokers wait before they send something again unasked.
const veryPatient = 45 * time.Second

// back connects again and describes what comes, when id is the packet identifier of what
// was left open.
func back(t testing.TB, b broker, client string, id uint16) string {
	w := dialWire(t, b)
	var list []string
	if got := w.answer(connectPacket(b, client, false)); got != "20020100" {
		list = append(list, got)
	}
	begin := time.Now()
	first := w.next(veryPatient)
	wait := ""
	if took := time.Since(begin).Round(5 * time.Second); took > 0 {
		wait = fmt.Sprintf(", after %v", took)
	}
	if first == nothing {
		return join(append(list, nothing))
	}
	for _, p := range append([]string{first}, w.rest()...) {
		list = append(list, describe(p, id)+wait)
	}
	return join(list)
}

func describe(p string, id uint16) string {
	m, ok := parsePublish(p)
	switch {
	case strings.HasPrefix(p, "6202"):
		return "PUBREL"
	case !ok:
		return p
	case m.id == id:
		return fmt.Sprintf("QoS %d, DUP=%d, same identifier", m.qos, bit(m.dup))
	default:
		return fmt.Sprintf("QoS %d, DUP=%d, new identifier", m.qos, bit(m.dup))
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func unacknowledged(qos byte) func(testing.TB, broker) string {
	return func(t testing.TB, b broker) string {
		client := fmt.Sprintf("broken-%d", qos)
		var id uint16
		away(t, b, client, client, func(w *wire) {
			pub := connectWire(t, b, fresh("writer"), true)
			for range 2 { // so that identifiers that begin anew show
				pub.publish(client, qos)
				m, _ := parsePublish(w.next(patience))
				if id == 0 {
					w.acknowledge(m)
				}
				id = m.id
			}
		})
		return back(t, b, client, id)
	}
}

func withoutPubcomp(t testing.TB, b broker) string {
	result := ""
	away(t, b, "halfway", "halfway", func(w *wire) {
		pub := connectWire(t, b, fresh("writer"), true)
		pub.publish("halfway", 2)
		m, _ := parsePublish(w.next(patience))
		if m.qos != 2 {
			result = fmt.Sprintf("comes with QoS %d", m.qos)
			return
		}
		w.answer(ackPacket(0x50, m.id))
	})
	if result != "" {
		return result
	}
	return back(t, b, "halfway", 0)
}

func stopped(t testing.TB, b broker) string {
	w := connectWire(t, b, fresh("present"), true)
	b.Stop()
	got := untilClosed(w)
	b.Restart()
	return join(got)
}

func willOfStopped(t testing.TB, b broker) string {
	w := dialWire(t, b)
	w.answer(willPacket(b, "mourned", true, "will/stop", "gone"))
	b.Stop()
	b.Restart()
	late := connectWire(t, b, fresh("late"), true)
	late.send(subscribePacket(5, "will/stop", 1))
	return isPublishedAmong(late.rest())
}

func isPublishedAmong(list []string) string {
	if slices.ContainsFunc(list, func(p string) bool { _, ok := parsePublish(p); return ok }) {
		return "published"
	}
	return "not published, or forgotten"
}

func killed(t testing.TB, b broker) string {
	retain(t, b, "kill/retained")
	away(t, b, "survivor", "kill/queued", nil)
	connectWire(t, b, fresh("writer"), true).answer(publishPacket("kill/queued", "x", 1, false, 3))
	time.Sleep(3 * time.Second) // for those that save after they have answered
	b.Kill()
	b.Restart()
	w := dialWire(t, b)
	present := w.answer(connectPacket(b, "survivor", false)) == "20020100"
	queued := len(w.messages()) > 0
	late := connectWire(t, b, fresh("late"), true)
	late.send(subscribePacket(5, "kill/retained", 1))
	kept := len(late.rest()) > 1
	yes := map[bool]string{true: "yes", false: "no"}
	return strings.Join([]string{yes[present], yes[kept], yes[queued]}, ", ")
}
