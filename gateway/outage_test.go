package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store/storetest"
	"sngate/upstream/upstreamtest"
)

// Rows of the outage table in docs/RELIABILITY.md that need simulated time; the others are
// in test/outage.

// The broker is there for 2 s and away for 2 s, for 5 minutes, while ten devices publish and
// are published to.
func TestUplinkFlapsForFiveMinutes_Case151_152(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, every, length = 10, 2 * time.Second, 5 * time.Minute
		var dials atomic.Int64
		r := newDurableRig(t, func(o *Options) {
			dial := o.Upstream.Dial
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return dial(ctx, network, address)
			}
		})
		got := r.observe()
		var all []*flapping
		for i := range devices {
			f := &flapping{
				device: r.device(fmt.Sprintf("10.0.1.%d:5000", i+1)), id: fmt.Sprint("d", i),
				begun: make(map[uint16]sn12.Publish),
			}
			f.connectWith(false, 60, f.id)
			f.topicID = f.register("up/" + f.id)
			f.subscribe("down/"+f.id, 2)
			all = append(all, f)
		}
		before := dials.Load()
		flaps := 0
		var down []string
		for begin := time.Now(); time.Since(begin) < length; flaps++ {
			if flaps%2 == 0 {
				r.broker.Kill(true)
			} else {
				r.broker.Start()
			}
			for range 4 {
				down = append(down, fmt.Sprint(len(down)))
				for _, f := range all {
					r.publish("down/"+f.id, down[len(down)-1], uint8(1+len(down)%2))
					f.step(true)
				}
				time.Sleep(every / 4)
			}
		}
		r.broker.Start()
		for range 240 {
			for _, f := range all {
				f.step(false)
			}
			time.Sleep(every / 4)
		}
		up := make(map[string][]string)
		for _, line := range got.take() {
			w := strings.Fields(line) // client topic payload qos
			if list := up[w[1]]; w[3] == "2" || !slices.Contains(list, w[2]) {
				up[w[1]] = append(list, w[2])
			}
		}
		for _, f := range all {
			if _, idle := f.waiting.(sn12.PingReq); !idle || len(f.sent) < 100 {
				t.Errorf("%s has published %d messages and waits for an answer to %+v", f.id, len(f.sent), f.waiting)
			}
			f.wantAll("at the broker", up["up/"+f.id], f.sent)
			f.wantAll("at the device", f.got, down)
		}
		n, most := dials.Load()-before, int64(flaps/2*(devices+1)) // one for each time the broker is back
		t.Logf("%d messages to each device, %d of the first one; %d flaps, %d dials by %d connections", len(down), len(all[0].sent), flaps, n, devices+1)
		if n < devices || n > most {
			t.Errorf("%d dials, want %d at most", n, most)
		}
		r.wantState("no device has noticed", session.StateActive, devices)
	})
}

// flapping is a device that publishes one message after the other, repeats what is not
// answered, answers what it is sent, and notes both.
type flapping struct {
	*device
	id        string
	topicID   uint16
	sent, got []string
	waiting   sn12.Message // for an answer
	since     time.Time
	begun     map[uint16]sn12.Publish // of QoS 2 towards it
}

// step takes what has come, repeats what has waited for 10 s, and begins something new if
// more.
func (f *flapping) step(more bool) {
	f.r.t.Helper()
	synctest.Wait()
	for len(f.in) > 0 {
		f.take(parse(f.r.t, <-f.in))
	}
	switch {
	case f.waiting != nil && time.Since(f.since) >= 10*time.Second:
		if p, ok := f.waiting.(sn12.Publish); ok {
			p.DUP = true
			f.waiting = p
		}
		f.await(f.waiting)
	case f.waiting == nil && more:
		text := fmt.Sprint(len(f.sent))
		f.sent = append(f.sent, text)
		f.await(sn12.Publish{QoS: uint8(1 + len(f.sent)%2), TopicID: f.topicID, MsgID: uint16(len(f.sent)), Data: []byte(text)})
	case f.waiting == nil:
		f.await(sn12.PingReq{})
	}
}

func (f *flapping) await(m sn12.Message) {
	f.waiting, f.since = m, time.Now()
	f.sendMessage(m)
}

func (f *flapping) take(m sn12.Message) {
	f.r.t.Helper()
	switch m := m.(type) {
	case sn12.PubAck:
		if m.ReturnCode != sn12.Accepted || int(m.MsgID) != len(f.sent) {
			f.r.t.Fatalf("%s: message %d is answered by %+v", f.id, len(f.sent), m)
		}
		f.waiting = nil
	case sn12.PubRec:
		f.await(sn12.PubRel{MsgID: m.MsgID})
	case sn12.PubComp, sn12.PingResp:
		f.waiting = nil
	case sn12.Disconnect:
		f.r.t.Fatalf("%s is sent DISCONNECT", f.id)
	default:
		p, ok := f.answer(m, f.begun)
		if text := string(p.Data); ok && (p.QoS == 2 || !p.DUP || !slices.Contains(f.got, text)) {
			f.got = append(f.got, text)
		}
	}
}

func (f *flapping) wantAll(where string, got, want []string) {
	f.r.t.Helper()
	if !slices.Equal(got, want) {
		f.r.t.Errorf("%s: %d messages %s, want %d in order: %q", f.id, len(got), where, len(want), got)
	}
}

// The name of the broker means another broker after the outage. What waits goes there, and
// so do the subscriptions.
func TestBrokerNameChangesAddressWhileMessagesWait_Case152_174(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := upstreamtest.NewBroker()
		defer other.Close()
		var moved atomic.Pointer[upstreamtest.Broker] // nil: the name means the first broker
		r := newDurableRig(t, func(o *Options) {
			o.Upstream.Address = "broker.example:1883"
			first := o.Upstream.Dial
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address != "broker.example:1883" {
					return nil, errors.New("an address that was resolved before")
				}
				if b := moved.Load(); b != nil {
					return b.Dial(ctx, network, address)
				}
				return first(ctx, network, address)
			}
		})
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		id, down := d.register("t"), d.subscribe("down", 1)
		r.broker.Kill(true)
		synctest.Wait()
		for mid := uint16(1); mid <= 3; mid++ {
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: mid, Data: []byte{'0' + byte(mid)}})
			d.wantMessage("stored", sn12.PubAck{TopicID: id, MsgID: mid})
		}
		r.broker = other
		got := r.observe()
		moved.Store(other)
		time.Sleep(5 * time.Second)
		got.want(t, "the new broker has all", "dev t 1 1", "dev t 2 1", "dev t 3 1")
		r.publish("down", "x", 1)
		d.wantMessage("the subscription is repeated", sn12.Publish{QoS: 1, TopicID: down, MsgID: 1, Data: []byte("x")})
	})
}

// clockJumps are what the wall clock may do between the end of a gateway and its next start.
// In each bubble of synctest it begins at the same moment, and goes only forward.
var clockJumps = []struct {
	name          string
	before, after time.Duration // time that passes in the bubble before each life
}{
	{"none", 0, 0},
	{"plus 3 hours", 0, 3 * time.Hour},
	{"plus 20 years", 0, 20 * 365 * 24 * time.Hour},
	{"minus 20 years", 20 * 365 * 24 * time.Hour, 0},
}

// Whatever the wall clock does while the gateway is down: after the start each device has
// its whole keep-alive or sleep duration, the will is published after it and not before,
// and what was held and spooled is not too old.
func TestWallClockJumpsOverARestart_Case148(t *testing.T) {
	for _, jump := range clockJumps {
		t.Run(jump.name, func(t *testing.T) {
			kept := lifeBeforeTheJump(t, jump.before)
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(jump.after)
				ready := make(chan struct{})
				r := newDurableRig(t, func(o *Options) {
					o.Session.PublishesWills, o.Store = true, kept
					dial := o.Upstream.Dial
					o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						<-ready
						return dial(ctx, network, address)
					}
				})
				w := r.countWills() // and other messages
				close(ready)
				asleep, active := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
				time.Sleep(89 * time.Second)
				if n := w.of("t"); n != 1 {
					t.Errorf("what was spooled has arrived %d times", n)
				}
				r.wantState("keep-alive of 60 s and half of it", session.StateActive, 1)
				active.wantQuiet("not lost before its time")
				time.Sleep(2 * time.Second)
				active.want("lost", "02 18")
				r.wantState("its session is kept", session.StateLost, 1)
				time.Sleep(568 * time.Second) // 659 s in all
				r.wantState("sleep of 600 s and a tenth of it", session.StateAsleep, 1)
				if n := w.of("will/asleep"); n != 0 {
					t.Fatalf("%d wills of the sleeper before its time", n)
				}
				time.Sleep(2 * time.Second)
				asleep.want("lost", "02 18")
				time.Sleep(10 * time.Second)
				for _, topic := range []string{"will/active", "will/asleep"} {
					if n := w.of(topic); n != 1 {
						t.Errorf("%d wills on %s, want 1", n, topic)
					}
				}
			})
		})
	}
}

// lifeBeforeTheJump is the life of a gateway that is killed: a device asleep and one awake,
// each with a will, and a message in the spool.
func lifeBeforeTheJump(t *testing.T, since time.Duration) (kept *storetest.Store) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(since)
		r := newDurableRig(t, func(o *Options) { o.Session.PublishesWills = true })
		asleep, active := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		asleep.connectWillKept("asleep", "will/asleep", "gone", 60)
		asleep.sleep(600)
		active.connectWillKept("active", "will/active", "gone", 60)
		id := active.register("t")
		time.Sleep(50 * time.Second) // so that less than the whole time would be left
		r.broker.Kill(false)
		synctest.Wait()
		active.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("spooled")})
		active.wantMessage("stored", sn12.PubAck{TopicID: id, MsgID: 1})
		r.crash()
		kept = r.store
	})
	return kept
}
