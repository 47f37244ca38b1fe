package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

func TestQoSMinusOneOfAStranger_Case79(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.send("09 0c 62 6162 0000 7879")
		got.want(t, "short name", "sngate-test-7 ab xy 0")
		d.send("08 0c 61 0001 0000 78")
		got.want(t, "predefined id", "sngate-test-7 site/alarm x 0")
		d.send("08 0c 72 6162 0000 78")
		got.want(t, "retained", "sngate-test-7 ab x 0")
		if m, ok := r.broker.Retained("ab"); !ok || string(m.Payload) != "x" {
			t.Fatalf("retained: %v %q", ok, m.Payload)
		}
		d.send("05 fe 00 0102" + "08 0c 61 0001 0000 78")
		got.want(t, "through a forwarder", "sngate-test-7 site/alarm x 0")
		d.wantQuiet("never answered")
		r.wantSessions("none", 0)
		if n := r.connects(); n != 1 {
			t.Fatalf("%d connections to the broker", n)
		}
	})
}

func TestQoSMinusOneThatCannotBeRelayed_Case79(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		for _, tt := range []struct {
			why, datagram string
			reason        session.Reason
			n             uint64
		}{
			{"unknown predefined id", "08 0c 61 0009 0000 78", session.ReasonUnknownTopicID, 1},
			{"predefined id of one client only", "08 0c 61 0002 0000 78", session.ReasonUnknownTopicID, 2},
			{"long name", "08 0c 60 0001 0000 78", session.ReasonQoSMinusOneLongName, 1},
			{"normal id", "08 0c 60 0009 0000 78", session.ReasonQoSMinusOneLongName, 2},
			{"reserved id type", "08 0c 63 0001 0000 78", session.ReasonUnknownTopicID, 3},
			{"wildcard as a short name", "08 0c 62 612b 0000 78", session.ReasonInvalidTopic, 1},
			{"cut off", "04 0c 62 61", session.ReasonMalformed, 1},
		} {
			d.send(tt.datagram)
			d.wantQuiet(tt.why)
			got.want(t, tt.why)
			r.wantDropped(tt.reason, tt.n)
		}
	})
}

func TestQoSMinusOneSwitchedOff_Case80(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.QoSMinusOne = false })
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.send("08 0c 62 6162 0000 78")
		d.wantQuiet("silence")
		got.want(t, "nothing")
		r.wantDropped(session.ReasonQoSMinusOneDisabled, 1)
	})
}

func TestQoSMinusOneOfAConnectedDevice_Case81(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		id := d.register("a/b")
		if id != 2 {
			t.Fatalf("topic id %d, want 2: 1 is predefined", id)
		}
		d.send("08 0c 60 0002 0000 78")
		d.send("08 0c 62 6162 0000 79")
		d.send("08 0c 61 0001 0000 7a")
		got.want(t, "over its own connection", "dev a/b x 0", "dev ab y 0", "dev site/alarm z 0")
		d.wantQuiet("never answered")
		d.sleep(60)
		d.send("08 0c 62 6162 0000 79")
		got.want(t, "asleep", "dev ab y 0")
		d.wantQuiet("never answered")
	})
}

func TestQoSMinusOneWhileTheBrokerIsAway_Case79(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		r.broker.Kill(true)
		synctest.Wait()
		for range 1000 {
			d.send("08 0c 62 6162 0000 78")
		}
		if n := r.gateway.dialer.Stats().DroppedDown.Load(); n != 1000 {
			t.Fatalf("%d dropped", n)
		}
		if r.gateway.BrokerReady() {
			t.Fatal("the broker is away")
		}
		r.broker.Start()
		time.Sleep(2 * time.Minute)
		if !r.gateway.BrokerReady() {
			t.Fatal("the broker is back")
		}
		got.want(t, "dropped is dropped")
		d.send("08 0c 62 6162 0000 78")
		got.want(t, "works again", "sngate-test-7 ab x 0")
	})
}

// The first datagram may be there before anything else.
func TestQoSMinusOneBeforeTheFirstTurn_Case79(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd()
			for i := range 100 {
				c.send(source(i), []byte{8, 0x0c, 0x62, 'a', 'b', 0, 0, 'x'})
			}
			newRig(t, func(o *Options) { o.Listen = c.listen })
		})
	}
}

// A device that connects now and then uses QoS -1 in between, from the same address.
func TestQoSMinusOneFromTheAddressOfAnEndedSession_Case79(t *testing.T) {
	for _, shards := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Shards = shards })
			var got []upstreamtest.Message
			r.broker.Observe = func(_ string, m upstreamtest.Message) { got = append(got, m) }
			for i := range 4 { // of all shards
				d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
				d.connectWith(false, 60, fmt.Sprintf("dev-%d", i))
				d.send("02 18")
				d.want("kept", "02 18")
				d.send("08 0c 62 7879 0000 31")
				d.wantQuiet("QoS -1 is never answered")
				d.sendMessage(sn12.Connect{Will: true, ProtocolID: 1, Duration: 60, ClientID: fmt.Appendf(nil, "dev-%d", i)})
				d.want("half open", "02 06")
				d.send("08 0c 62 7879 0000 32")
				d.wantQuiet("neither in the middle of a CONNECT")
			}
			synctest.Wait()
			if len(got) != 8 || got[0].Topic != "xy" {
				t.Errorf("%d shards: got %v, want 8 messages on xy", shards, got)
			}
		})
	}
}

func TestQoSMinusOneWithALongName(t *testing.T) {
	for _, on := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Session.LongNames = on })
			got := r.observe()
			stranger, d := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
			d.connect("dev")
			if id := d.register("t"); id != 2 {
				t.Fatalf("topic id %d", id)
			}
			const datagram = "0f 0c 60 0006 0000 612f622f632f 7879" // a/b/c/ xy
			if stranger.send(datagram); !on {
				got.want(t, "off")
				r.wantDropped(session.ReasonQoSMinusOneLongName, 1)
				d.send(datagram)
				got.want(t, "off for a connected device, too")
				r.wantDropped(session.ReasonQoSMinusOneLongName, 2)
				return
			}
			got.want(t, "", "sngate-test-7 a/b/c/ xy 0")
			stranger.send("0f 0c 70 0008 0000 612f622f632f 7879")
			got.want(t, "without data, retained", "sngate-test-7 a/b/c/xy  0")
			d.send(datagram)
			got.want(t, "of a connected device", "dev a/b/c/ xy 0")
			d.send("0f 0c 60 0002 0000 612f622f632f 7879")
			got.want(t, "an id that it has is an id", "dev t a/b/c/xy 0")
			for _, bad := range []string{
				"0f 0c 60 0009 0000 612f622f632f 7879", // longer than there is
				"0f 0c 60 0000 0000 612f622f632f 7879",
				"0f 0c 60 0006 0000 612f622f2b2f 7879", // a wildcard
				"0f 0c 60 0006 0000 612f622f002f 7879",
			} {
				stranger.send(bad)
			}
			got.want(t, "no names")
			r.wantDropped(session.ReasonInvalidTopic, 4)
			stranger.wantQuiet("never answered")
			d.wantQuiet("never answered")
		})
	}
}
