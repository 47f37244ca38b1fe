package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// mortal connects a device with a will and the shortest keep-alive, and takes its life:
// the socket is open, but silent from now on.
func mortal(t *testing.T, addr, id string, w snclient.Will) *testgateway.Node {
	t.Helper()
	n := testgateway.NewNode(t, addr)
	n.Send(sn12.Connect{Will: true, CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: 1, ClientID: []byte(id)})
	testgateway.Want[sn12.WillTopicReq](n)
	n.Send(sn12.WillTopic{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)})
	testgateway.Want[sn12.WillMsgReq](n)
	n.Send(sn12.WillMsg{Message: w.Message})
	if ack := testgateway.Want[sn12.ConnAck](n); ack.ReturnCode != sn12.Accepted {
		t.Fatalf("CONNECT with will is answered by %v", ack.ReturnCode)
	}
	return n
}

func TestWillIsPublishedWhenTheDeviceFallsSilent_Case40_47_118(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	begin := time.Now()
	n := mortal(t, g.Addr, "mortal", snclient.Will{Topic: "wills/mortal", Message: []byte("gone"), QoS: 1, Retain: true})
	if m := heir.WantMessage("wills/mortal", "gone"); m.Qos() != 1 {
		t.Errorf("the will arrives with QoS %d, want 1", m.Qos())
	}
	// Keep-alive 1 s and 50 % tolerance.
	if lived := time.Since(begin); lived < 1500*time.Millisecond {
		t.Errorf("the will came after %v, before the end of the keep-alive", lived)
	}
	testgateway.Want[sn12.Disconnect](n)
	if m := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#").WantMessage("wills/mortal", "gone"); !m.Retained() {
		t.Error("the will was not retained")
	}
	g.WantLost("mortal", "keep_alive_expired")
}

func TestNoWillAfterDisconnect_Case48_150(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	n := mortal(t, g.Addr, "polite", snclient.Will{Topic: "wills/polite", Message: []byte("gone"), QoS: 1})
	n.Send(sn12.Disconnect{})
	testgateway.Want[sn12.Disconnect](n)
	n.Send(sn12.Disconnect{})
	testgateway.Want[sn12.Disconnect](n)
	testgateway.Eventually(t, "the broker notices the end of polite", func() bool {
		return strings.Contains(broker.Log(), "Client polite disconnected")
	})
	heir.WantNothingBefore("wills/fence")
}

func TestWillUpdateTakesEffect_Case49_50_51(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")

	n := mortal(t, g.Addr, "changed", snclient.Will{Topic: "wills/old", Message: []byte("old")})
	n.Send(sn12.WillTopicUpd{QoS: 2, Retain: true, Topic: []byte("wills/new")})
	if r := testgateway.Want[sn12.WillTopicResp](n); r.ReturnCode != sn12.Accepted {
		t.Fatalf("WILLTOPICUPD is answered by %v", r.ReturnCode)
	}
	n.Send(sn12.WillMsgUpd{Message: []byte("new")})
	if r := testgateway.Want[sn12.WillMsgResp](n); r.ReturnCode != sn12.Accepted {
		t.Fatalf("WILLMSGUPD is answered by %v", r.ReturnCode)
	}
	if m := heir.WantMessage("wills/new", "new"); m.Qos() != 2 {
		t.Errorf("the new will arrives with QoS %d, want 2", m.Qos())
	}
	if m := testgateway.ConnectMQTT(t, broker.Addr(), "wills/new").WantMessage("wills/new", "new"); !m.Retained() {
		t.Error("the new will was not retained")
	}

	n = mortal(t, g.Addr, "removed", snclient.Will{Topic: "wills/removed", Message: []byte("gone")})
	n.Send(sn12.WillTopicUpd{Empty: true})
	if r := testgateway.Want[sn12.WillTopicResp](n); r.ReturnCode != sn12.Accepted {
		t.Fatalf("an empty WILLTOPICUPD is answered by %v", r.ReturnCode)
	}
	testgateway.Want[sn12.Disconnect](n) // its keep-alive is over
	testgateway.Eventually(t, "the broker notices the end of removed", func() bool {
		return strings.Contains(broker.Log(), "Client removed disconnected") ||
			strings.Contains(broker.Log(), "Client removed closed its connection")
	})
	heir.WantNothingBefore("wills/fence")

	n = testgateway.NewNode(t, g.Addr)
	n.MustConnect("without", true, 60)
	n.Send(sn12.WillMsgUpd{Message: []byte("x")})
	if r := testgateway.Want[sn12.WillMsgResp](n); r.ReturnCode != sn12.RejectedNotSupported {
		t.Errorf("WILLMSGUPD without a will is answered by %v", r.ReturnCode)
	}
}

// A cut uplink is a loss of the device in the eyes of the broker, and none in those of the
// gateway.
func TestCutUplinkAndTheKeeperOfTheWills_Case151(t *testing.T) {
	t.Parallel()
	for _, keeper := range []string{"broker", "gateway"} {
		t.Run(keeper, func(t *testing.T) {
			t.Parallel()
			broker := mosquitto.Start(t, mosquitto.Options{})
			r := testgateway.StartRelay(t, broker.Addr())
			g := startGateway(t, r.URL(), testgateway.Settings{
				"session.will_keeper": `"` + keeper + `"`, "broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`,
			})
			heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
			d := connect(t, g.Addr, snclient.Options{
				ClientID: "steady", KeepAlive: time.Minute,
				Will: &snclient.Will{Topic: "wills/steady", Message: []byte("gone"), QoS: 1},
			})
			r.Cut()
			testgateway.Eventually(t, "the broker notices", func() bool {
				return strings.Contains(broker.Log(), "Client steady closed its connection")
			})
			if keeper == "broker" {
				heir.WantMessage("wills/steady", "gone")
			}
			heir.WantNothingBefore("wills/fence")
			d.must(d.Publish(d.ctx, snclient.Name("after"), []byte("alive"), 1, false))
			heir.WantNothingBefore("wills/fence")
		})
	}
}

func TestWillThatTheGatewayKeepsWaitsForTheBroker_Case47_151(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	r := testgateway.StartRelay(t, broker.Addr())
	g := startGateway(t, r.URL(), testgateway.Settings{
		"session.will_keeper": `"gateway"`, "broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`,
	})
	n := mortal(t, g.Addr, "mortal", snclient.Will{Topic: "wills/mortal", Message: []byte("gone")})
	broker.Kill()
	testgateway.Want[sn12.Disconnect](n)
	g.WantLost("mortal", "keep_alive_expired")
	r.Up.Lock()
	r.Cut()
	broker.Restart()
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	r.Up.Unlock()
	if m := heir.WantMessage("wills/mortal", "gone"); m.Qos() != 1 {
		t.Errorf("the will arrives with QoS %d, want 1", m.Qos())
	}
	testgateway.Eventually(t, "the connection ends in good order", func() bool {
		return strings.Contains(broker.Log(), "Received DISCONNECT from mortal")
	})
	g.Await(`sngate_upstream_drops_total{reason="will"}`, 0)
	heir.WantNothingBefore("wills/fence")
}

// A killed gateway is no loss of its devices. One that does not come back after the
// restart is lost then.
func TestKilledGatewayThatKeepsTheWills_Case47(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	s := testgateway.Settings{
		"session.will_keeper": `"gateway"`,
		"store.path":          strconv.Quote(filepath.Join(t.TempDir(), "sngate.db")),
		"listener":            fmt.Sprintf("[{address = %q}]", freeUDP(t)),
	}
	g := startGateway(t, broker.URL(), s)
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("silent", true, 4)
	n.Send(sn12.WillTopicUpd{QoS: 1, Topic: []byte("wills/silent")})
	testgateway.Want[sn12.WillTopicResp](n)
	n.Send(sn12.WillMsgUpd{Message: []byte("gone")})
	testgateway.Want[sn12.WillMsgResp](n)
	n.Send(sn12.Register{MsgID: 1, TopicName: []byte("t")})
	testgateway.Want[sn12.RegAck](n) // what came before is in the store too
	g.Crash()
	testgateway.Eventually(t, "the broker notices", func() bool {
		return strings.Contains(broker.Log(), "Client silent closed its connection")
	})
	heir.WantNothingBefore("wills/fence")
	g = startGateway(t, broker.URL(), s)
	heir.WantMessage("wills/silent", "gone")
	g.WantLost("silent", "keep_alive_expired")
}

// A will that waits for the broker waits on in the store.
func TestWillThatWaitsOutlivesTheGateway_Case47(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *testgateway.Gateway){"killed": (*testgateway.Gateway).Crash, "stopped": (*testgateway.Gateway).Stop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := mosquitto.Start(t, mosquitto.Options{})
			r := testgateway.StartRelay(t, broker.Addr())
			s := testgateway.Settings{
				"session.will_keeper":  `"gateway"`,
				"store.path":           strconv.Quote(filepath.Join(t.TempDir(), "sngate.db")),
				"broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`,
			}
			g := startGateway(t, r.URL(), s)
			n := mortal(t, g.Addr, "mortal", snclient.Will{Topic: "wills/mortal", Message: []byte("gone")})
			broker.Kill()
			testgateway.Want[sn12.Disconnect](n)
			g.WantLost("mortal", "keep_alive_expired")
			end(g)
			r.Up.Lock()
			r.Cut()
			broker.Restart()
			heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
			r.Up.Unlock()
			startGateway(t, r.URL(), s)
			heir.WantMessage("wills/mortal", "gone")
			heir.WantNothingBefore("wills/fence")
		})
	}
}
