package gateway

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

func TestBrokerAwayForShortIsNotNoticed_Case152(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
				r := newRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 60, "dev")
				id, down := d.register("t"), d.subscribe("down", 1)
				r.broker.Kill(keep)
				synctest.Wait()
				got := r.observe()
				for mid := uint16(1); mid <= 16; mid++ {
					d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: mid, Data: fmt.Appendf(nil, "%d", mid)})
				}
				acked := func(why string) {
					t.Helper()
					for mid := uint16(1); mid <= 16; mid++ {
						d.wantMessage(why, sn12.PubAck{TopicID: id, MsgID: mid})
					}
				}
				if durable {
					acked("in the store")
				}
				time.Sleep(2 * time.Second)
				d.wantQuiet("held")
				r.broker.Start()
				time.Sleep(10 * time.Second)
				if !durable {
					acked("with the broker")
				}
				var want []string
				for mid := 1; mid <= 16; mid++ {
					want = append(want, fmt.Sprintf("dev t %d 1", mid))
				}
				got.want(t, "in order, once", want...)
				r.publish("down", "x", 1)
				d.wantMessage("the subscription is restored", sn12.Publish{QoS: 1, TopicID: down, MsgID: 1, Data: []byte("x")})
			})
		})
	}
}

func TestBrokerAwayForLong_Case152(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 600, "dev")
		id := d.register("t")
		r.broker.Kill(true)
		synctest.Wait()
		got := r.observe()
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("a")})
		if durable {
			d.wantMessage("in the store", sn12.PubAck{TopicID: id, MsgID: 1})
		}
		time.Sleep(20*time.Second - time.Millisecond)
		d.wantQuiet("held")
		d.ping("PINGREQ is answered meanwhile")
		time.Sleep(time.Millisecond)
		if !durable {
			d.wantMessage("after hold", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
			r.wantDropped(session.ReasonBrokerDown, 1)
		}
		r.broker.Start()
		time.Sleep(2 * time.Minute)
		if durable {
			got.want(t, "what was acknowledged is relayed", "dev t a 1")
		} else {
			got.want(t, "what was refused is not relayed later")
		}
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2, Data: []byte("b")})
		d.wantMessage("works without CONNECT", sn12.PubAck{TopicID: id, MsgID: 2})
		got.want(t, "relayed", "dev t b 1")
		d.wantQuiet("nothing else")
	})
}

func TestBrokerClosesOneConnection_Case151(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, nil)
		r.device("10.0.1.2:5000").connectWith(true, 0, "company")
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		id := d.subscribe("t", 1)
		r.broker.Drop("dev")
		time.Sleep(5 * time.Second)
		d.wantQuiet("the device is told nothing: it may be elsewhere")
		r.publish("t", "x", 1)
		d.send("02 16")
		d.want("answered at once", "02 17")
		d.wantMessage("and connected again", sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
		d.sendMessage(sn12.PubAck{TopicID: id, MsgID: 1})
		d.wantQuiet("done")
	})
}

func TestSleeperWhileTheBrokerRestarts_Case147(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
				r := newRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 60, "dev")
				d.subscribe("t", 2)
				d.sleep(600)
				for i, want := range []string{"a", "b", "c"} {
					r.publish("t", want, byte(i))
				}
				r.broker.Kill(keep)
				time.Sleep(100 * time.Second)
				r.broker.Start()
				time.Sleep(100 * time.Second)
				d.wantQuiet("asleep")
				r.publish("t", "d", 1)
				if got := d.wake("dev"); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
					t.Fatalf("got %q", got)
				}
				if got := d.wake("dev"); len(got) != 0 {
					t.Fatalf("got %q again", got)
				}
				if n, _ := r.broker.Pending("dev"); n != 0 {
					t.Fatalf("%d messages unacknowledged", n)
				}
			})
		})
	}
}

func TestDeviceIsToldCongestionWhileTheWindowToTheBrokerIsFull_Case83(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial, o.Upstream.MaxInFlight = broker.Dial, 2 })
		broker.Accept(t).Accept(false)
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
		peer := broker.Accept(t)
		peer.Accept(false)
		d.wantMessage("accepted", sn12.ConnAck{})
		publish := func(mid uint16) {
			d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: mid})
		}
		for mid := uint16(1); mid <= 3; mid++ {
			publish(mid)
		}
		d.wantMessage("no room", sn12.PubAck{TopicID: sn12.ShortID("ab"), MsgID: 3, ReturnCode: sn12.RejectedCongestion})
		d.wantQuiet("the others wait")
		for mid := uint16(1); mid <= 2; mid++ {
			p := upstreamtest.Want[*packets.PublishPacket](peer, "relayed")
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			peer.Send(ack)
			d.wantMessage("acknowledged", sn12.PubAck{TopicID: sn12.ShortID("ab"), MsgID: mid})
		}
		publish(4)
		upstreamtest.Want[*packets.PublishPacket](peer, "accepted again")
		r.wantDropped(session.ReasonBrokerCongested, 1)
	})
}

func TestRedeliveredMessageIsNotAcknowledgedUnseen_Case173(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial = broker.Dial })
		broker.Accept(t).Accept(false)
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
		peer := broker.Accept(t)
		peer.Accept(true)
		d.wantMessage("accepted", sn12.ConnAck{})
		peer.Publish("ab", "x", 1, 77, false)
		d.wantMessage("delivered", sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: 1, Data: []byte("x")})
		peer.Conn.Close()
		time.Sleep(5 * time.Second)
		d.ping("speaks")
		peer = broker.Accept(t)
		peer.Accept(true)
		peer.Publish("ab", "x", 1, 77, true)
		synctest.Wait()
		peer.WantQuiet("the device has not acknowledged")
		time.Sleep(10 * time.Second)
		got := d.receive(time.Second)
		for _, p := range got {
			if p != "x" {
				t.Fatalf("got %q", got)
			}
		}
		if len(got) == 0 {
			t.Fatal("never delivered again")
		}
		if ack := upstreamtest.Want[*packets.PubackPacket](peer, "acknowledged"); ack.MessageID != 77 {
			t.Fatalf("PUBACK for %d", ack.MessageID)
		}
		peer.WantQuiet("once")
	})
}

func TestBrokerNameIsResolvedAtEachConnect_Case174(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		var mu sync.Mutex
		var dialled []string
		r := newRig(t, func(o *Options) {
			dial := o.Upstream.Dial
			o.Upstream.Address = "broker.example:1883"
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				dialled = append(dialled, address)
				return dial(ctx, network, address)
			}
		})
		r.device("10.0.1.1:5000").connectWith(true, 0, "dev")
		r.broker.Kill(true)
		time.Sleep(3 * time.Second)
		r.broker.Start()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(dialled) < 4 {
			t.Fatalf("%d connects, want the own connection and the device's, each again", len(dialled))
		}
		for _, a := range dialled {
			if a != "broker.example:1883" {
				t.Fatalf("dialled %s, not the name", a)
			}
		}
	})
}

func TestBrokerSlowInConnectDelaysNobodyElse_Case175(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		broker := upstreamtest.NewBroker()
		defer broker.Close()
		slow := false
		r := newRig(t, func(o *Options) {
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if slow {
					time.Sleep(5 * time.Second)
				}
				return broker.Dial(ctx, network, address)
			}
		})
		d, late := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		d.connect("dev")
		slow = true
		late.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("late")})
		for mid := uint16(1); mid <= 4; mid++ {
			d.ping("no delay")
			d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: mid})
			d.wantMessage("no delay", sn12.PubAck{TopicID: sn12.ShortID("ab"), MsgID: mid})
			late.wantQuiet("the broker takes 5 s")
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		late.wantMessage("accepted", sn12.ConnAck{})
	})
}

// The gateway's own connection is nobody's who may have moved: lost alone, it comes back
// by itself.
func TestOwnConnectionLostAloneComesBack_Case151(t *testing.T) {
	for _, company := range []bool{true, false} {
		t.Run(fmt.Sprintf("company=%v", company), func(t *testing.T) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
				r := newRig(t, nil)
				if company {
					r.device("10.0.1.2:5000").connectWith(true, 0, "company")
				}
				for range 10 {
					r.broker.Drop("sngate-test-7")
					synctest.Wait()
					if r.gateway.BrokerReady() {
						t.Fatal("the loss is not noticed")
					}
					time.Sleep(2 * time.Minute)
					if !r.gateway.BrokerReady() {
						t.Fatal("the gateway does not come back")
					}
				}
				// A QoS -1 message brings it back at once, and it is not opened once more later.
				d, got := r.device("10.0.1.3:5000"), r.observe()
				r.broker.Drop("sngate-test-7")
				time.Sleep(10 * time.Second)
				for range 3 {
					d.send("08 0c 62 6162 0000 78")
				}
				if !r.gateway.BrokerReady() {
					t.Fatal("not back")
				}
				time.Sleep(5 * time.Minute)
				d.send("08 0c 62 6162 0000 79")
				if list := got.take(); !slices.Contains(list, "sngate-test-7 ab y 0") {
					t.Fatalf("the broker got %q", list)
				}
				if n := r.connects(); n > 13 {
					t.Fatalf("%d connects", n)
				}
			})
		})
	}
}
