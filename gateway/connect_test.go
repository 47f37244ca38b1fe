package gateway

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

func TestBrokerRefusalsAreMapped_Case22(t *testing.T) {
	for code, want := range map[byte]sn12.ReturnCode{
		1: sn12.RejectedNotSupported, 2: sn12.RejectedNotSupported, 3: sn12.RejectedCongestion,
		4: sn12.RejectedNotSupported, 5: sn12.RejectedNotSupported, 99: sn12.RejectedNotSupported,
	} {
		t.Run(fmt.Sprintf("code %d", code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.broker.Refuse = func(string, string, []byte) byte { return code }
				d := r.device("10.0.1.1:5000")
				d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
				d.wantMessage("refused", sn12.ConnAck{ReturnCode: want})
				r.wantDropped(session.ReasonBrokerRefused, 1)
				r.wantSessions("none is kept", 0)
			})
		})
	}
}

// strayGoroutines is how many goroutines may come and go by themselves, the runtime's own
// among them, where a leak would show as a thousand.
const strayGoroutines = 10

func TestConnectsWhileTheBrokerIsDownLeaveNothing_Case23(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.Kill(true)
		time.Sleep(time.Minute) // the gateway's own connection has settled in its backoff
		d := r.device("10.0.1.1:5000")
		before := runtime.NumGoroutine()
		for i := range 1000 {
			d.sendMessage(sn12.Connect{CleanSession: i%2 == 0, ProtocolID: 1, Duration: 60, ClientID: fmt.Appendf(nil, "dev-%d", i)})
			d.wantMessage("congestion", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		}
		r.wantSessions("none is kept", 0)
		if n := runtime.NumGoroutine(); n > before+strayGoroutines {
			t.Fatalf("%d goroutines, %d before", n, before)
		}
		if n := r.gateway.dialer.Stats().Dialling.Load(); n != 0 {
			t.Fatalf("%d connects in progress", n)
		}
		r.broker.Start()
		d.connect("dev-1")
	})
}

func TestBrokerThatDoesNotAnswerConnect_Case24(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial = silent.Dial })
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		time.Sleep(10*time.Second - time.Millisecond)
		d.wantQuiet("before the timeout")
		time.Sleep(time.Millisecond)
		d.wantMessage("after the timeout", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		r.wantSessions("none is kept", 0)
	})
}

func TestConnectAgainWhenTheConnackWasLost_Case25(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		before := r.connects()
		d.connect("dev")
		d.connect("dev")
		if n := r.connects(); n != before {
			t.Fatalf("%d more MQTT CONNECTs", n-before)
		}
		r.wantSessions("one", 1)
	})
}

func TestConnectAgainWhileItIsCarriedOut_Case25(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial = broker.Dial })
		broker.Accept(t).Accept(false)
		d := r.device("10.0.1.1:5000")
		for range 3 {
			d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
			time.Sleep(time.Second)
		}
		d.wantQuiet("the broker has not answered")
		broker.Accept(t).Accept(false)
		d.wantMessage("accepted", sn12.ConnAck{})
		d.wantQuiet("once")
		if n := broker.Dialled(); n != 0 {
			t.Fatalf("%d more connections to the broker", n)
		}
	})
}

func TestConnectWithOtherValuesPutsThemIntoForce_Case26(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 60, "dev")
		id := d.register("t")
		d.connectWith(false, 20, "dev")
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
		d.wantMessage("the clean session has gone with its topic ids", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		time.Sleep(30*time.Second - time.Millisecond)
		d.wantQuiet("not lost yet")
		time.Sleep(time.Millisecond)
		d.want("lost after the new keep-alive", "02 18")
		r.wantSessions("kept: CleanSession=0", 1)
	})
}

func TestPrefixesOfClientIDsAreOtherClients_Case28(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		got := r.observe()
		ids := []string{"device1", "device", "dev", "d", "device11"}
		for i, id := range ids {
			d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d.connect(id)
		}
		r.wantSessions("one each", len(ids))
		d := r.device("10.0.1.100:5000")
		d.connect("de")
		d.sendMessage(sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("x")})
		got.want(t, "its own connection", "de ab x 0")
	})
}

func TestClientIDsThatAreRefused_Case29_30_31(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		other := r.device("10.0.1.2:5000")
		other.connect("other")
		d := r.device("10.0.1.1:5000")
		for name, id := range map[string]string{
			"empty": "", "too long": strings.Repeat("x", 257), "far too long": strings.Repeat("x", 900), "longest datagram": strings.Repeat("x", 65000),
			"not UTF-8": "a\xff", "cut-off UTF-8": "a\xc3", "NUL": "a\x00b", "surrogate": "\xed\xa0\x80",
		} {
			b := []byte{1, 0, 0, 0x04, 0x04, 0x01, 0x00, 0x3c}
			b = append(b, id...)
			b[1], b[2] = byte(len(b)>>8), byte(len(b))
			d.sendRaw(b)
			d.wantMessage(name, sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		}
		r.wantDropped(session.ReasonClientID, 8)
		other.send("06 04 04 01 00 3c") // empty id from a connected device's address
		other.wantMessage("refused, not taken for another", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		other.ping("the session of the address lives")
		r.wantSessions("only the other", 1)
	})
}

func TestLongClientIDsAreAccepted_Case30(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for i, n := range []int{1, 23, 24, 64, 65, 250, 256} {
			r.device(fmt.Sprintf("10.0.1.%d:5000", i+1)).connect(strings.Repeat("é", n/2) + strings.Repeat("x", n%2))
		}
		r.wantSessions("all", 7)
	})
}

func TestOtherProtocolVersionsAreRefused_Case32(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		for _, id := range []uint8{0, 2, 3, 255} {
			d.sendMessage(sn12.Connect{ProtocolID: id, Duration: 60, ClientID: []byte("dev")})
			d.wantMessage("not supported", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		}
		r.wantDropped(session.ReasonProtocolID, 4)
		r.wantSessions("none", 0)
	})
}

func TestClientNotOnTheListIsRefused_Case35(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.Allow = []string{"pump-*", "valve"} })
		before := r.connects()
		d := r.device("10.0.1.1:5000")
		for _, id := range []string{"pum-1", "valve2", "xvalve"} {
			d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte(id)})
			d.wantMessage("not on the list", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		}
		r.wantDropped(session.ReasonClientNotAllowed, 3)
		if n := r.connects(); n != before {
			t.Fatalf("%d connections to the broker", n-before)
		}
		d.connect("pump-1")
	})
}

func TestMaxSessionsIsReachedAndReleased_Case34(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxSessions = 3 })
		devices := make([]*device, 5)
		for i := range devices {
			devices[i] = r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
		}
		refused := func(why string, i int) {
			t.Helper()
			devices[i].sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: fmt.Appendf(nil, "dev-%d", i)})
			devices[i].wantMessage(why, sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		}
		for i := range 3 {
			devices[i].connect(fmt.Sprintf("dev-%d", i))
		}
		refused("the limit is reached", 3)
		devices[0].connect("dev-0") // one that is there may always come again
		devices[0].send("02 18")
		devices[0].want("DISCONNECT", "02 18")
		devices[3].connect("dev-3")
		refused("the limit is reached again", 4)
		time.Sleep(91 * time.Second) // all fall silent
		r.wantSessions("all lost", 0)
		for i := range 3 {
			devices[i].discard()
			devices[i].connect(fmt.Sprintf("dev-%d", i))
		}
		r.wantDropped(session.ReasonMaxSessions, 2)
	})
}

// Sessions that are kept for devices which have gone give way to devices that come.
func TestKeptSessionsMakeRoomForNewOnes_Case34(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxSessions = 3 })
		d := make([]*device, 5)
		for i := range d {
			d[i] = r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
		}
		for i := range 3 {
			d[i].connectWith(false, 65535, fmt.Sprintf("dev-%d", i))
		}
		id := d[1].register("t")
		for _, i := range []int{0, 1} {
			d[i].send("02 18")
			d[i].want("DISCONNECT", "02 18")
		}
		r.wantSessions("kept", 3)
		d[3].sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev-3")})
		d[3].wantMessage("for a while at least", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		time.Sleep(keptFor)
		d[3].connect("dev-3") // in the place of dev-0, which has gone first
		r.wantSessions("full", 3)
		d[1].connectWith(false, 60, "dev-1")
		d[1].sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
		d[1].wantMessage("dev-1 was kept", sn12.PubAck{TopicID: id, MsgID: 1})
		d[4].sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev-4")})
		d[4].wantMessage("nobody has gone", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		r.wantSessions("full", 3)
	})
}

func TestConnectStormDoesNotDelayThoseConnected_Case39(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			dial := o.Upstream.Dial
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				time.Sleep(100 * time.Millisecond) // 64 at once: 640 a second
				return dial(ctx, network, address)
			}
		})
		steady := r.device("10.0.1.1:5000")
		steady.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("steady")})
		time.Sleep(time.Second)
		steady.wantMessage("accepted", sn12.ConnAck{})
		storm := make([]*device, 500)
		for i := range storm {
			storm[i] = r.device(fmt.Sprintf("10.0.2.1:%d", 10000+i))
		}
		for i, d := range storm {
			d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: fmt.Appendf(nil, "storm-%d", i)})
			if i%25 == 0 {
				steady.ping("in the middle of the storm")
			}
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Second) // of the 10 s of Tretry
		for _, d := range storm {
			d.wantMessage("accepted", sn12.ConnAck{})
		}
		steady.ping("after the storm")
		r.wantSessions("all", 501)
	})
}

func TestMessagesOfStrangersAreAnsweredWithDisconnect_Case61_82_112_121(t *testing.T) {
	for name, datagram := range map[string]string{
		"REGISTER":                 "07 0a 0000 0001 61",
		"PUBLISH QoS 0":            "08 0c 00 0001 0000 78",
		"PUBLISH QoS 1":            "08 0c 20 0001 0001 78",
		"PUBLISH QoS 2":            "08 0c 40 0001 0001 78",
		"SUBSCRIBE":                "06 12 00 0001 61",
		"UNSUBSCRIBE":              "06 14 00 0001 61",
		"PINGREQ":                  "02 16",
		"PINGREQ of a stranger":    "05 16 646576",
		"DISCONNECT":               "02 18",
		"DISCONNECT with duration": "04 18 003c",
		"PUBACK":                   "07 0d 0001 0001 00",
		"PUBREL":                   "04 10 0001",
		"REGACK":                   "07 0b 0001 0001 00",
		"WILLTOPICUPD":             "04 1a 00 61",
		"WILLTOPIC":                "04 07 00 61",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.send(datagram)
				d.want("it has to connect", "02 18")
				r.wantDropped(session.ReasonUnknownSender, 1)
				r.wantSessions("none", 0)
			})
		})
	}
}

func TestMessagesOfAGatewayAreNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		for _, m := range []sn12.Message{
			sn12.ConnAck{}, sn12.WillTopicReq{}, sn12.WillMsgReq{}, sn12.SubAck{MsgID: 1}, sn12.UnsubAck{MsgID: 1}, sn12.PingResp{},
			sn12.WillTopicResp{}, sn12.WillMsgResp{},
		} {
			d.sendMessage(m)
			d.wantQuiet(m.Type().String())
		}
		r.wantDropped(session.ReasonUnexpectedMessage, 8)
	})
}

// A device with the gateway's own client id would end the gateway's own connection.
func TestClientIDOfTheGatewayItselfIsRefused_Case35(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("sngate-test-7")})
		d.wantMessage("refused", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		r.wantSessions("none", 0)
		if !r.gateway.BrokerReady() {
			t.Error("the gateway's own connection has suffered")
		}
	})
}
