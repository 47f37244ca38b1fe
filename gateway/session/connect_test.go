package session

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"sngate/gateway/session/dialogue"
	"sngate/snpacket/sn12"
)

// connectMsg is a CONNECT of the device every rig is made for.
func connectMsg(clean, will bool, keepAlive uint16) sn12.Connect {
	return sn12.Connect{CleanSession: clean, Will: will, ProtocolID: 1, Duration: keepAlive, ClientID: []byte("dev")}
}

// close ends the connection by DISCONNECT, the broker's side included.
func (r *rig) close() {
	r.t.Helper()
	r.send(sn12.Disconnect{})
	r.want("DISCONNECT is answered", sn12.Disconnect{})
	r.wantAction("the broker session ends in good order", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.wantState("closed", StateDisconnected)
}

func TestConnAckComesOnlyAfterTheBroker_Case21(t *testing.T) {
	r := newRig(t, nil)
	r.sendHex("09 04 04 01 003c 646576")
	r.wantAction("clean session, keep-alive and nothing else go up", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.wantQuiet("no CONNACK before the broker's")
	r.wantState("the broker has not answered", StateConnecting)
	r.advance(9 * time.Second)
	r.wantQuiet("waiting for the broker is the link's business, not the session's")
	r.event(Event{Kind: EventConnected})
	r.wantHex("now the broker has accepted", "03 05 00")
	r.wantState("connected", StateActive)
	if !r.s.clean {
		t.Error("the session does not know that it is clean")
	}
}

func TestBrokerRefusalIsMappedToConnAck_Case22(t *testing.T) {
	for _, tc := range []struct {
		name string
		why  Refusal
		want sn12.ReturnCode
		as   Reason
	}{
		{"for good", RefusedForGood, sn12.RejectedNotSupported, ReasonBrokerRefused},
		{"for now", RefusedForNow, sn12.RejectedCongestion, ReasonBrokerRefused},
		{"without credentials", RefusedWithoutCredentials, sn12.RejectedNotSupported, ReasonNoCredentials},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.send(connectMsg(true, false, 60))
			r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
			r.event(Event{Kind: EventRefused, Refused: tc.why})
			r.want("the device is told", sn12.ConnAck{ReturnCode: tc.want})
			r.wantDrop("counted", tc.as)
			r.wantFreed("no session is kept", true)
			if d := r.s.Deadline(); d != Never {
				t.Errorf("a refused session still waits for %v", d-epoch)
			}
		})
	}
}

func TestUnreachableBrokerIsCongestionAndKeepsNoSession_Case23_24(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventRefused})
	r.wantHex("try again later", "03 05 01")
	r.wantDrop("counted", ReasonBrokerUnreachable)
	r.wantFreed("never accepted, so nothing is kept, CleanSession=0 or not", true)
	if d := r.s.Deadline(); d != Never {
		t.Errorf("still waits for %v", d-epoch)
	}
}

func TestRefusalLeavesAKeptSessionKept_Case23_37(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	id := r.register("a/b")
	r.close()
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventRefused})
	r.want("", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
	r.wantFreed("it was accepted with CleanSession=0 before", false)
	r.connect(false, 60)
	r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
	r.wantAction("the topic id has survived", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x")})
}

func TestRepeatedConnectIsAnsweredAgain_Case25(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r := newRig(t, nil)
		r.send(connectMsg(clean, false, 60))
		r.wantAction("", Action{Kind: ActionConnect, Clean: clean, KeepAlive: 60})
		r.send(connectMsg(clean, false, 60))
		r.wantQuiet("the broker has not answered yet: no second connection, no CONNACK")
		r.event(Event{Kind: EventConnected})
		r.want("", sn12.ConnAck{})
		for range 2 {
			r.advance(10 * time.Second)
			r.send(connectMsg(clean, false, 60))
			r.want("the CONNACK was lost", sn12.ConnAck{})
			r.wantQuiet("no second connection to the broker")
		}
		r.advance(90*time.Second - 1)
		r.wantState("each CONNECT counts as a sign of life", StateActive)
	}
}

func TestSessionsWithSimilarClientIDsAreSeparate_Case28(t *testing.T) {
	cfg := testConfig()
	one, other := newSession(cfg, "device1"), newSession(cfg, "device")
	if one.ClientID() != "device1" || other.ClientID() != "device" {
		t.Fatalf("client ids are %q and %q", one.ClientID(), other.ClientID())
	}
	a, b := newRig(t, cfg), newRig(t, cfg)
	a.s, b.s = one, other
	a.connect(true, 60)
	b.connect(true, 60)
	id := a.register("only/one")
	b.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	b.want("ids are per device", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
}

func TestCheckConnect_Case29_30_31_32_35(t *testing.T) {
	cfg := testConfig()
	cfg.MaxClientID = 64
	listed := testConfig()
	listed.Allow = []string{"pump-*", "exact"}
	id := func(s string) dialogue.Message { return dialogue.Message{Kind: dialogue.Connect, Name: []byte(s)} }
	version := func(protocolID uint8) dialogue.Message {
		b, err := sn12.Connect{ProtocolID: protocolID, ClientID: []byte("dev")}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return parsed(t, b)
	}
	for _, tc := range []struct {
		name string
		cfg  *Config
		c    dialogue.Message
		why  Reason
	}{
		{"plain", cfg, id("dev"), ReasonNone},
		{"one character", cfg, id("d"), ReasonNone},
		{"UTF-8", cfg, id("gerät"), ReasonNone},
		{"23 characters", cfg, id(strings.Repeat("x", 23)), ReasonNone},
		{"at the limit", cfg, id(strings.Repeat("x", 64)), ReasonNone},
		{"above the limit", cfg, id(strings.Repeat("x", 65)), ReasonClientID},
		{"250 octets", cfg, id(strings.Repeat("x", 250)), ReasonClientID},
		{"900 octets", cfg, id(strings.Repeat("x", 900)), ReasonClientID},
		{"empty", cfg, id(""), ReasonClientID},
		{"not UTF-8", cfg, id("a\xffb"), ReasonClientID},
		{"surrogate", cfg, id("\xed\xa0\x80"), ReasonClientID},
		{"NUL", cfg, id("a\x00b"), ReasonClientID},
		{"protocol id 0", cfg, version(0), ReasonProtocolID},
		{"protocol id 2", cfg, version(2), ReasonProtocolID},
		{"protocol id 255", cfg, version(255), ReasonProtocolID},
		{"allowed by pattern", listed, id("pump-7"), ReasonNone},
		{"allowed by name", listed, id("exact"), ReasonNone},
		{"not allowed", listed, id("dev"), ReasonClientNotAllowed},
		{"longer than an allowed name", listed, id("exact2"), ReasonClientNotAllowed},
		{"start of an allowed name", listed, id("exac"), ReasonClientNotAllowed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, why := CheckConnect(tc.cfg, &tc.c)
			want := dialogue.Accepted
			if tc.why != ReasonNone {
				want = dialogue.NotSupported // never congestion: it will not pass later either
			}
			if code != want || why != tc.why {
				t.Errorf("got %v because of %v, want %v because of %v", code, why, want, tc.why)
			}
		})
	}
}

func TestConnectIsGivenUpByDisconnect(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.send(sn12.Disconnect{})
	r.want("", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventConnected})
	r.wantQuiet("the broker's late answer is nobody's")
	r.wantFreed("the link is not closed yet", false)
	r.event(Event{Kind: EventClosed})
	r.wantFreed("", true)
}

func TestLateRefusalOfAGivenUpConnectDoesNotKeepTheSession(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.send(sn12.Disconnect{})
	r.want("", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventRefused, Refused: RefusedForGood})
	r.wantQuiet("no CONNACK for a CONNECT that was taken back")
	r.event(Event{Kind: EventClosed})
	r.wantFreed("", true)
}

func TestConnectTooShortForAClientIDIsDropped(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	for _, s := range []string{"02 04", "03 04 04", "05 04 04 01 00", "06 04 04 01 00 3c"} {
		r.sendHex(s)
		r.wantDrop("the shell answers an empty client id; here it is a fault", ReasonMalformed)
		r.wantQuiet(s)
	}
	r.wantState("the session goes on", StateActive)
}

func TestAcceptedConnectIsNotChangedByTheDatagramBuffer(t *testing.T) {
	r := newRig(t, nil)
	w := &Will{Topic: "will/topic", Message: bytes.Repeat([]byte{0x11}, 100), QoS: 2, Retain: true}
	r.connectWill(true, w) // the rig overwrites each datagram after its step
	if !r.s.wills.current.equal(w) {
		t.Errorf("will is %s", hex.EncodeToString(r.s.wills.current.Message))
	}
}

func TestKeepAliveIsNotSupervisedWhileTheBrokerIsAwaited(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 1)
	r.send(connectMsg(true, false, 2))
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 2})
	r.advance(10 * time.Second)
	r.wantQuiet("the device waits for its CONNACK")
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.advance(3 * time.Second)
	r.want("and is supervised from then on", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseAbort})
}
