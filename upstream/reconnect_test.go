package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// parkedLink returns a link that lost its connection alone, while another is open.
func parkedLink(r *rig) *owned {
	r.t.Helper()
	r.up(&upstream.Connect{ClientID: "other"}, false)
	o, p := r.up(persistent, false)
	p.Conn.Close()
	r.pass(time.Second)
	o.want(upstream.EventDown, "lost")
	o.want(upstream.EventParked, "alone")
	return o
}

func TestBackoffDoublesFromMinToMax(t *testing.T) {
	for _, jitter := range []float64{0, 0.999999} {
		lis := upstreamtest.NewListener(0)
		down := false
		opt := upstream.Options{
			Rand: func() float64 { return jitter },
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if down {
					return nil, errors.New("down")
				}
				return lis.Dial(ctx, network, address)
			},
		}
		want := []int{1, 2, 4, 8, 16, 30, 30, 30}
		bubble(t, opt, func(r *rig) {
			lis = upstreamtest.NewListener(0)
			r.lis = lis
			o, p := r.up(persistent, false)
			down = true
			p.Conn.Close()
			o.want(upstream.EventDown, "lost")
			for i, seconds := range want {
				wait := o.Deadline() - r.now()
				least := time.Duration(seconds) * time.Second
				exact := least + time.Duration(jitter*float64(least))
				if (wait-exact).Abs() > time.Millisecond || wait > time.Minute {
					t.Errorf("pause %d with jitter %v: %v, want %v", i, jitter, wait, exact)
				}
				r.pass(wait)
			}
			for range want {
				if e := o.want(upstream.EventDown, "each try that fails is reported"); e.Err == nil || e.Refusal.Kind != upstream.NotRefused {
					t.Errorf("got %+v", e)
				}
			}
			o.wantQuiet("and nothing else")
			down = false
			r.pass(o.Deadline() - r.now())
			p = o.accept(true)
			o.want(upstream.EventUp, "back")
			r.pass(11 * time.Second)
			p.Conn.Close()
			o.want(upstream.EventDown, "lost again")
			if wait := o.Deadline() - r.now(); wait > 2*time.Second {
				t.Errorf("the pause after a connection that lived is %v", wait)
			}
		})
	}
}

func TestRefusalOnReconnectIsTriedAgain_Case152(t *testing.T) {
	for code, least := range map[byte]time.Duration{3: 2 * time.Second, 1: 30 * time.Second, 5: 30 * time.Second} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o, p := r.up(persistent, false)
				p.Conn.Close()
				o.want(upstream.EventDown, "lost")
				r.pass(time.Second)
				p = r.lis.Accept(t)
				p.Read()
				p.SendRaw(0x20, 2, 0, code)
				if e := o.want(upstream.EventDown, "the refusal is reported"); (e.Refusal.Kind == upstream.RefusedForNow) != (code == 3) || e.Refusal.Kind == upstream.NotRefused {
					t.Errorf("got %+v", e)
				}
				if wait := o.Deadline() - r.now(); wait != least {
					t.Errorf("pause %v, want %v", wait, least)
				}
				r.pass(least)
				o.accept(true)
				o.want(upstream.EventUp, "the broker has changed its mind")
			})
		})
	}
}

func TestReconnectTimesOutAndTriesAgain(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Conn.Close()
		r.pass(11 * time.Second) // 1 s pause, 10 s without CONNACK
		o.want(upstream.EventDown, "lost")
		p = r.lis.Accept(t)
		p.Read()
		p.WantEOF("given up")
		o.want(upstream.EventDown, "the first try has failed")
		r.pass(2 * time.Second)
		o.accept(true)
		o.want(upstream.EventUp, "second try")
	})
}

// The device has connected through another gateway: the broker closes its connection
// here and no other.
func TestLossAloneParksUntilTheDeviceSpeaks_Case157(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := parkedLink(r)
		r.pass(70 * time.Second) // longer, and the other would miss its PINGRESP
		if r.lis.Dialled() != 0 || !upstream.Parked(o.Link) {
			t.Fatal("reconnected though the device is silent")
		}
		if r.d.Stats().Parkings.Load() != 1 {
			t.Error("not counted")
		}
		o.Nudge(r.now())
		o.accept(true)
		o.want(upstream.EventUp, "the device has spoken here")
		if upstream.Parked(o.Link) {
			t.Error("still parked")
		}
	})
}

func TestPublishWakesAParkedLink(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := parkedLink(r)
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		p := o.accept(true)
		o.want(upstream.EventUp, "back")
		upstreamtest.Want[*packets.PublishPacket](p, "the message")
	})
}

func TestLossAloneWithADeviceThatSpeaksReconnects(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		r.up(&upstream.Connect{ClientID: "other"}, false)
		o, p := r.up(persistent, false)
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(500 * time.Millisecond)
		o.Nudge(r.now())
		r.pass(499 * time.Millisecond)
		if r.lis.Dialled() != 0 {
			t.Fatal("a nudge does not cut the pause short")
		}
		r.pass(time.Millisecond)
		o.accept(true)
		o.want(upstream.EventUp, "the device is here")
	})
}

func TestLossTogetherReconnectsAll_Case152(t *testing.T) {
	for _, lost := range []int{1, 2, 4, 5, 9, 10} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				var peers []*upstreamtest.Peer
				for range 10 {
					_, p := r.up(persistent, false)
					peers = append(peers, p)
				}
				r.pass(30 * time.Second)
				for _, p := range peers[:lost] {
					p.Conn.Close()
					r.pass(20 * time.Millisecond)
				}
				r.pass(2 * time.Second)
				parked := 0
				for _, o := range r.links {
					if upstream.Parked(o.Link) {
						parked++
					}
				}
				// Of the nine others half must have gone, too: five.
				want := 0
				if lost-1 < 5 {
					want = lost
				}
				if parked != want || r.lis.Dialled() != lost-want {
					t.Errorf("%d lost of 10: %d parked, %d dialled; want %d and %d", lost, parked, r.lis.Dialled(), want, lost-want)
				}
			})
		})
	}
}

// A broker that dies slowly closes one connection after the other. The first to be lost,
// with a short pause, must not take the rest for living.
func TestBrokerThatDiesSlowlyParksNobody_Case152(t *testing.T) {
	bubble(t, upstream.Options{ReconnectMin: 100 * time.Millisecond}, func(r *rig) {
		var peers []*upstreamtest.Peer
		for range 4 {
			_, p := r.up(persistent, false)
			peers = append(peers, p)
		}
		r.pass(30 * time.Second)
		for _, p := range peers {
			p.Conn.Close()
			r.pass(300 * time.Millisecond)
		}
		r.pass(2 * time.Second)
		for i, o := range r.links {
			if upstream.Parked(o.Link) {
				t.Errorf("link %d is parked", i)
			}
		}
	})
}

// The last of a large crowd to come back must not mistake the others, which are back
// already, for ones that were never lost.
func TestLossTogetherIsRecognisedByTheLastToRetry(t *testing.T) {
	calls := 0
	opt := upstream.Options{Rand: func() float64 { calls++; return float64(calls%100) / 100 }}
	bubble(t, opt, func(r *rig) {
		var peers []*upstreamtest.Peer
		for range 40 {
			_, p := r.up(persistent, false)
			peers = append(peers, p)
		}
		for _, p := range peers {
			p.Conn.Close()
		}
		r.runUntilIdle()
		for range 20 {
			r.pass(100 * time.Millisecond)
			for r.lis.Dialled() > 0 {
				r.lis.Accept(t).Accept(true)
			}
		}
		r.runUntilIdle()
		for i, o := range r.links {
			if upstream.Parked(o.Link) {
				t.Errorf("link %d is parked", i)
			}
		}
		if n := r.d.Stats().Open.Load(); n != 40 {
			t.Errorf("%d open", n)
		}
	})
}

func TestLoneLinkParksWhenItIsTakenOverAgain_Case157(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		r.pass(30 * time.Second)
		p = o.reconnect(p, true) // the first loss tells nothing
		r.pass(3 * time.Second)
		p.Conn.Close()
		o.want(upstream.EventDown, "closed again within 10 s")
		r.pass(10 * time.Second)
		o.want(upstream.EventParked, "a fight with another gateway would begin")
		if r.lis.Dialled() != 0 {
			t.Fatal("a fight with another gateway has begun")
		}
		o.Nudge(r.now())
		o.accept(true)
		o.want(upstream.EventUp, "the device has spoken")
	})
}

func TestLoneLinkWithAnActiveDeviceKeepsReconnecting(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		for range 5 {
			r.pass(time.Second)
			p.Conn.Close()
			o.want(upstream.EventDown, "lost")
			r.pass(o.Deadline() - r.now())
			p = o.accept(true)
			o.want(upstream.EventUp, "back")
			r.pass(time.Second)
			o.Publish(r.now(), 0, "t", nil, 0, false)
		}
	})
}

// A connection given up on this side says nothing about the device.
func TestLossFoundHereNeverParks(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		r.up(&upstream.Connect{ClientID: "other"}, false)
		o, p := r.up(persistent, false)
		p.SendRaw(0x30, 0xff, 0xff, 0xff, 0xff, 0x01)
		o.want(upstream.EventDown, "protocol error")
		r.pass(time.Second)
		o.accept(true)
		o.want(upstream.EventUp, "tried again")
	})
}
