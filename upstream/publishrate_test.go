package upstream_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// strictly is a broker that closes a connection with more than n PUBLISH in a second.
func strictly(n int) upstreamtest.Habits {
	return upstreamtest.Habits{Rules: upstreamtest.Rules{PublishRate: n}}
}

func (w *ward) wantKept(why string) {
	w.t.Helper()
	if broken := w.b.Broken(); len(broken) > 0 {
		w.t.Errorf("%s: the broker has closed connections: %q", why, broken)
	}
}

func TestABurstIsSentAtThePublishRate(t *testing.T) {
	for _, rate := range []int{1, 3, 7, 100} {
		withBroker(t, upstream.Options{PublishRate: rate}, strictly(rate), func(w *ward) {
			o := w.device("dev")
			var want []string
			for i := range 16 {
				text := fmt.Sprint(i)
				want = append(want, text)
				o.send(upstream.Token(i+1), "t", text, uint8(i%3), false)
			}
			w.pass(16*time.Second/time.Duration(rate) + time.Second)
			if !slices.Equal(w.arrived, want) {
				t.Errorf("%d per second: arrived %v", rate, w.arrived)
			}
			w.wantKept(fmt.Sprint(rate, " per second"))
		})
	}
}

func TestTheBrokerClosesWithoutThePublishRate(t *testing.T) {
	withBroker(t, upstream.Options{}, strictly(7), func(w *ward) {
		o := w.device("dev")
		for i := range 16 {
			o.send(upstream.Token(i+1), "t", "x", 1, false)
		}
		if len(w.b.Broken()) == 0 {
			t.Error("the broker of these tests takes everything")
		}
	})
}

func TestRepeatsOfAReconnectKeepToThePublishRate(t *testing.T) {
	const rate = 4
	withBroker(t, upstream.Options{PublishRate: rate}, strictly(rate), func(w *ward) {
		h := strictly(rate)
		h.Withhold = upstreamtest.Only(packets.Puback)
		w.b.SetHabits(h)
		o := w.device("dev")
		for i := range 12 {
			o.send(upstream.Token(i+1), "t", fmt.Sprint(i), 1, false)
		}
		w.pass(4 * time.Second)
		w.b.SetHabits(strictly(rate))
		w.b.Drop("dev")
		w.pass(6 * time.Second)
		if published, _ := o.outcomes(); len(published) != 12 {
			t.Errorf("published %v", published)
		}
		w.wantKept("repeats")
	})
}

func TestQoS0BeyondWhatMayWaitIsDropped(t *testing.T) {
	withBroker(t, upstream.Options{PublishRate: 2, MaxInFlight: 4}, strictly(2), func(w *ward) {
		o := w.device("dev")
		for i := range 10 {
			o.send(0, "t", fmt.Sprint(i), 0, false)
		}
		if n := w.d.Stats().DroppedPublishRate.Load(); n != 5 {
			t.Errorf("%d dropped, want all but one sent and four that wait", n)
		}
		if o.send(7, "t", "q1", 1, false); len(o.events) != 1 || !errors.Is(o.events[0].Err, upstream.ErrCongested) {
			t.Errorf("QoS 1 where there is no room: %+v", o.events)
		}
		w.pass(3 * time.Second)
		if !slices.Equal(w.arrived, []string{"0", "1", "2", "3", "4"}) {
			t.Errorf("arrived %v", w.arrived)
		}
		w.wantKept("QoS 0")
	})
}

func TestQoS0ThatWaitsIsDroppedWithItsConnection(t *testing.T) {
	for name, end := range map[string]func(w *ward, o *owned){
		"lost":          func(w *ward, _ *owned) { w.b.Drop("dev") },
		"closed":        func(w *ward, o *owned) { o.Close(w.now(), upstream.CloseGraceful) },
		"clean session": func(w *ward, o *owned) { o.Connect(w.now(), &upstream.Connect{ClientID: "dev", CleanSession: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			withBroker(t, upstream.Options{PublishRate: 1}, strictly(1), func(w *ward) {
				o := w.device("dev")
				o.send(0, "t", "sent", 0, false)
				o.send(0, "t", "waits", 0, false)
				end(w, o)
				w.pass(5 * time.Second)
				if n := w.d.Stats().DroppedDown.Load(); n != 1 || len(w.arrived) != 1 {
					t.Errorf("%d counted, arrived %v", n, w.arrived)
				}
			})
		})
	}
}

func TestOnlyPublishCountsForThePublishRate(t *testing.T) {
	withBroker(t, upstream.Options{PublishRate: 1}, strictly(1), func(w *ward) {
		o := w.device("dev")
		o.send(1, "t", "x", 2, false)
		o.Subscribe(w.now(), 2, "f", 1)
		o.Ping(w.now(), 3)
		w.runUntilIdle()
		if len(o.events) != 3 || w.now() != 0 {
			t.Errorf("a whole QoS 2 exchange, SUBSCRIBE and PINGREQ at once: %+v after %v", o.events, w.now())
		}
	})
}

func TestALinkThatDrainsWaitsForWhatIsPaced(t *testing.T) {
	for _, last := range []uint8{0, 1} {
		withBroker(t, upstream.Options{PublishRate: 2, DrainTimeout: time.Hour}, strictly(2), func(w *ward) {
			o := w.device("dev")
			for i := range 4 {
				o.send(upstream.Token(i+1), "t", fmt.Sprint(i), 1, false)
			}
			o.send(9, "t", "last", last, false)
			o.Close(w.now(), upstream.CloseDrain)
			w.pass(3 * time.Second)
			if len(w.arrived) != 5 || o.events[len(o.events)-1].Kind != upstream.EventClosed || w.b.Connected() != 0 {
				t.Errorf("QoS %d: arrived %v, events %+v", last, w.arrived, o.events)
			}
			w.wantKept("a drain")
		})
	}
}

func TestWaitingForThePublishRateIsNoBusyLoop(t *testing.T) {
	withBroker(t, upstream.Options{PublishRate: 2, SendWindow: 1}, upstreamtest.Habits{Withhold: upstreamtest.Only(packets.Puback)}, func(w *ward) {
		o := w.device("dev")
		for i := range 5 {
			o.send(upstream.Token(i+1), "t", "x", 1, false)
		}
		turns := 0
		for w.now() < 10*time.Second {
			at := o.Deadline()
			if at > w.now() {
				time.Sleep(at - w.now())
			}
			o.Advance(w.now())
			o.collect()
			turns++
		}
		if turns > 5 {
			t.Errorf("%d turns while the window is full", turns)
		}
	})
}

func TestTheSharesOfASecondAreExact(t *testing.T) {
	bubble(t, upstream.Options{PublishRate: 10}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 0, "t", []byte("x"), 0, false)
		r.runUntilIdle()
		wantPublish(p, "x", 0, false, "at once")
		o.Publish(r.now(), 0, "t", []byte("y"), 0, false)
		r.runUntilIdle()
		p.WantQuiet("a tenth of a second later")
		r.pass(100*time.Millisecond - 1)
		p.WantQuiet("not yet")
		r.pass(1)
		wantPublish(p, "y", 0, false, "now")
		p.WantQuiet("and no PINGREQ behind it")
	})
}

func TestARenewalKeepsToThePublishRate(t *testing.T) {
	opt := upstream.Options{PublishRate: 2, Credentials: func(id string) (credential.Connect, error) {
		return credential.Connect{ClientID: id, Life: 10 * time.Second}, nil
	}}
	withBroker(t, opt, strictly(2), func(w *ward) {
		o := w.device("dev")
		var want []string
		for i := range 60 {
			text := fmt.Sprint(i)
			want = append(want, text)
			o.send(upstream.Token(i+1), "t", text, uint8(i%2), false)
			w.pass(500 * time.Millisecond)
		}
		w.pass(10 * time.Second)
		if w.d.Stats().Renewals.Load() < 3 || !slices.Equal(w.arrived, want) {
			t.Errorf("%d renewals, arrived %v", w.d.Stats().Renewals.Load(), w.arrived)
		}
		w.wantKept("renewals")
	})
}
