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
)

// mortal connects a device with a will and the shortest keep-alive, and takes its life:
// the socket is open, but silent from now on.
func mortal(t *testing.T, addr, id string, w snclient.Will) *node {
	t.Helper()
	n := newNode(t, addr)
	n.send(sn12.Connect{Will: true, CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: 1, ClientID: []byte(id)})
	want[sn12.WillTopicReq](n)
	n.send(sn12.WillTopic{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)})
	want[sn12.WillMsgReq](n)
	n.send(sn12.WillMsg{Message: w.Message})
	if ack := want[sn12.ConnAck](n); ack.ReturnCode != sn12.Accepted {
		t.Fatalf("CONNECT with will is answered by %v", ack.ReturnCode)
	}
	return n
}

func TestWillIsPublishedWhenTheDeviceFallsSilent_Case40_47_118(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := mqttConnect(t, broker.Addr(), "wills/#")
	begin := time.Now()
	n := mortal(t, g.addr, "mortal", snclient.Will{Topic: "wills/mortal", Message: []byte("gone"), QoS: 1, Retain: true})
	if m := heir.wantMessage("wills/mortal", "gone"); m.Qos() != 1 {
		t.Errorf("the will arrives with QoS %d, want 1", m.Qos())
	}
	// Keep-alive 1 s and 50 % tolerance.
	if lived := time.Since(begin); lived < 1500*time.Millisecond {
		t.Errorf("the will came after %v, before the end of the keep-alive", lived)
	}
	want[sn12.Disconnect](n)
	if m := mqttConnect(t, broker.Addr(), "wills/#").wantMessage("wills/mortal", "gone"); !m.Retained() {
		t.Error("the will was not retained")
	}
	g.wantLost("mortal", "keep_alive_expired")
}

func TestNoWillAfterDisconnect_Case48_150(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := mqttConnect(t, broker.Addr(), "wills/#")
	n := mortal(t, g.addr, "polite", snclient.Will{Topic: "wills/polite", Message: []byte("gone"), QoS: 1})
	n.send(sn12.Disconnect{})
	want[sn12.Disconnect](n)
	n.send(sn12.Disconnect{})
	want[sn12.Disconnect](n)
	eventually(t, "the broker notices the end of polite", func() bool {
		return strings.Contains(broker.Log(), "Client polite disconnected")
	})
	heir.wantNothingBefore("wills/fence")
}

func TestWillUpdateTakesEffect_Case49_50_51(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	heir := mqttConnect(t, broker.Addr(), "wills/#")

	n := mortal(t, g.addr, "changed", snclient.Will{Topic: "wills/old", Message: []byte("old")})
	n.send(sn12.WillTopicUpd{QoS: 2, Retain: true, Topic: []byte("wills/new")})
	if r := want[sn12.WillTopicResp](n); r.ReturnCode != sn12.Accepted {
		t.Fatalf("WILLTOPICUPD is answered by %v", r.ReturnCode)
	}
	n.send(sn12.WillMsgUpd{Message: []byte("new")})
	if r := want[sn12.WillMsgResp](n); r.ReturnCode != sn12.Accepted {
		t.Fatalf("WILLMSGUPD is answered by %v", r.ReturnCode)
	}
	if m := heir.wantMessage("wills/new", "new"); m.Qos() != 2 {
		t.Errorf("the new will arrives with QoS %d, want 2", m.Qos())
	}
	if m := mqttConnect(t, broker.Addr(), "wills/new").wantMessage("wills/new", "new"); !m.Retained() {
		t.Error("the new will was not retained")
	}

	n = mortal(t, g.addr, "removed", snclient.Will{Topic: "wills/removed", Message: []byte("gone")})
	n.send(sn12.WillTopicUpd{Empty: true})
	if r := want[sn12.WillTopicResp](n); r.ReturnCode != sn12.Accepted {
		t.Fatalf("an empty WILLTOPICUPD is answered by %v", r.ReturnCode)
	}
	want[sn12.Disconnect](n) // its keep-alive is over
	eventually(t, "the broker notices the end of removed", func() bool {
		return strings.Contains(broker.Log(), "Client removed disconnected") ||
			strings.Contains(broker.Log(), "Client removed closed its connection")
	})
	heir.wantNothingBefore("wills/fence")

	n = newNode(t, g.addr)
	n.mustConnect("without", true, 60)
	n.send(sn12.WillMsgUpd{Message: []byte("x")})
	if r := want[sn12.WillMsgResp](n); r.ReturnCode != sn12.RejectedNotSupported {
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
			r := startRelay(t, broker.Addr())
			g := startGateway(t, r.url(), settings{
				"session.will_keeper": `"` + keeper + `"`, "broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`,
			})
			heir := mqttConnect(t, broker.Addr(), "wills/#")
			d := connect(t, g.addr, snclient.Options{
				ClientID: "steady", KeepAlive: time.Minute,
				Will: &snclient.Will{Topic: "wills/steady", Message: []byte("gone"), QoS: 1},
			})
			r.cut()
			eventually(t, "the broker notices", func() bool {
				return strings.Contains(broker.Log(), "Client steady closed its connection")
			})
			if keeper == "broker" {
				heir.wantMessage("wills/steady", "gone")
			}
			heir.wantNothingBefore("wills/fence")
			d.must(d.Publish(d.ctx, snclient.Name("after"), []byte("alive"), 1, false))
			heir.wantNothingBefore("wills/fence")
		})
	}
}

func TestWillThatTheGatewayKeepsWaitsForTheBroker_Case47_151(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	r := startRelay(t, broker.Addr())
	g := startGateway(t, r.url(), settings{
		"session.will_keeper": `"gateway"`, "broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`,
	})
	n := mortal(t, g.addr, "mortal", snclient.Will{Topic: "wills/mortal", Message: []byte("gone")})
	broker.Kill()
	want[sn12.Disconnect](n)
	g.wantLost("mortal", "keep_alive_expired")
	r.up.Lock()
	r.cut()
	broker.Restart()
	heir := mqttConnect(t, broker.Addr(), "wills/#")
	r.up.Unlock()
	if m := heir.wantMessage("wills/mortal", "gone"); m.Qos() != 1 {
		t.Errorf("the will arrives with QoS %d, want 1", m.Qos())
	}
	eventually(t, "the connection ends in good order", func() bool {
		return strings.Contains(broker.Log(), "Received DISCONNECT from mortal")
	})
	g.await(`sngate_upstream_drops_total{reason="will"}`, 0)
	heir.wantNothingBefore("wills/fence")
}

// A killed gateway is no loss of its devices. One that does not come back after the
// restart is lost then.
func TestKilledGatewayThatKeepsTheWills_Case47(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	s := settings{
		"session.will_keeper": `"gateway"`,
		"store.path":          strconv.Quote(filepath.Join(t.TempDir(), "sngate.db")),
		"listener":            fmt.Sprintf("[{address = %q}]", freeUDP(t)),
	}
	g := startGateway(t, broker.URL(), s)
	heir := mqttConnect(t, broker.Addr(), "wills/#")
	n := newNode(t, g.addr)
	n.mustConnect("silent", true, 4)
	n.send(sn12.WillTopicUpd{QoS: 1, Topic: []byte("wills/silent")})
	want[sn12.WillTopicResp](n)
	n.send(sn12.WillMsgUpd{Message: []byte("gone")})
	want[sn12.WillMsgResp](n)
	n.send(sn12.Register{MsgID: 1, TopicName: []byte("t")})
	want[sn12.RegAck](n) // what came before is in the store too
	g.crash()
	eventually(t, "the broker notices", func() bool {
		return strings.Contains(broker.Log(), "Client silent closed its connection")
	})
	heir.wantNothingBefore("wills/fence")
	g = startGateway(t, broker.URL(), s)
	heir.wantMessage("wills/silent", "gone")
	g.wantLost("silent", "keep_alive_expired")
}

// A will that waits for the broker waits on in the store.
func TestWillThatWaitsOutlivesTheGateway_Case47(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *gateway){"killed": (*gateway).crash, "stopped": (*gateway).stop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := mosquitto.Start(t, mosquitto.Options{})
			r := startRelay(t, broker.Addr())
			s := settings{
				"session.will_keeper":  `"gateway"`,
				"store.path":           strconv.Quote(filepath.Join(t.TempDir(), "sngate.db")),
				"broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`,
			}
			g := startGateway(t, r.url(), s)
			n := mortal(t, g.addr, "mortal", snclient.Will{Topic: "wills/mortal", Message: []byte("gone")})
			broker.Kill()
			want[sn12.Disconnect](n)
			g.wantLost("mortal", "keep_alive_expired")
			end(g)
			r.up.Lock()
			r.cut()
			broker.Restart()
			heir := mqttConnect(t, broker.Addr(), "wills/#")
			r.up.Unlock()
			startGateway(t, r.url(), s)
			heir.wantMessage("wills/mortal", "gone")
			heir.wantNothingBefore("wills/fence")
		})
	}
}
