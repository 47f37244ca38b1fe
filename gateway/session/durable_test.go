package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestRegisterRepeatedWhileTheStoreWorksIsAnsweredOnce(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	r.send(sn12.Register{MsgID: 1, TopicName: []byte("a/b")})
	r.send(sn12.Register{MsgID: 2, TopicName: []byte("a/b")})
	r.stored()
	r.want("the last one", sn12.RegAck{TopicID: 1, MsgID: 2})
}

func TestTopicIDOfAFailedBatchIsNotUsedAgain(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	r.stored()
	r.send(sn12.Register{MsgID: 1, TopicName: []byte("a/b")})
	r.storeFailed()
	r.want("the device may ask again", sn12.RegAck{MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("counted", ReasonStoreFailed)
	r.send(sn12.Register{MsgID: 2, TopicName: []byte("c/d")})
	r.stored()
	r.want("another id", sn12.RegAck{TopicID: 2, MsgID: 2})
	r.restart()
	r.wantAction("nothing to wait for", Action{Kind: ActionReopen, KeepAlive: 600})
	r.send(sn12.Register{MsgID: 3, TopicName: []byte("e/f")})
	r.stored()
	r.want("nor after a restart", sn12.RegAck{TopicID: 3, MsgID: 3})
}

// A topic id that the device asks for is its own when that is in the store, whichever way the
// gateway had come to allot it.
func TestIDThatTheStoreHasNotTakenIsNotTold(t *testing.T) {
	register := sn12.Register{MsgID: 9, TopicName: []byte("t/1")}
	refused := sn12.RegAck{MsgID: 9, ReturnCode: sn12.RejectedCongestion}
	lent := func(t *testing.T) (durableRig, uint16) {
		r := newDurableRig(t, nil)
		r.connect(false, 600)
		return r, r.lend("t/1")
	}
	t.Run("REGISTER", func(t *testing.T) {
		r, id := lent(t)
		r.send(register)
		r.storeFailed()
		r.want("not stored", refused)
		r.env.StoreOK = false
		r.send(register)
		r.want("and not told by the repeat", refused)
		r.env.StoreOK = true
		r.send(register)
		r.stored()
		r.want("stored", sn12.RegAck{TopicID: id, MsgID: 9})
	})
	t.Run("use while the store is down", func(t *testing.T) {
		r, id := lent(t)
		r.env.StoreOK = false
		r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
		r.wantAction("", Action{Kind: ActionPublish, Topic: "t/1", Payload: []byte("x")})
		r.send(register)
		r.want("not stored", refused)
	})
}

func TestStoreDownRefusesWhatNeedsItAndRelaysTheRest(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.env.StoreOK = false
	r.send(sn12.Register{MsgID: 2, TopicName: []byte("c/d")})
	r.want("congestion", sn12.RegAck{MsgID: 2, ReturnCode: sn12.RejectedCongestion})
	r.send(sn12.Subscribe{QoS: 1, MsgID: 3, TopicName: []byte("a/b")})
	r.want("congestion", sn12.SubAck{MsgID: 3, ReturnCode: sn12.RejectedCongestion})
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 4, Data: []byte("x")})
	a := r.wantAction("without the spool", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: 2})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("as without a store", sn12.PubRec{MsgID: 4})
	r.send(sn12.Disconnect{HasDuration: true, Duration: 60})
	r.want("not delayed", sn12.Disconnect{})
}

// A SUBSCRIBE that changes nothing but the QoS fails in the store: neither the
// subscription nor the topic id, which the device has known for long, go with it.
func TestFailedSubscribeTakesNothingAway(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.subscribed()
	r.later()
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("topic ids are told again", Action{Kind: ActionSetWill})
	r.stored()
	r.want("", sn12.ConnAck{})
	r.send(sn12.Subscribe{QoS: 1, MsgID: 5, TopicName: []byte("a/b")})
	a := r.wantAction("SUBSCRIBE", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.storeFailed()
	r.want("not as asked for", sn12.SubAck{MsgID: 5, ReturnCode: sn12.RejectedCongestion})
	r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
	r.wantAction("the id still means the topic", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x")})
	if r.s.subs.find("a/b") < 0 {
		t.Error("the subscription is gone")
	}
}

func TestFailedNewSubscriptionIsTakenBackFromTheBroker(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	r.stored()
	r.send(sn12.Subscribe{QoS: 1, MsgID: 5, TopicName: []byte("a/+")})
	a := r.wantAction("SUBSCRIBE", Action{Kind: ActionSubscribe, Topic: "a/+", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.storeFailed()
	r.wantAction("the device is told no", Action{Kind: ActionUnsubscribe, Topic: "a/+"})
	r.want("", sn12.SubAck{MsgID: 5, ReturnCode: sn12.RejectedCongestion})
}

// The device has restarted and counts its MsgIds from the start.
func TestAnswersOfAnEarlierConnectionAreNotGiven(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprint("clean=", clean), func(t *testing.T) {
			r := newDurableRig(t, nil)
			r.connect(clean, 600)
			r.later()
			r.send(sn12.Register{MsgID: 1, TopicName: []byte("a/b")})
			r.send(sn12.Subscribe{QoS: 1, MsgID: 2, TopicName: []byte("a/+")})
			a := r.wantAction("SUBSCRIBE", Action{Kind: ActionSubscribe, Topic: "a/+", QoS: 1})
			r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
			r.send(sn12.Disconnect{HasDuration: true, Duration: 60})
			r.send(sn12.Disconnect{})
			r.wantAction("", Action{Kind: ActionCloseClean})
			r.send(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
			r.wantAction("", Action{Kind: ActionConnect, Clean: clean, KeepAlive: 600})
			r.event(Event{Kind: EventConnected, SessionPresent: !clean})
			r.stored()
			r.want("this one", sn12.ConnAck{})
			r.wantQuiet("nobody waits for the other answers")
		})
	}
}

func TestDisconnectWithDurationIsNotAnsweredToADeviceThatIsBack(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	r.stored()
	r.send(sn12.Disconnect{HasDuration: true, Duration: 60})
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("awake for good", Action{Kind: ActionSetWill})
	r.stored()
	r.want("", sn12.ConnAck{})
	r.wantQuiet("DISCONNECT would end the new connection for the device")
}

// A QoS 2 message that has been sent before the others is sent before them after a restart,
// too: the one record of its MsgId stands until it is done.
func TestInterruptedQoS2DeliveryGoesFirstAfterARestart(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.subscribed()
	r.slept()
	r.event(fromBroker("c/d", "one", 1, 1))
	r.event(fromBroker("a/b", "two", 2, 2))
	r.stored()
	r.wantAction("one", Action{Kind: ActionAck, Handle: 1})
	r.wantAction("two", Action{Kind: ActionAck, Handle: 2})
	ping := sn12.PingReq{ClientID: []byte("dev")}
	r.send(ping)
	r.wantQuiet("the id of c/d waits for the store")
	r.stored()
	register := sn12.Register{TopicID: 2, MsgID: 1, TopicName: []byte("c/d")}
	r.want("", register)
	r.advance(r.s.cfg.RetryInterval)
	r.want("again", register)
	r.stored()
	two := sn12.Publish{QoS: 2, TopicID: id, MsgID: 2, Data: []byte("two")}
	r.want("which others do not wait for", two)
	r.crash()
	r.up()
	r.send(ping)
	two.DUP = true
	r.want("before all others", two)
}

func TestHeldMessagesAreAcknowledgedWhenStoredAndOutliveARestart(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.subscribed()
	r.slept()
	r.event(fromBroker("a/b", "one", 1, 1))
	r.event(fromBroker("a/b", "two", 2, 2))
	r.wantRecords("both", "+held +held +exchange")
	r.stored()
	r.wantAction("one", Action{Kind: ActionAck, Handle: 1})
	r.wantAction("two", Action{Kind: ActionAck, Handle: 2})
	r.crash()
	two := identityOf(2, "a/b", "two")
	r.wantTaken("PUBREC may have been lost with the process", r.up(), two)
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("in order", sn12.Publish{QoS: 1, TopicID: id, MsgID: 0x4001, Data: []byte("one")})
	r.send(sn12.PubAck{TopicID: id, MsgID: 0x4001})
	r.wantQuiet("QoS 2 waits for its MsgId to be stored")
	r.stored()
	r.want("", sn12.Publish{QoS: 2, TopicID: id, MsgID: 0x4002, Data: []byte("two")})
	r.crash() // the device has it, or not
	r.up()
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("the same MsgId", sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 0x4002, Data: []byte("two")})
	r.send(sn12.PubRec{MsgID: 0x4002})
	r.wantQuiet("PUBREL waits for the store")
	r.stored()
	r.want("", sn12.PubRel{MsgID: 0x4002})
	r.crash()
	r.wantTaken("the broker may not have released it", r.up(), two)
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("only PUBREL is left", sn12.PubRel{MsgID: 0x4002})
	r.send(sn12.PubComp{MsgID: 0x4002})
	r.pong("barrier")
	r.want("nothing is left", sn12.PingResp{})
	r.event(Event{Kind: EventReleased, Identity: two})
	r.stored()
	r.wantAction("released", Action{Kind: ActionComplete, Identity: two})
	r.crash()
	r.wantTaken("it does not come again", r.up())
}

func TestMessagesTheStoreDoesNotTakeStayTheBrokers(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.subscribed()
	r.slept()
	r.event(fromBroker("a/b", "x", 2, 1))
	r.storeFailed()
	r.wantQuiet("not acknowledged")
	r.restart()
	r.up()
	again := fromBroker("a/b", "x", 2, 1)
	again.Dup = true
	r.event(again)
	r.stored()
	r.wantAction("this time", Action{Kind: ActionAck, Handle: 1})
}

// The device disconnects while the store works on what is held: the message is left to
// the broker, and must not count as taken over.
func TestMessageOnItsWayToTheStoreAtDisconnectIsTakenAgain(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.subscribed()
	r.slept()
	r.event(fromBroker("a/b", "x", 2, 1))
	r.send(sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.stored()
	r.want("", sn12.Disconnect{})
	r.event(Event{Kind: EventClosed})
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 600})
	r.event(Event{Kind: EventConnected, SessionPresent: true})
	r.stored()
	r.want("", sn12.ConnAck{})
	again := fromBroker("a/b", "x", 2, 1)
	again.Dup = true
	r.event(again)
	r.want("told again", sn12.Register{TopicID: id, MsgID: 1, TopicName: []byte("a/b")})
	r.send(sn12.RegAck{TopicID: id, MsgID: 1})
	r.stored()
	r.want("it arrives", sn12.Publish{QoS: 2, TopicID: id, MsgID: 2, Data: []byte("x")})
}

func TestWakeWithoutMessagesWritesNothing(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.slept()
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.pong("barrier")
	r.want("", sn12.PingResp{})
	r.wantRecords("a wake cycle", "")
}

func TestPublishWithTheBrokerUpWritesNothingBelowQoS2(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
	r.wantAction("QoS 0", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x")})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 3, Data: []byte("y")})
	a := r.wantAction("QoS 1", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("y"), QoS: 1})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 3})
	r.wantRecords("nothing", "")
}

// A QoS 2 PUBLISH of the device, with a crash after each of its steps. The device
// repeats what is not answered, and the broker is told of the message until it has it.
func TestQoS2OfTheDeviceOutlivesACrashAtEveryStep(t *testing.T) {
	publish := sn12.Publish{QoS: 2, TopicID: 1, MsgID: 7, Data: []byte("x")}
	again := publish
	again.DUP = true
	steps := []string{"publish", "stored", "received", "recorded", "released", "done"}
	for crash, name := range steps {
		t.Run(name, func(t *testing.T) {
			r := newDurableRig(t, nil)
			r.begin()
			want := Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: 2}
			r.send(publish)
			var a Action
			for step := 1; step <= crash; step++ {
				switch steps[step] {
				case "stored":
					r.stored()
					r.want("safe", sn12.PubRec{MsgID: 7})
					if a = r.wantAction("", want); a.Exchange == 0 {
						t.Fatal("no exchange to go on with")
					}
				case "received":
					r.event(Event{Kind: EventReceived, Token: a.Token})
					r.wantQuiet("PUBREL waits for the store")
				case "recorded":
					r.stored()
					r.wantAction("PUBREL", Action{Kind: ActionRelease, Token: a.Token})
				case "released":
					r.event(Event{Kind: EventPublished, Token: a.Token})
				case "done":
					r.stored()
				}
			}
			r.crash()
			r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 600, Lazy: crash == 0})
			r.event(Event{Kind: EventUp, SessionPresent: true})
			if crash >= 1 && crash < 5 {
				b := r.wantAction("the same exchange goes on", want)
				if b.Exchange != a.Exchange || !b.Again || b.Released != (crash >= 3) {
					t.Fatalf("%+v, want exchange %d", b, a.Exchange)
				}
				a = b
			}
			r.send(again)
			if crash == 0 {
				r.stored()
				a = r.wantAction("as if new", want)
			}
			r.want("safe", sn12.PubRec{MsgID: 7})
			r.send(sn12.PubRel{MsgID: 7})
			r.want("", sn12.PubComp{MsgID: 7})
			if crash < 5 {
				r.event(Event{Kind: EventPublished, Token: a.Token})
			}
			r.stored()
			if n, _ := r.s.Spooled(); n != 0 {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}

// away is a device whose broker is away, with messages of QoS 1 in the spool.
func away(t *testing.T, cfg *Config, payloads ...string) (durableRig, uint16) {
	t.Helper()
	r := newDurableRig(t, cfg)
	id := r.begin()
	r.event(Event{Kind: EventDown})
	for i, p := range payloads {
		msgID := uint16(100 + i)
		r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: msgID, Data: []byte(p)})
		r.wantQuiet("PUBACK waits for the store")
		r.stored()
		r.want("safe", sn12.PubAck{TopicID: id, MsgID: msgID})
	}
	r.records = nil
	return r, id
}

func (r durableRig) wantPublish(why, payload string, qos uint8) Action {
	r.t.Helper()
	return r.wantAction(why, Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte(payload), QoS: qos})
}

func TestSpoolKeepsTheOrder(t *testing.T) {
	r, id := away(t, nil, "1", "2")
	r.send(sn12.Publish{TopicID: id, Data: []byte("3")})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	first := r.wantPublish("oldest first", "1", 1)
	r.wantPublish("", "2", 1)
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("4")})
	r.stored()
	r.wantPublish("QoS 0 as well", "3", 0)
	r.want("", sn12.PubAck{TopicID: id, MsgID: 9})
	r.wantPublish("behind the older ones", "4", 1)
	r.event(Event{Kind: EventPublished, Token: first.Token})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 10, Data: []byte("5")})
	r.wantPublish("nothing waits any more", "5", 1)
}

func TestSpoolRefusesWhenItIsFull(t *testing.T) {
	cfg := durableConfig()
	cfg.SpoolMessages = 2
	r, id := away(t, cfg, "1", "2")
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("3")})
	r.want("full", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("counted", ReasonSpoolFull)
}

func TestSpoolDropsTheOldestWhenItIsToldTo(t *testing.T) {
	cfg := durableConfig()
	cfg.SpoolMessages, cfg.SpoolDropOldest = 2, true
	r, id := away(t, cfg, "1", "2")
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("3")})
	r.wantDrop("counted", ReasonSpoolFull)
	r.wantRecords("one for the other", "-spool +spool")
	r.stored()
	r.want("", sn12.PubAck{TopicID: id, MsgID: 9})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.wantPublish("", "2", 1)
	r.wantPublish("", "3", 1)
}

func TestMessageLargerThanTheSpoolDropsNothing(t *testing.T) {
	cfg := durableConfig()
	cfg.SpoolBytes, cfg.SpoolDropOldest = 400, true
	r, id := away(t, cfg, "1", "2")
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: make([]byte, 500)})
	r.want("never", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedCongestion})
	if n, _ := r.s.Spooled(); n != 2 {
		t.Errorf("%d messages in the spool, want 2", n)
	}
}

func TestDevicesTogetherAtTheirBoundDropAsMuchAsComes(t *testing.T) {
	cfg := durableConfig()
	cfg.SpoolDropOldest = true
	r, id := away(t, cfg, "1", "2", "3")
	r.env.SpoolRoom = false
	_, before := r.s.Spooled()
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: make([]byte, 60)})
	if _, after := r.s.Spooled(); after > before {
		t.Errorf("%d octets in the spool, %d before", after, before)
	}
	r.stored()
	r.want("", sn12.PubAck{TopicID: id, MsgID: 9})
}

func TestSpooledMessageExpires(t *testing.T) {
	cfg := durableConfig()
	cfg.SpoolAge = time.Minute
	r, _ := away(t, cfg, "1")
	r.advance(time.Minute)
	r.wantDrop("counted", ReasonSpoolExpired)
	r.wantRecords("", "-spool")
}

func TestSpooledMessageTheStoreDoesNotTakeIsRefused(t *testing.T) {
	r, id := away(t, nil)
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("x")})
	r.storeFailed()
	r.want("", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedCongestion})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.wantQuiet("it is not published")
}

func TestCongestedLinkIsAskedAgain(t *testing.T) {
	r, _ := away(t, nil, "1")
	r.event(Event{Kind: EventUp, SessionPresent: true})
	a := r.wantPublish("", "1", 1)
	r.event(Event{Kind: EventPublishFailed, Token: a.Token, Congested: true})
	r.wantQuiet("not at once")
	r.advance(spoolRetry)
	r.wantPublish("", "1", 1)
}

func TestMessageTheBrokerEndsConnectionsOnIsDropped(t *testing.T) {
	r, _ := away(t, nil, "1")
	r.event(Event{Kind: EventUp, SessionPresent: true})
	a := r.wantPublish("", "1", 1)
	r.event(Event{Kind: EventPublishFailed, Token: a.Token})
	a = r.wantPublish("that is no reason to give it up", "1", 1)
	r.event(Event{Kind: EventPublishFailed, Token: a.Token, Rejected: true})
	r.wantDrop("counted", ReasonSpoolRejected)
}

func TestLinkOfADeviceThatHasGoneCloses(t *testing.T) {
	for _, c := range []struct {
		name string
		qos  uint8
	}{{"QoS 1", 1}, {"QoS 0", 0}} {
		t.Run(c.name, func(t *testing.T) {
			r, id := away(t, nil)
			r.send(sn12.Publish{QoS: c.qos, TopicID: id, MsgID: uint16(c.qos), Data: []byte("x")})
			r.send(sn12.Disconnect{})
			r.stored()
			r.want("", sn12.Disconnect{})
			r.wantQuiet("nobody waits for PUBACK, and the link stays")
			r.event(Event{Kind: EventUp, SessionPresent: true})
			a := r.wantPublish("in the name of the device", "x", c.qos)
			r.event(Event{Kind: EventPublished, Token: a.Token})
			r.wantAction("done", Action{Kind: ActionCloseClean})
		})
	}
}

func TestLinkOfADeviceThatHasGoneClosesWhenTheStoreFails(t *testing.T) {
	r, id := away(t, nil)
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("x")})
	r.send(sn12.Disconnect{})
	r.storeFailed()
	r.want("all the same", sn12.Disconnect{})
	r.wantAction("nothing is left", Action{Kind: ActionCloseClean})
}

func TestDrainedLinkIsReadFrom(t *testing.T) {
	cfg := durableConfig()
	cfg.MaxMessages = 2
	r := newDurableRig(t, cfg)
	id := r.begin()
	r.subscribed()
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 9, Data: []byte("x")})
	r.stored()
	r.want("", sn12.PubRec{MsgID: 9})
	a := r.wantPublish("", "x", 2)
	r.records = nil
	r.slept()
	const twice = 4 // as much as may be held: the spool waits for an answer of the broker
	for i := range uint16(twice) {
		r.wantQuiet("")
		r.event(fromBroker("a/b", "m", 1, 1+i))
	}
	r.wantAction("more than twice as much would be too much", Action{Kind: ActionPause})
	r.stored()
	for i := range Handle(twice) {
		r.wantAction("", Action{Kind: ActionAck, Handle: 1 + i})
	}
	r.send(sn12.Disconnect{})
	r.wantAction("PUBREC comes behind the messages", Action{Kind: ActionResume})
	r.stored()
	r.want("", sn12.Disconnect{})
	r.event(Event{Kind: EventReceived, Token: a.Token})
	r.stored()
	r.wantAction("", Action{Kind: ActionRelease, Token: a.Token})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantAction("drained", Action{Kind: ActionCloseClean})
}

func TestConnectOfAKnownSessionWhileTheBrokerIsAway(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.send(sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.stored()
	r.want("", sn12.Disconnect{})
	r.restart()
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 600})
	r.event(Event{Kind: EventRefused})
	r.wantAction("again and again", Action{Kind: ActionReopen, KeepAlive: 600})
	r.stored()
	r.want("what it publishes is safe", sn12.ConnAck{})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 3, Data: []byte("x")})
	r.stored()
	r.want("in the spool", sn12.PubAck{TopicID: id, MsgID: 3})
}

func TestConnectOfANewSessionWhileTheBrokerIsAwayIsRefused(t *testing.T) {
	r := newDurableRig(t, nil)
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 600})
	r.event(Event{Kind: EventRefused})
	r.want("", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
}

func TestExchangesAreNotCountedFromTheStartAgain(t *testing.T) {
	used := map[uint16]bool{}
	for _, first := range []uint16{1, 0x1234, 0x7FFE, 0xFFF0} {
		s := newSession(durableConfig(), "dev")
		s.StartMsgIDs(first)
		n := s.up.spool.newExchange()
		if used[n] || n == 0 || n > MaxExchanges {
			t.Errorf("StartMsgIDs(%#x): exchange %#x", first, n)
		}
		used[n] = true
	}
}

// What a device is told of its will, its goodbye and its subscriptions holds over a
// crash as well.
func TestAnswersWaitForTheStore(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.subscribed()
	r.send(sn12.WillTopicUpd{Topic: []byte("w")})
	r.wantAction("for later connections", Action{Kind: ActionSetWill, Will: &Will{Topic: "w"}})
	r.stored()
	r.want("the new will", sn12.WillTopicResp{})
	r.send(sn12.Unsubscribe{MsgID: 7, TopicName: []byte("a/b")})
	a := r.wantAction("", Action{Kind: ActionUnsubscribe, Topic: "a/b"})
	r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
	r.stored()
	r.want("no subscription any more", sn12.UnsubAck{MsgID: 7})
	r.send(sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.stored()
	r.want("and no will", sn12.Disconnect{})
	r.crash()
	r.wantState("remembered as gone", StateDisconnected)
}

// A clean session is freed when the goodbye is answered, and not before.
func TestCleanSessionIsFreedAfterItsGoodbye(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(true, 600)
	r.send(sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.wantFreed("the answer is still due", false)
	r.stored()
	r.want("", sn12.Disconnect{})
	r.wantFreed("", true)
}

// The device is told nothing before CONNACK.
func TestDeliveryWaitsForConnAck(t *testing.T) {
	r := newDurableRig(t, nil)
	r.begin()
	r.subscribed()
	r.later()
	r.send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.wantAction("", Action{Kind: ActionSetWill})
	r.event(fromBroker("a/b", "x", 0, 0))
	r.send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.wantQuiet("CONNACK is on its way")
	r.stored()
	r.want("first", sn12.ConnAck{})
	r.want("then the rest", sn12.Register{TopicID: 1, MsgID: r.s.down.nextMsgID, TopicName: []byte("a/b")})
}

// What the link had is spooled when it is lost, before what comes after it.
func TestInFlightIsSpooledWhenTheLinkIsLost_Case152(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	var tokens []Token
	for i := range uint16(2) {
		r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5 + i, Data: []byte{'1' + byte(i)}})
		tokens = append(tokens, r.wantPublish("", string('1'+rune(i)), 1).Token)
	}
	r.event(Event{Kind: EventDown})
	for _, token := range tokens {
		r.wantAction("taken back", Action{Kind: ActionRetract, Token: token})
	}
	r.event(Event{Kind: EventRetracted, Token: tokens[0], Topic: "a/b", Payload: []byte("1"), Dup: true})
	r.event(Event{Kind: EventRetracted, Token: tokens[1], Failed: true})
	r.wantDrop("lost on the way", ReasonBrokerDown)
	r.want("to be sent again", sn12.PubAck{TopicID: id, MsgID: 6, ReturnCode: sn12.RejectedCongestion})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 7, Data: []byte("3")})
	r.stored()
	r.want("safe", sn12.PubAck{TopicID: id, MsgID: 5})
	r.want("safe", sn12.PubAck{TopicID: id, MsgID: 7})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	if a := r.wantPublish("the older one first", "1", 1); !a.Again {
		t.Error("the broker may have seen it")
	}
	r.wantPublish("", "3", 1)
}

// A will that the gateway publishes comes behind what the device had sent.
func TestWillComesBehindTheSpool_Case152(t *testing.T) {
	for _, restart := range []bool{false, true} {
		cfg := durableConfig()
		cfg.PublishesWills = true
		r, _ := away(t, cfg, "1")
		r.send(sn12.WillTopicUpd{Topic: []byte("w")})
		r.stored()
		r.want("", sn12.WillTopicResp{})
		r.advance(1000 * time.Second)
		r.want("lost", sn12.Disconnect{})
		if restart {
			r.restart()
			r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 600})
		}
		r.event(Event{Kind: EventUp, SessionPresent: true})
		a := r.wantPublish("what it has sent", "1", 1)
		r.event(Event{Kind: EventPublished, Token: a.Token})
		r.wantAction("then the will", Action{Kind: ActionPublish, Topic: "w", QoS: 1})
		r.wantAction("", Action{Kind: ActionCloseDrain})
	}
}

// A device that connects, and goes to sleep or leaves without waiting for CONNACK, keeps
// nothing from going on.
func TestConnectThatIsNotWaitedFor(t *testing.T) {
	connect := sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")}
	t.Run("spool", func(t *testing.T) {
		r, _ := away(t, nil, "1")
		r.send(sn12.Disconnect{})
		r.stored()
		r.want("gone, with a spool left", sn12.Disconnect{})
		r.send(connect)
		r.wantAction("back", Action{Kind: ActionConnect, KeepAlive: 600})
		r.event(Event{Kind: EventConnected, SessionPresent: true})
		r.wantPublish("the spool does not wait for CONNACK", "1", 1)
		r.send(sn12.Disconnect{})
		r.stored()
		r.want("", sn12.Disconnect{})
	})
	t.Run("wake", func(t *testing.T) {
		r := newDurableRig(t, nil)
		r.begin()
		r.slept()
		r.send(connect)
		r.wantAction("awake for good", Action{Kind: ActionSetWill})
		r.send(sn12.Disconnect{HasDuration: true, Duration: 60})
		r.send(sn12.PingReq{ClientID: []byte("dev")})
		r.stored()
		r.pong("barrier")
		r.want("nothing is held", sn12.PingResp{})
		r.wantState("", StateAsleep)
	})
}

// A CONNECT that comes to nothing does not make the will of the connection before false.
func TestWillBehindTheSpoolOutlivesAConnectThatComesToNothing(t *testing.T) {
	cfg := durableConfig()
	cfg.PublishesWills = true
	r, _ := away(t, cfg, "1")
	r.send(sn12.WillTopicUpd{Topic: []byte("w")})
	r.stored()
	r.want("", sn12.WillTopicResp{})
	r.advance(1000 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.send(sn12.Connect{Will: true, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.want("", sn12.WillTopicReq{})
	r.advance(time.Minute)
	for range 3 {
		r.want("no answer", sn12.WillTopicReq{})
	}
	r.event(Event{Kind: EventUp, SessionPresent: true})
	a := r.wantPublish("what it has sent", "1", 1)
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantAction("then the will", Action{Kind: ActionPublish, Topic: "w", QoS: 1})
	r.wantAction("", Action{Kind: ActionCloseDrain})
	r.event(Event{Kind: EventClosed})
	r.wantWillDue("and once only", nil)
	if !strings.Contains(describeRecords(r.records), "+session") {
		t.Error("a restart would publish it again")
	}
}

func TestStoredQoS2WithAlwaysTheSameMsgID_Case66(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	for range 3 {
		r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("x")})
		r.wantQuiet("it is stored first")
		r.stored()
		r.want("safe", sn12.PubRec{MsgID: 1})
		a := r.wantPublish("each goes to the broker", "x", 2)
		r.send(sn12.PubRel{MsgID: 1})
		r.want("", sn12.PubComp{MsgID: 1})
		r.event(Event{Kind: EventReceived, Token: a.Token})
		r.stored()
		r.wantAction("", Action{Kind: ActionRelease, Token: a.Token})
		r.event(Event{Kind: EventPublished, Token: a.Token})
	}
}

// The broker has lost its session. If the gateway were killed with packet identifiers in the
// store that the broker has forgotten, the first messages of the broker's next session would
// be taken for repeats. There are none before it has a subscription.
func TestSubscriptionsAreRepeatedWhenTheStoreHasForgottenTheBrokersSession(t *testing.T) {
	for _, ok := range []bool{true, false} {
		r := newDurableRig(t, nil)
		r.begin()
		r.subscribed()
		r.slept()
		r.event(fromBroker("a/b", "toggle", 2, 1))
		r.stored()
		r.wantAction("PUBREC", Action{Kind: ActionAck, Handle: 1})
		r.event(Event{Kind: EventDown})
		r.records = nil
		r.event(Event{Kind: EventUp})
		r.wantRecords("what the broker has forgotten", "--exchange +session")
		r.wantQuiet("the store first")
		if ok {
			r.stored()
		} else {
			r.storeFailed()
		}
		r.wantAction("then", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	}
}

// The number of a held message is free when it has gone. The MsgId that it was sent with must
// not become that of the next one with the number: the device would take it for a repeat.
func TestMsgIDOfAnInterruptedDeliveryIsNotGivenToAnotherHeldMessage(t *testing.T) {
	r := newDurableRig(t, nil)
	id := r.begin()
	r.subscribed()
	r.event(fromBroker("a/b", "one", 2, 1))
	r.stored()
	r.want("", sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("one")})
	r.send(sn12.Disconnect{HasDuration: true, Duration: 600})
	r.records = nil
	r.advance(660 * time.Second) // the store has not answered: the message stays the broker's
	r.wantRecords("given up with the sleep", "-held +outgoing -exchange +session")
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
	r.want("and told so", sn12.Disconnect{})
}

// A waking sleeper that changes its mind twice before the store has the first CONNECT: the
// CONNACK comes when all of it is stored, and what the device sends behind it is taken.
func TestRepeatedConnectsAreAnsweredByOneConnAck(t *testing.T) {
	r := newDurableRig(t, nil)
	connect := sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")}
	r.send(connect)
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 600})
	r.event(Event{Kind: EventConnected})
	r.send(sn12.Disconnect{HasDuration: true, Duration: 10})
	r.send(connect)
	r.wantAction("awake for good", Action{Kind: ActionSetWill})
	r.stored()
	r.want("one", sn12.ConnAck{})
	r.send(sn12.Publish{QoS: 1, MsgID: 5, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("x")})
	r.wantAction("taken", Action{Kind: ActionPublish, Topic: "ab", Payload: []byte("x"), QoS: 1})
}
