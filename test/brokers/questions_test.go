package brokers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// question is a row of the table in docs/BROKERS.md: what is done to a broker, how it is
// found out, and what sngate does about it. The probe returns the broker's cell.
type question struct {
	text   string
	probe  func(t testing.TB, b broker) string
	answer string
}

// questions are in the order of the table.
func questions() []question {
	return []question{
		{"Client id with a dot", clientID("host.example"), "The default client id of the gateway's own connection has only letters, digits and `-`. A device's id is passed on as it is; one that the broker refuses gets CONNACK 0x03."},
		{"Client id with a blank", clientID("two words"), "as above"},
		{"Client id with `>`", clientID("a>b"), "as above"},
		{"Client id of 100 letters", clientID(strings.Repeat("i", 100)), "`session.max_client_id` bounds what is passed on."},
		{"Empty client id, CleanSession=0", emptyID, "Never sent."},
		{"What a connection gets when its client id connects again", takenOver, "A DISCONNECT from the broker is a close like any other. The gateway waits until the device speaks."},
		{"Its will", willOfTakenOver, "Not decided by the gateway; `session.will_keeper = \"gateway\"` avoids the false alarm."},
		{"PUBLISH QoS 2 is answered by", answerToQoS2, "PUBACK ends the exchange as PUBCOMP would."},
		{"The same QoS 2 PUBLISH again with DUP, before PUBREL: copies at a subscriber", repeatedQoS2, "QoS 2 is exactly once only with brokers where this is 1."},
		{"SUBSCRIBE with QoS 2 is granted", granted, "SUBACK tells the device the lower QoS."},
		{"Retained message of a new subscription", retainedOrder, "The device gets SUBACK first, whatever the order."},
		{"A retained message arrives with", retainedFlags, "Passed on."},
		{"Retained message, SUBSCRIBE to the same filter again", retainedAgain, "Passed on."},
		{"Message on `s/a*b` arrives on", arrivesOn("s/a*b", "s/#"), "A topic name with a wildcard costs its message: acknowledged, dropped, counted, logged."},
		{"Message on `s/a.b` arrives on", arrivesOn("s/a.b", "s/#"), "Passed on."},
		{"Message on `s/a b` arrives on", arrivesOn("s/a b", "s/#"), "A message that ends the connection is found out and given up; the others arrive."},
		{"Message on `s//b` arrives on", arrivesOn("s//b", "s/#"), "Passed on."},
		{"Message on `/s` arrives on", arrivesOn("/s", "/#"), "Passed on."},
		{"Retained message on `t` for a new subscription to `/#`", emptyLevel, "A topic that no subscription of the device names is registered, as those of wildcards are."},
		{"Message on `$x/y` arrives on", arrivesOn("$x/y", "$x/#"), "Passed on."},
		{"PUBLISH to a topic with U+0001", publishTo("c/\x01"), "Never sent: refused with 0x03."},
		{"PUBLISH to a topic of 203 levels", publishTo(levels(203)), "As for `s/a b`. A topic of a device has at most 255 octets, and so at most 128 levels."},
		{"PUBLISH with a payload of 100,000 octets", payloadOf(100_000), "A datagram is smaller."},
		{"PUBLISH with a payload of 2,000,000 octets", payloadOf(2_000_000), "A datagram is smaller."},
		{"SUBSCRIBE to a filter of 9 levels", subscribeTo(levels(9)), "Any code from 0x80 on, and a SUBSCRIBE that ends the connection, is SUBACK 0x03."},
		{"SUBSCRIBE to a filter of 203 levels", subscribeTo(levels(203)), "Any code from 0x80 on, and a SUBSCRIBE that ends the connection, is SUBACK 0x03."},
		{"SUBSCRIBE to `f/a.b`", subscribeTo("f/a.b"), "as above"},
		{"SUBSCRIBE to `f/a b`", subscribeTo("f/a b"), "as above"},
		{"SUBSCRIBE to `$share/g/t`", subscribeTo("$share/g/t"), "as above"},
		{"SUBSCRIBE to `$SYS/#`", subscribeTo("$SYS/#"), "as above"},
		{"Two overlapping subscriptions, one message: copies", overlapping, "Passed on: as many PUBLISHes as the broker sends."},
		{"QoS 1 messages sent before one is acknowledged", window, "With a store, messages for sleeping devices are stored and acknowledged, so a small window does not limit what is held."},
		{"Packet identifiers of messages acknowledged one by one, counted from the first", identifiers, "What was acknowledged is forgotten: the same identifier may follow at once."},
		{"30 QoS 1 messages for a client that is away, CleanSession=0, arrive", queuedOrder, "Passed on in the order in which they come."},
		{"QoS 1 message unacknowledged when the connection breaks, CleanSession=0", unacknowledged(1), "With DUP, the same identifier and content it is delivered once; otherwise again."},
		{"QoS 2 message without PUBREC when the connection breaks", unacknowledged(2), "as above"},
		{"QoS 2 message without PUBCOMP when the connection breaks", withoutPubcomp, "PUBREL is answered by PUBCOMP, also when it comes late."},
	}
}

// lastQuestions restart the broker.
func lastQuestions() []question {
	return []question{
		{"What a client gets when the broker is stopped", stopped, "A DISCONNECT from the broker is a close like any other: connected again when it is back."},
		{"Its will then", willOfStopped, "`session.will_keeper = \"gateway\"` avoids the false alarm."},
		{"After a kill: Session Present, retained message, queued message", killed, "Without Session Present subscriptions are repeated, and what was in flight is published anew."},
	}
}

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
