package snclient

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
)

func (g *gateway) publish(t Topic, payload string, qos uint8) result {
	return g.call(func(ctx context.Context) error {
		return g.c.Publish(ctx, t, []byte(payload), qos, false)
	})
}

// register answers the REGISTER of a name with id.
func (g *gateway) register(name string, msgID, id uint16) {
	g.t.Helper()
	g.want("the name has no id", sn12.Register{MsgID: msgID, TopicName: []byte(name)})
	g.send(sn12.RegAck{TopicID: id, MsgID: msgID})
}

func TestPublishRegistersANameOnce_Case55(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Name("a/b"), "1", 0)
		g.register("a/b", 1, 17)
		g.want("with the id", sn12.Publish{TopicID: 17, Data: []byte("1")})
		done.want("Publish", nil)
		done = g.publish(Name("a/b"), "2", 0)
		g.want("the id is known", sn12.Publish{TopicID: 17, Data: []byte("2")})
		done.want("Publish", nil)
	})
}

func TestConcurrentPublishesRegisterANameOnce(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		a, b := g.publish(Name("n"), "x", 0), g.publish(Name("n"), "x", 0)
		synctest.Wait()
		g.register("n", 1, 2)
		g.want("one", sn12.Publish{TopicID: 2, Data: []byte("x")})
		g.want("other", sn12.Publish{TopicID: 2, Data: []byte("x")})
		a.want("one", nil)
		b.want("other", nil)
	})
}

func TestRegisterRefused(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Name("a/+"), "", 1)
		g.want("REGISTER", sn12.Register{MsgID: 2, TopicName: []byte("a/+")})
		g.send(sn12.RegAck{MsgID: 2, ReturnCode: sn12.RejectedNotSupported})
		wantCode(t, done.get("Publish"), sn12.TypeRegister, sn12.RejectedNotSupported)

		done = g.publish(Name("b"), "", 0)
		g.want("REGISTER", sn12.Register{MsgID: 3, TopicName: []byte("b")})
		g.send(sn12.RegAck{TopicID: 0xFFFF, MsgID: 3})
		if err := done.get("Publish"); err == nil || !strings.Contains(err.Error(), "0xFFFF") {
			t.Errorf("a reserved topic id: got %v", err)
		}
	})
}

func TestPublishQoS1IsRepeatedWithDUP(t *testing.T) {
	connected(t, Options{RetryCount: 2}, func(g *gateway) {
		done := g.publish(Predefined(5), "x", 1)
		p := sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 5, MsgID: 1, Data: []byte("x")}
		g.want("first", p)
		p.DUP = true
		g.wantAfter("repetition", tretry, p)
		g.wantAfter("repetition", tretry, p)
		g.send(sn12.PubAck{TopicID: 5, MsgID: 99})
		done.waits("the PUBACK of another message")
		g.send(sn12.PubAck{TopicID: 5, MsgID: 1})
		done.want("Publish", nil)
		g.send(sn12.PubAck{TopicID: 5, MsgID: 1})
		g.quiet("a late PUBACK is ignored", time.Minute)
	})
}

func TestPublishInTheLongFormIsRepeatedWithDUP_Case6(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Short("ab"), strings.Repeat("x", 300), 1)
		p := sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1, Data: bytes.Repeat([]byte("x"), 300)}
		g.want("first", p)
		p.DUP = true
		g.wantAfter("repetition", tretry, p)
		g.send(sn12.PubAck{TopicID: 0x6162, MsgID: 1})
		done.want("Publish", nil)
	})
}

func TestPublishQoS2Exchange(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Predefined(5), "x", 2)
		p := sn12.Publish{QoS: 2, TopicIDType: sn12.TopicIDPredefined, TopicID: 5, MsgID: 1, Data: []byte("x")}
		g.want("first", p)
		p.DUP = true
		g.wantAfter("PUBREC was lost", tretry, p)
		g.quiet("time passes", 4*time.Second)
		g.send(sn12.PubRec{MsgID: 1})
		g.want("released", sn12.PubRel{MsgID: 1})
		g.wantAfter("PUBCOMP was lost: Tretry counts from PUBREC", tretry, sn12.PubRel{MsgID: 1})
		g.send(sn12.PubRec{MsgID: 1})
		g.want("PUBREL was lost", sn12.PubRel{MsgID: 1})
		done.waits("PUBCOMP is missing")
		g.send(sn12.PubComp{MsgID: 1})
		done.want("Publish", nil)
		g.send(sn12.PubRec{MsgID: 1})
		g.quiet("a late PUBREC belongs to nothing", time.Minute)
	})
}

// A repetition of PUBLISH after PUBREL would be a new message for the gateway.
func TestNoPublishFollowsItsPubRel(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Predefined(5), "x", 2)
		g.receive("PUBLISH", time.Second)
		<-time.After(tretry)
		synctest.Wait() // the repetition is being written when PUBREC arrives
		g.send(sn12.PubRec{MsgID: 1})
		if p, ok := g.receive("the repetition", time.Nanosecond).(sn12.Publish); !ok || !p.DUP {
			t.Fatalf("got %+v, want the repeated PUBLISH", p)
		}
		g.want("after it", sn12.PubRel{MsgID: 1})
		g.wantAfter("from now on", tretry, sn12.PubRel{MsgID: 1})
		g.send(sn12.PubComp{MsgID: 1})
		done.want("Publish", nil)
	})
}

func TestQoS2RefusedWithPubAck(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Predefined(5), "x", 2)
		g.receive("PUBLISH", time.Second)
		g.send(sn12.PubAck{TopicID: 5, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
		wantCode(t, done.get("Publish"), sn12.TypePublish, sn12.RejectedCongestion)
	})
}

func TestNameIsRegisteredAgainWhenItsIDIsRefused_Case69(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Name("n"), "x", 1)
		g.register("n", 2, 7)
		g.want("first", sn12.Publish{QoS: 1, TopicID: 7, MsgID: 1, Data: []byte("x")})
		g.send(sn12.PubAck{TopicID: 7, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		g.register("n", 4, 8)
		g.want("a new message", sn12.Publish{QoS: 1, TopicID: 8, MsgID: 3, Data: []byte("x")})
		g.send(sn12.PubAck{TopicID: 8, MsgID: 3, ReturnCode: sn12.RejectedInvalidTopicID})
		wantCode(t, done.get("once is enough"), sn12.TypePublish, sn12.RejectedInvalidTopicID)
	})
}

func TestRefusedQoS0IsRegisteredAgainForTheNext(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Name("n"), "x", 0)
		g.register("n", 1, 7)
		g.receive("PUBLISH", time.Second)
		done.want("Publish", nil)
		g.send(sn12.PubAck{TopicID: 7, ReturnCode: sn12.RejectedInvalidTopicID})
		synctest.Wait()
		done = g.publish(Name("n"), "x", 0)
		g.register("n", 2, 9)
		g.want("with the new id", sn12.Publish{TopicID: 9, Data: []byte("x")})
		done.want("Publish", nil)
	})
}

func TestRefusedPredefinedIDIsFinal_Case71(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Predefined(9), "x", 1)
		g.receive("PUBLISH", time.Second)
		g.send(sn12.PubAck{TopicID: 9, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		wantCode(t, done.get("Publish"), sn12.TypePublish, sn12.RejectedInvalidTopicID)
	})
}

func TestQoSMinusOneNeedsNoConnection_Case79(t *testing.T) {
	script(t, Options{}, func(g *gateway) {
		done := g.publish(Short("ab"), "x", sn12.QoSMinusOne)
		g.want("short name", sn12.Publish{QoS: 3, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, Data: []byte("x")})
		done.want("Publish", nil)
		done = g.publish(Predefined(3), "x", sn12.QoSMinusOne)
		g.want("pre-defined id", sn12.Publish{QoS: 3, TopicIDType: sn12.TopicIDPredefined, TopicID: 3, Data: []byte("x")})
		done.want("Publish", nil)
		if err := g.publish(Name("abc"), "x", sn12.QoSMinusOne).get("a long name"); err == nil {
			t.Error("QoS -1 with a name: accepted")
		}
	})
}

func TestPublishArgumentsAreChecked(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		for _, topic := range []Topic{Name(""), Predefined(0), Predefined(0xFFFF), Short("abc"), {Type: sn12.TopicIDReserved}} {
			if err := g.publish(topic, "", 1).get("a bad topic"); err == nil {
				t.Errorf("%#v: accepted", topic)
			}
		}
		if err := g.publish(Predefined(1), "", 4).get("QoS 4"); err == nil {
			t.Error("QoS 4: accepted")
		}
		if err := g.publish(Predefined(1), strings.Repeat("x", 65535), 1).get("too long"); err == nil {
			t.Error("a payload beyond the Length field: accepted")
		}
	})
}

func TestPublishNeedsAConnection(t *testing.T) {
	script(t, Options{}, func(g *gateway) {
		for _, topic := range []Topic{Name("n"), Predefined(1)} {
			for qos := range uint8(3) {
				done := g.publish(topic, "", qos)
				done.want("not connected", ErrNotConnected)
			}
		}
	})
}

func TestOnePublishAtATime(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		a := g.publish(Predefined(1), "a", 1)
		synctest.Wait()
		b := g.publish(Predefined(1), "b", 1)
		g.receive("the first", time.Second)
		g.quiet("the second waits in line", time.Second)
		g.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		a.want("the first", nil)
		g.receive("the second", time.Second)
		g.send(sn12.PubAck{TopicID: 1, MsgID: 2})
		b.want("the second", nil)
	})
}

func TestWindowOpensMorePublishesAtOnce(t *testing.T) {
	connected(t, Options{Window: 2}, func(g *gateway) {
		a, b := g.publish(Predefined(1), "", 1), g.publish(Predefined(1), "", 1)
		first := g.receive("one", time.Second).(sn12.Publish)
		second := g.receive("other", time.Second).(sn12.Publish)
		if first.MsgID == second.MsgID {
			t.Fatalf("both have MsgId %d", first.MsgID)
		}
		ctx, cancel := context.WithTimeout(g.t.Context(), time.Second)
		defer cancel()
		if err := g.c.Publish(ctx, Predefined(1), nil, 1, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third one: got %v", err)
		}
		g.send(sn12.PubAck{TopicID: 1, MsgID: second.MsgID})
		g.send(sn12.PubAck{TopicID: 1, MsgID: first.MsgID})
		a.want("one", nil)
		b.want("other", nil)
	})
}

func TestMsgIDsSkipZeroAndThoseInUse(t *testing.T) {
	connected(t, Options{Window: 2}, func(g *gateway) {
		open := g.publish(Predefined(1), "", 1)
		g.receive("MsgId 1 stays open", time.Second)
		g.c.mu.Lock()
		g.c.lastID = 0xFFFF
		g.c.mu.Unlock()
		next := g.publish(Predefined(1), "", 1)
		g.want("0 is reserved, 1 in use", sn12.Publish{
			QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 1, MsgID: 2,
		})
		g.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		g.send(sn12.PubAck{TopicID: 1, MsgID: 2})
		open.want("MsgId 1", nil)
		next.want("MsgId 2", nil)
	})
}

func incomplete(t *testing.T, err error) *IncompleteError {
	t.Helper()
	var e *IncompleteError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an IncompleteError", err)
	}
	return e
}

func TestContinueRepeatsThePublishWithItsMsgID(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Name("n"), "x", 2)
		g.register("n", 2, 7)
		g.receive("PUBLISH", time.Second)
		g.send(sn12.Disconnect{})
		err := done.get("Publish")
		if !errors.Is(err, ErrDisconnected) {
			t.Errorf("got %v", err)
		}
		e := incomplete(t, err)
		e = incomplete(t, g.call(func(ctx context.Context) error { return g.c.Continue(ctx, e) }).get("not connected"))

		g.connect()
		done = g.call(func(ctx context.Context) error { return g.c.Continue(ctx, e) })
		g.register("n", 3, 8)
		g.want("same MsgId", sn12.Publish{DUP: true, QoS: 2, TopicID: 8, MsgID: 1, Data: []byte("x")})
		g.send(sn12.PubRec{MsgID: 1})
		g.want("released", sn12.PubRel{MsgID: 1})
		g.send(sn12.PubComp{MsgID: 1})
		done.want("Continue", nil)
	})
}

func TestContinueAfterPubRecRepeatsThePubRel(t *testing.T) {
	connected(t, Options{RetryCount: -1}, func(g *gateway) {
		done := g.publish(Predefined(1), "x", 2)
		g.receive("PUBLISH", time.Second)
		g.send(sn12.PubRec{MsgID: 1})
		g.receive("PUBREL", time.Second)
		g.quiet("PUBCOMP was lost", tretry)
		e := incomplete(t, done.get("Publish"))
		g.wantLost("Nretry is used up", ErrTimeout)
		e = incomplete(t, g.call(func(ctx context.Context) error { return g.c.Continue(ctx, e) }).get("not connected"))

		g.connect()
		done = g.call(func(ctx context.Context) error { return g.c.Continue(ctx, e) })
		g.want("the second half", sn12.PubRel{MsgID: 1})
		g.send(sn12.PubComp{MsgID: 1})
		done.want("Continue", nil)
	})
}

func TestIncompleteErrorKeepsItsOwnPayload(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		ctx, cancel := context.WithCancel(g.t.Context())
		payload := []byte("good")
		done := g.call(func(context.Context) error { return g.c.Publish(ctx, Predefined(1), payload, 1, false) })
		g.receive("PUBLISH", time.Second)
		cancel()
		e := incomplete(t, done.get("cancelled"))
		copy(payload, "evil")
		done = g.call(func(ctx context.Context) error { return g.c.Continue(ctx, e) })
		g.want("the payload of the call", sn12.Publish{
			DUP: true, QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 1, MsgID: 1, Data: []byte("good"),
		})
		g.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		done.want("Continue", nil)
	})
}
