package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// TestConnectOfASleeper_Case142_143 has all combinations of the session's CleanSession
// with the flags of the CONNECT, from asleep and from awake.
func TestConnectOfASleeper_Case142_143(t *testing.T) {
	old := &Will{Topic: "w", Message: []byte("old")}
	for _, awake := range []bool{false, true} {
		for _, had := range []bool{false, true} {
			for _, clean := range []bool{false, true} {
				for _, will := range []bool{false, true} {
					t.Run(fmt.Sprintf("awake=%v_had=%v_clean=%v_will=%v", awake, had, clean, will), func(t *testing.T) {
						testConnectOfASleeper(t, old, awake, had, clean, will)
					})
				}
			}
		}
	}
}

func testConnectOfASleeper(t *testing.T, old *Will, awake, had, clean, will bool) {
	r := newRig(t, nil)
	r.connectWill(had, old)
	id := r.subscribe("a/b", 1)
	r.sleep(60)
	r.event(fromBroker("a/b", "x", 1, 1))
	held := pub(1, id, 1, "x")
	if awake {
		r.wake()
		r.want("x", held)
		held = dup(held)
	}
	r.send(sn12.Connect{CleanSession: clean, Will: will, ProtocolID: 1, Duration: 120, ClientID: []byte("dev")})
	want := old
	if will {
		want = &Will{Topic: "v", Message: []byte("new"), QoS: 1}
		r.want("Will=1 prompts", sn12.WillTopicReq{})
		r.send(sn12.WillTopic{Topic: []byte("v"), QoS: 1})
		r.want("Will=1 prompts", sn12.WillMsgReq{})
		r.send(sn12.WillMsg{Message: []byte("new")})
	}
	switch {
	case had == clean && !clean: // case 142: staying awake
		r.wantAction("no second MQTT CONNECT", Action{Kind: ActionSetWill, Will: want})
		r.want("active", sn12.ConnAck{})
		r.want("what was held; the topic ids are valid", held)
	default: // nothing of a session with CleanSession=1 outlives it, and into one nothing goes;
		// a device with CleanSession=1 that sets a will has restarted
		if !will {
			want = nil
		}
		r.wantAction("a new session", Action{Kind: ActionConnect, Clean: clean, KeepAlive: 120, Will: want})
		r.wantDrop("what was held is counted", ReasonCleanSession)
		r.event(Event{Kind: EventConnected})
		r.want("active, nothing held, nothing subscribed", sn12.ConnAck{})
		r.wantHeld("nothing", 0, 0)
	}
	r.wantState("active", StateActive)
	if r.s.clean != clean {
		t.Errorf("clean is %v", r.s.clean)
	}
	if had == clean && !clean {
		r.send(sn12.PubAck{TopicID: id, MsgID: held.MsgID})
		r.wantAck("x", 1)
	}
	r.advance(132*time.Second - 1)
	r.wantQuiet("the keep-alive of the new CONNECT, not the sleep, is in force")
	r.advance(1)
	r.want("lost", sn12.Disconnect{})
	if !had && !clean && will {
		r.wantAction("the broker has the old will", Action{Kind: ActionPublish, Topic: "v", Payload: []byte("new"), QoS: 1})
		r.wantAction("and keeps quiet", Action{Kind: ActionCloseDrain})
		return
	}
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestMobilitySleeperWakesElsewhere_Case146(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "x", 1, 1))
	r.s.AddressChanged()
	r.wantQuiet("nothing goes to the old address")
	r.wake()
	r.want("to the new one", pub(1, id, 1, "x"))
	r.s.AddressChanged() // and again, before it has answered
	r.wake()
	r.wantQuiet("the delivery goes on")
	r.advance(10 * time.Second)
	r.want("to the newest address", dup(pub(1, id, 1, "x")))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("x", 1)
	r.pong("barrier")
	r.want("PINGRESP", sn12.PingResp{})
}

// A device that comes back from sleep with CONNECT and from another address has probably
// restarted: a new socket has a new port.
func TestMobilityConnectOfASleeperFromElsewhere_Case143_153(t *testing.T) {
	for _, awake := range []bool{false, true} {
		for _, clean := range []bool{false, true} {
			t.Run(fmt.Sprintf("awake=%v_clean=%v", awake, clean), func(t *testing.T) {
				r := newRig(t, nil)
				r.connect(clean, 60)
				id := r.subscribe("a/b", 1)
				r.sleep(600)
				r.event(fromBroker("a/b", "held", 1, 1))
				held := pub(1, id, 1, "held")
				if awake {
					r.wake()
					r.want("held", held)
					held = dup(held)
				}
				r.s.AddressChanged()
				r.send(connectMsg(clean, false, 60))
				if clean {
					r.wantAction("it begins anew", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
					r.wantDrop("what was held", ReasonCleanSession)
					r.event(Event{Kind: EventConnected})
					r.want("", sn12.ConnAck{})
					r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
					r.want("nothing is left", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
					return
				}
				r.wantAction("the session goes on", Action{Kind: ActionSetWill})
				r.want("", sn12.ConnAck{})
				msgID := held.MsgID
				if awake {
					msgID++
				}
				r.want("it may not know the id any more", sn12.Register{TopicID: id, MsgID: msgID, TopicName: []byte("a/b")})
				r.send(sn12.RegAck{TopicID: id, MsgID: msgID})
				if !awake {
					held.MsgID = msgID + 1
				}
				r.want("then", held)
			})
		}
	}
}

func TestMobilityConnectAfterAWakeFromElsewhereIsAWakeUp_Case142_146(t *testing.T) {
	r, id := sleeper(t, nil, false)
	r.s.AddressChanged()
	r.wake()
	r.pong("barrier")
	r.want("nothing held", sn12.PingResp{})
	r.event(fromBroker("a/b", "x", 0, 0))
	r.send(connectMsg(false, false, 60))
	r.wantAction("it stays awake", Action{Kind: ActionSetWill})
	r.want("", sn12.ConnAck{})
	r.want("it has moved, not restarted", pub(0, id, 0, "x"))
}

func TestMobilityConnectFromElsewhere_Case153(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r := newRig(t, nil)
		r.connectWill(clean, &Will{Topic: "w", Message: []byte("m")})
		id := r.subscribe("a/b", 1)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want("x, to the old address", pub(1, id, 1, "x"))
		r.s.AddressChanged()
		r.send(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		if clean {
			r.wantAction("one session at the broker; the first ends without its will", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
			r.wantDrop("with what it held", ReasonCleanSession)
			r.event(Event{Kind: EventConnected})
			r.want("moved", sn12.ConnAck{})
			continue
		}
		r.wantAction("the session goes on, its will too", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte("m")}})
		r.want("moved", sn12.ConnAck{})
		r.want("a new connection does not know its topic ids (6.10)", sn12.Register{TopicID: id, MsgID: 2, TopicName: []byte("a/b")})
		r.send(sn12.RegAck{TopicID: id, MsgID: 2})
		r.want("the same exchange", dup(pub(1, id, 1, "x")))
	}
}

func TestMobilityRepeatedConnectFromAnotherAddressIsNoRepeat_Case25_153(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.s.AddressChanged()
	r.send(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.wantAction("the same CONNECT, another life of the device", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
}

func TestMobilityAddressTaken_Case27(t *testing.T) {
	taken := func(r *rig) { r.step("address taken", func() { r.s.AddressReused(r.at(), &r.out) }) }
	start := func(t *testing.T) (*rig, uint16) {
		r := newRig(t, nil)
		r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
		return r, r.subscribe("a/b", 1)
	}
	t.Run("active", func(t *testing.T) {
		r, id := start(t)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want("x", pub(1, id, 1, "x"))
		taken(r)
		r.wantDrop("not delivered", ReasonSessionEnded)
		r.wantAction("gone, with its will; no datagram to the other's address", Action{Kind: ActionCloseAbort})
		r.wantState("lost", StateLost)
		r.advance(time.Hour)
		r.wantQuiet("nothing more goes there")
	})
	t.Run("asleep", func(t *testing.T) {
		r, id := start(t)
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		taken(r)
		r.wantQuiet("it will be found by its client id")
		r.wantState("asleep", StateAsleep)
		r.s.AddressChanged()
		r.wake()
		r.want("x", pub(1, id, 1, "x"))
	})
	t.Run("awake", func(t *testing.T) {
		r, id := start(t)
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.wake()
		r.want("x", pub(1, id, 1, "x"))
		taken(r)
		r.wantState("asleep", StateAsleep)
		r.advance(60 * time.Second)
		r.wantQuiet("no repeat goes there")
		r.wake()
		r.want("x", dup(pub(1, id, 1, "x")))
	})
	t.Run("awake behind the barrier", func(t *testing.T) {
		r, id := start(t)
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.wake()
		r.want("x", pub(1, id, 1, "x"))
		r.send(sn12.PubAck{MsgID: 1})
		r.wantAck("x", 1)
		p := r.wantAction("barrier", Action{Kind: ActionPing})
		taken(r)
		r.event(Event{Kind: EventPong, Token: p.Token})
		r.wantQuiet("no PINGRESP goes there")
	})
	t.Run("will dialogue", func(t *testing.T) {
		r := newRig(t, nil)
		r.send(sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.want("prompt", sn12.WillTopicReq{})
		taken(r)
		r.wantFreed("it came to nothing", true)
		r.advance(time.Hour)
		r.wantQuiet("no prompt goes there")
	})
	t.Run("connecting", func(t *testing.T) {
		r := newRig(t, nil)
		r.send(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.wantAction("connect", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
		taken(r)
		r.wantAction("given up, no CONNACK", Action{Kind: ActionCloseClean})
		r.event(Event{Kind: EventClosed})
		r.wantFreed("gone", true)
	})
	t.Run("disconnected", func(t *testing.T) {
		r := newRig(t, nil)
		r.connect(false, 60)
		r.send(sn12.Disconnect{})
		r.want("bye", sn12.Disconnect{})
		r.wantAction("bye", Action{Kind: ActionCloseClean})
		taken(r)
		r.wantQuiet("it has no address any more")
	})
}

func TestMobilityParkedSessionEndsSilently_Case157(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sleep bool
	}{{"active", false}, {"asleep", true}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
			id := r.subscribe("a/b", 1)
			if tc.sleep {
				r.sleep(60)
			}
			r.event(fromBroker("a/b", "x", 1, 1))
			if !tc.sleep {
				r.want("x", pub(1, id, 1, "x"))
			}
			r.event(Event{Kind: EventDown})
			r.event(Event{Kind: EventParked})
			r.advance(90*time.Second - 1)
			if n := r.asked(); tc.sleep != (n == 0) {
				t.Errorf("asked %d times whether it is here", n)
			}
			r.wantQuiet("no repeat: the device has another gateway")
			r.advance(1)
			r.wantAction("no DISCONNECT to it, no will published by us", Action{Kind: ActionCloseAbort})
			r.wantDrop("held messages end with the session", ReasonSessionEnded)
			r.wantState("lost", StateLost)
			r.event(Event{Kind: EventClosed})
			r.wantFreed("the state is free", true)
		})
	}
}

func TestMobilityParkedSessionDoesNotPublishAChangedWill_Case157(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
	r.send(sn12.WillTopicUpd{Empty: true})
	r.wantAction("deleted", Action{Kind: ActionSetWill})
	r.want("accepted", sn12.WillTopicResp{})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.advance(90 * time.Second)
	r.wantAction("it is the other gateway's business now", Action{Kind: ActionCloseAbort})
}

func TestMobilityParkedDeviceWithoutKeepAliveIsFound_Case157(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	id := r.subscribe("a/b", 2)
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("x", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.advance(time.Hour + 40*time.Second - 1)
	if n := r.asked(); n < 10 || n > 25 {
		t.Errorf("asked %d times: only this can tell, and a device of another gateway ignores it", n)
	}
	r.advance(time.Second)
	r.wantAction("gone, silently", Action{Kind: ActionCloseAbort})
}

func TestMobilityParkedSessionStopsSilently_Case20_157(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.step("stop", func() { r.s.Stop(r.at(), &r.out) })
	r.wantAction("no DISCONNECT", Action{Kind: ActionCloseClean})
}

// A word of the device shows that it is still here: deliveries go on where they were.
func TestMobilityParkedDeviceSpeaks_Case157(t *testing.T) {
	for _, step := range []string{"publishing", "releasing"} {
		for _, awake := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s_awake=%v", step, awake), func(t *testing.T) {
				r, id := subscriber(t, nil, true, "a/b")
				if awake {
					r.sleep(600)
				}
				r.event(fromBroker("a/b", "x", 2, 1))
				if awake {
					r.wake()
				}
				r.want("x", pub(2, id, 1, "x"))
				if step == "releasing" {
					r.send(sn12.PubRec{MsgID: 1})
					r.wantAck("x", 1)
					r.want("PUBREL", sn12.PubRel{MsgID: 1})
				}
				r.event(Event{Kind: EventDown})
				r.event(Event{Kind: EventParked})
				r.advance(time.Minute)
				r.asked()
				r.wantQuiet("silent but for that")
				r.wake()
				if !awake {
					r.want("PINGRESP", sn12.PingResp{})
				}
				if step == "publishing" {
					r.want("again", dup(pub(2, id, 1, "x")))
					r.send(sn12.PubRec{MsgID: 1})
					r.wantAck("x", 1)
				}
				r.want("PUBREL", sn12.PubRel{MsgID: 1})
				r.send(sn12.PubComp{MsgID: 1})
				if awake {
					r.want("the broker is away: no barrier", sn12.PingResp{})
				}
			})
		}
	}
}

func TestMobilityParkedDeviceAnswersLate_Case157(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("x", pub(1, id, 1, "x"))
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("taken, and not sent again", 1)
	r.event(Event{Kind: EventUp, SessionPresent: false})
	r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
}

func TestMobilityParkedDeviceRepeatsItsConnect_Case25_157(t *testing.T) {
	r := newRig(t, nil)
	connect := sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
	r.send(connect)
	r.wantAction("connect", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventConnected, SessionPresent: true})
	r.want("CONNACK, which is lost", sn12.ConnAck{})
	r.event(fromBroker("ab", "x", 1, 1))
	short := sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: 1, Data: []byte("x")}
	r.want("of the earlier session", short)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.send(connect)
	r.want("the device is here after all", sn12.ConnAck{})
	r.want("the delivery goes on", dup(short))
}

func TestMobilityProbedDeviceIsParked_Case157(t *testing.T) {
	// A message has taken the place of a probe; parking stops the message. The device
	// must not be forgotten between the two.
	r := newRig(t, nil)
	r.connect(true, 0)
	id := r.subscribe("a/b", 1)
	r.advance(time.Hour)
	r.want("probe", sn12.PingReq{})
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("x", pub(1, id, 1, "x"))
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.advance(time.Hour + 40*time.Second)
	if n := r.asked(); n < 4 {
		t.Errorf("asked %d times", n)
	}
	r.wantAction("gone", Action{Kind: ActionCloseAbort})
}

// A link that is parked is told whether there is anything for the broker: each time it parks,
// and when that changes.
func TestMobilityParkedLinkIsToldWhetherItIsWanted_Case157(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 600)
	id := r.register("a/b")
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("x")})
	r.wantAction("relayed", Action{Kind: ActionPublish, QoS: 1, Topic: "a/b", Payload: []byte("x")})
	r.event(Event{Kind: EventDown})
	for range 2 {
		r.event(Event{Kind: EventParked})
		r.wantAction("the broker has not got the message", Action{Kind: ActionWant, Wanted: true})
	}
	r.advance(time.Duration(r.s.cfg.BrokerWait))
	r.want("the device is told to send it again later", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("later", ReasonBrokerDown)
	r.wantAction("taken back", Action{Kind: ActionAwait})
	r.wantAction("nothing is left", Action{Kind: ActionWant})
	r.event(Event{Kind: EventParked})
	r.wantQuiet("a link that parks waits for the device by itself")
}
