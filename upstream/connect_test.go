package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestConnectCarriesIdentityWillAndCredentials(t *testing.T) {
	opt := upstream.Options{Username: "gw", Password: []byte("secret")}
	bubble(t, opt, func(r *rig) {
		o := r.link()
		will := &upstream.Will{Topic: "will", Message: []byte("gone"), QoS: 1, Retain: true}
		o.Connect(r.now(), &upstream.Connect{ClientID: "dev", CleanSession: true, KeepAlive: 7, Will: will})
		will.Message[0] = 'X' // copied
		r.runUntilIdle()
		got := r.lis.Accept(t).Accept(false)
		got.FixedHeader = packets.FixedHeader{}
		want := &packets.ConnectPacket{
			ProtocolName: "MQTT", ProtocolVersion: 4, CleanSession: true, WillFlag: true, WillQos: 1, WillRetain: true,
			UsernameFlag: true, PasswordFlag: true, Keepalive: 7, ClientIdentifier: "dev",
			WillTopic: "will", WillMessage: []byte("gone"), Username: "gw", Password: []byte("secret"),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		o.want(upstream.EventConnected, "accepted")
		o.wantQuiet("one answer only")
	})
}

func TestUsernameMayBeEmptyButAPasswordNeedsOne(t *testing.T) {
	_, err := upstream.NewDialer(upstream.Options{Address: "h:1", Password: []byte("x")})
	if err == nil {
		t.Error("a password without a user name was accepted")
	}
	opt := upstream.Options{HasUsername: true, Password: []byte("x")}
	bubble(t, opt, func(r *rig) {
		r.link().Connect(r.now(), persistent)
		r.runUntilIdle()
		c := r.lis.Accept(t).Accept(false)
		if !c.UsernameFlag || c.Username != "" || !c.PasswordFlag {
			t.Errorf("CONNECT with user name %v %q, password %v", c.UsernameFlag, c.Username, c.PasswordFlag)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []upstream.Options{
		{},
		{Address: "no-port"},
		{Address: "h:1", MaxInFlight: 65535},
		{Address: "h:1", MaxDials: -1},
		{Address: "h:1", PingTimeout: -1},
		{Address: "h:1", ReconnectMin: time.Hour},
		{Address: "h:1", Username: string(make([]byte, 65536))},
	} {
		if _, err := upstream.NewDialer(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// What a return code says reaches the owner, whatever it is; mapping it to MQTT-SN is not
// the Link's business.
func TestRefusalCarriesTheReturnCode_Case22(t *testing.T) {
	for code, want := range map[byte]upstream.Refusal{
		1:    {Kind: upstream.RefusedForGood, Text: "return code 1 (unacceptable protocol version)"},
		2:    {Kind: upstream.RefusedClientID, Text: "return code 2 (identifier rejected)"},
		3:    {Kind: upstream.RefusedForNow, Text: "return code 3 (server unavailable)"},
		4:    {Kind: upstream.RefusedForGood, Text: "return code 4 (bad user name or password)"},
		5:    {Kind: upstream.RefusedForGood, Text: "return code 5 (not authorized)"},
		6:    {Kind: upstream.RefusedForGood, Text: "return code 6 (no code of MQTT 3.1.1)"},
		0x80: {Kind: upstream.RefusedForGood, Text: "return code 128 (no code of MQTT 3.1.1)"},
		0xff: {Kind: upstream.RefusedForGood, Text: "return code 255 (no code of MQTT 3.1.1)"},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o := r.link()
				o.Connect(r.now(), persistent)
				r.runUntilIdle()
				p := r.lis.Accept(t)
				p.Read()
				p.SendRaw(0x20, 2, 0, code)
				if e := o.want(upstream.EventRefused, "refused"); e.Refusal != want || e.Err != nil {
					t.Errorf("got %+v, error %v", e.Refusal, e.Err)
				}
				p.WantEOF("the link closes")
				r.pass(10 * time.Minute)
				o.wantQuiet("a first connect is not tried again")
				if n := r.d.Stats().Refusals[min(code, 6)].Load(); n != 1 {
					t.Errorf("%d refusals counted", n)
				}
			})
		})
	}
}

func TestRefusedConnectsLeaveNothing_Case23(t *testing.T) {
	down := errors.New("connection refused")
	opt := upstream.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, down }}
	bubble(t, opt, func(r *rig) {
		for range 1000 {
			r.link().Connect(r.now(), persistent)
		}
		for _, o := range r.links {
			if e := o.want(upstream.EventRefused, "the broker is down"); !errors.Is(e.Err, down) || e.Refusal.Kind != upstream.NotRefused {
				t.Fatalf("got %+v", e)
			}
		}
		wantIdle(t, r)
		if r.now() != 0 {
			t.Error("it took time")
		}
	})
}

func TestSilentBrokerTimesOutAndLeavesNothing_Case24(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		for range 1000 {
			r.link().Connect(r.now(), persistent)
		}
		r.pass(10*time.Second - 1)
		for _, o := range r.links {
			o.wantQuiet("not yet")
		}
		if n := r.d.Stats().Dialling.Load(); n != 64 {
			t.Errorf("%d connects in progress, want 64", n)
		}
		r.pass(1)
		for _, o := range r.links {
			if e := o.want(upstream.EventRefused, "10 s are over"); !errors.Is(e.Err, upstream.ErrTimeout) {
				t.Fatalf("got %+v", e)
			}
		}
		wantIdle(t, r)
		for range r.lis.Dialled() {
			// Those that had just got a slot were cut off before their CONNECT.
			if sent, err := io.ReadAll(r.lis.Accept(t).Conn); err != nil || len(sent) > 0 && sent[0] != 0x10 {
				t.Fatalf("read % x, %v; want at most CONNECT, then the end", sent, err)
			}
		}
	})
}

// wantIdle checks that no connect is in progress. That no goroutine is left is checked
// by the bubble, which does not end before all of its goroutines have.
func wantIdle(t *testing.T, r *rig) {
	t.Helper()
	s := r.d.Stats()
	if s.Dialling.Load() != 0 || s.Waiting.Load() != 0 || s.Open.Load() != 0 {
		t.Errorf("dialling %d, waiting %d, open %d; want none", s.Dialling.Load(), s.Waiting.Load(), s.Open.Load())
	}
	if s.DialsStarted.Load() != s.DialsSucceeded.Load()+s.DialsFailed.Load() {
		t.Errorf("%d dials started, %d succeeded, %d failed", s.DialsStarted.Load(), s.DialsSucceeded.Load(), s.DialsFailed.Load())
	}
}

func TestDialThatHangsIsCancelled_Case24(t *testing.T) {
	opt := upstream.Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	bubble(t, opt, func(r *rig) {
		o := r.link()
		o.Connect(r.now(), persistent)
		r.pass(10 * time.Second)
		o.want(upstream.EventRefused, "timed out")
		wantIdle(t, r)
	})
}

// The name is passed to the dialer as it is, at every dial.
func TestBrokerNameIsResolvedAtEveryDial_Case174(t *testing.T) {
	bubble(t, upstream.Options{Address: "mqtt.example:8883"}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.reconnect(p, true)
		for i := range 2 {
			if a := <-r.lis.Addresses; a != "mqtt.example:8883" {
				t.Errorf("dial %d: address %q", i, a)
			}
		}
	})
}

func TestSlowConnectDelaysNobodyElse_Case175(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		up, p := r.up(persistent, false)
		slow := r.link()
		slow.Connect(r.now(), &upstream.Connect{ClientID: "slow"})
		r.runUntilIdle()
		slowPeer := r.lis.Accept(t)
		other, _ := r.up(&upstream.Connect{ClientID: "other"}, false)
		up.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		r.runUntilIdle()
		m := upstreamtest.Want[*packets.PublishPacket](p, "traffic goes on")
		p.SendRaw(0x40, 2, byte(m.MessageID>>8), byte(m.MessageID))
		up.want(upstream.EventPublished, "acknowledged")
		other.wantQuiet("connected")
		r.pass(5 * time.Second)
		slowPeer.Accept(false)
		slow.want(upstream.EventConnected, "five seconds later")
	})
}

func TestConnectsBeyondMaxDialsWaitInOrder(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 2, MaxWaiting: 3}, func(r *rig) {
		var ids []string
		for i := range 6 {
			r.link().Connect(r.now(), &upstream.Connect{ClientID: fmt.Sprint(i)})
		}
		if e := r.links[5].want(upstream.EventRefused, "the queue is full"); !errors.Is(e.Err, upstream.ErrBusy) {
			t.Errorf("got %+v", e)
		}
		r.links[3].Close(r.now(), upstream.CloseGraceful)
		r.links[3].want(upstream.EventClosed, "a waiting connect is cancelled at once")
		for range 4 {
			r.runUntilIdle()
			ids = append(ids, r.lis.Accept(t).Accept(false).ClientIdentifier)
		}
		// 0 and 1 race for the listener; the queue behind them does not.
		if diff := cmp.Diff([]string{"2", "4"}, ids[2:]); diff != "" {
			t.Error(diff)
		}
		r.runUntilIdle()
		if n := r.d.Stats().DialsBusy.Load(); n != 1 {
			t.Errorf("%d busy", n)
		}
	})
}

func TestWaitingCountsTowardsTheTimeout(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1}, func(r *rig) {
		first, second := r.link(), r.link()
		first.Connect(r.now(), persistent)
		r.pass(4 * time.Second)
		second.Connect(r.now(), persistent)
		r.pass(6 * time.Second)
		first.want(upstream.EventRefused, "10 s")
		r.pass(4*time.Second - 1)
		second.wantQuiet("it has been dialling for 4 s after 6 s of waiting")
		r.pass(1)
		second.want(upstream.EventRefused, "10 s together")
	})
}

// A device that waits because of the pace of this side is not told that the broker is too
// slow: its time runs from the last answer that the broker has given anybody, and begins anew
// with its slot.
func TestWaitingAtThePaceDoesNotCount_Case159(t *testing.T) {
	opt := upstream.Options{DialRate: 1, SlotWait: 40 * time.Second}
	bubble(t, opt, func(r *rig) {
		for i := range 60 {
			r.link().Connect(r.now(), &upstream.Connect{ClientID: fmt.Sprint(i)})
		}
		for i := range 40 {
			r.links[i].accept(false)
			r.links[i].want(upstream.EventConnected, "its turn")
			r.pass(time.Second)
		}
		r.runUntilIdle()
		slow := r.lis.Accept(t)
		for _, o := range r.links[41:] {
			if e := o.want(upstream.EventRefused, "SlotWait is over"); !errors.Is(e.Err, upstream.ErrTimeout) {
				t.Fatalf("got %+v", e)
			}
		}
		if n := r.d.Stats().Waiting.Load(); n != 0 {
			t.Errorf("%d wait", n)
		}
		r.pass(8 * time.Second)
		slow.Accept(false)
		r.links[40].want(upstream.EventConnected, "it has the time from its slot on")
	})
}

// A broker that falls silent is one that is too slow, whoever waits for a slot.
func TestWaitingForASilentBrokerCounts_Case24(t *testing.T) {
	opt := upstream.Options{MaxDials: 1, SlotWait: time.Hour}
	bubble(t, opt, func(r *rig) {
		for i := range 4 {
			r.link().Connect(r.now(), &upstream.Connect{ClientID: fmt.Sprint(i)})
		}
		r.pass(9 * time.Second)
		r.links[0].accept(false) // and then no more
		r.links[0].want(upstream.EventConnected, "in time")
		r.pass(9 * time.Second)
		r.links[2].Close(r.now(), upstream.CloseGraceful)
		r.links[2].want(upstream.EventClosed, "who does not wait any more frees the place")
		if n := r.d.Stats().Waiting.Load(); n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
		r.pass(time.Second - 1)
		r.links[1].wantQuiet("it has had its slot for a moment less than 10 s")
		r.links[3].wantQuiet("the broker has answered another in that time")
		r.pass(1)
		r.links[1].want(upstream.EventRefused, "10 s from its slot")
		r.links[3].want(upstream.EventRefused, "10 s from the last answer")
	})
}

func TestConnectWhileOpenClosesGracefullyFirst(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Connect(r.now(), persistent)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "the old connection ends in good order")
		if r.lis.Dialled() != 0 {
			t.Fatal("dialled before the old connection was gone")
		}
		p.Conn.Close()
		o.accept(true)
		o.want(upstream.EventConnected, "the new one")
		o.wantQuiet("nothing is said of the old one")
	})
}

func TestConnectWaitsASecondForTheBrokersEnd(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Connect(r.now(), persistent)
		r.pass(time.Second - 1)
		if r.lis.Dialled() != 0 {
			t.Fatal("too early")
		}
		r.pass(1)
		upstreamtest.Want[*packets.DisconnectPacket](p, "first")
		p.WantEOF("then closed from here")
		o.accept(true)
		o.want(upstream.EventConnected, "the new one")
	})
}

// Between CONNECT and CONNACK a connection that is cut off makes the broker publish
// the will.
func TestConnectSupersededBeforeConnackStillDisconnects(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Connect(r.now(), &upstream.Connect{ClientID: "a"})
		r.runUntilIdle()
		p := r.lis.Accept(t)
		o.Connect(r.now(), &upstream.Connect{ClientID: "b"})
		r.runUntilIdle()
		p.Accept(false)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "the superseded connection")
		p.Conn.Close()
		r.runUntilIdle()
		if c := r.lis.Accept(t).Accept(false); c.ClientIdentifier != "b" {
			t.Errorf("second CONNECT is for %q", c.ClientIdentifier)
		}
		o.want(upstream.EventConnected, "the second Connect")
		o.wantQuiet("the first has no answer")
	})
}

func TestConnectTooLargeForMQTTIsRefused(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		long := string(make([]byte, 65536))
		for _, c := range []*upstream.Connect{
			{ClientID: long},
			{Will: &upstream.Will{Topic: long}},
			{Will: &upstream.Will{Topic: "t", Message: []byte(long)}},
		} {
			o := r.link()
			o.Connect(r.now(), c)
			if e := o.want(upstream.EventRefused, "too large"); !errors.Is(e.Err, upstream.ErrTooLarge) {
				t.Errorf("got %+v", e)
			}
		}
	})
}

func TestSetWillIsForLaterConnects(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.SetWill(&upstream.Will{Topic: "new", Message: []byte("m")})
		r.runUntilIdle()
		p.WantQuiet("the open connection is left alone")
		p.Conn.Close()
		r.pass(time.Second)
		if c := r.lis.Accept(t).Accept(true); c.WillTopic != "new" {
			t.Errorf("will topic %q", c.WillTopic)
		}
	})
}
