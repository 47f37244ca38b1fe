package e2e

import (
	"fmt"
	"slices"
	"testing"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// brokerWindow is how many QoS 1 and 2 messages the broker sends before it is
// acknowledged: mosquitto's default.
const brokerWindow = 20

// Ten cycles of sleep with 50 messages each: three with each QoS, and one with all mixed.
// At QoS 1 and 2 the broker lets go of only 20 messages at a time. Without a store the
// rest has to come within the same wake; with one the messages held are acknowledged, and
// all of them are there.
func TestTenSleepCyclesOf50MessagesInOrder_Case124_126_127_129_130_133_134(t *testing.T) {
	t.Parallel()
	t.Run("store in memory", func(t *testing.T) { tenSleepCycles(t, testgateway.Settings{"store.path": `""`}, brokerWindow) })
	t.Run("store in a file", func(t *testing.T) { tenSleepCycles(t, nil, 50) })
}

func tenSleepCycles(t *testing.T, s testgateway.Settings, window int) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{MaxInflight: brokerWindow})
	g := startGateway(t, broker.URL(), s)
	g.AwaitReady(200)
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("sleeper", true, 60)
	n.Subscribe("night/#", 2)
	names := make(map[uint16]string)
	for cycle := range 10 {
		qosOf := func(int) uint8 { return uint8(cycle % 3) }
		if cycle == 9 {
			qosOf = func(i int) uint8 { return uint8(i % 3) }
		}
		n.Sleep(120)
		topic := fmt.Sprintf("night/%d", cycle/2) // new to the device in every other cycle
		sent := make([][]string, 3)               // by QoS
		for i := range 50 {
			text := fmt.Sprintf("cycle %d message %d", cycle, i)
			publisher.Send(topic, []byte(text), qosOf(i), false)
			sent[qosOf(i)] = append(sent[qosOf(i)], text)
		}
		held := len(sent[0]) + min(len(sent[1])+len(sent[2]), window)
		g.Await("sngate_sleep_buffer_messages", float64(held))
		n.WantSilence("the device is asleep")

		got := make([][]string, 3)
		for _, m := range n.Wake("sleeper", names) {
			if names[m.TopicID] != topic || m.DUP || m.Retain {
				t.Errorf("received %+v on %s", m, names[m.TopicID])
			}
			got[m.QoS] = append(got[m.QoS], string(m.Data))
		}
		for qos := range sent {
			// The broker itself lets QoS 0 overtake the rest: order is within a QoS.
			if !slices.Equal(got[qos], sent[qos]) {
				t.Fatalf("cycle %d: QoS %d messages %q, want %q", cycle, qos, got[qos], sent[qos])
			}
		}
		n.WantSilence("PINGRESP ends the wake")
		if again := n.Wake("sleeper", names); len(again) != 0 {
			t.Fatalf("cycle %d: a second wake delivers %d messages again", cycle, len(again))
		}
	}
	g.Await(testgateway.SessionsIn("asleep"), 1)
	g.Await("sngate_sleep_buffer_messages", 0)
	n.MustConnect("sleeper", true, 60)
	if n := g.Value(brokerConnects); n != 2 {
		t.Errorf("%v connections to the broker were made, want one and the gateway's own", n)
	}
}

func TestSleeperWakesAtAnotherAddress_Case146(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("nomad", true, 60)
	names := map[uint16]string{n.Subscribe("night/nomad", 1).TopicID: "night/nomad"}
	n.Sleep(120)
	for round := range 3 {
		publisher.Send("night/nomad", []byte{byte('a' + round)}, 1, false)
		g.Await("sngate_sleep_buffer_messages", 1)
		before := n
		n = testgateway.NewNode(t, g.Addr)
		list := n.Wake("nomad", names)
		if len(list) != 1 || list[0].Data[0] != byte('a'+round) {
			t.Fatalf("round %d: the device gets %+v at its new address", round, list)
		}
		before.WantSilence("the device has moved")
	}
}

// With session.address_change = "deny" a stranger who knows the client id gets nothing.
func TestSleeperIsNotStolenWhereThePolicyForbidsIt_Case164(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"session.address_change": `"deny"`})
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("owner", true, 60)
	names := map[uint16]string{n.Subscribe("night/owner", 1).TopicID: "night/owner"}
	publisher.Send("night/owner", []byte("awake"), 1, false)
	p := testgateway.Want[sn12.Publish](n)
	n.Send(sn12.PubAck{TopicID: p.TopicID, MsgID: p.MsgID}) // proves its address
	n.Sleep(120)
	publisher.Send("night/owner", []byte("secret"), 1, false)
	g.Await("sngate_sleep_buffer_messages", 1)

	thief := testgateway.NewNode(t, g.Addr)
	thief.Send(sn12.PingReq{ClientID: []byte("owner")})
	testgateway.Want[sn12.Disconnect](thief)
	thief.Send(sn12.Connect{CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: 60, ClientID: []byte("owner")})
	testgateway.Want[sn12.Disconnect](thief)
	if list := n.Wake("owner", names); len(list) != 1 || string(list[0].Data) != "secret" {
		t.Errorf("the owner gets %+v", list)
	}
	thief.WantSilence("the messages are the owner's")
}

// A device that oversleeps is lost; one that keeps waking is not.
func TestOversleepingFiresTheWill_Case137_138(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	n := testgateway.NewNode(t, g.Addr)
	n.Send(sn12.Connect{Will: true, CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: 60, ClientID: []byte("dormouse")})
	testgateway.Want[sn12.WillTopicReq](n)
	n.Send(sn12.WillTopic{QoS: 1, Topic: []byte("wills/dormouse")})
	testgateway.Want[sn12.WillMsgReq](n)
	n.Send(sn12.WillMsg{Message: []byte("overslept")})
	testgateway.Want[sn12.ConnAck](n)
	n.Sleep(1)
	heir.WantMessage("wills/dormouse", "overslept")
	testgateway.Want[sn12.Disconnect](n)
	n.Send(sn12.PingReq{ClientID: []byte("dormouse")})
	testgateway.Want[sn12.Disconnect](n)
	g.WantLost("dormouse", "sleep_expired")
}
