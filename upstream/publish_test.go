package upstream_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// wantPublish reads a PUBLISH and returns its packet identifier.
func wantPublish(p *upstreamtest.Peer, payload string, qos byte, dup bool, why string) uint16 {
	p.T.Helper()
	m := upstreamtest.Want[*packets.PublishPacket](p, why)
	if string(m.Payload) != payload || m.Qos != qos || m.Dup != dup {
		p.T.Fatalf("%s: got %v %q, want QoS %d DUP %v %q", why, m.FixedHeader, m.Payload, qos, dup, payload)
	}
	return m.MessageID
}

func ack(p *upstreamtest.Peer, first byte, id uint16) {
	p.T.Helper()
	p.SendRaw(first, 2, byte(id>>8), byte(id))
}

const (
	puback  = 0x40
	pubrec  = 0x50
	pubrel  = 0x62
	pubcomp = 0x70
)

func TestPublishQoS0HasNoEventAndIsDroppedWhileDown(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Publish(r.now(), 0, "t", []byte("early"), 0, false)
		p := o.connect(persistent, false)
		payload := []byte("x")
		o.Publish(r.now(), 0, "topic/é", payload, 0, true)
		payload[0] = '!' // copied
		r.runUntilIdle()
		m := upstreamtest.Want[*packets.PublishPacket](p, "the second")
		if m.TopicName != "topic/é" || string(m.Payload) != "x" || !m.Retain || m.Qos != 0 {
			t.Errorf("got %v", m)
		}
		o.wantQuiet("no events")
		if n := r.d.Stats().DroppedDown.Load(); n != 1 {
			t.Errorf("%d dropped", n)
		}
	})
}

// An owner that keeps a QoS 0 message until it is on its way is told when that is.
func TestPublishQoS0WithATokenReportsWhetherItIsWritten(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Publish(r.now(), 1, "t", []byte("early"), 0, false)
		if e := o.want(upstream.EventPublishFailed, "no connection"); e.Token != 1 || !errors.Is(e.Err, upstream.ErrCongested) {
			t.Errorf("got %+v", e)
		}
		p := o.connect(persistent, false)
		o.Publish(r.now(), 2, "t", []byte("x"), 0, false)
		if e := o.want(upstream.EventPublished, "written"); e.Token != 2 {
			t.Errorf("got %+v", e)
		}
		r.runUntilIdle()
		if m := upstreamtest.Want[*packets.PublishPacket](p, "once"); string(m.Payload) != "x" || m.Qos != 0 {
			t.Errorf("got %v", m)
		}
		if n := r.d.Stats().DroppedDown.Load(); n != 0 {
			t.Errorf("%d dropped: the owner has what was refused", n)
		}
	})
}

func TestPublishQoS1And2ReportWhenTheBrokerHasThem(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 11, "t", []byte("one"), 1, false)
		o.Publish(r.now(), 12, "t", []byte("two"), 2, false)
		r.runUntilIdle()
		one := wantPublish(p, "one", 1, false, "first")
		two := wantPublish(p, "two", 2, false, "second")
		o.wantQuiet("nothing is acknowledged")
		ack(p, pubrec, two)
		r.runUntilIdle()
		if rel := upstreamtest.Want[*packets.PubrelPacket](p, "PUBREC is answered"); rel.MessageID != two {
			t.Errorf("PUBREL %d, want %d", rel.MessageID, two)
		}
		o.wantQuiet("PUBREC is not the end")
		ack(p, pubcomp, two)
		if e := o.want(upstream.EventPublished, "PUBCOMP"); e.Token != 12 {
			t.Errorf("token %d", e.Token)
		}
		ack(p, puback, one)
		if e := o.want(upstream.EventPublished, "PUBACK"); e.Token != 11 {
			t.Errorf("token %d", e.Token)
		}
	})
}

func TestResendWithSessionPresentContinuesEveryExchangeInOrder(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Publish(r.now(), 1, "t", []byte("a"), 1, false) // before the connection
		p := o.connect(persistent, false)
		o.Publish(r.now(), 2, "t", []byte("b"), 2, false)
		o.Publish(r.now(), 3, "t", []byte("c"), 2, false)
		o.Publish(r.now(), 4, "u", []byte("d"), 1, false)
		r.runUntilIdle()
		a := wantPublish(p, "a", 1, false, "kept from before")
		b := wantPublish(p, "b", 2, false, "b")
		c := wantPublish(p, "c", 2, false, "c")
		d := wantPublish(p, "d", 1, false, "d")
		ack(p, pubrec, b)
		ack(p, puback, d)
		o.want(upstream.EventPublished, "d")
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		o.Publish(r.now(), 5, "u", []byte("e"), 1, false) // while down
		r.pass(time.Second)
		p = o.accept(true)
		o.want(upstream.EventUp, "back")
		if id := wantPublish(p, "a", 1, true, "a again"); id != a {
			t.Errorf("a: identifier %d became %d", a, id)
		}
		if rel := upstreamtest.Want[*packets.PubrelPacket](p, "b had its PUBREC"); rel.MessageID != b {
			t.Errorf("PUBREL %d, want %d", rel.MessageID, b)
		}
		if id := wantPublish(p, "c", 2, true, "c again"); id != c {
			t.Errorf("c: identifier %d became %d", c, id)
		}
		wantPublish(p, "e", 1, false, "e for the first time")
		p.WantQuiet("that is all")
	})
}

func TestResendWithoutSessionPublishesEverythingNotCompleted(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("a"), 2, false)
		o.Publish(r.now(), 2, "u", []byte("b"), 1, false)
		r.runUntilIdle()
		a := wantPublish(p, "a", 2, false, "a")
		wantPublish(p, "b", 1, false, "b")
		ack(p, pubrec, a)
		r.runUntilIdle()
		p = o.reconnect(p, false)
		wantPublish(p, "a", 2, true, "the broker has forgotten that it had a")
		wantPublish(p, "b", 1, true, "b")
		ack(p, pubcomp, a)
		o.wantQuiet("PUBCOMP without a PUBREC in this session is no end")
		ack(p, pubrec, a)
		ack(p, pubcomp, a)
		o.want(upstream.EventPublished, "the whole exchange")
	})
}

func TestWrongAcknowledgementsAreCountedAndIgnored(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("a"), 1, false)
		o.Publish(r.now(), 2, "t", []byte("b"), 2, false)
		o.Subscribe(r.now(), 3, "f", 1)
		r.runUntilIdle()
		a := wantPublish(p, "a", 1, false, "a")
		b := wantPublish(p, "b", 2, false, "b")
		sub := upstreamtest.Want[*packets.SubscribePacket](p, "c").MessageID
		ack(p, pubcomp, a)
		ack(p, pubcomp, b)
		ack(p, puback, b+100)
		ack(p, pubrec, b+100)
		ack(p, puback, sub)
		ack(p, 0xb0, sub)                                    // UNSUBACK for a SUBSCRIBE
		p.SendRaw(0x90, 3, byte((sub+1)>>8), byte(sub+1), 0) // SUBACK for nothing
		p.SendRaw(0xd0, 0)                                   // PINGRESP to no PINGREQ
		o.wantQuiet("none of them means anything")
		wantRaw(p, []byte{0x62, 2, byte((b + 100) >> 8), byte(b + 100)}, "only PUBREC is answered, for the broker waits for it")
		if n := r.d.Stats().StaleAcks.Load(); n != 8 {
			t.Errorf("%d counted, want 8", n)
		}
		ack(p, pubrel, 77)
		r.runUntilIdle()
		if comp := upstreamtest.Want[*packets.PubcompPacket](p, "PUBREL is always answered"); comp.MessageID != 77 {
			t.Errorf("PUBCOMP %d", comp.MessageID)
		}
		if e := o.want(upstream.EventReleased, "the owner may know the message"); e.Identity != unknown(77) {
			t.Errorf("got %+v", e)
		}
		ack(p, puback, a)
		o.want(upstream.EventPublished, "the exchanges are unharmed")
	})
}

func TestCancelTakesBackWhatIsNotOnItsWay(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("written"), 1, false)
		o.Await(1, false)
		o.wantQuiet("it is on its way")
		wantPublish(p, "written", 1, false, "written")
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		o.Publish(r.now(), 2, "t", []byte("held"), 1, false)
		o.Publish(r.now(), 3, "t", []byte("later"), 1, false)
		o.Await(1, false)
		o.wantQuiet("it may be at the broker")
		o.Await(2, false)
		if e := o.want(upstream.EventPublishFailed, "cancelled"); e.Token != 2 || !errors.Is(e.Err, upstream.ErrCancelled) {
			t.Errorf("got %+v", e)
		}
		o.Await(2, false)
		o.Await(0, false)
		o.wantQuiet("once")
		r.pass(time.Second)
		p = o.accept(true)
		o.want(upstream.EventUp, "back")
		if e := o.want(upstream.EventPublishFailed, "not sent again"); e.Token != 1 || !errors.Is(e.Err, upstream.ErrCancelled) {
			t.Errorf("got %+v", e)
		}
		wantPublish(p, "later", 1, false, "the third")
		p.WantQuiet("neither the first nor the second")
	})
}

func TestRetractGivesMessagesBack(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		long := strings.Repeat("x", 300) // its remaining length has two octets
		o.Publish(r.now(), 1, "a/b", []byte("written"), 1, true)
		o.Flush(r.now())
		wantPublish(p, "written", 1, false, "written")
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		o.Publish(r.now(), 2, "t", []byte(long), 2, false)
		for _, want := range []upstream.Publish{
			{Token: 1, Topic: "a/b", Payload: []byte("written"), QoS: 1, Retain: true, Again: true},
			{Token: 2, Topic: "t", Payload: []byte(long), QoS: 2},
		} {
			if got, ok := o.Retract(want.Token); !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v", got, ok)
			}
			if _, ok := o.Retract(want.Token); ok {
				t.Error("given back twice")
			}
		}
		if _, ok := o.Retract(0); ok {
			t.Error("a message nobody waits for")
		}
		r.pass(time.Second)
		p = o.accept(true)
		o.want(upstream.EventUp, "back")
		p.WantQuiet("the messages are the owner's")
	})
}

// The broker may be in the middle of an exchange that its owner has given up.
func TestExchangeOfQoS2IsFinishedThoughItWasGivenUp_Case152(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 2, false)
		o.Await(1, false)
		o.wantQuiet("it is on its way")
		id := wantPublish(p, "x", 2, false, "written")
		p = o.reconnect(p, true)
		wantPublish(p, "x", 2, true, "again")
		ack(p, pubrec, id)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrelPacket](p, "PUBREC")
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(2 * time.Second)
		p = o.accept(true)
		o.want(upstream.EventUp, "back")
		pong(p, "does it work?")
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrelPacket](p, "again")
		ack(p, pubcomp, id)
		o.want(upstream.EventPublished, "finished")
		ack(p, pubrec, 77)
		r.runUntilIdle()
		wantRaw(p, []byte{0x62, 2, 0, 77}, "an exchange nobody knows of is finished as well")
	})
}

func TestWillsGivenUpWhenTheDeviceIsBack(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Conn.Close()
		o.want(upstream.EventDown, "the broker is away")
		o.Publish(r.now(), 0, "will", []byte("lost"), 1, false)
		o.Close(r.now(), upstream.CloseDrain)
		o.Connect(r.now(), persistent)
		o.want(upstream.EventClosed, "the Close is answered")
		p = o.accept(true)
		o.want(upstream.EventConnected, "the device is back")
		p.WantQuiet("and its will would be false")
		if n := r.d.Stats().DroppedWills.Load(); n != 1 {
			t.Errorf("%d wills counted as dropped, want 1", n)
		}
		p.Publish("t", "m", 1, 5, false)
		o.wantMessage("m", "the Close before does not count any more")
	})
}

func TestInFlightIsBounded(t *testing.T) {
	bubble(t, upstream.Options{MaxInFlight: 3}, func(r *rig) {
		o, p := r.up(persistent, false)
		for i := range 4 {
			o.Publish(r.now(), upstream.Token(i+1), "t", nil, 1, false)
		}
		if e := o.want(upstream.EventPublishFailed, "the fourth"); e.Token != 4 || !errors.Is(e.Err, upstream.ErrCongested) {
			t.Errorf("got %+v", e)
		}
		ack(p, puback, upstreamtest.Want[*packets.PublishPacket](p, "first").MessageID)
		o.want(upstream.EventPublished, "room")
		o.Publish(r.now(), 5, "t", nil, 1, false)
		o.wantQuiet("taken")
	})
}

// Brokers close a connection with too many messages unacknowledged.
func TestSendWindowBoundsWhatIsUnacknowledged(t *testing.T) {
	bubble(t, upstream.Options{SendWindow: 2}, func(r *rig) {
		o, p := r.up(persistent, false)
		for i := range 4 {
			o.Publish(r.now(), upstream.Token(i+1), "t", fmt.Append(nil, i), 1, false)
		}
		r.runUntilIdle()
		first := wantPublish(p, "0", 1, false, "first")
		wantPublish(p, "1", 1, false, "second")
		p.WantQuiet("the window is full")
		ack(p, puback, first)
		o.want(upstream.EventPublished, "first")
		wantPublish(p, "2", 1, false, "third")
		p.WantQuiet("full again")
		o.Await(3, false)
		o.wantQuiet("written")
		o.Await(4, false)
		o.want(upstream.EventPublishFailed, "not written")
	})
}

func TestStalledBrokerBoundsWhatIsKept_Case83(t *testing.T) {
	bubble(t, upstream.Options{WriteBuffer: 4096}, func(r *rig) {
		r.lis = upstreamtest.NewListener(1000)
		r.d.Close()
		opt := r.opt
		opt.Dial = r.lis.Dial
		r.d, _ = upstream.NewDialer(opt)
		defer r.d.Close()
		o, p := r.up(persistent, false)
		payload := make([]byte, 500)
		for range 30 {
			o.Publish(r.now(), 0, "t", payload, 0, false)
			r.runUntilIdle()
		}
		dropped := r.d.Stats().DroppedCongested.Load()
		if dropped < 15 || dropped > 25 {
			t.Errorf("%d of 30 dropped; the connection holds 1000 bytes and the link 4096", dropped)
		}
		o.Publish(r.now(), 7, "t", payload, 1, false)
		if e := o.want(upstream.EventPublishFailed, "congested"); e.Token != 7 || !errors.Is(e.Err, upstream.ErrCongested) {
			t.Errorf("got %+v", e)
		}
		for range 30 - int(dropped) {
			wantPublish(p, string(payload), 0, false, "what was taken")
		}
		r.runUntilIdle()
		o.Publish(r.now(), 8, "t", payload, 1, false)
		r.runUntilIdle()
		wantPublish(p, string(payload), 1, false, "after the pause it is accepted")
	})
}

func TestBrokerThatNeverReadsIsLost(t *testing.T) {
	bubble(t, upstream.Options{WriteTimeout: 10 * time.Second}, func(r *rig) {
		o, _ := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", make([]byte, 70_000), 1, false) // more than the connection holds
		r.pass(10*time.Second - 1)
		o.wantQuiet("not yet")
		r.pass(1)
		if e := o.want(upstream.EventDown, "no progress for WriteTimeout"); !errors.Is(e.Err, upstream.ErrTimeout) || !errors.Is(e.Err, upstream.ErrLost) {
			t.Errorf("got %v", e.Err)
		}
		if n := r.d.Stats().WriteStalls.Load(); n != 1 {
			t.Errorf("%d stalls", n)
		}
	})
}

// More is in flight than the write buffer takes at once: the rest follows when the
// broker has read.
func TestResendFollowsTheBrokersPace(t *testing.T) {
	bubble(t, upstream.Options{WriteBuffer: 10_000}, func(r *rig) {
		o := r.link()
		payload := make([]byte, 950)
		for i := range 10 {
			payload[0] = byte(i)
			o.Publish(r.now(), upstream.Token(i+1), "t", payload, 1, false)
		}
		o.Publish(r.now(), 11, "t", payload, 1, false)
		o.want(upstream.EventPublishFailed, "the bytes in flight are bounded, too")
		p := o.connect(persistent, false)
		for i := range 10 {
			m := upstreamtest.Want[*packets.PublishPacket](p, "each")
			if m.Payload[0] != byte(i) {
				t.Fatalf("message %d came at place %d", m.Payload[0], i)
			}
			ack(p, puback, m.MessageID)
			o.want(upstream.EventPublished, "acknowledged")
		}
	})
}

func TestImpossibleMessagesAreRefused(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		for _, topic := range []string{"", "a/#", "+", "a\x00b", "\xff"} {
			o.Publish(r.now(), 1, topic, nil, 1, false)
			if e := o.want(upstream.EventPublishFailed, "invalid topic"); !errors.Is(e.Err, upstream.ErrInvalid) {
				t.Errorf("%q: got %v", topic, e.Err)
			}
			o.Publish(r.now(), 0, topic, nil, 0, false)
		}
		o.Publish(r.now(), 1, string(make([]byte, 65536)), nil, 2, false)
		if e := o.want(upstream.EventPublishFailed, "too large"); !errors.Is(e.Err, upstream.ErrTooLarge) {
			t.Errorf("got %v", e.Err)
		}
		o.Subscribe(r.now(), 1, "", 0)
		if e := o.want(upstream.EventSubscribed, "invalid filter"); !errors.Is(e.Err, upstream.ErrInvalid) {
			t.Errorf("got %v", e.Err)
		}
		r.runUntilIdle()
		p.WantQuiet("the connection is not put at risk")
		if n := r.d.Stats().DroppedInvalid.Load(); n != 5 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestSubscribeAndUnsubscribeReportTheAnswer_Case106_107(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		for _, code := range []byte{0, 1, 2, 0x80} {
			o.Subscribe(r.now(), 5, "a/+", 2)
			r.runUntilIdle()
			s := upstreamtest.Want[*packets.SubscribePacket](p, "SUBSCRIBE")
			if len(s.Topics) != 1 || s.Topics[0] != "a/+" || s.Qoss[0] != 2 {
				t.Errorf("got %v %v", s.Topics, s.Qoss)
			}
			p.SendRaw(0x90, 3, byte(s.MessageID>>8), byte(s.MessageID), code)
			if e := o.want(upstream.EventSubscribed, "SUBACK"); (e.Refusal.Kind != upstream.NotRefused) != (code == 0x80) || code != 0x80 && e.Granted != code || e.Token != 5 || e.Err != nil {
				t.Errorf("got %+v", e)
			}
		}
		o.Unsubscribe(r.now(), 6, "a/+")
		r.runUntilIdle()
		u := upstreamtest.Want[*packets.UnsubscribePacket](p, "UNSUBSCRIBE")
		ack(p, 0xb0, u.MessageID)
		if e := o.want(upstream.EventUnsubscribed, "UNSUBACK"); e.Token != 6 || e.Err != nil {
			t.Errorf("got %+v", e)
		}
	})
}

func TestRequestsFailWithTheConnection(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Subscribe(r.now(), 1, "a", 0)
		o.Unsubscribe(r.now(), 2, "b")
		o.Ping(r.now(), 3)
		r.runUntilIdle()
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		check := func(kind upstream.EventKind, token upstream.Token) {
			t.Helper()
			if e := o.want(kind, "failed"); e.Token != token || !errors.Is(e.Err, upstream.ErrLost) {
				t.Errorf("got %+v", e)
			}
		}
		check(upstream.EventSubscribed, 1)
		check(upstream.EventUnsubscribed, 2)
		check(upstream.EventPong, 3)
		o.Subscribe(r.now(), 4, "a", 0)
		check(upstream.EventSubscribed, 4)
		o.Ping(r.now(), 5)
		check(upstream.EventPong, 5)
	})
}

func TestKeptMessageIsSentAgain(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		o.Await(1, false)
		o.Await(1, true)
		o.Await(0, true)
		o.Await(9, true)
		o.wantQuiet("it is on its way")
		wantPublish(p, "x", 1, false, "written")
		p = o.reconnect(p, true)
		ack(p, puback, wantPublish(p, "x", 1, true, "the device has asked for it again"))
		o.want(upstream.EventPublished, "done")
	})
}

func TestWillFindsRoomInAFullOutbox(t *testing.T) {
	bubble(t, upstream.Options{MaxInFlight: 1}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		o.Publish(r.now(), 0, "will", []byte("lost"), 1, false)
		o.Close(r.now(), upstream.CloseDrain)
		r.runUntilIdle()
		wantPublish(p, "x", 1, false, "the message")
		wantPublish(p, "lost", 1, false, "the will")
	})
}

// The broker passes QoS 2 on at PUBREL only, also when it has lost the session and everything
// begins anew.
func TestNothingOvertakesQoS2OnItsTopic_Case152(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("a"), 2, false)
		o.Publish(r.now(), 2, "t", []byte("b"), 1, false)
		o.Publish(r.now(), 3, "u", []byte("c"), 1, false)
		o.Publish(r.now(), 4, "t", []byte("d"), 2, false)
		r.runUntilIdle()
		a := wantPublish(p, "a", 2, false, "first")
		ack(p, puback, wantPublish(p, "c", 1, false, "another topic"))
		o.want(upstream.EventPublished, "c")
		p.WantQuiet("b waits for a, and d for b")
		ack(p, pubrec, a)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrelPacket](p, "a is passed on")
		wantPublish(p, "b", 1, false, "now")
		wantPublish(p, "d", 2, false, "behind it")
		p = o.reconnect(p, false)
		a = wantPublish(p, "a", 2, true, "everything begins anew")
		p.WantQuiet("b and d wait")
		ack(p, pubrec, a)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrelPacket](p, "a is passed on")
		wantPublish(p, "b", 1, true, "now")
		wantPublish(p, "d", 2, true, "behind it")
	})
}
