package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// payloads are of the sizes at which lengths change their form: the Length field of
// MQTT-SN around 256 octets, and what is near the end of a UDP datagram.
func payloads() [][]byte {
	sizes := []int{0, 1}
	for n := 247; n <= 260; n++ {
		sizes = append(sizes, n)
	}
	sizes = append(sizes, 1200, 60000)
	random := rand.NewChaCha8([32]byte{1})
	var list [][]byte
	for _, n := range sizes {
		p := make([]byte, n)
		random.Read(p) // never fails
		list = append(list, p)
	}
	return list
}

func TestPayloadsOfAllSizesFromDeviceToBroker_Case6_63_64_65_79(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"topics.predefined": `[{id = 7, name = "up/any"}]`})
	g.AwaitReady(200) // QoS -1 goes over the gateway's own connection
	subscriber := testgateway.ConnectMQTT(t, broker.Addr(), "up/#")
	d := connect(t, g.Addr, snclient.Options{ClientID: "sender", CleanSession: true})
	for _, c := range []struct {
		name  string
		qos   uint8
		topic snclient.Topic
		want  string
		atQoS byte
	}{
		{"-1", sn12.QoSMinusOne, snclient.Predefined(7), "up/any", 0},
		{"0", 0, snclient.Name("up/0"), "up/0", 0},
		{"1", 1, snclient.Name("up/1"), "up/1", 1},
		{"2", 2, snclient.Name("up/2"), "up/2", 2},
	} {
		t.Run("QoS "+c.name, func(t *testing.T) {
			for _, p := range payloads() {
				d.publish(c.topic, p, c.qos, false)
				m := subscriber.Receive()
				if !bytes.Equal(m.Payload(), p) {
					t.Fatalf("%d octets arrive as %d others", len(p), len(m.Payload()))
				}
				if m.Topic() != c.want || m.Qos() != c.atQoS || m.Retained() {
					t.Fatalf("%d octets arrive on %s with QoS %d, retained %v", len(p), m.Topic(), m.Qos(), m.Retained())
				}
			}
		})
	}
}

func TestPayloadsOfAllSizesFromBrokerToDevice_Case7_84_91(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	d := connect(t, g.Addr, snclient.Options{ClientID: "receiver", CleanSession: true})
	for qos := range uint8(3) {
		topic := fmt.Sprintf("down/%d", qos)
		d.subscribe(snclient.Name(topic), qos)
		for _, p := range payloads() {
			publisher.Send(topic, p, qos, false)
			m := d.receive()
			if !bytes.Equal(m.Payload, p) {
				t.Fatalf("QoS %d: %d octets arrive as %d others", qos, len(p), len(m.Payload))
			}
			if m.Topic.Name != topic || m.QoS != qos || m.DUP || m.Retain {
				t.Fatalf("QoS %d: %d octets arrive as %v with QoS %d, DUP %v, retain %v", qos, len(p), m.Topic, m.QoS, m.DUP, m.Retain)
			}
		}
	}
}

// QoS -1 comes from anybody: a device that never connects.
func TestQoSMinusOneWithoutSession_Case79(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"topics.predefined": `[{id = 7, name = "site/alarm"}]`})
	g.AwaitReady(200)
	subscriber := testgateway.ConnectMQTT(t, broker.Addr(), "#")
	stranger := testgateway.NewNode(t, g.Addr)
	stranger.Send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDPredefined, TopicID: 7, Data: []byte("fire")})
	subscriber.WantMessage("site/alarm", "fire")
	stranger.Send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("short")})
	subscriber.WantMessage("ab", "short")
	stranger.WantSilence("QoS -1 is not answered")
	if n := g.Metrics().Sum("sngate_sessions{"); n != 0 {
		t.Errorf("%v sessions after QoS -1, want none", n)
	}
}

func TestRetainedMessagesBothWays_Case75_95(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	d := connect(t, g.Addr, snclient.Options{ClientID: "retainer", CleanSession: true})
	d.publish(snclient.Name("keep/this"), []byte("kept"), 1, true)

	late := testgateway.ConnectMQTT(t, broker.Addr(), "keep/#")
	if m := late.WantMessage("keep/this", "kept"); !m.Retained() {
		t.Error("a later MQTT subscriber gets the message without its retain flag")
	}
	d.subscribe(snclient.Name("keep/this"), 1)
	if m := d.receive(); string(m.Payload) != "kept" || !m.Retain {
		t.Errorf("a later device gets %q, retain %v", m.Payload, m.Retain)
	}

	d.publish(snclient.Name("keep/this"), nil, 1, true)
	if m := d.receive(); len(m.Payload) != 0 || m.Retain {
		t.Errorf("the clearing message arrives as %q, retain %v; want empty and live", m.Payload, m.Retain)
	}
	testgateway.ConnectMQTT(t, broker.Addr(), "keep/#").WantNothingBefore("keep/fence")
}

// Topics the device has not named: each is registered by the gateway before its first
// message, and not again.
func TestWildcardSubscriptionRegistersNewTopics_Case85_103(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("wild", true, 60)
	if ack := n.Subscribe("w/+/temperature", 2); ack.TopicID != 0 {
		t.Errorf("SUBACK for a wildcard has topic id %d, want 0", ack.TopicID)
	}
	for qos := range uint8(3) {
		topic := fmt.Sprintf("w/room%d/temperature", qos)
		publisher.Send(topic, []byte("first"), qos, false)
		reg := testgateway.Want[sn12.Register](n)
		if string(reg.TopicName) != topic || reg.TopicID == 0 {
			t.Fatalf("REGISTER %+v, want topic %s", reg, topic)
		}
		n.Send(sn12.RegAck{TopicID: reg.TopicID, MsgID: reg.MsgID})
		for _, text := range []string{"first", "second"} {
			if text == "second" {
				publisher.Send(topic, []byte(text), qos, false)
			}
			m := testgateway.Want[sn12.Publish](n)
			if m.TopicID != reg.TopicID || m.TopicIDType != sn12.TopicIDNormal || string(m.Data) != text || m.QoS != qos {
				t.Fatalf("received %+v, want %q with id %d", m, text, reg.TopicID)
			}
			n.Acknowledge(m)
		}
	}
}

func TestPredefinedTopicsBothWays_Case72_99_105(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"topics.predefined": `[
		{id = 1, name = "site/alarm"},
		{id = 2, name = "site/cfg"},
		{id = 2, name = "pumps/cfg", client = "pump-*"},
	]`})
	other := testgateway.ConnectMQTT(t, broker.Addr(), "site/alarm", "pumps/#")
	for _, c := range []struct{ id, topic string }{{"meter-1", "site/cfg"}, {"pump-1", "pumps/cfg"}} {
		d := connect(t, g.Addr, snclient.Options{ClientID: c.id, CleanSession: true})
		d.publish(snclient.Predefined(1), []byte(c.id), 1, false)
		other.WantMessage("site/alarm", c.id)
		d.subscribe(snclient.Predefined(2), 1)
		other.Send(c.topic, []byte("for "+c.id), 1, false)
		m := d.receive()
		if m.Topic.Type != sn12.TopicIDPredefined || m.Topic.ID != 2 || string(m.Payload) != "for "+c.id {
			t.Fatalf("%s receives %+v", c.id, m)
		}
		d.must(d.Unsubscribe(d.ctx, snclient.Predefined(2)))
		d.must(d.Disconnect(d.ctx))
	}
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("lost", true, 60)
	n.Send(sn12.Publish{QoS: 1, MsgID: 9, TopicIDType: sn12.TopicIDPredefined, TopicID: 3})
	if ack := testgateway.Want[sn12.PubAck](n); ack.ReturnCode != sn12.RejectedInvalidTopicID || ack.TopicID != 3 || ack.MsgID != 9 {
		t.Errorf("an unknown predefined id is answered by %+v", ack)
	}
}

func TestShortTopicNamesBothWays_Case73_96_104(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	other := testgateway.ConnectMQTT(t, broker.Addr(), "ab")
	d := connect(t, g.Addr, snclient.Options{ClientID: "shorty", CleanSession: true})
	for qos := range uint8(3) {
		d.publish(snclient.Short("ab"), []byte{'0' + qos}, qos, false)
		if m := other.WantMessage("ab", string('0'+rune(qos))); m.Qos() != qos {
			t.Errorf("QoS %d arrives as QoS %d", qos, m.Qos())
		}
	}
	d.subscribe(snclient.Short("cd"), 2)
	other.Send("cd", []byte("down"), 2, false)
	if m := d.receive(); m.Topic.Type != sn12.TopicIDShort || m.Topic.Name != "cd" || string(m.Payload) != "down" {
		t.Errorf("received %+v", m)
	}
	d.must(d.Unsubscribe(d.ctx, snclient.Short("cd")))
	other.Send("cd", []byte("too late"), 1, false)
	d.must(d.Ping(d.ctx))
	if n := len(d.Messages()); n != 0 {
		t.Errorf("%d messages after UNSUBSCRIBE", n)
	}
}

// A device that subscribed with a lower QoS gets messages at that QoS, and one that
// publishes to its own subscription gets its message back.
func TestQoSIsTheLowerOfSubscriptionAndMessage_Case84(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	publisher := testgateway.ConnectMQTTWith(t, broker.Addr(), func(o *mqtt.ClientOptions) { o.SetClientID("publisher") })
	d := connect(t, g.Addr, snclient.Options{ClientID: "low", CleanSession: true})
	for granted := range uint8(3) {
		topic := fmt.Sprintf("granted/%d", granted)
		d.subscribe(snclient.Name(topic), granted)
		for qos := range uint8(3) {
			publisher.Send(topic, []byte("x"), qos, false)
			if m := d.receive(); m.QoS != min(granted, qos) {
				t.Errorf("a message of QoS %d for a subscription with QoS %d arrives with %d", qos, granted, m.QoS)
			}
		}
		d.publish(snclient.Name(topic), []byte("echo"), granted, false)
		if m := d.receive(); string(m.Payload) != "echo" || m.QoS != granted {
			t.Errorf("the device's own message comes back as %+v", m)
		}
	}
}
