package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// What devices see of the habits of brokers.

func inAHurry(o *Options) {
	o.Upstream.ReconnectMin, o.Upstream.ReconnectMax = 200*time.Millisecond, 2*time.Second
	o.Session.RetryInterval = 2 * time.Second
}

// payloads are what has arrived at the broker from a client, each once, in order.
func payloads(list []string, clientID string) (got []string) {
	for _, line := range list {
		if f := strings.Fields(line); f[0] == clientID && !slices.Contains(got, f[2]) {
			got = append(got, f[2])
		}
	}
	return got
}

func TestBrokerClosesOnOneMessageOfADevice_Case152(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			r := newDurableRig(t, inAHurry)
			r.broker.SetHabits(upstreamtest.Habits{Deny: upstreamtest.DenyTopic("bad/t")})
			got := r.observe()
			d := r.device("10.0.1.1:5000")
			d.connectWith(false, 60, "dev")
			bad, good := d.register("bad/t"), d.register("good/t")
			if bad == good {
				t.Fatalf("both have id %d", bad)
			}
			publish := func(id, msgID uint16, payload string) {
				t.Helper()
				d.sendMessage(sn12.Publish{QoS: qos, TopicID: id, MsgID: msgID, Data: []byte(payload)})
				for range 100 {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
					if len(d.in) > 0 {
						break
					}
				}
				if qos == 1 {
					d.wantMessage(payload, sn12.PubAck{TopicID: id, MsgID: msgID})
					return
				}
				d.wantMessage(payload, sn12.PubRec{MsgID: msgID})
				d.sendMessage(sn12.PubRel{MsgID: msgID})
				d.wantMessage(payload, sn12.PubComp{MsgID: msgID})
			}
			publish(bad, 0x20, "poison")
			for i := range uint16(5) {
				publish(good, 0x30+i, fmt.Sprint(i))
			}
			for range 10 {
				time.Sleep(time.Second)
				d.ping("alive")
			}
			if p := payloads(got.take(), "dev"); !slices.Equal(p, []string{"0", "1", "2", "3", "4"}) {
				t.Fatalf("QoS %d: arrived %q", qos, p)
			}
			for range 50 {
				time.Sleep(time.Second)
				d.ping("alive")
			}
			r.wantDropped(session.ReasonSpoolRejected, 1)
			r.wantLogged("message for broker given up", []string{"level", "client_id", "topic"}, "warn | dev | bad/t")
			publish(good, 0x40, "after")
			time.Sleep(time.Second)
			if p := payloads(got.take(), "dev"); !slices.Equal(p, []string{"after"}) {
				t.Fatalf("arrived %q", p)
			}
		})
	}
}

func TestBrokerThatThrottlesGetsTheSpool_Case152(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, inAHurry)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		id := d.register("t")
		r.broker.Kill(false)
		var want []string
		for i := range uint16(60) {
			want = append(want, fmt.Sprint(i))
			time.Sleep(50 * time.Millisecond)
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: i + 1, Data: []byte(want[i])})
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
			d.wantMessage("stored", sn12.PubAck{TopicID: id, MsgID: i + 1})
		}
		r.broker.SetHabits(upstreamtest.Habits{PublishRate: 10, Delay: upstreamtest.After(200*time.Millisecond, packets.Puback)})
		r.broker.Start()
		time.Sleep(time.Minute)
		if p := payloads(got.take(), "dev"); !slices.Equal(p, want) {
			t.Errorf("arrived %q", p)
		}
		r.wantDropped(session.ReasonSpoolRejected, 0)
	})
}

// However often the broker closes at the first PUBLISH, the order stays.
func TestOrderHoldsHoweverOftenTheBrokerCloses_Case152(t *testing.T) {
	for _, closes := range []int{1, 4, 5, 6, 13, 30} {
		synctest.Test(t, func(t *testing.T) {
			r := newDurableRig(t, inAHurry)
			got := r.observe()
			d := r.device("10.0.1.1:5000")
			d.connect("dev")
			id := d.register("t")
			n := 0
			var want []string
			publish := func() {
				t.Helper()
				want = append(want, fmt.Sprint("n", n))
				n++
				d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: uint16(n), Data: []byte(want[n-1])})
				time.Sleep(100 * time.Millisecond)
				d.discard()
			}
			r.broker.Kill(false)
			for range 8 {
				publish()
			}
			left := closes
			r.broker.SetHabits(upstreamtest.Habits{Deny: func(string, upstreamtest.Message) bool { left--; return left >= 0 }})
			r.broker.Start()
			for range 300 {
				publish()
			}
			time.Sleep(time.Minute)
			if p := payloads(got.take(), "dev"); !slices.Equal(p, want) {
				t.Errorf("%d closes: arrived %q", closes, p)
			}
		})
	}
}

func TestBrokerThatAnswersQoS2WithPuback_Case65(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, inAHurry)
		r.broker.SetHabits(upstreamtest.Habits{QoS2WithPuback: true})
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		id := d.register("t")
		var want []string
		for i := range uint16(200) {
			want = append(want, fmt.Sprint(i))
			d.sendMessage(sn12.Publish{QoS: 2, TopicID: id, MsgID: i + 1, Data: []byte(want[i])})
			time.Sleep(10 * time.Millisecond)
			d.wantMessage("stored", sn12.PubRec{MsgID: i + 1})
			d.sendMessage(sn12.PubRel{MsgID: i + 1})
			d.wantMessage("over", sn12.PubComp{MsgID: i + 1})
		}
		time.Sleep(time.Second)
		list := got.take()
		if p := payloads(list, "dev"); !slices.Equal(p, want) || len(list) != 200 {
			t.Errorf("%d arrived, %q", len(list), p)
		}
		if n := len(r.logged("broker deviates from MQTT: QoS 2 answered with PUBACK, treated as QoS 1, messages may be doubled")); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

// The device asks once and is silent from then on.
func TestSubscribeThatTheBrokerClosesOnIsRefused_Case107(t *testing.T) {
	for _, change := range []func(*Options){nil, inAHurry} {
		withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
			r := newRig(t, change)
			r.broker.SetHabits(upstreamtest.Habits{DenyFilter: func(_, filter string) bool { return filter == "deep" }})
			d := r.device("10.0.1.1:5000")
			d.connectWith(false, 600, "dev")
			d.subscribe("good", 1)
			d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: 77, TopicName: []byte("deep")})
			time.Sleep(19 * time.Second)
			d.wantMessage("not congestion: it will not get better", sn12.SubAck{MsgID: 77, ReturnCode: sn12.RejectedNotSupported})
			r.publish("good", "x", 1)
			time.Sleep(time.Second)
			if got := d.receive(100 * time.Millisecond); !slices.Equal(got, []string{"x"}) {
				t.Fatalf("the session is served on: got %q", got)
			}
		})
	}
}

func TestConnectThatTheBrokerClosesOnIsRefusedInTheEnd_Case22(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inAHurry)
		r.broker.SetHabits(upstreamtest.Habits{HangUp: func(id string) bool { return id == "dev" }})
		d := r.device("10.0.1.1:5000")
		for i := range 4 {
			code := sn12.RejectedCongestion
			if i >= 2 {
				code = sn12.RejectedNotSupported
			}
			d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
			d.wantMessage("closed", sn12.ConnAck{ReturnCode: code})
			time.Sleep(5 * time.Second)
		}
		r.device("10.0.1.2:5000").connect("other")
		if !strings.Contains(r.log.String(), "closes the connection at CONNECT each time") {
			t.Error("the log does not say why")
		}
	})
}

// One foreign message with a topic that is none must not cut anybody off.
func TestMessageWithAnInvalidTopicIsDroppedAlone(t *testing.T) {
	for _, qos := range []byte{0, 1, 2} {
		withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
			r := newRig(t, inAHurry)
			r.broker.SetHabits(upstreamtest.Habits{Topic: upstreamtest.StarsAsPlus})
			d := r.device("10.0.1.1:5000")
			d.connectWith(false, 60, "dev")
			d.subscribe("pl/#", 2)
			connects := r.connects()
			r.publish("pl/s*r", "bad", qos)
			r.publish("pl/ok", "good", qos)
			time.Sleep(time.Second)
			if got := d.receive(100 * time.Millisecond); !slices.Equal(got, []string{"good"}) {
				t.Fatalf("QoS %d: got %q", qos, got)
			}
			if n := r.connects() - connects; n != 0 {
				t.Errorf("%d reconnects", n)
			}
			if waiting, _ := r.broker.Pending("dev"); waiting != 0 {
				t.Errorf("%d messages wait with the broker", waiting)
			}
			if n := len(r.logged("packet from broker dropped")); n != 1 {
				t.Errorf("%d log lines", n)
			}
		})
	}
}

// Two gateways, and a broker that says DISCONNECT at a takeover.
func TestGatewaysDoNotFightThoughTheBrokerSaysDisconnect_Case157(t *testing.T) {
	for _, goodbye := range [][]byte{upstreamtest.GoodbyePlain(), upstreamtest.GoodbyeWithReason(0x8e)} {
		synctest.Test(t, func(t *testing.T) {
			r := newDurableRig(t, inAHurry)
			r.broker.SetHabits(upstreamtest.Habits{Goodbye: goodbye})
			opts := r.opts
			opts.ClientID, opts.ID, opts.Store = "sngate-test-8", 8, nil
			opts.Listeners = []listen.Options{{Address: "10.0.0.2:1883"}}
			second, err := Start(opts)
			if err != nil {
				t.Fatal(err)
			}
			defer second.Stop(4 * time.Second)
			r.device("10.0.3.1:5000").connect("company")
			first := r.device("10.0.1.1:5000")
			first.connectWith(false, 600, "dev")
			first.subscribe("t", 1)
			r.addr = second.listeners[0].Conn.LocalAddr()
			d := r.device("10.0.2.1:5000")
			d.connectWith(false, 600, "dev")
			d.subscribe("t", 1)
			before := r.connects()
			for i := range 10 {
				time.Sleep(time.Second)
				d.ping("alive")
				r.publish("t", fmt.Sprint(i), 1)
				if got := d.receive(100 * time.Millisecond); !slices.Equal(got, []string{fmt.Sprint(i)}) {
					t.Fatalf("got %q", got)
				}
			}
			if got := first.receive(100 * time.Millisecond); len(got) > 0 {
				t.Errorf("the first gateway delivers %q", got)
			}
			if n := r.connects() - before; n > 1 {
				t.Errorf("%d CONNECTs", n)
			}
		})
	}
}
