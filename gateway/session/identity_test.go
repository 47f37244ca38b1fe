package session

import (
	"slices"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// What tells a repeat of the broker from a new message, and what may be on its way from it.

// What is held fills the limit and has been acknowledged already, so the broker has more,
// and nothing that is acknowledged in the wake tells of it.
func TestSleepBarrierCoversWhatTheBrokerHasBehindAPause_Case127(t *testing.T) {
	cfg := durableConfig()
	cfg.MaxMessages = 2
	r := newDurableRig(t, cfg)
	id := r.begin()
	r.subscribed()
	r.slept()
	for n := range uint16(2) {
		r.event(fromBroker("a/b", string(rune('1'+n)), 1, n+1))
	}
	r.wantAction("the limit", Action{Kind: ActionPause})
	r.stored()
	for n := range Handle(2) {
		r.wantAction("stored", Action{Kind: ActionAck, Handle: n + 1})
	}
	r.records = nil
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.send(sn12.PubAck{MsgID: 1})
	r.want("2", pub(1, id, 2, "2"))
	r.wantAction("there is room", Action{Kind: ActionResume})
	r.send(sn12.PubAck{MsgID: 2})
	p := r.wantAction("the broker has more", Action{Kind: ActionPing})
	r.event(fromBroker("a/b", "3", 0, 0))
	r.want("it goes into this wake", pub(0, id, 0, "3"))
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.want("last", sn12.PingResp{})
}

// The broker may use an identifier again as soon as it is acknowledged, also for a message
// that looks the same, and a lost connection adds DUP to it.
func TestEqualMessageWithAFreeIdentifierIsNew_Case173(t *testing.T) {
	for _, qos := range []uint8{1, 2} {
		r := newDurableRig(t, nil)
		r.begin()
		r.subscribed()
		r.slept()
		toggle := fromBroker("a/b", "toggle", qos, 1)
		r.event(toggle)
		r.stored()
		r.wantAction("it is ours now", Action{Kind: ActionAck, Handle: 1})
		if qos == 2 {
			r.event(Event{Kind: EventReleased, Identity: identityOf(1, "a/b", "toggle")})
			r.stored()
			r.wantAction("released", Action{Kind: ActionComplete, Identity: identityOf(1, "a/b", "toggle")})
		}
		r.event(Event{Kind: EventDown})
		r.event(Event{Kind: EventUp, SessionPresent: true})
		toggle.Dup = true
		r.event(toggle)
		r.stored()
		r.wantAction("another one", Action{Kind: ActionAck, Handle: 1})
		if n, _ := r.s.Held(); n != 2 {
			t.Errorf("QoS %d: %d messages held, want 2", qos, n)
		}
	}
}

// PUBCOMP lets the broker use the identifier again, so a restart must know by then that it
// is free.
func TestPubcompWaitsForTheStore(t *testing.T) {
	begin := func() durableRig {
		r := newDurableRig(t, nil)
		r.begin()
		r.subscribed()
		r.slept()
		r.event(fromBroker("a/b", "toggle", 2, 1))
		r.stored()
		r.wantAction("", Action{Kind: ActionAck, Handle: 1})
		r.records = nil
		r.event(Event{Kind: EventReleased, Identity: identityOf(1, "a/b", "toggle")})
		r.wantRecords("the identifier is free", "-exchange")
		r.wantQuiet("not before a restart knows it")
		return r
	}
	r := begin()
	r.stored()
	r.wantAction("now", Action{Kind: ActionComplete, Identity: identityOf(1, "a/b", "toggle")})
	r.event(Event{Kind: EventReleased, Identity: identityOf(1, "a/b", "toggle")})
	r.wantAction("it was lost: at once", Action{Kind: ActionComplete, Identity: identityOf(1, "a/b", "toggle")})

	r = begin()
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.stored()
	r.wantQuiet("in another connection the broker asks again")

	r = begin()
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("the device is back", Action{Kind: ActionSetWill})
	r.stored()
	r.wantAction("the broker has not been told yet", Action{Kind: ActionComplete, Identity: identityOf(1, "a/b", "toggle")})
	r.want("", sn12.ConnAck{})

	r = begin()
	r.storeFailed()
	r.wantAction("a store that fails holds nothing up", Action{Kind: ActionComplete, Identity: identityOf(1, "a/b", "toggle")})
}

// What the broker has forgotten is forgotten here, and the message is delivered all the same. Its
// name is not taken again, be it for a message that was still on its way to the store.
func TestForgottenMessageIsDeliveredAndNotTaken(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.subscribed()
	one, two := identityOf(1, "a/b", "one"), identityOf(1, "a/b", "two")
	r.event(fromBroker("a/b", "one", 2, 1))
	r.stored()
	r.want("on its way", pub(2, id, 1, "one"))
	r.event(Event{Kind: EventForgotten, Identity: one})
	r.wantQuiet("nothing of it is kept yet")
	r.records = nil
	r.send(sn12.Disconnect{HasDuration: true, Duration: 600})
	r.wantRecords("the message, and how it was sent", "+held +outgoing +session")
	r.stored()
	r.wantAction("stale", Action{Kind: ActionAck, Handle: 1})
	r.want("", sn12.Disconnect{})
	r.event(fromBroker("a/b", "two", 2, 1))
	r.stored()
	r.wantAction("it is taken", Action{Kind: ActionAck, Handle: 1})
	r.records = nil
	r.event(Event{Kind: EventForgotten, Identity: two})
	r.wantRecords("its name", "-exchange")
	if n, _ := r.s.Held(); n != 2 {
		t.Errorf("%d messages held, want both", n)
	}
	r.restart()
	r.wantTaken("neither", r.up())
}

// The link is told by every way in which a connection begins.
func TestLinkIsToldWhatIsTaken(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.subscribed()
	r.slept()
	toggle := identityOf(1, "a/b", "toggle")
	r.event(fromBroker("a/b", "toggle", 2, 1))
	r.stored()
	r.wantAction("", Action{Kind: ActionAck, Handle: 1})
	r.send(sn12.Disconnect{})
	r.wantAction("bye", Action{Kind: ActionCloseClean})
	r.stored()
	r.want("bye", sn12.Disconnect{})
	r.event(Event{Kind: EventClosed})
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	a := r.wantAction("back", Action{Kind: ActionConnect, KeepAlive: 600})
	r.wantTaken("a connect of the device", a.Unreleased, toggle)
	r.event(Event{Kind: EventRefused})
	a = r.wantAction("the broker is away", Action{Kind: ActionReopen, KeepAlive: 600})
	r.wantTaken("the link's own", a.Unreleased, toggle)
	r.event(Event{Kind: EventUp})
	r.stored()
	r.want("", sn12.ConnAck{})
	r.sent, r.acts = nil, nil
	r.send(sn12.Disconnect{})
	r.acts = nil
	r.stored()
	r.want("bye", sn12.Disconnect{})
	r.event(Event{Kind: EventClosed})
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	a = r.wantAction("back", Action{Kind: ActionConnect, KeepAlive: 600})
	r.wantTaken("the broker has lost the session", a.Unreleased)
}

// A store that has failed is given all that is taken, and a restart goes on with it.
func TestSnapshotHasAllThatIsTaken(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.subscribed()
	r.slept()
	var want []Identity
	for n := range uint16(5) {
		r.event(fromBroker("a/b", "same", 2, n+1))
		r.stored()
		r.wantAction("", Action{Kind: ActionAck, Handle: Handle(n + 1)})
		want = append(want, identityOf(n+1, "a/b", "same"))
	}
	r.event(Event{Kind: EventReleased, Identity: want[1]})
	r.stored()
	r.wantAction("", Action{Kind: ActionComplete, Identity: want[1]})
	want = slices.Delete(want, 1, 2)
	r.store = newModelStore()
	r.step("the store works again", func() { r.s.Snapshot(r.at(), &r.out) })
	r.restart()
	r.wantTaken("all but the one that is released", r.up(), want...)
	r.event(fromBroker("a/b", "more", 2, 9))
	r.stored()
	r.wantAction("", Action{Kind: ActionAck, Handle: 9})
	r.restart()
	r.wantTaken("and one more", r.up(), append(want, identityOf(9, "a/b", "more"))...)
}

// A device of which connections end on one message of QoS 2 has its other topics served.
func TestDoubtedMessageHoldsUpOnlyItsTopic_Case152(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.send(sn12.Register{MsgID: 2, TopicName: []byte("c/d")})
	r.stored()
	r.want("", sn12.RegAck{TopicID: 2, MsgID: 2})
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 3, Data: []byte("bad")})
	r.stored()
	r.want("", sn12.PubRec{MsgID: 3})
	bad := r.wantPublish("QoS 2", "bad", 2)
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 4, Data: []byte("behind")})
	r.send(sn12.Publish{QoS: 1, TopicID: 2, MsgID: 5, Data: []byte("other")})
	r.stored()
	r.want("", sn12.PubAck{TopicID: id, MsgID: 4})
	r.want("", sn12.PubAck{TopicID: 2, MsgID: 5})
	r.wantQuiet("the order of a device")
	r.event(Event{Kind: EventDoubted, Token: bad.Token})
	other := r.wantAction("another topic", Action{Kind: ActionPublish, Topic: "c/d", Payload: []byte("other"), QoS: 1})
	r.wantQuiet("its topic waits")
	r.event(Event{Kind: EventPublished, Token: other.Token})
	r.event(Event{Kind: EventPublishFailed, Token: bad.Token, Rejected: true})
	r.wantDrop("it is given up", ReasonSpoolRejected)
	r.wantPublish("and then its topic goes on", "behind", 1)
}

// What is stuck expires as well.
func TestDoubtedMessageExpires_Case152(t *testing.T) {
	cfg := durableConfig()
	cfg.SpoolAge = time.Minute
	r := newDurableRig(t, cfg)
	id := r.begin()
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 3, Data: []byte("stuck")})
	r.stored()
	r.want("", sn12.PubRec{MsgID: 3})
	m := r.wantPublish("QoS 2", "stuck", 2)
	r.event(Event{Kind: EventDoubted, Token: m.Token})
	r.advance(time.Minute)
	r.wantDrop("after max_age", ReasonSpoolExpired)
	r.wantAction("the link need not try again", Action{Kind: ActionRetract, Token: m.Token})
}

func TestMessageTheBrokerDoesNotTakeIsRefusedWithoutASpool_Case152(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	id := r.register("a/b")
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("x")})
	a := r.wantAction("", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: 1})
	r.event(Event{Kind: EventPublishFailed, Token: a.Token, Rejected: true})
	r.wantDrop("counted", ReasonPublishRejected)
	r.want("not congestion: it will not get better", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedNotSupported})
}

// A device that listens is asked whether it is here, and not sent anything else before it
// says so: another gateway may have it.
func TestParkedDeviceThatListensIsAsked_Case157(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.advance(5*time.Second - 1)
	r.wantQuiet("the device may have spoken by then")
	r.advance(1)
	r.want("are you here?", sn12.PingReq{})
	r.advance(10 * time.Second)
	r.want("again, after a longer pause", sn12.PingReq{})
	r.event(Event{Kind: EventUp, SessionPresent: true, NoWill: true})
	r.event(fromBroker("a/b", "1", 0, 0))
	r.wantQuiet("it has not answered")
	r.send(sn12.PingResp{})
	r.want("it is here", pub(0, id, 0, "1"))
	r.advance(time.Minute)
	r.wantQuiet("it need not be asked any more")

	r, _ = subscriber(t, nil, false, "a/b")
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.advance(15 * time.Minute)
	if n := r.asked(); n < 5 || n > 10 {
		t.Errorf("asked %d times", n)
	}
	r.wantAction("its loss is silent", Action{Kind: ActionCloseAbort})
}

// asked takes the PINGREQs among what was sent, and counts them.
func (r *rig) asked() (n int) {
	r.sent = slices.DeleteFunc(r.sent, func(b []byte) bool {
		ping := string(b) == "\x02\x16"
		if ping {
			n++
		}
		return ping
	})
	return n
}
