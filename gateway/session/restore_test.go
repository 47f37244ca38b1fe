package session

import (
	"testing"

	"sngate/snpacket/sn12"
)

// restoredRig is a rig whose device was active when the gateway was restarted, without
// subscriptions: its connection to the broker is opened when it speaks.
func restoredRig(t *testing.T) *rig {
	t.Helper()
	cfg := testConfig()
	cfg.Durable, cfg.Spool = true, true
	cfg.SpoolMessages, cfg.SpoolBytes, cfg.SpoolAge = 10, 10_000, 3600e9
	r := newRig(t, cfg)
	if err := r.s.Load(RecordSession, nil, []byte{recordVersion, protocolSN12, bitKept, byte(StateActive), 0, 60, 0, 0, 0, 60}); err != nil {
		t.Fatal(err)
	}
	r.step("resume", func() { r.s.Restore(r.at(), &r.out) })
	r.wantAction("opened when the device speaks", Action{Kind: ActionReopen, KeepAlive: 60, Lazy: true})
	return r
}

func (r *rig) sendQoS0(payload string) {
	r.t.Helper()
	r.send(sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte(payload)})
}

// The first message after a restart may be what opens the connection.
func TestQoS0WaitsForTheFirstConnectionAfterARestart_Case148(t *testing.T) {
	r := restoredRig(t)
	r.sendQoS0("one")
	r.wantQuiet("not there yet")
	r.sendQoS0("two")
	r.event(Event{Kind: EventUp, SessionPresent: true})
	for _, payload := range []string{"one", "two"} {
		r.wantAction("in order", Action{Kind: ActionPublish, Topic: "ab", Payload: []byte(payload)})
	}
	r.event(Event{Kind: EventDown})
	r.sendQoS0("three")
	r.wantDrop("the broker is away", ReasonBrokerDown)
}

func TestQoS0DoesNotWaitForABrokerThatIsAway_Case152(t *testing.T) {
	r := restoredRig(t)
	r.sendQoS0("one")
	r.wantQuiet("not there yet")
	r.event(Event{Kind: EventDown})
	r.wantDrop("the first try has failed", ReasonBrokerDown)
	r.sendQoS0("two")
	r.wantDrop("as before a restart", ReasonBrokerDown)
	r.event(Event{Kind: EventUp})
	r.wantQuiet("nothing is left")
}

// The shell notes in RecordSession which broker has the session. None has all of it while
// the subscriptions are being repeated.
func TestRecordIsWrittenWhenAResubscriptionBeginsAndEnds(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.subscribed()
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.wantRecords("the broker has the session", "")
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	a := r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.wantRecords("it has not", "+session")
	if !r.s.Resubscribing() {
		t.Fatal("the broker has not answered")
	}
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 2})
	r.wantRecords("it has", "+session")
	if r.s.Resubscribing() {
		t.Fatal("complete")
	}
}
