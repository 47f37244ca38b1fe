package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestPingReqIsAnsweredAtOnce_Case117(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("02 16")
	r.wantHex("", "02 17")
	r.event(Event{Kind: EventDown})
	r.sendHex("02 16")
	r.wantHex("also while the broker is away", "02 17")
	r.sendHex("05 16 646576")
	r.wantHex("and with a client id", "02 17")
	r.later()
	r.send(connectMsg(true, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.sendHex("02 16")
	r.wantQuiet("not connected yet")
}

func TestSilenceIsLoss_Case118(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.advance(90*time.Second - 1)
	r.wantQuiet("within the tolerance")
	r.wantState("", StateActive)
	r.advance(1)
	r.wantHex("1.5 times the keep-alive", "02 18")
	r.wantAction("the broker publishes the will", Action{Kind: ActionCloseAbort})
	r.wantState("", StateLost)
	r.event(Event{Kind: EventClosed})
	r.wantFreed("CleanSession=0", false)
	r.sendHex("02 16")
	r.wantHex("it is back and has to connect", "02 18")
}

func TestKeepAliveTolerance_Case118(t *testing.T) {
	for _, tc := range []struct {
		keepAlive uint16
		lost      time.Duration
	}{
		{1, 1500 * time.Millisecond},
		{59, 88500 * time.Millisecond},
		{60, 90 * time.Second},
		{61, 67100 * time.Millisecond},
		{600, 660 * time.Second},
		{65535, 72088500 * time.Millisecond},
	} {
		r := newRig(t, nil)
		r.connect(true, tc.keepAlive)
		r.advance(tc.lost - 1)
		r.wantState("1 ns early", StateActive)
		r.advance(1)
		r.want("", sn12.Disconnect{})
		r.wantAction("", Action{Kind: ActionCloseAbort})
		r.event(Event{Kind: EventClosed})
		r.wantFreed("CleanSession=1", true)
	}
}

func TestAnyMessageIsASignOfLife_Case119(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	id := r.register("a/b")
	for range 20 {
		r.advance(90*time.Second - 1)
		r.send(sn12.Publish{TopicID: id})
		r.wantAction("", Action{Kind: ActionPublish, Topic: "a/b"})
	}
	r.wantState("PUBLISH alone keeps it connected", StateActive)
}

// The gateway must not take its own sending, or the broker's, for a sign of life.
func TestWhatTheBrokerSendsIsNoSignOfLife_Case118(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	id := r.subscribe("a/b", 0)
	r.advance(89 * time.Second)
	r.event(fromBroker("a/b", "x", 0, 0))
	r.want("", sn12.Publish{TopicID: id, Data: []byte("x")})
	r.advance(time.Second)
	r.want("lost all the same", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseAbort})
}

func TestPingReqFromAnUnknownDevice_Case121(t *testing.T) {
	r := newRig(t, nil)
	for _, ping := range []string{"02 16", "05 16 646576"} {
		r.sendHex(ping)
		r.wantHex("it has to connect", "02 18")
		r.wantDrop("", ReasonUnknownSender)
	}
	r.wantState("", StateNew)
}

func TestKeepAliveZeroIsProbed_Case33_123(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	for range 3 {
		r.advance(time.Hour - 1)
		r.wantQuiet("no supervision within IdleProbe")
		r.advance(1)
		r.wantHex("are you there?", "02 16")
		r.advance(10 * time.Second)
		r.wantHex("Tretry", "02 16")
		r.sendHex("02 17")
		r.wantQuiet("PINGRESP counts as life, and ends the probe")
	}
	r.wantState("", StateActive)
}

func TestProbeWithoutAnswerIsLoss_Case33_123(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	r.advance(time.Hour + 40*time.Second)
	for range 4 {
		r.want("the probe and Nretry repeats", sn12.PingReq{})
	}
	r.want("nobody there", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseAbort})
	r.wantState("", StateLost)
}

func TestKeepAliveZeroWithoutProbeIsForEver_Case33(t *testing.T) {
	cfg := testConfig()
	cfg.IdleProbe = 0
	r := newRig(t, cfg)
	r.connect(true, 0)
	if d := r.s.Deadline(); d != Never {
		t.Errorf("waits for %v", d-r.now)
	}
}

func TestPingRespOfAnActiveDeviceIsASignOfLife_Case123(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.advance(89 * time.Second)
	r.sendHex("02 17")
	r.wantQuiet("")
	r.advance(89 * time.Second)
	r.wantState("", StateActive)
	r.sendHex("03 17 00")
	r.wantDrop("a body it must not have", ReasonMalformed)
}
