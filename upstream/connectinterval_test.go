package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// spaced is a broker that takes a CONNECT of a client id each length.
func spaced(length time.Duration) upstreamtest.Habits {
	return upstreamtest.Habits{Rules: upstreamtest.Rules{ConnectInterval: length}}
}

// Reconnects, a device that connects again and again, and one that has begun anew.
func TestCONNECTsOfAClientAreApart(t *testing.T) {
	const length = 2 * time.Second
	for name, again := range map[string]func(w *ward, o *owned){
		"reconnect": func(w *ward, _ *owned) { w.b.Drop("dev") },
		"once more": func(w *ward, o *owned) { o.Connect(w.now(), &upstream.Connect{ClientID: "dev", CleanSession: true}) },
		"aborted":   func(w *ward, o *owned) { o.Close(w.now(), upstream.CloseAbort); o.Connect(w.now(), persistent) },
		"a new link": func(w *ward, o *owned) {
			o.Close(w.now(), upstream.CloseGraceful)
			w.link().Connect(w.now(), persistent)
		},
		"two of them": func(w *ward, _ *owned) { w.link().Connect(w.now(), persistent); w.link().Connect(w.now(), persistent) },
	} {
		t.Run(name, func(t *testing.T) {
			opt := fast
			opt.ConnectInterval, opt.SlotWait = length, time.Minute
			withBroker(t, opt, spaced(length), func(w *ward) {
				o := w.link()
				o.Connect(w.now(), persistent)
				w.pass(length)
				o.want(upstream.EventConnected, "the first")
				for range 3 {
					again(w, o)
					w.pass(300 * time.Millisecond)
				}
				w.pass(20 * length)
				w.wantKept(name)
				for _, o := range w.links {
					for _, e := range o.events {
						if e.Kind == upstream.EventRefused {
							t.Errorf("refused: %+v", e)
						}
					}
				}
				if total, _ := w.b.Connects(); total < 2 || w.b.Connected() != 1 {
					t.Errorf("%d connects, %d connected", total, w.b.Connected())
				}
			})
		})
	}
}

func TestTheBrokerClosesWithoutTheConnectInterval(t *testing.T) {
	withBroker(t, fast, spaced(2*time.Second), func(w *ward) {
		w.device("dev")
		w.b.Drop("dev")
		w.pass(10 * time.Second)
		if len(w.b.Broken()) == 0 {
			t.Error("the broker of these tests takes everything")
		}
	})
}

// The device's time does not run while the gateway waits, for as long as it repeats its CONNECT.
func TestADeviceWaitsForTheConnectInterval(t *testing.T) {
	for _, c := range []struct {
		length, patience time.Duration
		refused          bool
	}{
		{30 * time.Second, 40 * time.Second, false},
		{60 * time.Second, 40 * time.Second, true},
	} {
		opt := upstream.Options{ConnectInterval: c.length, SlotWait: c.patience}
		withBroker(t, opt, spaced(c.length), func(w *ward) {
			w.pass(time.Hour)
			o := w.device("dev")
			o.Connect(w.now(), persistent)
			w.pass(50 * time.Second)
			kind := upstream.EventConnected
			if c.refused {
				kind = upstream.EventRefused
			}
			if e := o.want(kind, c.length.String()); c.refused && !errors.Is(e.Err, upstream.ErrTimeout) {
				t.Errorf("%+v", e)
			}
			w.pass(time.Hour)
			w.wantKept(c.length.String())
		})
	}
}

func TestAReconnectThatIsPutOffIsNotGivenUp(t *testing.T) {
	opt := fast
	opt.ConnectInterval, opt.ConnectTimeout = time.Minute, time.Second
	withBroker(t, opt, spaced(time.Minute), func(w *ward) {
		w.pass(time.Hour)
		o := w.device("dev")
		w.b.Drop("dev")
		w.pass(time.Minute)
		o.want(upstream.EventDown, "lost")
		o.want(upstream.EventUp, "and no try in between has failed")
		w.wantKept("a reconnect")
	})
}

// Credentials that are renewed, and two devices with one client id at the broker.
func TestTheConnectIntervalIsOfTheClientIDOfTheBroker(t *testing.T) {
	opt := fast
	opt.ConnectInterval = time.Second
	opt.Credentials = func(string) (credential.Connect, error) {
		return credential.Connect{ClientID: "same", Life: 500 * time.Millisecond}, nil
	}
	withBroker(t, opt, spaced(time.Second), func(w *ward) {
		w.pass(time.Second)
		for _, id := range []string{"a", "b"} {
			w.link().Connect(w.now(), &upstream.Connect{ClientID: id})
		}
		w.pass(30 * time.Second)
		w.wantKept("renewals and takeovers")
		if total, _ := w.b.Connects(); total < 10 {
			t.Errorf("%d connects", total)
		}
	})
}

// A client id that has the time in it is another one at each connect.
func TestTheConnectIntervalIsOfTheDeviceToo(t *testing.T) {
	connects := 0
	opt := fast
	opt.ConnectInterval = 5 * time.Second
	opt.Credentials = func(string) (credential.Connect, error) {
		connects++
		return credential.Connect{ClientID: fmt.Sprint("dev|timestamp=", connects)}, nil
	}
	withBroker(t, opt, upstreamtest.Habits{}, func(w *ward) {
		o := w.link()
		for range 4 {
			o.Connect(w.now(), persistent)
			w.pass(5 * time.Second)
		}
		w.pass(time.Minute)
		if total, _ := w.b.Connects(); total != 4 {
			t.Errorf("%d connects in 20 seconds", total)
		}
	})
}

// The trial of the preferred broker comes with the first CONNECT to another one.
func TestMovesKeepToTheConnectInterval(t *testing.T) {
	const length = 3 * time.Second
	a, b := upstreamtest.NewBroker(), upstreamtest.NewBroker()
	opt := fast
	opt.ConnectInterval, opt.Address, opt.Fallbacks, opt.FailBack, opt.ProbeClientID = length, "a:1", []string{"b:1"}, 20*time.Second, "gw-probe"
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "a:1" {
			return a.Dial(ctx, network, address)
		}
		return b.Dial(ctx, network, address)
	}
	bubble(t, opt, func(r *rig) {
		*a, *b = *upstreamtest.NewBroker(), *upstreamtest.NewBroker() // in the bubble
		a.SetHabits(spaced(length))
		b.SetHabits(spaced(length))
		defer a.Close()
		defer b.Close()
		o := r.link()
		o.Connect(r.now(), persistent)
		for range 3 {
			r.pass(15 * time.Second)
			a.Kill(true)
			r.pass(time.Minute)
			if b.Connected() != 1 {
				t.Fatal("not at the other broker")
			}
			a.Start()
			r.pass(time.Minute)
			if a.Connected() != 1 || b.Connected() != 0 {
				t.Fatal("not back")
			}
		}
		if broken := append(a.Broken(), b.Broken()...); len(broken) > 0 {
			t.Errorf("broken: %q", broken)
		}
	})
}

// Who waits for the connect interval has not tried the broker, however often it gives up.
func TestAConnectThatIsPutOffSaysNothingOfTheBroker(t *testing.T) {
	withCluster(t, upstream.Options{ConnectInterval: time.Minute, SlotWait: 12 * time.Second}, func(c *cluster) {
		o := c.r.link()
		for range 4 {
			o.Connect(c.r.now(), persistent)
			c.r.pass(12 * time.Second)
			o.want(upstream.EventRefused, "too soon after the start")
		}
		c.wantInUse(0, "a:1", "nothing has been dialled")
		if n := c.a.dials.Load() + c.b.dials.Load(); n != 0 {
			t.Errorf("%d dials", n)
		}
	})
}
