package brokers

import (
	"strings"
	"testing"
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

func allQuestions() []question { return append(questions(), lastQuestions()...) }
