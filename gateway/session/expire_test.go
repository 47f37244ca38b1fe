package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// kept returns a session of a device that has subscribed, registered and gone.
func kept(t *testing.T) (*rig, uint16) {
	t.Helper()
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.subscribe("s", 1)
	id := r.register("t")
	r.send(sn12.Disconnect{})
	r.want("confirmed", sn12.Disconnect{})
	r.wantAction("no will", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.wantFreed("CleanSession=0", false)
	return r, id
}

func (r *rig) expire() {
	r.t.Helper()
	r.step("expire", func() { r.s.Expire(r.at(), &r.out) })
}

func TestExpiredSessionIsForgottenAndTheBrokerLeftAlone_Case156(t *testing.T) {
	r, _ := kept(t)
	r.expire()
	r.wantFreed("over", true)
	r.wantQuiet("the device may be connected through another gateway")
}

func TestSessionInUseDoesNotExpire_Case156(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.expire()
	r.wantFreed("in use", false)
	r.wantQuiet("it is connected")
}

func TestExpiryWaitsForTheEndOfTheConnection(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseAbort})
	r.expire()
	r.wantQuiet("the connection is about to end")
	r.event(Event{Kind: EventClosed})
	r.wantFreed("over", true)
}
