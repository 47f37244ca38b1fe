package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// brokerConnects counts the connections that the broker has accepted from the gateway.
const brokerConnects = `sngate_upstream_connects_total{result="accepted"}`

// The same device from another socket: after a new DHCP lease, or a new NAT binding.
func TestTakeoverFromAnotherAddressMovesTheSession_Case153(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	g.AwaitReady(200)
	other := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#", "up/#")
	before := testgateway.NewNode(t, g.Addr)
	before.Send(sn12.Connect{Will: true, ProtocolID: sn12.ProtocolID, Duration: 60, ClientID: []byte("mover")})
	testgateway.Want[sn12.WillTopicReq](before)
	before.Send(sn12.WillTopic{Topic: []byte("wills/mover")})
	testgateway.Want[sn12.WillMsgReq](before)
	before.Send(sn12.WillMsg{Message: []byte("gone")})
	testgateway.Want[sn12.ConnAck](before)
	topic := before.Register("up/mover")
	before.Subscribe("down/mover", 1)

	after := testgateway.NewNode(t, g.Addr)
	after.MustConnect("mover", false, 60)
	// Topic ids are told again before they are used: the device may have restarted.
	other.Send("down/mover", []byte("follow"), 1, false)
	reg := testgateway.Want[sn12.Register](after)
	after.Send(sn12.RegAck{TopicID: reg.TopicID, MsgID: reg.MsgID})
	p := testgateway.Want[sn12.Publish](after)
	if string(p.Data) != "follow" {
		t.Errorf("received %+v", p)
	}
	after.Acknowledge(p)
	after.Send(sn12.Publish{QoS: 1, TopicID: topic, MsgID: 5, Data: []byte("moved")})
	if ack := testgateway.Want[sn12.PubAck](after); ack.ReturnCode != sn12.Accepted {
		t.Errorf("PUBLISH with the topic id of before is answered by %v", ack.ReturnCode)
	}
	other.WantMessage("up/mover", "moved") // and not the will
	before.WantSilence("the session has moved")

	g.Await(brokerConnects, 2) // the device's and the gateway's own
	g.Await("sngate_upstream_connections", 2)
	g.Await(testgateway.SessionsIn("active"), 1)
	other.WantNothingBefore("wills/fence")
}

// CleanSession=1 from a new address: the device has restarted there. The session begins
// anew, and its end publishes no will either.
func TestCleanTakeoverFromAnotherAddressPublishesNoWill_Case36_153(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	g.AwaitReady(200)
	other := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	o := snclient.Options{ClientID: "phoenix", CleanSession: true, Will: &snclient.Will{Topic: "wills/phoenix", Message: []byte("gone")}}
	before := connect(t, g.Addr, o)
	before.subscribe(snclient.Name("down/phoenix"), 1)
	id, err := before.Register(before.ctx, "up/phoenix")
	before.must(err)

	after := testgateway.NewNode(t, g.Addr)
	after.MustConnect("phoenix", true, 60)
	after.Send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("old id")})
	if ack := testgateway.Want[sn12.PubAck](after); ack.ReturnCode != sn12.RejectedInvalidTopicID {
		t.Errorf("PUBLISH with a forgotten topic id is answered by %v", ack.ReturnCode)
	}
	other.Send("down/phoenix", []byte("nobody there"), 1, false)
	after.Ping()
	g.Await("sngate_upstream_connections", 2) // the device's and the gateway's own
	other.WantNothingBefore("wills/fence")
}

func TestSessionIsKeptOverReconnect_Case37(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	other := testgateway.ConnectMQTT(t, broker.Addr(), "up/#")
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("keeper", false, 60)
	up := n.Register("up/keeper")
	down := n.Subscribe("down/keeper", 2).TopicID

	for round := range 3 {
		n.Send(sn12.Disconnect{})
		testgateway.Want[sn12.Disconnect](n)
		testgateway.Eventually(t, "the MQTT connection ends", func() bool {
			return strings.Count(broker.Log(), "Client keeper disconnected") == round+1
		})
		var sent []string
		for i := range 5 {
			text := fmt.Sprintf("round %d message %d", round, i)
			other.Send("down/keeper", []byte(text), byte(1+i%2), false)
			sent = append(sent, text)
		}
		n.WantSilence("the device is not connected")

		n = testgateway.NewNode(t, g.Addr) // another socket each time
		n.MustConnect("keeper", false, 60)
		names := make(map[uint16]string)
		for _, text := range sent {
			m := n.Next()
			if reg, ok := m.(sn12.Register); ok {
				names[reg.TopicID] = string(reg.TopicName)
				n.Send(sn12.RegAck{TopicID: reg.TopicID, MsgID: reg.MsgID})
				m = n.Next()
			}
			p, ok := m.(sn12.Publish)
			if !ok || string(p.Data) != text || p.TopicID != down {
				t.Fatalf("received %+v, want %q with topic id %d", m, text, down)
			}
			n.Acknowledge(p)
		}
		if name := names[down]; name != "" && name != "down/keeper" {
			t.Errorf("id %d now means %s", down, name)
		}
		n.Send(sn12.Publish{QoS: 1, TopicID: up, MsgID: uint16(100 + round), Data: []byte("still valid")})
		if ack := testgateway.Want[sn12.PubAck](n); ack.ReturnCode != sn12.Accepted {
			t.Fatalf("PUBLISH with the topic id of before is answered by %v", ack.ReturnCode)
		}
		other.WantMessage("up/keeper", "still valid")
	}
}

// What happens to an unknown sender: it is told to connect, and nothing is kept of it.
func TestStrangersAreToldToConnect_Case61_82_112_121(t *testing.T) {
	t.Parallel()
	g := startGateway(t, mosquitto.Start(t, mosquitto.Options{}).URL(), nil)
	g.AwaitReady(200)
	stranger := testgateway.NewNode(t, g.Addr)
	for _, m := range []sn12.Message{
		sn12.Register{MsgID: 1, TopicName: []byte("t")},
		sn12.Publish{QoS: 0, TopicID: 1},
		sn12.Publish{QoS: 1, TopicID: 1, MsgID: 1},
		sn12.Publish{QoS: 2, TopicID: 1, MsgID: 1},
		sn12.Subscribe{MsgID: 1, TopicName: []byte("t")},
		sn12.PingReq{},
		sn12.PingReq{ClientID: []byte("nobody")},
	} {
		stranger.Send(m)
		testgateway.Want[sn12.Disconnect](stranger)
	}
	m := g.Metrics()
	if m.Sum("sngate_sessions{") != 0 || m.Sum("sngate_upstream_connects_total") != 1 {
		t.Errorf("%v sessions and %v connects to the broker, want 0 and the gateway's own",
			m.Sum("sngate_sessions{"), m.Sum("sngate_upstream_connects_total"))
	}
	if got := m[testgateway.DropsFor("unknown_sender")]; got != 7 {
		t.Errorf("%v datagrams counted as of unknown senders, want 7", got)
	}
}
