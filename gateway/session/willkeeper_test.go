package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// Tests of wills that the gateway keeps: the broker is told of none, and the gateway
// publishes the will of a device that is lost.

// keeperRig is a rig whose gateway keeps the wills. With a will the device is connected.
func keeperRig(t *testing.T, clean bool, w *Will) *rig {
	t.Helper()
	cfg := testConfig()
	cfg.PublishesWills = true
	r := newRig(t, cfg)
	if w != nil {
		r.connectKept(clean, w)
	}
	return r
}

// connectKept is connectWill where the gateway keeps the will.
func (r *rig) connectKept(clean bool, w *Will) {
	r.t.Helper()
	r.send(connectMsg(clean, true, 60))
	r.want("Will=1", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)})
	r.want("then the message", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: w.Message})
	r.wantAction("the broker is told of no will", Action{Kind: ActionConnect, Clean: clean, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("accepted", sn12.ConnAck{})
	r.wantWillDue("the device is there", nil)
}

// lostSilently lets the keep-alive of 60 s pass.
func (r *rig) lostSilently() {
	r.t.Helper()
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantState("lost", StateLost)
}

// wantPublished expects that the will is published and the connection then ended.
func (r *rig) wantPublished(why string, w *Will) {
	r.t.Helper()
	r.wantAction(why, Action{Kind: ActionPublish, Topic: w.Topic, Payload: w.Message, QoS: max(w.QoS, 1), Retain: w.Retain})
	r.wantAction("and the connection ended when it has arrived", Action{Kind: ActionCloseDrain})
	r.wantWillDue("until then", w)
}

func (r *rig) wantWillDue(why string, w *Will) {
	r.t.Helper()
	if got := r.s.WillDue(); !got.equal(w) {
		r.t.Fatalf("%s: will due is %+v, want %+v", why, got, w)
	}
}

func TestKeptWillIsPublishedOnLoss_Case40_47(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for qos := range uint8(3) {
			w := &Will{Topic: "w", Message: []byte("m"), QoS: qos, Retain: qos == 1}
			r := keeperRig(t, clean, w)
			r.lostSilently()
			r.wantPublished("QoS 0 as QoS 1: somebody has to notice when it does not arrive", w)
			r.event(Event{Kind: EventClosed})
			r.wantWillDue("it is with the broker", nil)
			r.wantFreed("what is kept is for CleanSession=0", clean)
		}
	}
}

func TestKeptWillWaitsForTheBroker_Case49_151(t *testing.T) {
	for _, clean := range []bool{true, false} {
		w := &Will{Topic: "w", Message: []byte("m")}
		r := keeperRig(t, clean, w)
		r.event(Event{Kind: EventDown})
		r.lostSilently()
		r.wantPublished("given to the link, which waits", w)
		r.advance(time.Hour)
		r.wantWillDue("the broker is still away", w)
		r.wantFreed("the session is there as long as its will", false)
		r.event(Event{Kind: EventUp})
		r.wantQuiet("the rest is the link's business")
		r.event(Event{Kind: EventClosed})
		r.wantWillDue("published", nil)
		r.wantFreed("", clean)
	}
}

func TestKeptWillIsNotDueWhenTheDeviceIsBackFirst_Case151(t *testing.T) {
	for _, clean := range []bool{true, false} {
		w := &Will{Topic: "w", Message: []byte("m"), QoS: 1}
		r := keeperRig(t, clean, w)
		r.event(Event{Kind: EventDown})
		r.lostSilently()
		r.wantPublished("lost", w)
		r.advance(time.Hour)
		r.connectKept(clean, w)
		r.event(Event{Kind: EventClosed}) // a late answer
		r.wantFreed("the device is there", false)
		r.lostSilently()
		r.wantPublished("lost again", w)
	}
}

func TestKeptWillSurvivesAConnectThatIsNotCarriedOut_Case41(t *testing.T) {
	w := &Will{Topic: "w", Message: []byte("m"), QoS: 1}
	r := keeperRig(t, true, w)
	r.event(Event{Kind: EventDown})
	r.lostSilently()
	r.wantPublished("lost", w)
	r.send(connectMsg(true, true, 60))
	for range 4 {
		r.want("the will is asked for, and no answer comes", sn12.WillTopicReq{})
		r.advance(10 * time.Second)
	}
	r.wantState("given up", StateDisconnected)
	r.wantWillDue("nothing has come of the CONNECT", w)
	r.send(connectMsg(true, false, 60))
	r.wantAction("this one is carried out", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.wantWillDue("the device lives", nil)
	r.event(Event{Kind: EventClosed})
	r.event(Event{Kind: EventRefused})
	r.want("the broker is still away", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
	r.wantFreed("", true)
}

func TestKeptWillThatWasStoredIsPublishedForALaterConnection_Case40(t *testing.T) {
	w := &Will{Topic: "w", Message: []byte("m"), QoS: 2, Retain: true}
	r := keeperRig(t, false, w)
	r.close()
	r.connect(false, 60) // without will: the stored one stays in force
	r.lostSilently()
	r.wantPublished("the stored one", w)
	r.event(Event{Kind: EventClosed})
	r.connect(true, 60)
	r.lostSilently()
	r.wantAction("CleanSession=1 has dropped it", Action{Kind: ActionCloseAbort})
}

func TestKeptWillIsUpdated_Case49_50(t *testing.T) {
	for _, down := range []bool{false, true} {
		r := keeperRig(t, true, &Will{Topic: "w", Message: []byte("m")})
		if down {
			r.event(Event{Kind: EventDown})
		}
		r.send(sn12.WillTopicUpd{QoS: 1, Retain: true, Topic: []byte("v")})
		r.want("the broker need not know", sn12.WillTopicResp{})
		r.send(sn12.WillMsgUpd{Message: []byte("n")})
		r.want("", sn12.WillMsgResp{})
		if down {
			r.event(Event{Kind: EventUp, SessionPresent: true})
		}
		r.lostSilently()
		r.wantPublished("the new will", &Will{Topic: "v", Message: []byte("n"), QoS: 1, Retain: true})
	}
}

func TestKeptWillIsDeleted_Case50(t *testing.T) {
	r := keeperRig(t, true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
	r.send(sn12.WillTopicUpd{Empty: true})
	r.want("deleted", sn12.WillTopicResp{})
	r.lostSilently()
	r.wantAction("there is none to publish, and the broker has none", Action{Kind: ActionCloseAbort})
	r.wantWillDue("", nil)
}

func TestKeptWillOfAConnectedDeviceIsReplaced_Case40(t *testing.T) {
	r := keeperRig(t, false, &Will{Topic: "w", Message: []byte("m")})
	r.later()
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Topic: []byte("v")})
	r.want("", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: []byte("n")})
	r.want("nothing to tell the broker", sn12.ConnAck{})
	r.lostSilently()
	r.wantPublished("the new one", &Will{Topic: "v", Message: []byte("n")})
}

func TestNoKeptWillWithoutLoss_Case20_48(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"DISCONNECT": func(r *rig) {
			r.send(sn12.Disconnect{})
			r.want("confirmed", sn12.Disconnect{})
		},
		"stop": func(r *rig) {
			r.step("stop", func() { r.s.Stop(r.at(), &r.out) })
			r.want("told", sn12.Disconnect{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := keeperRig(t, true, &Will{Topic: "w", Message: []byte("m")})
			end(r)
			r.wantAction("", Action{Kind: ActionCloseClean})
			r.wantWillDue("", nil)
		})
	}
	t.Run("no will", func(t *testing.T) {
		r := keeperRig(t, true, nil)
		r.connect(true, 60)
		r.lostSilently()
		r.wantAction("", Action{Kind: ActionCloseAbort})
	})
}

// The device is probably connected through another gateway.
func TestNoKeptWillOfAParkedDevice_Case157(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r := keeperRig(t, clean, &Will{Topic: "w", Message: []byte("m")})
		r.event(Event{Kind: EventDown})
		r.event(Event{Kind: EventParked})
		r.advance(90 * time.Second)
		r.wantState("nothing is said to the device", StateLost)
		r.wantAction("nor published", Action{Kind: ActionCloseAbort})
		r.wantWillDue("", nil)
	}
}
