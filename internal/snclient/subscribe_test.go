package snclient

import (
	"context"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func (g *gateway) subscribe(t Topic, qos uint8, granted *uint8) result {
	return g.call(func(ctx context.Context) (err error) {
		*granted, err = g.c.Subscribe(ctx, t, qos)
		return err
	})
}

func TestSubscribeForms_Case102_103_104_105(t *testing.T) {
	for name, tc := range map[string]struct {
		topic    Topic
		want     sn12.Subscribe
		ack      sn12.SubAck
		delivery sn12.Publish // what follows, and the name it is delivered under
		as       string
	}{
		"name": {
			Name("a/b"), sn12.Subscribe{QoS: 2, TopicName: []byte("a/b")},
			sn12.SubAck{QoS: 1, TopicID: 7}, sn12.Publish{TopicID: 7}, "a/b",
		},
		"name of two octets": {
			Name("ab"), sn12.Subscribe{QoS: 2, TopicName: []byte("ab")},
			sn12.SubAck{QoS: 1, TopicID: 7}, sn12.Publish{TopicID: 7}, "ab",
		},
		"pre-defined id": {
			Predefined(3), sn12.Subscribe{QoS: 2, TopicIDType: sn12.TopicIDPredefined, TopicID: 3},
			sn12.SubAck{QoS: 1, TopicID: 3}, sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 3}, "#3",
		},
		"short name": {
			Short("ab"), sn12.Subscribe{QoS: 2, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162},
			sn12.SubAck{QoS: 1}, sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x6162}, "ab",
		},
	} {
		t.Run(name, func(t *testing.T) {
			connected(t, Options{}, func(g *gateway) {
				var granted uint8
				done := g.subscribe(tc.topic, 2, &granted)
				tc.want.MsgID, tc.ack.MsgID = 1, 1
				g.want("SUBSCRIBE", tc.want)
				tc.want.DUP = true
				g.wantAfter("repeated with DUP", tretry, tc.want)
				g.send(tc.ack)
				g.send(tc.delivery)
				done.want("Subscribe", nil)
				if granted != 1 {
					t.Errorf("granted QoS %d, want 1", granted)
				}
				if m := g.message("after SUBACK"); m.Topic.String() != tc.as {
					t.Errorf("delivered as %q, want %q", m.Topic, tc.as)
				}
			})
		})
	}
}

func TestSubscribeWithAWildcardLearnsIDsByRegister_Case85_103(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		var granted uint8
		done := g.subscribe(Name("w/#"), 1, &granted)
		g.want("SUBSCRIBE", sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: []byte("w/#")})
		g.send(sn12.SubAck{QoS: 1, TopicID: 5, MsgID: 1}) // should be 0: must not stand for "w/#"
		done.want("Subscribe", nil)
		g.send(sn12.Publish{TopicID: 5})
		g.want("an id without a name", sn12.PubAck{TopicID: 5, ReturnCode: sn12.RejectedInvalidTopicID})
		g.send(sn12.Register{TopicID: 5, MsgID: 77, TopicName: []byte("w/new")})
		g.want("REGACK", sn12.RegAck{TopicID: 5, MsgID: 77})
		g.send(sn12.Publish{TopicID: 5, Data: []byte("x")})
		if m := g.message("after REGISTER"); m.Topic.Name != "w/new" || string(m.Payload) != "x" {
			t.Errorf("delivered %+v", m)
		}
	})
}

func TestSubscribeRefused_Case107(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		var granted uint8
		done := g.subscribe(Name("x"), 1, &granted)
		g.receive("SUBSCRIBE", time.Second)
		g.send(sn12.SubAck{TopicID: 4, MsgID: 1, ReturnCode: sn12.RejectedNotSupported})
		wantCode(t, done.get("Subscribe"), sn12.TypeSubscribe, sn12.RejectedNotSupported)
		g.send(sn12.Publish{TopicID: 4})
		g.want("the id is not kept", sn12.PubAck{TopicID: 4, ReturnCode: sn12.RejectedInvalidTopicID})
	})
}

func TestUnsubscribeForms_Case110(t *testing.T) {
	for _, tc := range []struct {
		topic Topic
		want  sn12.Unsubscribe
	}{
		{Name("a/+"), sn12.Unsubscribe{TopicName: []byte("a/+")}},
		{Predefined(3), sn12.Unsubscribe{TopicIDType: sn12.TopicIDPredefined, TopicID: 3}},
		{Short("ab"), sn12.Unsubscribe{TopicIDType: sn12.TopicIDShort, TopicID: 0x6162}},
	} {
		connected(t, Options{}, func(g *gateway) {
			done := g.call(func(ctx context.Context) error { return g.c.Unsubscribe(ctx, tc.topic) })
			tc.want.MsgID = 1
			g.want("UNSUBSCRIBE", tc.want)
			g.wantAfter("repeated", tretry, tc.want)
			g.send(sn12.UnsubAck{MsgID: 1})
			done.want("Unsubscribe", nil)
		})
	}
}

func TestOneSubscribeOrUnsubscribeAtATime(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		var granted uint8
		first := g.subscribe(Name("a"), 0, &granted)
		g.receive("SUBSCRIBE", time.Second)
		second := g.call(func(ctx context.Context) error { return g.c.Unsubscribe(ctx, Name("b")) })
		g.quiet("UNSUBSCRIBE waits in line", time.Second)
		g.send(sn12.SubAck{TopicID: 1, MsgID: 1})
		first.want("Subscribe", nil)
		g.want("its turn", sn12.Unsubscribe{MsgID: 2, TopicName: []byte("b")})
		g.send(sn12.UnsubAck{MsgID: 2})
		second.want("Unsubscribe", nil)
	})
}

func TestSubscribeArgumentsAreChecked(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		var granted uint8
		if g.subscribe(Name("a"), 3, &granted).get("QoS 3") == nil {
			t.Error("QoS 3: accepted")
		}
		if g.subscribe(Short("a"), 0, &granted).get("short name") == nil {
			t.Error("short name of one octet: accepted")
		}
		if g.call(func(ctx context.Context) error { return g.c.Unsubscribe(ctx, Name("")) }).get("no name") == nil {
			t.Error("empty name: accepted")
		}
	})
}
