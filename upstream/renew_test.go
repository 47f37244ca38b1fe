package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// renewals are a Link whose credentials count for an hour, and the broker's end of it.
type renewals struct {
	*rig
	o       *owned
	p       *upstreamtest.Peer
	made    atomic.Int64
	missing atomic.Bool // there are no credentials
	refused atomic.Bool // nothing takes a connection
}

// renewing runs f with a Link that is up, as the only one of its gateway.
func renewing(t *testing.T, opt upstream.Options, c *upstream.Connect, f func(r *renewals)) {
	t.Helper()
	r := new(renewals)
	opt.Credentials = func(id string) (credential.Connect, error) {
		if r.missing.Load() {
			return credential.Connect{}, credential.ErrNone
		}
		return credential.Connect{ClientID: id, HasUsername: true, Username: fmt.Sprint(r.made.Add(1)), Life: time.Hour}, nil
	}
	opt.PingInterval, opt.AnswerTimeout = 10*time.Hour, 10*time.Hour
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if r.refused.Load() {
			return nil, errors.New("connection refused")
		}
		return r.lis.Dial(ctx, network, address)
	}
	bubble(t, opt, func(rig *rig) {
		r.rig = rig
		r.o, r.p = rig.up(c, false)
		f(r)
	})
}

// hourly has no keep-alive, so that nothing but the renewal is due.
var hourly = &upstream.Connect{ClientID: "dev"}

// begun lets time pass until the renewal has begun, and returns the broker's end of the new
// connection. The old one is at its end then.
func (r *renewals) begun() *upstreamtest.Peer {
	r.t.Helper()
	r.pass(r.o.Deadline() - r.now())
	if r.lis.Dialled() != 1 {
		r.t.Fatalf("%d connections after 48 minutes, want the new one", r.lis.Dialled())
	}
	return r.lis.Accept(r.t)
}

// renewed carries a renewal out.
func (r *renewals) renewed(present bool) {
	r.t.Helper()
	p := r.begun()
	for r.p.Conn.Buffered() > 0 {
		r.p.Read()
	}
	r.p.Conn.Close()
	r.runUntilIdle()
	p.Accept(present)
	r.p = p
	if e := r.o.want(upstream.EventRenewed, "the owner hears of it when it is over"); e.SessionPresent != present {
		r.t.Errorf("session present %v, want %v", e.SessionPresent, present)
	}
}

func (r *renewals) wantFailed(n uint64, why string) {
	r.t.Helper()
	if got := r.d.Stats().FailedRenewals.Load(); got != n {
		r.t.Errorf("%s: %d tries have failed, want %d", why, got, n)
	}
}

// With a message of each kind both ways, a SUBSCRIBE and a barrier under way, a renewal loses
// nothing and tells the owner nothing but that it has been.
func TestWhatIsUnderWayPassesThroughARenewal(t *testing.T) {
	renewing(t, upstream.Options{}, hourly, func(r *renewals) {
		o := r.o
		for range 2 {
			r.pass(47 * time.Minute)
			o.Publish(r.now(), 10, "qos/1", []byte("x"), 1, false)
			o.Link.Publish(r.now(), upstream.Publish{Token: 11, Topic: "qos/2", QoS: 2, Exchange: 5})
			o.Subscribe(r.now(), 12, "filter", 1)
			o.Ping(r.now(), 13)
			r.p.Publish("down", "held", 1, 7, false)
			held := o.want(upstream.EventMessage, "which the owner does not acknowledge yet").Handle
			for range 4 {
				r.p.Read() // SUBSCRIBE, PUBLISH, PUBLISH, PINGREQ
			}
			r.p.SendRaw(0x50, 2, 0x80, 4) // PUBREC of exchange 5
			o.want(upstream.EventReceived, "the exchange is half done")

			r.pass(o.Deadline() - r.now())
			o.wantQuiet("the new connection is there, and the old one at its end")
			upstreamtest.Want[*packets.DisconnectPacket](r.p, "so that no will is published")
			next := r.lis.Accept(t)
			next.WantQuiet("CONNECT waits for the end of the old connection")

			o.Publish(r.now(), 0, "qos/0", []byte("between"), 0, false)
			o.Publish(r.now(), 20, "qos/1", []byte("between"), 1, false)
			o.Unsubscribe(r.now(), 21, "other")
			o.Ping(r.now(), 22)
			o.Release(r.now(), 11)
			o.Ack(r.now(), held)
			r.p.Publish("down", "last", 0, 0, false)
			r.p.Publish("down", "last", 1, 8, false)
			if e := o.want(upstream.EventMessage, "what still comes of QoS 0"); string(e.Payload) != "last" {
				t.Errorf("%+v", e)
			}
			last := o.want(upstream.EventMessage, "and of QoS 1").Handle
			o.wantQuiet("and nothing is lost or answered")
			r.p.WantQuiet("nothing follows DISCONNECT")
			made := r.made.Load()
			r.p.Conn.Close()
			r.runUntilIdle()
			if c := next.Accept(true); c.Username != fmt.Sprint(made+1) || c.CleanSession {
				t.Errorf("CONNECT with user name %q, want %d: made when it is sent", c.Username, made+1)
			}
			if e := o.want(upstream.EventRenewed, "the new connection is in use"); !e.SessionPresent {
				t.Error("with the session")
			}
			r.p = next

			if m := upstreamtest.Want[*packets.PublishPacket](r.p, "QoS 0 has waited"); m.TopicName != "qos/0" || string(m.Payload) != "between" {
				t.Errorf("%v", m)
			}
			upstreamtest.Want[*packets.PingreqPacket](r.p, "the barrier is asked for again")
			upstreamtest.Want[*packets.PingreqPacket](r.p, "and the one that has waited")
			sub := upstreamtest.Want[*packets.SubscribePacket](r.p, "so is the filter")
			unsub := upstreamtest.Want[*packets.UnsubscribePacket](r.p, "after which the others come")
			if m := upstreamtest.Want[*packets.PublishPacket](r.p, "QoS 1 is sent again"); !m.Dup || string(m.Payload) != "x" {
				t.Errorf("%v", m)
			}
			upstreamtest.Want[*packets.PubrelPacket](r.p, "the exchange goes on")
			between := upstreamtest.Want[*packets.PublishPacket](r.p, "and what has waited of QoS 1")
			r.p.Publish("down", "held", 1, 7, true)
			r.p.Publish("down", "last", 1, 8, true)
			r.runUntilIdle()
			if a := upstreamtest.Want[*packets.PubackPacket](r.p, "which the owner has acknowledged"); a.MessageID != 7 {
				t.Errorf("PUBACK %d", a.MessageID)
			}
			o.wantQuiet("nothing comes twice")
			o.Ack(r.now(), last)
			r.runUntilIdle()
			upstreamtest.Want[*packets.PubackPacket](r.p, "the other one")

			r.p.SendRaw(0xd0, 0, 0xd0, 0)
			r.p.SendRaw(0x90, 3, byte(sub.MessageID>>8), byte(sub.MessageID), 1)
			r.p.SendRaw(0xb0, 2, byte(unsub.MessageID>>8), byte(unsub.MessageID))
			for i, want := range []struct {
				kind  upstream.EventKind
				token upstream.Token
			}{{upstream.EventPong, 13}, {upstream.EventPong, 22}, {upstream.EventSubscribed, 12}, {upstream.EventUnsubscribed, 21}} {
				if e := o.want(want.kind, "answered once"); e.Token != want.token || e.Err != nil {
					t.Errorf("answer %d: %+v", i, e)
				}
			}
			r.p.SendRaw(0x40, 2, 0, 1, 0x70, 2, 0x80, 4)
			r.p.SendRaw(0x40, 2, byte(between.MessageID>>8), byte(between.MessageID))
			r.runUntilIdle()
			if len(o.events) < 2 {
				t.Fatalf("%+v", o.events)
			}
			o.events = nil
			o.Await(10, false)
			r.runUntilIdle()
			o.events = nil
		}
		s := r.d.Stats()
		if s.Renewals.Load() != 2 || s.FailedRenewals.Load() != 0 || s.Losses.Load() != 0 || s.DroppedDown.Load() != 0 {
			t.Errorf("%d renewals, %d failed, %d losses, %d dropped", s.Renewals.Load(), s.FailedRenewals.Load(), s.Losses.Load(), s.DroppedDown.Load())
		}
	})
}

func TestRenewalsAreSpread(t *testing.T) {
	renewing(t, upstream.Options{Rand: func() float64 { return 0.5 }}, hourly, func(r *renewals) {
		if at := r.o.Deadline() - r.now(); at != 51*time.Minute {
			t.Errorf("renewed after %v, want 48 minutes and the half of 6", at)
		}
	})
}

// Whatever is missing for the new connection, the old one is used until the broker ends it.
func TestAConnectionThatCannotBeRenewedIsKept(t *testing.T) {
	for name, missing := range map[string]func(*renewals) *atomic.Bool{
		"credentials": func(r *renewals) *atomic.Bool { return &r.missing },
		"connection":  func(r *renewals) *atomic.Bool { return &r.refused },
	} {
		t.Run(name, func(t *testing.T) {
			renewing(t, upstream.Options{}, hourly, func(r *renewals) {
				is := missing(r)
				is.Store(true)
				r.pass(55 * time.Minute)
				r.o.Publish(r.now(), 7, "t", []byte("m"), 1, false)
				r.runUntilIdle()
				upstreamtest.Want[*packets.PublishPacket](r.p, "the old connection is in use")
				r.o.wantQuiet("the owner is told nothing")
				tries := r.d.Stats().FailedRenewals.Load()
				if tries < 7 || tries > 15 {
					t.Errorf("%d tries in 7 minutes, want one or two each minute", tries)
				}
				is.Store(false)
				r.pass(r.o.Deadline() - r.now())
				next := r.lis.Accept(t)
				upstreamtest.Want[*packets.DisconnectPacket](r.p, "now it is ended")
				r.p.Conn.Close()
				r.runUntilIdle()
				next.Accept(true)
				r.o.want(upstream.EventRenewed, "late, and in time")
				r.wantFailed(tries, "afterwards")
			})
			renewing(t, upstream.Options{}, hourly, func(r *renewals) {
				missing(r).Store(true)
				r.pass(time.Hour)
				r.p.Conn.Close()
				if e := r.o.want(upstream.EventDown, "they have ended"); !errors.Is(e.Err, upstream.ErrLost) {
					t.Errorf("%v", e.Err)
				}
				r.pass(2 * time.Second)
				r.o.want(upstream.EventDown, "and there are no new ones")
			})
		})
	}
}

// A renewal has the place in line of what a device waits for, and holds nothing up meanwhile.
func TestARenewalWaitsForItsSlotWithTheOldConnection(t *testing.T) {
	renewing(t, upstream.Options{MaxDials: 1, ConnectTimeout: 5 * time.Minute}, hourly, func(r *renewals) {
		r.pass(47 * time.Minute)
		hanging, later := r.link(), r.link()
		hanging.Connect(r.now(), &upstream.Connect{ClientID: "hanging"})
		later.Reopen(r.now(), &upstream.Connect{ClientID: "later"}, upstream.ReopenNow)
		r.runUntilIdle()
		slow := r.lis.Accept(t)
		r.pass(3 * time.Minute)
		r.o.wantQuiet("it waits")
		r.p.WantQuiet("the old connection is not ended")
		slow.Accept(false)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](r.p, "the slot is here, before that for a reopened link")
		r.p.Conn.Close()
		r.runUntilIdle()
		if c := r.lis.Accept(t).Accept(true); c.ClientIdentifier != "dev" {
			t.Errorf("the slot is %s's", c.ClientIdentifier)
		}
		r.o.want(upstream.EventRenewed, "renewed")
	})
}

// hanging runs f with a Link whose next dials hang as long as that is set.
func hanging(t *testing.T, opt upstream.Options, f func(r *renewals, hangs *atomic.Bool)) {
	t.Helper()
	r, hangs := new(renewals), new(atomic.Bool)
	opt.PingInterval, opt.AnswerTimeout = 10*time.Hour, 10*time.Hour
	opt.Credentials = func(id string) (credential.Connect, error) {
		return credential.Connect{ClientID: id, Life: time.Hour}, nil
	}
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if hangs.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return r.lis.Dial(ctx, network, address)
	}
	bubble(t, opt, func(rig *rig) {
		r.rig = rig
		r.o, r.p = rig.up(hourly, false)
		f(r, hangs)
	})
}

// One that hangs is given up, and the old connection is used.
func TestARenewalThatHangsIsGivenUp(t *testing.T) {
	hanging(t, upstream.Options{}, func(r *renewals, hangs *atomic.Bool) {
		hangs.Store(true)
		r.pass(48*time.Minute + 11*time.Second)
		r.wantFailed(1, "after broker.connect_timeout")
		hangs.Store(false)
		r.pass(r.o.Deadline() - r.now())
		r.p.Read()
		r.p.Conn.Close()
		r.runUntilIdle()
		r.lis.Accept(t).Accept(true)
		r.o.want(upstream.EventRenewed, "renewed")
	})
}

// Another broker is taken into use meanwhile: the connection moves, as any does.
func TestAMoveDuringARenewal(t *testing.T) {
	hanging(t, upstream.Options{Address: "a:1", Fallbacks: []string{"b:1"}}, func(r *renewals, hangs *atomic.Bool) {
		hangs.Store(true)
		r.pass(48*time.Minute + time.Second)
		hangs.Store(false) // what comes next
		r.d.StartAt("b:1")
		r.pass(500 * time.Millisecond)
		if e := r.o.want(upstream.EventDown, "it moves"); !errors.Is(e.Err, upstream.ErrMoved) {
			t.Errorf("%+v", e)
		}
		upstreamtest.Want[*packets.DisconnectPacket](r.p, "in good order")
		r.p.Conn.Close()
		r.p = r.o.accept(false)
		r.o.want(upstream.EventUp, "at the other broker")
		r.pass(time.Minute)
		r.o.wantQuiet("and nothing is left of the renewal")
	})
}

// The broker refuses what is new: then the owner is told, and what waited is answered.
func TestARenewalThatTheBrokerRefusesIsALoss(t *testing.T) {
	renewing(t, upstream.Options{}, hourly, func(r *renewals) {
		p := r.begun()
		r.o.Subscribe(r.now(), 3, "filter", 0)
		r.o.Ping(r.now(), 4)
		r.o.Publish(r.now(), 0, "t", nil, 0, false)
		r.p.Conn.Close()
		r.runUntilIdle()
		p.Read()
		p.SendRaw(0x20, 2, 0, 5)
		if e := r.o.want(upstream.EventDown, "refused"); e.Refusal.Kind != upstream.RefusedForGood {
			t.Errorf("%+v", e)
		}
		if e := r.o.want(upstream.EventSubscribed, "not"); e.Err == nil {
			t.Errorf("%+v", e)
		}
		if e := r.o.want(upstream.EventPong, "nor"); e.Err == nil {
			t.Errorf("%+v", e)
		}
		if n := r.d.Stats().DroppedDown.Load(); n != 1 {
			t.Errorf("%d QoS 0 messages are dropped", n)
		}
		for r.lis.Dialled() == 0 {
			r.pass(time.Second)
		}
		r.o.accept(true)
		r.o.want(upstream.EventUp, "as after any loss")
	})
}

// A broker that keeps no session says so, and nothing else changes.
func TestARenewalOfACleanSessionTellsThatItIsNew(t *testing.T) {
	renewing(t, upstream.Options{}, &upstream.Connect{ClientID: "dev", CleanSession: true}, func(r *renewals) {
		r.renewed(false)
		r.o.wantQuiet("no more than that")
	})
}

// What was lived through before is not forgotten, and a loss soon after is none of a connection
// that the Link has come back with by itself.
func TestARenewalIsNoReconnectToTheRetries(t *testing.T) {
	renewing(t, upstream.Options{}, hourly, func(r *renewals) {
		for range 3 {
			r.renewed(true)
			r.pass(2 * time.Second)
			r.p.Conn.Close()
			r.o.want(upstream.EventDown, "closed by the broker while the device is silent")
			r.pass(3 * time.Second)
			r.p = r.o.accept(true)
			r.o.want(upstream.EventUp, "not parked")
			r.pass(time.Minute)
		}
		if n := r.d.Stats().Parkings.Load(); n != 0 {
			t.Errorf("%d parked", n)
		}
	})
}

// The owner ends the connection at each point of a renewal.
func TestAConnectionIsClosedWhileItIsRenewed(t *testing.T) {
	for _, mode := range []upstream.CloseMode{upstream.CloseGraceful, upstream.CloseDrain, upstream.CloseAbort} {
		renewing(t, upstream.Options{MaxDials: 1, ConnectTimeout: 5 * time.Minute}, hourly, func(r *renewals) {
			r.pass(47 * time.Minute)
			other := r.link()
			other.Connect(r.now(), &upstream.Connect{ClientID: "other"})
			r.runUntilIdle()
			slow := r.lis.Accept(t)
			r.pass(2 * time.Minute)
			r.o.Close(r.now(), mode)
			r.runUntilIdle()
			r.p.Conn.Close()
			r.o.want(upstream.EventClosed, "while it waits for a slot")
			slow.Accept(false)
			r.pass(time.Minute)
			if r.lis.Dialled() != 0 {
				t.Error("it is dialled all the same")
			}
		})
		renewing(t, upstream.Options{}, hourly, func(r *renewals) {
			p := r.begun()
			r.o.Subscribe(r.now(), 3, "filter", 0)
			r.o.Close(r.now(), mode)
			r.runUntilIdle()
			r.p.Conn.Close()
			r.runUntilIdle()
			if e := r.o.want(upstream.EventSubscribed, "while the old connection ends"); e.Err == nil {
				t.Errorf("%+v", e)
			}
			r.o.want(upstream.EventClosed, "while the old connection ends")
			p.WantEOF("without CONNECT")
		})
		renewing(t, upstream.Options{}, hourly, func(r *renewals) {
			p := r.begun()
			r.p.Conn.Close()
			r.runUntilIdle()
			r.o.Close(r.now(), mode)
			r.runUntilIdle()
			if mode != upstream.CloseAbort {
				p.Accept(true)
				r.runUntilIdle()
				upstreamtest.Want[*packets.DisconnectPacket](p, "in good order, so that no will is published")
				p.Conn.Close()
			}
			r.o.want(upstream.EventClosed, "while the new connection is accepted")
		})
	}
}

// The device connects at each point of a renewal: it gets a connection of its own.
func TestADeviceConnectsWhileItsConnectionIsRenewed(t *testing.T) {
	for name, reach := range map[string]func(r *renewals, p *upstreamtest.Peer){
		"the old connection ends":        func(*renewals, *upstreamtest.Peer) {},
		"the new connection is accepted": func(r *renewals, _ *upstreamtest.Peer) { r.p.Conn.Close() },
	} {
		renewing(t, upstream.Options{}, hourly, func(r *renewals) {
			p := r.begun()
			reach(r, p)
			r.runUntilIdle()
			r.o.Connect(r.now(), hourly)
			r.p.Conn.Close()
			r.pass(2 * time.Second)
			r.p = r.o.accept(false)
			r.o.want(upstream.EventConnected, name)
			r.pass(47 * time.Minute)
			r.o.wantQuiet(name)
		})
	}
}

// A will that is set meanwhile is in the new connection's CONNECT, or the owner is told that it is not.
func TestAWillThatChangesDuringARenewal(t *testing.T) {
	willing := &upstream.Connect{ClientID: "dev", Will: &upstream.Will{Topic: "will", Message: []byte("old")}}
	change := func(r *renewals) { r.o.SetWill(&upstream.Will{Topic: "will", Message: []byte("new")}) }
	for _, late := range []bool{false, true} {
		renewing(t, upstream.Options{}, willing, func(r *renewals) {
			p := r.begun()
			if !late {
				change(r)
			}
			r.p.Conn.Close()
			r.runUntilIdle()
			if late {
				change(r)
			}
			want := map[bool]string{false: "new", true: "old"}[late]
			if c := p.Accept(true); string(c.WillMessage) != want {
				t.Errorf("the will is %q, want %q", c.WillMessage, want)
			}
			if e := r.o.want(upstream.EventRenewed, "renewed"); e.OldWill != late || e.NoWill {
				t.Errorf("%+v", e)
			}
		})
	}
}

// The old connection is lost while the new one is not there yet.
func TestALossDuringARenewalIsALoss(t *testing.T) {
	renewing(t, upstream.Options{MaxDials: 1, ConnectTimeout: 5 * time.Minute}, hourly, func(r *renewals) {
		r.pass(47 * time.Minute)
		other := r.link()
		other.Connect(r.now(), &upstream.Connect{ClientID: "other"})
		r.runUntilIdle()
		slow := r.lis.Accept(t)
		r.pass(2 * time.Minute)
		r.p.Conn.Close()
		r.o.want(upstream.EventDown, "lost")
		slow.Accept(false)
		r.pass(2 * time.Second)
		if n := r.lis.Dialled(); n != 1 {
			t.Errorf("%d connections, want one", n)
		}
		r.o.accept(true)
		r.o.want(upstream.EventUp, "again")
	})
}

// What comes at the end of a connection that is paused would be held by the owner beyond its bounds.
func TestARenewalOfAPausedConnectionLeavesMessagesWithTheBroker(t *testing.T) {
	renewing(t, upstream.Options{}, hourly, func(r *renewals) {
		r.o.Pause()
		p := r.begun()
		upstreamtest.Want[*packets.DisconnectPacket](r.p, "in good order")
		for id := range uint16(200) {
			r.p.Publish("down", "x", 1+byte(id%2), id+1, false)
		}
		r.runUntilIdle()
		r.o.wantQuiet("nothing is taken of what the broker keeps")
		r.p.Conn.Close()
		r.runUntilIdle()
		p.Accept(true)
		r.o.want(upstream.EventRenewed, "renewed")
		p.Publish("down", "x", 1, 1, true)
		r.runUntilIdle()
		r.o.wantQuiet("the pause goes on")
		r.o.Resume()
		r.runUntilIdle()
		r.o.want(upstream.EventMessage, "it comes again")
	})
}

// What still comes over the old connection is of a session that is over.
func TestADeviceThatConnectsDuringARenewalHearsNothingOfItsLastSession(t *testing.T) {
	renewing(t, upstream.Options{}, hourly, func(r *renewals) {
		r.begun()
		r.o.Connect(r.now(), &upstream.Connect{ClientID: "dev", CleanSession: true})
		r.p.Publish("down", "x", 0, 0, false)
		r.p.Publish("down", "x", 1, 7, false)
		r.runUntilIdle()
		r.o.wantQuiet("the device has begun anew")
	})
}

// A broker forgets a clean session with its connection, and would pass on twice what has to be
// published to it anew.
func TestARenewalOfACleanSessionFinishesExchanges(t *testing.T) {
	clean := &upstream.Connect{ClientID: "dev", CleanSession: true}
	for _, answered := range []bool{true, false} {
		renewing(t, upstream.Options{ConnectTimeout: 10 * time.Second, PublishRate: 1}, clean, func(r *renewals) {
			o, half := r.o, uint16(0)
			o.Publish(r.now(), 11, "qos/2", nil, 2, false)
			r.runUntilIdle()
			half = upstreamtest.Want[*packets.PublishPacket](r.p, "of QoS 2").MessageID
			r.pass(o.Deadline() - r.now())
			next := r.lis.Accept(t)
			r.p.WantQuiet("the exchange is not over")
			o.Publish(r.now(), 12, "qos/2", nil, 2, false)
			o.Publish(r.now(), 0, "qos/0", nil, 0, false)
			o.Subscribe(r.now(), 13, "filter", 1)
			o.Ping(r.now(), 14)
			r.runUntilIdle()
			upstreamtest.Want[*packets.PingreqPacket](r.p, "a barrier is for what comes over this connection")
			r.p.WantQuiet("nothing else is begun")
			if at := o.Deadline() - r.now(); at < 5*time.Second {
				t.Errorf("the next deadline is in %v", at)
			}
			if answered {
				r.p.SendRaw(0x50, 2, byte(half>>8), byte(half))
				r.runUntilIdle()
				upstreamtest.Want[*packets.PubrelPacket](r.p, "it goes on")
				r.p.WantQuiet("and is not over")
				r.p.SendRaw(0xd0, 0, 0x70, 2, byte(half>>8), byte(half))
				o.want(upstream.EventPong, "the barrier")
				o.want(upstream.EventPublished, "now it is over")
			} else {
				r.pass(10 * time.Second)
			}
			upstreamtest.Want[*packets.DisconnectPacket](r.p, "in good order")
			r.p.Conn.Close()
			r.runUntilIdle()
			next.Accept(false)
			o.want(upstream.EventRenewed, "renewed")
			r.p = next
			if !answered {
				upstreamtest.Want[*packets.PingreqPacket](r.p, "the barrier is asked for again")
			}
			upstreamtest.Want[*packets.SubscribePacket](r.p, "which has waited")
			if !answered {
				upstreamtest.Want[*packets.PublishPacket](r.p, "begins anew")
				r.pass(time.Second)
			}
			if m := upstreamtest.Want[*packets.PublishPacket](r.p, "which has waited"); m.Dup || m.Qos != 2 {
				t.Errorf("%v", m)
			}
			r.pass(time.Second)
			if m := upstreamtest.Want[*packets.PublishPacket](r.p, "which has waited, too"); m.Qos != 0 {
				t.Errorf("%v", m)
			}
		})
	}
}
