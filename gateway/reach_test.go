package gateway

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

func proving(o *Options) { o.Session.ProveAddress = true }

// weighAll takes what has come and returns how much it was.
func (d *device) weighAll() (octets, datagrams int) {
	synctest.Wait()
	for len(d.in) > 0 {
		octets += len(<-d.in)
		datagrams++
	}
	return octets, datagrams
}

// TestForgedSubscriptionFloodsNobody: the victim says nothing, and hears next to nothing
// in the 18 hours that the forged keep-alive lasts.
func TestForgedSubscriptionFloodsNobody(t *testing.T) {
	for qos := range byte(3) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, proving)
			victim := r.device("10.0.3.3:5000")
			connect := sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 65535, ClientID: []byte("forged")}
			subscribe := sn12.Subscribe{QoS: qos, MsgID: 1, TopicName: []byte("busy")}
			victim.sendMessage(connect)
			victim.sendMessage(subscribe)
			for range 300 {
				r.publish("busy", strings.Repeat("x", 30), qos)
				time.Sleep(time.Second)
			}
			time.Sleep(24 * time.Hour)
			octets, datagrams := victim.weighAll()
			if sent := connect.Len() + subscribe.Len(); octets > 3*sent+2+2 || datagrams > 2*3+1+1 { // with the DISCONNECT of the loss
				t.Errorf("QoS %d: %d octets in %d datagrams for %d in 2", qos, octets, datagrams, sent)
			}
		})
	}
}

// answerPings answers PINGREQ, and returns the payloads, until nothing comes for a
// second.
func (d *device) answerPings() (payloads []string, pings int) {
	for m := d.next(time.Second); m != nil; m = d.next(time.Second) {
		switch m := m.(type) {
		case sn12.PingReq:
			pings++
			d.sendMessage(sn12.PingResp{})
		case sn12.Publish:
			payloads = append(payloads, string(m.Data))
		}
	}
	return payloads, pings
}

func TestQoS0ListenerKeepsItsStream(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
		r := newRig(t, proving)
		d := r.device("10.0.3.3:5000")
		d.connectWith(false, 60000, "listener")
		d.subscribe("stream", 0)
		total := 0
		for i := range 30 {
			r.publish("stream", strings.Repeat("x", 50), 0)
			r.publish("stream", strings.Repeat("y", 50), 0)
			got, pings := d.answerPings()
			if total += pings; len(got) != 2 {
				t.Fatalf("round %d: %d messages", i, len(got))
			}
		}
		if total != 1 {
			t.Errorf("%d PINGREQs, want 1", total)
		}
	})
}

// TestProofIsOfAnAddress: another one has to prove itself, by MsgIds that the first
// cannot know, also behind a forwarder, where nodes share an address.
func TestProofIsOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := uint16(0x1000)
		r := newRig(t, func(o *Options) {
			proving(o)
			o.FirstMsgID = func() uint16 { next += 0x100; return next }
		})
		d := r.device("10.0.3.3:5000")
		d.connectWith(false, 600, "dev")
		d.subscribe("t", 1)
		r.publish("t", "x", 1)
		first, ok := d.next(time.Second).(sn12.Publish)
		if !ok {
			t.Fatal("no PUBLISH")
		}
		d.sendMessage(sn12.PubAck{TopicID: first.TopicID, MsgID: first.MsgID})
		e := r.gateway.shards[0].roster.find("dev")
		synctest.Wait()
		if !e.session.Proven() {
			t.Fatal("not proven by its PUBACK")
		}
		other := r.device("10.0.4.4:5000")
		other.connectWith(false, 600, "dev")
		synctest.Wait()
		if e.session.Proven() {
			t.Fatal("another address is taken for proven")
		}
		r.publish("t", "y", 1)
		if _, ok := other.next(time.Second).(sn12.Register); !ok {
			t.Fatal("no REGISTER")
		}
		other.sendMessage(sn12.RegAck{TopicID: first.TopicID, MsgID: first.MsgID + 1})
		synctest.Wait()
		if e.session.Proven() {
			t.Fatal("the MsgId that would have come next at the old address proves the new one")
		}
		forwarder := r.device("10.0.5.5:5000")
		for _, node := range []string{"n1", "n2"} {
			inner, err := sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")}.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			forwarder.sendMessage(sn12.Encapsulated{NodeID: []byte(node), Inner: inner})
			synctest.Wait()
			if e.session.Proven() {
				t.Fatalf("node %s is taken for proven", node)
			}
		}
	})
}

// TestUnreachableOfTheNetwork: it stops what goes to an address that is not proven, and
// nothing else; what is behind a forwarder is not meant.
func TestUnreachableOfTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, proving)
		d := r.device("10.0.3.3:5000")
		d.connectWith(false, 60000, "dev")
		d.subscribe("t", 1)
		r.publish("t", "x", 1)
		synctest.Wait()
		for range 1000 {
			r.gateway.unreachable(0, d.conn.LocalAddr())
		}
		r.gateway.unreachable(0, r.device("10.0.3.4:5000").conn.LocalAddr())
		d.discard()
		time.Sleep(time.Hour)
		d.wantQuiet("no more of it")
		if n := r.dropped(session.ReasonUnreachable); n == 0 {
			t.Error("not counted")
		}
		d.sendMessage(sn12.PingReq{})
		d.wantMessage("it is there after all", sn12.PingResp{})
		d.wantMessage("and is asked", sn12.PingReq{})
		d.sendMessage(sn12.PingResp{})
		if got := d.receive(time.Second); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("it gets %q, want what was held", got)
		}
		before := r.dropped(session.ReasonUnreachable)
		r.gateway.unreachable(0, d.conn.LocalAddr())
		r.publish("t", "y", 1)
		if got := d.receive(time.Second); !slices.Equal(got, []string{"y"}) {
			t.Fatalf("a forged ICMP message stops %q", got)
		}
		if n := r.dropped(session.ReasonUnreachable); n != before {
			t.Error("counted of a proven address")
		}
	})
}

// TestProofAndRestart: a device whose proof was stored goes on undisturbed; another one
// is asked once.
func TestProofAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, proving)
		d := r.device("10.0.3.3:5000")
		d.connectWith(false, 60000, "dev")
		d.subscribe("t", 1)
		r.publish("t", "x", 1)
		d.receive(time.Second)
		d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: 60000}) // stores the session
		d.wantMessage("asleep", sn12.Disconnect{})
		r.restart()
		if !r.gateway.shards[0].roster.find("dev").session.Proven() {
			t.Error("not proven after a restart")
		}
		long := strings.Repeat("x", 500)
		r.publish("t", long, 1)
		if got := d.wake("dev"); !slices.Equal(got, []string{long}) {
			t.Errorf("it gets %d messages", len(got))
		}
		fresh := r.device("10.0.3.4:5000")
		fresh.connectWith(false, 60000, "fresh")
		fresh.subscribe("u", 0)
		r.restart()
		time.Sleep(time.Second)
		r.publish("u", "x", 0)
		if got, pings := fresh.answerPings(); pings != 1 || !slices.Equal(got, []string{"x"}) {
			t.Errorf("it gets %q with %d PINGREQs", got, pings)
		}
	})
}

// TestRetainedMessagesOfANewSubscriber: more of them than are held for a device come at
// once, before its address is proven. None is lost.
func TestRetainedMessagesOfANewSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, proving)
		d := r.device("10.0.3.3:5000")
		d.connectWith(true, 60, "dev")
		d.subscribe("t", 0)
		const n = 1500
		for range n {
			r.publish("t", strings.Repeat("x", 100), 0)
		}
		if got, _ := d.answerPings(); len(got) != n {
			t.Errorf("%d messages of %d", len(got), n)
		}
		if dropped := r.dropped(session.ReasonBufferFull); dropped != 0 {
			t.Errorf("%d dropped", dropped)
		}
	})
}
