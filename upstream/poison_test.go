package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// ward is a rig with a broker that has habits, and what reaches it.
type ward struct {
	*rig
	b       *upstreamtest.Broker
	arrived []string
}

// fast are the times of a gateway that is in a hurry.
var fast = upstream.Options{ReconnectMin: 200 * time.Millisecond, ReconnectMax: 2 * time.Second}

func withBroker(t *testing.T, opt upstream.Options, h upstreamtest.Habits, f func(w *ward)) {
	t.Helper()
	b := upstreamtest.NewBroker()
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return b.Dial(ctx, network, address)
	}
	bubble(t, opt, func(r *rig) {
		*b = *upstreamtest.NewBroker() // in the bubble
		w := &ward{rig: r, b: b}
		b.Observe = func(_ string, m upstreamtest.Message) { w.arrived = append(w.arrived, string(m.Payload)) }
		b.SetHabits(h)
		defer b.Close()
		f(w)
	})
}

// pass lets time pass in steps, because the broker has times of its own.
func (w *ward) pass(d time.Duration) {
	step := min(100*time.Millisecond, d)
	if d > 5*time.Minute {
		step = time.Second
	}
	for end := w.now() + d; w.now() < end; {
		w.rig.pass(min(step, end-w.now()))
	}
}

// device connects a link.
func (w *ward) device(id string) *owned {
	w.t.Helper()
	o := w.link()
	o.Connect(w.now(), &upstream.Connect{ClientID: id, KeepAlive: 60})
	w.runUntilIdle()
	o.want(upstream.EventConnected, id)
	return o
}

func (o *owned) send(token upstream.Token, topic, payload string, qos uint8, retain bool) {
	o.Publish(o.r.now(), token, topic, []byte(payload), qos, retain)
	o.r.runUntilIdle()
}

// outcomes returns what has become of the tokens.
func (o *owned) outcomes() (published, rejected []upstream.Token) {
	for _, e := range o.events {
		switch {
		case e.Kind == upstream.EventPublished:
			published = append(published, e.Token)
		case e.Kind == upstream.EventPublishFailed && errors.Is(e.Err, upstream.ErrRejected):
			rejected = append(rejected, e.Token)
		case e.Kind == upstream.EventPublishFailed:
			o.r.t.Errorf("failed: %+v", e)
		}
	}
	return published, rejected
}

// unique returns a without what comes a second time.
func unique(a []string) []string {
	var u []string
	for _, s := range a {
		if !slices.Contains(u, s) {
			u = append(u, s)
		}
	}
	return u
}

func (w *ward) wantArrived(want ...string) {
	w.t.Helper()
	if got := unique(w.arrived); !slices.Equal(got, want) {
		w.t.Errorf("arrived %q, want %q", got, want)
	}
}

func TestOneBadMessageTakesNoNeighbourWithIt_Case152(t *testing.T) {
	for _, qos := range []uint8{1, 2} {
		withBroker(t, fast, upstreamtest.Habits{Deny: upstreamtest.DenyTopic("bad/t")}, func(w *ward) {
			o := w.device("dev")
			o.send(1, "bad/t", "poison", qos, false)
			for i := range upstream.Token(5) {
				o.send(2+i, "good/t", fmt.Sprint(i), qos, false)
			}
			w.pass(10 * time.Second)
			w.wantArrived("0", "1", "2", "3", "4")
			w.pass(50 * time.Second)
			published, rejected := o.outcomes()
			if !slices.Equal(published, []upstream.Token{2, 3, 4, 5, 6}) || !slices.Equal(rejected, []upstream.Token{1}) {
				t.Errorf("published %v, rejected %v", published, rejected)
			}
			if n := w.d.Stats().RejectedMessages.Load(); n != 1 {
				t.Errorf("%d counted", n)
			}
			connects, _ := w.b.Connects()
			w.pass(time.Hour)
			if again, _ := w.b.Connects(); again != connects {
				t.Errorf("%d connects after the end of it", again-connects)
			}
		})
	}
}

// The next message to the same topic must wait, or be too late: but not for ever.
func TestBadMessageBeforeGoodOnesOfItsTopic_Case152(t *testing.T) {
	for _, opt := range []upstream.Options{fast, {}} {
		withBroker(t, opt, upstreamtest.Habits{Deny: upstreamtest.DenyRetained}, func(w *ward) {
			o := w.device("dev")
			o.send(1, "t", "retained", 1, true)
			w.pass(time.Second)
			o.send(2, "t", "plain", 1, false)
			w.pass(3 * time.Minute)
			w.wantArrived("plain")
			w.pass(10 * time.Minute)
			if _, rejected := o.outcomes(); !slices.Equal(rejected, []upstream.Token{1}) {
				t.Errorf("rejected %v", rejected)
			}
		})
	}
}

// A message the broker has refused to take a minute ago costs less the next time.
func TestTopicThatIsDeniedIsRemembered_Case152(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{Deny: upstreamtest.DenyTopic("bad/t")}, func(w *ward) {
		o := w.device("dev")
		connects := func() int { n, _ := w.b.Connects(); return n }
		var cost []int
		for i := range upstream.Token(3) {
			before := connects()
			o.send(1+i, "bad/t", fmt.Sprint("poison", i), 1, false)
			for j := range upstream.Token(300) {
				o.send(1000*(1+i)+j, "good/t", "x", 1, false)
				w.pass(100 * time.Millisecond)
			}
			cost = append(cost, connects()-before)
		}
		if _, rejected := o.outcomes(); len(rejected) != 3 {
			t.Errorf("rejected %v", rejected)
		}
		if cost[1] >= cost[0] || cost[2] >= cost[0] {
			t.Errorf("connects for each of three messages: %v", cost)
		}
	})
}

// A broker that closes because too much comes at once has nothing against any message.
func TestBrokerThatThrottlesGetsAllMoreSlowly_Case152(t *testing.T) {
	h := upstreamtest.Habits{PublishRate: 10, Delay: upstreamtest.After(200*time.Millisecond, packets.Puback, packets.Pubrec, packets.Pubcomp)}
	for _, qos := range []uint8{1, 2} {
		withBroker(t, fast, h, func(w *ward) {
			o := w.device("dev")
			var want []string
			for i := range 60 {
				want = append(want, fmt.Sprint(i))
				o.send(upstream.Token(1+i), "t", want[i], qos, false)
			}
			w.pass(2 * time.Minute)
			w.wantArrived(want...)
			if published, _ := o.outcomes(); len(published) != 60 {
				t.Errorf("%d published", len(published))
			}
		})
	}
}

// A broker that closes on everything is ill. Whatever it takes, nothing is given up, and
// the order stays.
func TestIllBrokerLosesNothing_Case152(t *testing.T) {
	for _, ill := range []time.Duration{5 * time.Second, 25 * time.Second, time.Hour} {
		withBroker(t, fast, upstreamtest.Habits{Deny: upstreamtest.DenyAll}, func(w *ward) {
			o := w.device("dev")
			var want []string
			for i := range 8 {
				want = append(want, fmt.Sprint(i))
				o.send(upstream.Token(1+i), "t", want[i], 1, false)
			}
			w.pass(ill)
			w.b.SetHabits(upstreamtest.Habits{})
			w.pass(10 * time.Second)
			if published, _ := o.outcomes(); len(published) != 8 {
				t.Errorf("ill for %v: published %v", ill, published)
			}
			if ill < time.Minute {
				w.wantArrived(want...)
			}
		})
	}
}

// It may be ill more often than once.
func TestBrokerThatIsIllNowAndThenLosesNothing_Case152(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{}, func(w *ward) {
		o, other := w.device("dev"), w.device("other")
		n := upstream.Token(0)
		for round := range 30 {
			h := upstreamtest.Habits{}
			if round%2 == 1 {
				h.Deny = upstreamtest.DenyAll
			}
			w.b.SetHabits(h)
			for range 5 {
				n++
				o.send(n, fmt.Sprint("t", n%3), "x", 1, false)
				other.send(n, fmt.Sprint("t", n%3), "x", 1, false)
				w.pass(2 * time.Second)
			}
		}
		w.b.SetHabits(upstreamtest.Habits{})
		w.pass(10 * time.Second)
		for _, l := range []*owned{o, other} {
			if published, rejected := l.outcomes(); len(published) != int(n) || len(rejected) != 0 {
				t.Errorf("%d of %d published, %d rejected", len(published), n, len(rejected))
			}
		}
	})
}

func TestQoS0ThatIsDeniedDoesNotHoldTheOthersUp_Case152(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{Deny: upstreamtest.DenyTopic("bad/t")}, func(w *ward) {
		o := w.device("dev")
		for i := range 120 {
			o.send(0, "bad/t", "poison", 0, false)
			o.send(upstream.Token(1+i), "good/t", fmt.Sprint(i), 1, false)
			w.pass(500 * time.Millisecond)
		}
		connects, _ := w.b.Connects()
		for i := 120; i < 240; i++ {
			o.send(0, "bad/t", "poison", 0, false)
			o.send(upstream.Token(1+i), "good/t", fmt.Sprint(i), 1, false)
			w.pass(500 * time.Millisecond)
		}
		w.pass(10 * time.Second)
		if got := unique(w.arrived); len(got) != 240 || !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) {
			t.Errorf("%d of 240 arrived: %v", len(got), got)
		}
		if after, _ := w.b.Connects(); after-connects > 2 {
			t.Errorf("%d connects in the second minute: nothing is learned", after-connects)
		}
		o.send(1001, "bad/t", "poison", 0, false)
		e := o.events[len(o.events)-1]
		if e.Kind != upstream.EventPublishFailed || e.Token != 1001 || !errors.Is(e.Err, upstream.ErrRejected) || e.Topic != "bad/t" {
			t.Errorf("got %+v: its owner is told, and the log can name it", e)
		}
	})
}

// A will is a message like any other.
func TestWillThatIsDeniedIsGivenUpAndCounted_Case152(t *testing.T) {
	opt := fast
	opt.DrainTimeout = 24 * time.Hour
	withBroker(t, opt, upstreamtest.Habits{Deny: upstreamtest.DenyTopic("will")}, func(w *ward) {
		other := w.device("other")
		o := w.device("dev")
		o.send(0, "will", "gone", 1, false)
		o.Close(w.now(), upstream.CloseDrain)
		for i := range upstream.Token(300) {
			other.send(1+i, "t", "x", 1, false)
			w.pass(100 * time.Millisecond)
		}
		if !slices.ContainsFunc(o.events, func(e upstream.Event) bool { return e.Kind == upstream.EventClosed }) {
			t.Errorf("not closed: %v", o.events)
		}
		if n := w.d.Stats().DroppedWills.Load(); n != 1 {
			t.Errorf("%d wills counted as dropped, want 1", n)
		}
	})
}

func TestSubscribeThatEndsConnectionsIsRefused_Case107(t *testing.T) {
	for _, opt := range []upstream.Options{fast, {}} {
		h := upstreamtest.Habits{DenyFilter: func(_, filter string) bool { return filter == "deep" }}
		withBroker(t, opt, h, func(w *ward) {
			o := w.device("dev")
			ask := func() {
				o.Subscribe(w.now(), 1, "deep", 0)
				o.Subscribe(w.now(), 2, "f", 0)
			}
			ask()
			answers := map[upstream.Token]upstream.RefusalKind{}
			for end := w.now() + 19*time.Second; w.now() < end && len(answers) < 2; w.pass(50 * time.Millisecond) {
				for _, e := range o.events {
					switch {
					case e.Kind == upstream.EventSubscribed && (e.Err == nil || errors.Is(e.Err, upstream.ErrRejected)):
						answers[e.Token] = e.Refusal.Kind
					case e.Kind == upstream.EventUp:
						ask() // as a session does
					}
				}
				o.events = nil
			}
			if answers[1] != upstream.RefusedForGood || answers[2] != upstream.NotRefused || len(answers) != 2 {
				t.Errorf("answers %v", answers)
			}
			o.send(3, "t", "x", 1, false)
			w.pass(2 * opt.ReconnectMax)
			w.pass(20 * time.Second)
			w.wantArrived("x")
		})
	}
}

// What is never answered holds nobody up for ever.
func TestMessageThatIsNeverAnswered_Case152(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{Withhold: upstreamtest.Only(packets.Pubrec)}, func(w *ward) {
		o := w.device("dev")
		o.send(1, "a", "stuck", 2, false)
		doubted := false
		for i := range upstream.Token(200) {
			o.send(2+i, "b", fmt.Sprint(i), 1, false)
			w.pass(time.Second)
			doubted = doubted || slices.ContainsFunc(o.events, func(e upstream.Event) bool { return e.Kind == upstream.EventDoubted })
		}
		published, rejected := o.outcomes()
		if len(published) != 200 || !slices.Equal(rejected, []upstream.Token{1}) || !doubted {
			t.Errorf("%d published, rejected %v, doubted %v", len(published), rejected, doubted)
		}
	})
}

func TestPubrelThatIsNeverAnsweredIsNoLoss_Case152(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{Withhold: upstreamtest.Only(packets.Pubcomp)}, func(w *ward) {
		o := w.device("dev")
		o.send(1, "a", "stuck", 2, false)
		for i := range upstream.Token(200) {
			o.send(2+i, "b", fmt.Sprint(i), 1, false)
			w.pass(time.Second)
		}
		if published, rejected := o.outcomes(); len(published) != 201 || len(rejected) != 0 {
			t.Errorf("%d published, rejected %v", len(published), rejected)
		}
	})
}

func TestSubscribeThatIsNeverAnsweredEndsTheConnection(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{Withhold: upstreamtest.Only(packets.Suback)}, func(w *ward) {
		o := w.device("dev")
		o.Subscribe(w.now(), 1, "f", 0)
		for i := range upstream.Token(25) {
			o.send(2+i, "b", fmt.Sprint(i), 1, false)
			w.pass(time.Second)
		}
		if n := w.d.Stats().AnswerTimeouts.Load(); n != 1 {
			t.Errorf("%d connections ended", n)
		}
		if published, _ := o.outcomes(); len(published) != 25 {
			t.Errorf("%d published", len(published))
		}
	})
}

func TestBrokerThatKnowsNoQoS2IsNamedOnce(t *testing.T) {
	var said []upstream.Habit
	opt := fast
	opt.Habit = func(_ string, h upstream.Habit) { said = append(said, h) }
	withBroker(t, opt, upstreamtest.Habits{QoS2WithPuback: true}, func(w *ward) {
		o := w.device("dev")
		for i := range upstream.Token(100) {
			o.send(1+i, "t", fmt.Sprint(i), 2, false)
		}
		if published, _ := o.outcomes(); len(published) != 100 || len(w.arrived) != 100 {
			t.Errorf("%d published, %d arrived", len(published), len(w.arrived))
		}
		if !slices.Equal(said, []upstream.Habit{upstream.HabitNoQoS2}) {
			t.Errorf("said %v", said)
		}
	})
}

// A broker that closes on CONNECT, again and again while it serves others, refuses.
func TestConnectThatIsClosedTimeAndAgainIsARefusal_Case22(t *testing.T) {
	h := upstreamtest.Habits{HangUp: func(id string) bool { return id == "dev" }}
	withBroker(t, fast, h, func(w *ward) {
		w.device("other")
		o := w.link()
		var kinds []upstream.RefusalKind
		for range 4 {
			o.Connect(w.now(), &upstream.Connect{ClientID: "dev"})
			kinds = append(kinds, o.want(upstream.EventRefused, "closed").Refusal.Kind)
		}
		if !slices.Equal(kinds, []upstream.RefusalKind{0, 0, upstream.RefusedByClosing, upstream.RefusedByClosing}) {
			t.Errorf("refusals %v", kinds)
		}
		w.b.SetHabits(upstreamtest.Habits{})
		w.device("dev")
	})
	h = upstreamtest.Habits{HangUp: func(string) bool { return true }}
	withBroker(t, fast, h, func(w *ward) {
		o := w.link()
		for range 5 {
			o.Connect(w.now(), &upstream.Connect{ClientID: "dev"})
			if e := o.want(upstream.EventRefused, "closed"); e.Refusal.Kind != upstream.NotRefused {
				t.Error("a broker that serves nobody says nothing about a client")
			}
		}
	})
}

// On the way back from a loss it is the will that the broker does not want.
func TestWillThatClosesAtConnectIsLeftOut(t *testing.T) {
	bubble(t, fast, func(r *rig) {
		_, other := r.up(&upstream.Connect{ClientID: "other"}, false)
		o, p := r.up(persistent, false)
		o.SetWill(&upstream.Will{Topic: "w"})
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(time.Millisecond)
		o.Nudge(r.now())
		for range 3 {
			r.pass(2 * time.Second)
			p = r.lis.Accept(t)
			if m := upstreamtest.Want[*packets.ConnectPacket](p, "again"); !m.WillFlag {
				t.Error("without the will")
			}
			other.Publish("t", "x", 0, 0, false)
			p.Conn.Close()
			o.want(upstream.EventDown, "closed")
		}
		r.pass(2 * time.Second)
		p = r.lis.Accept(t)
		if m := upstreamtest.Want[*packets.ConnectPacket](p, "without"); m.WillFlag {
			t.Error("with the will")
		}
		p.SendRaw(0x20, 2, 1, 0)
		if e := o.want(upstream.EventUp, "accepted"); !e.NoWill {
			t.Error("the owner is not told")
		}
	})
}

// A parked link that has something for the broker is tried again, after pauses that grow and
// without a will: the session may be another gateway's.
func TestParkedLinkThatIsWantedIsTriedAgain_Case157(t *testing.T) {
	for _, c := range []struct{ wanted, said bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		bubble(t, fast, func(r *rig) {
			r.up(&upstream.Connect{ClientID: "other"}, false)
			o, p := r.up(&upstream.Connect{ClientID: "dev", Will: &upstream.Will{Topic: "w"}}, false)
			end := func() {
				if c.said {
					p.SendRaw(0xe0, 1, 0x8e)
				} else {
					p.Conn.Close()
				}
				o.want(upstream.EventDown, "taken over")
				r.pass(time.Second)
				o.want(upstream.EventParked, "each time")
				o.Want(r.now(), c.wanted)
			}
			end()
			var pauses []time.Duration
			for range 3 {
				began := r.now()
				for r.lis.Dialled() == 0 && r.now() < began+time.Minute {
					r.pass(100 * time.Millisecond)
				}
				if r.lis.Dialled() > 0 != c.wanted {
					t.Fatalf("%+v: tried again %v", c, !c.wanted)
				}
				if !c.wanted {
					o.Want(r.now(), true)
					for r.lis.Dialled() == 0 {
						r.pass(100 * time.Millisecond)
					}
					o.accept(true)
					return
				}
				pauses = append(pauses, r.now()-began)
				p = r.lis.Accept(t)
				if m := p.Accept(true); m.WillFlag {
					t.Error("the will would be published at the next takeover")
				}
				if e := o.want(upstream.EventUp, "tried again"); !e.NoWill {
					t.Error("the owner is not told")
				}
				end()
			}
			if !slices.IsSorted(pauses) || pauses[2] < 3*pauses[0] {
				t.Errorf("pauses %v", pauses)
			}
			o.Nudge(r.now())
			if m := r.lis.Accept(t).Accept(true); !m.WillFlag {
				t.Error("the device has spoken: it is here")
			}
		})
	}
}
