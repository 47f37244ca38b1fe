package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// These tests state what devices with the small client libraries of the field need.

// quickRetries make what goes unanswered show within seconds.
func quickRetries(more testgateway.Settings) testgateway.Settings {
	s := testgateway.Settings{"session.retry_interval": `"1s"`, "session.retry_count": "2"}
	maps.Copy(s, more)
	return s
}

// withStoreAndWithout runs a test with the store in a file and in memory.
func withStoreAndWithout(t *testing.T, test func(t *testing.T, s testgateway.Settings)) {
	for name, s := range map[string]testgateway.Settings{"store in a file": nil, "store in memory": {"store.path": `""`}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, quickRetries(s))
		})
	}
}

func TestSubscriptionToARetainedTopicIsAcknowledgedFirst(t *testing.T) {
	t.Parallel()
	withStoreAndWithout(t, func(t *testing.T, s testgateway.Settings) {
		broker := mosquitto.Start(t, mosquitto.Options{})
		g := startGateway(t, broker.URL(), s)
		publisher := testgateway.ConnectMQTT(t, broker.Addr())
		for i := range 20 {
			qos := uint8(i % 2)
			topic := fmt.Sprintf("cfg/%d", i)
			publisher.Send(topic, []byte("mode"), qos, true)
			c := emcute(t, g.Addr, topic)
			c.connect(true)
			ack := c.subscribe(topic, 1)
			c.listen("the retained message", c.has(topic+" mode"))
			if want := []sn12.Type{sn12.TypeConnAck, sn12.TypeSubAck, sn12.TypePublish}; !slices.Equal(c.heard, want) || ack.TopicID == 0 {
				t.Fatalf("retained message of QoS %d: heard %v, want %v", qos, c.heard, want)
			}
		}
	})
}

// The device has forgotten its topic ids and does not answer REGISTER. SUBSCRIBE tells it
// the id, and with it what waits.
func TestQueuedMessagesForAClientWithoutRegister(t *testing.T) {
	t.Parallel()
	withStoreAndWithout(t, func(t *testing.T, s testgateway.Settings) {
		broker := mosquitto.Start(t, mosquitto.Options{})
		g := startGateway(t, broker.URL(), s)
		publisher := testgateway.ConnectMQTT(t, broker.Addr())
		c := emcute(t, g.Addr, "forgetful")
		c.connect(false)
		c.subscribe("r/s2", 1)
		for _, reboots := range []bool{false, true} {
			c.Send(sn12.Disconnect{})
			await[sn12.Disconnect](c)
			publisher.Send("r/s2", []byte("one"), 1, false)
			publisher.Send("r/s2", []byte("two"), 1, false)
			if c.got = nil; reboots {
				c = c.reboot(g.Addr)
			}
			c.connect(false)
			c.listenFor(50 * time.Millisecond) // its REGISTER comes, and is ignored
			c.subscribe("r/s2", 1)
			c.listen("what was queued", c.has("r/s2 one", "r/s2 two"))
		}
	})
}

// A subscription to a short name is acknowledged with the name as its id: 0 would be taken
// for no subscription.
func TestShortNameInSubAck(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), quickRetries(nil))
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	c := emcute(t, g.Addr, "short")
	c.connect(true)
	if ack := c.subscribe("ec", 1); ack.TopicID != 0x6563 {
		t.Errorf("SUBACK has the topic id %04x, want 6563", ack.TopicID)
	}
	publisher.Send("ec", []byte("x"), 1, false)
	c.listen("the message", c.has("ec x"))
}

// A device that has no use for a short name says so once, and the next message follows.
func TestRejectedShortNameEndsThatMessage(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), quickRetries(nil))
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	c := asymcute(t, g.Addr, "swapped")
	c.connect(true)
	c.subscribe("ec", 1)
	c.subscribe("long/name", 1)
	publisher.Send("ec", []byte("x"), 1, false)
	publisher.Send("long/name", []byte("y"), 1, false)
	c.listen("the next message", c.has("long/name y"))
	if slices.Contains(c.heard, sn12.TypeRegister) {
		t.Errorf("a short name was registered: %v", c.heard)
	}
	if want := []sn12.ReturnCode{sn12.RejectedInvalidTopicID, sn12.Accepted}; !slices.Equal(c.codes, want) {
		t.Errorf("the device has answered %v, want %v", c.codes, want)
	}
}

// REGISTER that is never answered costs its message and nothing else: the session goes on,
// and what needs no REGISTER is not held up by it.
func TestUnansweredRegisterDoesNotEndALiveSession(t *testing.T) {
	t.Parallel()
	withStoreAndWithout(t, func(t *testing.T, s testgateway.Settings) {
		broker := mosquitto.Start(t, mosquitto.Options{})
		g := startGateway(t, broker.URL(), s)
		subscriber := testgateway.ConnectMQTT(t, broker.Addr(), "up/#")
		c := newSmallClient(t, g.Addr, "wild")
		c.connect(true)
		c.subscribe("plain", 1)
		c.subscribe("wild/#", 1)
		for round := range 2 {
			text := fmt.Sprint(round)
			subscriber.Send("wild/"+text, []byte("unknown"), 1, false)
			subscriber.Send("plain", []byte(text), 1, false)
			c.got = nil
			begin := time.Now()
			c.listen("the message that needs no REGISTER", c.has("plain "+text))
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it came after %v, behind the REGISTER", took)
			}
			c.listenFor(5 * time.Second) // longer than all repetitions
			c.publish("up/alive", text)
			subscriber.WantMessage("up/alive", text)
		}
		if slices.Contains(c.heard, sn12.TypeDisconnect) {
			t.Errorf("the device was sent DISCONNECT: heard %v", c.heard)
		}
	})
}

// emcute rejects a PUBLISH with DUP, and one of QoS 2, by PUBACK 0x03. That ends the message.
func TestMessagesThatAClientRejectsAreGivenUp(t *testing.T) {
	t.Parallel()
	withStoreAndWithout(t, func(t *testing.T, s testgateway.Settings) {
		broker := mosquitto.Start(t, mosquitto.Options{})
		g := startGateway(t, broker.URL(), s)
		publisher := testgateway.ConnectMQTT(t, broker.Addr())
		c := emcute(t, g.Addr, "picky")
		c.connect(true)
		c.subscribe("one", 1)
		c.subscribe("two", 2)
		c.deaf = 1
		publisher.Send("one", []byte("lost, then with DUP"), 1, false)
		publisher.Send("one", []byte("next"), 1, false)
		c.listen("the message behind it", c.has("one next"))
		publisher.Send("two", []byte("QoS 2"), 2, false)
		publisher.Send("one", []byte("last"), 1, false)
		c.listen("the message behind one of QoS 2", c.has("one next", "one last"))
		c.publish("up", "alive")
		want := []sn12.ReturnCode{sn12.RejectedNotSupported, sn12.Accepted, sn12.RejectedNotSupported, sn12.Accepted}
		if !slices.Equal(c.codes, want) {
			t.Errorf("the device has answered %v, want %v", c.codes, want)
		}
	})
}

// asymcute sends all its subscriptions at once when it is connected.
func TestSubscriptionsSentAtOnceAreAllAccepted(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	r := testgateway.StartRelay(t, broker.Addr())
	g := startGateway(t, r.URL(), quickRetries(nil))
	c := asymcute(t, g.Addr, "eager")
	c.connect(true)
	r.Down.Lock() // the broker takes its time
	for i := range 8 {
		c.Send(sn12.Subscribe{QoS: 1, MsgID: uint16(1 + i), TopicName: fmt.Appendf(nil, "boot/%d", i)})
	}
	time.AfterFunc(300*time.Millisecond, r.Down.Unlock)
	for range 8 {
		if ack := await[sn12.SubAck](c); ack.ReturnCode != sn12.Accepted {
			t.Errorf("SUBSCRIBE %d is answered by %v", ack.MsgID, ack.ReturnCode)
		}
	}
}

// A device that only sends PINGREQ stays connected.
func TestPingsKeepAClientThatOnlyListens(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), quickRetries(nil))
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	c := emcute(t, g.Addr, "listener")
	c.Send(sn12.Connect{ProtocolID: sn12.ProtocolID, CleanSession: true, Duration: 1, ClientID: []byte(c.id)})
	await[sn12.ConnAck](c)
	c.subscribe("a/topic", 1)
	c.listenFor(5 * time.Second) // with a PINGREQ each half second
	publisher.Send("a/topic", []byte("x"), 1, false)
	c.listen("the message", c.has("a/topic x"))
	if slices.Contains(c.heard, sn12.TypeDisconnect) {
		t.Errorf("the device was sent DISCONNECT: heard %v", c.heard)
	}
}

// A client without REGISTER that subscribes by name to a predefined topic is sent PUBLISH
// with the id of its SUBACK, as a normal id: it knows no other type.
func TestPredefinedTopicSubscribedByName(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), quickRetries(testgateway.Settings{"topics.predefined": `[{id = 7, name = "site/mode"}]`}))
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	publisher.Send("site/mode", []byte("kept"), 1, true)
	c := emcute(t, g.Addr, "by-name")
	c.connect(true)
	c.subscribe("site/mode", 1)
	publisher.Send("site/mode", []byte("live"), 1, false)
	c.listen("both messages", c.has("site/mode kept", "site/mode live"))
	if slices.Contains(c.codes, sn12.RejectedNotSupported) {
		t.Errorf("the device has answered %v", c.codes)
	}
}

// A rebooted client begins its MsgIds anew, often with the payload it began with before:
// that is no repetition, from whichever port it comes.
func TestRebootedClientUsesItsMessageIdentifiersAgain(t *testing.T) {
	t.Parallel()
	withStoreAndWithout(t, func(t *testing.T, s testgateway.Settings) {
		broker := mosquitto.Start(t, mosquitto.Options{})
		g := startGateway(t, broker.URL(), s)
		subscriber := testgateway.ConnectMQTT(t, broker.Addr(), "boot")
		c := emcute(t, g.Addr, "rebooting")
		for _, clean := range []bool{true, true, false, false} {
			c.connect(clean)
			c.publish("boot", "hello")
			subscriber.WantMessage("boot", "hello")
			if c.nextID = 0x1234; !clean {
				c = c.reboot(g.Addr)
			}
		}
		subscriber.WantNothingBefore("boot")
	})
}
