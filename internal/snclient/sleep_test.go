package snclient

import (
	"context"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func (g *gateway) sleep(d time.Duration) {
	g.t.Helper()
	done := g.call(func(ctx context.Context) error { return g.c.Sleep(ctx, d) })
	g.want("the request", sn12.Disconnect{HasDuration: true, Duration: uint16(d / time.Second)})
	g.send(sn12.Disconnect{})
	done.want("Sleep", nil)
	g.wantState("after the answer", Asleep)
}

func TestSleepIsAnnouncedUntilItIsAnswered_Case124(t *testing.T) {
	connected(t, Options{KeepAlive: time.Minute}, func(g *gateway) {
		done := g.call(func(ctx context.Context) error { return g.c.Sleep(ctx, time.Hour) })
		sleep := sn12.Disconnect{HasDuration: true, Duration: 3600}
		g.want("the request", sleep)
		g.send(predefined(1, 1, "x"))
		g.want("awake until the answer", sn12.PubAck{TopicID: 1, MsgID: 1})
		g.wantAfter("unanswered", tretry, sleep)
		g.send(sn12.Disconnect{})
		done.want("Sleep", nil)
		g.wantState("asleep", Asleep)
		g.quiet("no keep-alive while asleep", time.Hour)
	})
}

func TestAsleepTheRadioIsOff_Case126(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.sleep(time.Minute)
		g.send(predefined(1, 1, "x"))
		g.send(sn12.PingReq{})
		g.send(sn12.Disconnect{})
		g.quiet("no answer", time.Minute)
		g.noMessage("asleep")
		g.wantState("still", Asleep)
		if s := g.c.Stats(); s.Unexpected != 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWakeTakesEverythingUntilPingResp_Case127_133(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		for range 3 {
			g.sleep(time.Minute)
			done := g.call(g.c.Wake)
			g.want("with the client id", sn12.PingReq{ClientID: []byte("dev")})
			g.send(sn12.Register{TopicID: 7, MsgID: 1, TopicName: []byte("n")})
			g.want("REGACK", sn12.RegAck{TopicID: 7, MsgID: 1})
			g.send(sn12.Publish{QoS: 1, TopicID: 7, MsgID: 2})
			g.want("PUBACK", sn12.PubAck{TopicID: 7, MsgID: 2})
			g.send(sn12.Publish{TopicID: 7})
			done.waits("PINGRESP is the end")
			g.wantState("meanwhile", Awake)
			g.send(sn12.PingResp{})
			done.want("Wake", nil)
			g.wantState("after it", Asleep)
			g.message("QoS 1")
			g.message("QoS 0")
		}
	})
}

func TestWakeIsRepeatedOnlyWhenTheGatewayIsSilent(t *testing.T) {
	connected(t, Options{RetryCount: 1}, func(g *gateway) {
		g.sleep(time.Minute)
		done := g.call(g.c.Wake)
		ping := sn12.PingReq{ClientID: []byte("dev")}
		g.want("the request", ping)
		g.wantAfter("silence", tretry, ping)
		for i := range uint16(5) {
			g.quiet("the gateway is slow", 9*time.Second)
			g.send(predefined(1, i+1, "x"))
			g.want("PUBACK", sn12.PubAck{TopicID: 1, MsgID: i + 1})
		}
		g.wantAfter("silence", tretry, ping)
		g.quiet("Nretry is used up", tretry)
		done.want("Wake", ErrTimeout)
		g.wantLost("no PINGRESP", ErrTimeout)
		g.wantState("no PINGRESP", Disconnected)
	})
}

func TestWakeOfAForgottenClient_Case148(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.sleep(time.Minute)
		done := g.call(g.c.Wake)
		g.receive("PINGREQ", time.Second)
		g.send(sn12.Disconnect{})
		done.want("Wake", ErrDisconnected)
		g.wantLost("the gateway has forgotten the client", ErrDisconnected)
		g.connect()
	})
}

func TestCancelledWakeIsAsleepAgain(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.sleep(time.Minute)
		ctx, cancel := context.WithCancel(g.t.Context())
		done := g.call(func(context.Context) error { return g.c.Wake(ctx) })
		g.receive("PINGREQ", time.Second)
		cancel()
		done.want("Wake", context.Canceled)
		g.wantState("the radio is off", Asleep)
	})
}

func TestLeavingSleep_Case140_142(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.publish(Name("n"), "x", 0)
		g.register("n", 1, 7)
		g.receive("PUBLISH", time.Second)
		done.want("Publish", nil)

		g.sleep(time.Minute)
		g.sleep(2 * time.Minute) // a new duration
		g.publish(Name("n"), "x", 0).want("asleep", ErrNotConnected)
		g.call(g.c.Ping).want("asleep", ErrNotConnected)

		g.connect()
		done = g.publish(Name("n"), "x", 0)
		g.want("the id is still valid", sn12.Publish{TopicID: 7, Data: []byte("x")})
		done.want("Publish", nil)

		g.call(g.c.Wake).want("not asleep", ErrNotConnected)
		g.sleep(time.Minute)
		down := g.call(g.c.Disconnect)
		g.want("down from sleep", sn12.Disconnect{})
		g.send(sn12.Disconnect{})
		down.want("Disconnect", nil)
		g.wantState("down", Disconnected)
	})
}

func TestSleepDurationIsChecked(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		for _, d := range []time.Duration{0, -time.Second, time.Millisecond, 65536 * time.Second} {
			if g.c.Sleep(g.t.Context(), d) == nil {
				t.Errorf("%v: accepted", d)
			}
		}
	})
}
