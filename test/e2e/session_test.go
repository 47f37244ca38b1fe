package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
)

// brokerConnects counts the connections that the broker has accepted from the gateway.
const brokerConnects = `sngate_upstream_connects_total{result="accepted"}`

// The same device from another socket: after a new DHCP lease, or a new NAT binding.
func TestTakeoverFromAnotherAddressMovesTheSession_Case153(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	g.awaitReady(200)
	other := mqttConnect(t, broker.Addr(), "wills/#", "up/#")
	before := newNode(t, g.addr)
	before.send(sn12.Connect{Will: true, ProtocolID: sn12.ProtocolID, Duration: 60, ClientID: []byte("mover")})
	want[sn12.WillTopicReq](before)
	before.send(sn12.WillTopic{Topic: []byte("wills/mover")})
	want[sn12.WillMsgReq](before)
	before.send(sn12.WillMsg{Message: []byte("gone")})
	want[sn12.ConnAck](before)
	topic := before.register("up/mover")
	before.subscribe("down/mover", 1)

	after := newNode(t, g.addr)
	after.mustConnect("mover", false, 60)
	// Topic ids are told again before they are used: the device may have restarted.
	other.publish("down/mover", []byte("follow"), 1, false)
	reg := want[sn12.Register](after)
	after.send(sn12.RegAck{TopicID: reg.TopicID, MsgID: reg.MsgID})
	p := want[sn12.Publish](after)
	if string(p.Data) != "follow" {
		t.Errorf("received %+v", p)
	}
	after.acknowledge(p)
	after.send(sn12.Publish{QoS: 1, TopicID: topic, MsgID: 5, Data: []byte("moved")})
	if ack := want[sn12.PubAck](after); ack.ReturnCode != sn12.Accepted {
		t.Errorf("PUBLISH with the topic id of before is answered by %v", ack.ReturnCode)
	}
	other.wantMessage("up/mover", "moved") // and not the will
	before.wantSilence("the session has moved")

	g.await(brokerConnects, 2) // the device's and the gateway's own
	g.await("sngate_upstream_connections", 2)
	g.await(sessionsIn("active"), 1)
	other.wantNothingBefore("wills/fence")
}

// CleanSession=1 from a new address: the device has restarted there. The session begins
// anew, and its end publishes no will either.
func TestCleanTakeoverFromAnotherAddressPublishesNoWill_Case36_153(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	g.awaitReady(200)
	other := mqttConnect(t, broker.Addr(), "wills/#")
	o := snclient.Options{ClientID: "phoenix", CleanSession: true, Will: &snclient.Will{Topic: "wills/phoenix", Message: []byte("gone")}}
	before := connect(t, g.addr, o)
	before.subscribe(snclient.Name("down/phoenix"), 1)
	id, err := before.Register(before.ctx, "up/phoenix")
	before.must(err)

	after := newNode(t, g.addr)
	after.mustConnect("phoenix", true, 60)
	after.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("old id")})
	if ack := want[sn12.PubAck](after); ack.ReturnCode != sn12.RejectedInvalidTopicID {
		t.Errorf("PUBLISH with a forgotten topic id is answered by %v", ack.ReturnCode)
	}
	other.publish("down/phoenix", []byte("nobody there"), 1, false)
	after.ping()
	g.await("sngate_upstream_connections", 2) // the device's and the gateway's own
	other.wantNothingBefore("wills/fence")
}

func TestSessionIsKeptOverReconnect_Case37(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	other := mqttConnect(t, broker.Addr(), "up/#")
	n := newNode(t, g.addr)
	n.mustConnect("keeper", false, 60)
	up := n.register("up/keeper")
	down := n.subscribe("down/keeper", 2).TopicID

	for round := range 3 {
		n.send(sn12.Disconnect{})
		want[sn12.Disconnect](n)
		eventually(t, "the MQTT connection ends", func() bool {
			return strings.Count(broker.Log(), "Client keeper disconnected") == round+1
		})
		var sent []string
		for i := range 5 {
			text := fmt.Sprintf("round %d message %d", round, i)
			other.publish("down/keeper", []byte(text), byte(1+i%2), false)
			sent = append(sent, text)
		}
		n.wantSilence("the device is not connected")

		n = newNode(t, g.addr) // another socket each time
		n.mustConnect("keeper", false, 60)
		names := make(map[uint16]string)
		for _, text := range sent {
			m := n.next()
			if reg, ok := m.(sn12.Register); ok {
				names[reg.TopicID] = string(reg.TopicName)
				n.send(sn12.RegAck{TopicID: reg.TopicID, MsgID: reg.MsgID})
				m = n.next()
			}
			p, ok := m.(sn12.Publish)
			if !ok || string(p.Data) != text || p.TopicID != down {
				t.Fatalf("received %+v, want %q with topic id %d", m, text, down)
			}
			n.acknowledge(p)
		}
		if name := names[down]; name != "" && name != "down/keeper" {
			t.Errorf("id %d now means %s", down, name)
		}
		n.send(sn12.Publish{QoS: 1, TopicID: up, MsgID: uint16(100 + round), Data: []byte("still valid")})
		if ack := want[sn12.PubAck](n); ack.ReturnCode != sn12.Accepted {
			t.Fatalf("PUBLISH with the topic id of before is answered by %v", ack.ReturnCode)
		}
		other.wantMessage("up/keeper", "still valid")
	}
}

// What happens to an unknown sender: it is told to connect, and nothing is kept of it.
func TestStrangersAreToldToConnect_Case61_82_112_121(t *testing.T) {
	t.Parallel()
	g := startGateway(t, mosquitto.Start(t, mosquitto.Options{}).URL(), nil)
	g.awaitReady(200)
	stranger := newNode(t, g.addr)
	for _, m := range []sn12.Message{
		sn12.Register{MsgID: 1, TopicName: []byte("t")},
		sn12.Publish{QoS: 0, TopicID: 1},
		sn12.Publish{QoS: 1, TopicID: 1, MsgID: 1},
		sn12.Publish{QoS: 2, TopicID: 1, MsgID: 1},
		sn12.Subscribe{MsgID: 1, TopicName: []byte("t")},
		sn12.PingReq{},
		sn12.PingReq{ClientID: []byte("nobody")},
	} {
		stranger.send(m)
		want[sn12.Disconnect](stranger)
	}
	m := g.metrics()
	if m.sum("sngate_sessions{") != 0 || m.sum("sngate_upstream_connects_total") != 1 {
		t.Errorf("%v sessions and %v connects to the broker, want 0 and the gateway's own",
			m.sum("sngate_sessions{"), m.sum("sngate_upstream_connects_total"))
	}
	if got := m[dropsFor("unknown_sender")]; got != 7 {
		t.Errorf("%v datagrams counted as of unknown senders, want 7", got)
	}
}
