package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// contested says that a CONNECT has come from elsewhere.
func (r *rig) contested() (lost bool) {
	r.t.Helper()
	r.step("contested", func() { lost = r.s.Contested(r.at(), &r.out) })
	return lost
}

func TestContestedSessionIsLostToSilence_Case164(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60000)
	if r.contested() {
		t.Fatal("lost without a question")
	}
	r.want("is it still there?", sn12.PingReq{})
	for range 3 {
		r.advance(10*time.Second - 1)
		if r.contested() {
			t.Fatal("lost too early")
		}
		r.wantQuiet("one question at a time, whoever asks for it")
		r.advance(1)
		r.want("is it still there?", sn12.PingReq{})
	}
	r.advance(10*time.Second - 1)
	if r.contested() {
		t.Fatal("lost too early")
	}
	r.advance(1)
	r.wantQuiet("asked often enough")
	if !r.contested() {
		t.Fatal("not lost after Tretry x (Nretry + 1)")
	}
	r.wantState("it lives until somebody comes", StateActive)
	r.send(sn12.PingReq{})
	r.want("late, but here", sn12.PingResp{})
	if r.contested() {
		t.Fatal("lost after a word of the device")
	}
	r.want("asked anew", sn12.PingReq{})
}

// A CONNECT may come at the instant at which silence is to be taken for an answer, before that is
// done.
func TestContestedSessionIsLostWhenItsTimeHasCome_Case164(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60000)
	if r.contested() {
		t.Fatal("lost without a question")
	}
	for range 3 {
		r.want("is it still there?", sn12.PingReq{})
		r.advance(10 * time.Second)
	}
	r.want("is it still there?", sn12.PingReq{})
	r.now += 10 * time.Second
	if !r.contested() {
		t.Fatal("not lost after Tretry x (Nretry + 1)")
	}
	r.wantQuiet("asked often enough")
}

func TestContestedSessionOfADeviceThatAnswersStays_Case164(t *testing.T) {
	for name, answer := range map[string]sn12.Message{
		"PINGRESP": sn12.PingResp{}, "PUBLISH": sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.connect(false, 60000)
			asked := 0
			for range 400 { // seconds
				if r.contested() {
					t.Fatal("lost")
				}
				if len(r.sent) > 0 {
					r.want("is it still there?", sn12.PingReq{})
					asked++
					r.send(answer)
					r.acts = nil
				}
				r.advance(time.Second)
			}
			if asked != 10 {
				t.Errorf("asked %d times in 400 s, want 10", asked)
			}
		})
	}
}

// TestSleeperAtAnUnprovenAddressDoesNotDefendItself_Case164: or one forged CONNECT and
// DISCONNECT would lock the device out for as long as a sleep may last.
func TestSleeperAtAnUnprovenAddressDoesNotDefendItself_Case164(t *testing.T) {
	for _, proven := range []bool{false, true} {
		r := newRig(t, proofConfig())
		r.connect(false, 60)
		r.subscribe("a/b", 1)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want("an answer would prove the address", pub(1, 1, 1, "x"))
		if proven {
			r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
			r.wantAck("it has it", 1)
		}
		r.sleep(600)
		if lost := r.contested(); lost == proven {
			t.Errorf("proven is %v, lost is %v", proven, lost)
		}
		r.wantQuiet("a sleeper cannot answer")
	}
}

func TestSleeperIsNotContested_Case164(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.sleep(600)
	for range 5 {
		if r.contested() {
			t.Fatal("lost")
		}
		r.wantQuiet("a sleeper cannot answer")
		r.advance(100 * time.Second)
	}
}

// TestQuestionEndsWithTheConnection_Case164: a device that goes to sleep meanwhile is not lost to it.
func TestQuestionEndsWithTheConnection_Case164(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.contested()
	r.want("is it still there?", sn12.PingReq{})
	r.sleep(600)
	r.advance(time.Minute)
	r.wantQuiet("it sleeps")
	if r.contested() {
		t.Fatal("lost")
	}
}
