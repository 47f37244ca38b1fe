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
	"github.com/google/go-cmp/cmp"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// site is a broker of a cluster; the test plays it.
type site struct {
	*upstreamtest.Listener
	down  atomic.Bool // the port is closed
	dials atomic.Int64
}

// cluster is three brokers, a:1 preferred.
type cluster struct {
	r       *rig
	a, b, c *site
	moves   []string
}

// withCluster runs f in a bubble with a rig whose Dialer has three brokers.
func withCluster(t *testing.T, opt upstream.Options, f func(c *cluster)) {
	t.Helper()
	c := new(cluster)
	sites := make(map[string]*site)
	opt.Address, opt.Fallbacks = "a:1", []string{"b:1", "c:1"}
	opt.Moved = func(from, to string) { c.moves = append(c.moves, from+" "+to) }
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		s := sites[address]
		s.dials.Add(1)
		if s.down.Load() {
			return nil, errors.New("connection refused")
		}
		return s.Dial(ctx, network, address)
	}
	bubble(t, opt, func(r *rig) {
		for _, address := range []string{"a:1", "b:1", "c:1"} {
			sites[address] = &site{Listener: upstreamtest.NewListener(0)}
		}
		c.r, c.a, c.b, c.c = r, sites["a:1"], sites["b:1"], sites["c:1"]
		f(c)
	})
}

// use makes s the site that rig.up and the like play.
func (c *cluster) use(s *site) { c.r.lis = s.Listener }

func (c *cluster) wantInUse(index int, address, why string) {
	c.r.t.Helper()
	if i, a := c.r.d.InUse(); i != index || a != address {
		c.r.t.Fatalf("%s: %d %s is in use, want %d %s", why, i, a, index, address)
	}
}

func (c *cluster) wantMoves(moves ...string) {
	c.r.t.Helper()
	if diff := cmp.Diff(moves, c.moves); diff != "" {
		c.r.t.Error(diff)
	}
}

// answer plays, while time passes, a broker that answers PINGREQ.
func (c *cluster) answer(d time.Duration, peers ...*upstreamtest.Peer) {
	c.r.t.Helper()
	for end := c.r.now() + d; c.r.now() < end; c.r.pass(time.Second) {
		for _, p := range peers {
			for p.Conn.Buffered() > 0 {
				if _, ping := p.Read().(*packets.PingreqPacket); ping {
					p.SendRaw(0xd0, 0)
				}
			}
		}
	}
}

// refuse plays the broker for the next connect.
func (c *cluster) refuse(s *site, code byte) {
	c.r.t.Helper()
	c.r.runUntilIdle()
	p := s.Accept(c.r.t)
	p.Read()
	p.SendRaw(0x20, 2, 0, code)
	c.r.runUntilIdle()
}

func TestFailsOverInOrderAndAround_Case152(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		c.use(c.a)
		o, p := c.r.up(persistent, false)
		for _, s := range []*site{c.a, c.b, c.c} {
			s.down.Store(true)
		}
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		c.r.pass(time.Second) // the first try fails
		c.r.pass(10*time.Second - 1)
		c.wantInUse(0, "a:1", "a broker that is restarted has ten seconds")
		c.r.pass(1)
		c.wantInUse(1, "b:1", "the next")
		if c.b.dials.Load() != 0 {
			t.Error("dialled before its turn")
		}
		c.r.pass(11 * time.Second)
		c.wantInUse(2, "c:1", "the last")
		c.r.pass(11 * time.Second)
		c.wantInUse(0, "a:1", "the first again")
		c.a.down.Store(false)
		for c.a.Dialled() == 0 {
			c.r.pass(time.Second)
		}
		for len(o.events) > 0 {
			o.want(upstream.EventDown, "each try that failed")
		}
		c.use(c.a)
		o.accept(false)
		o.want(upstream.EventUp, "back")
		c.wantMoves("a:1 b:1", "b:1 c:1", "c:1 a:1")
		if n := c.r.d.Stats().Failovers.Load(); n != 3 {
			t.Errorf("%d counted", n)
		}
	})
}

// While no broker answers, the pauses grow as with one, and the brokers change more slowly.
func TestFailureOfAllBrokersIsOneOfLongPauses(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		o := c.r.link()
		for _, s := range []*site{c.a, c.b, c.c} {
			s.down.Store(true)
		}
		o.Reopen(c.r.now(), persistent, upstream.ReopenNow)
		c.r.pass(time.Minute)
		dials := func() int64 { return c.a.dials.Load() + c.b.dials.Load() + c.c.dials.Load() }
		before, moves := dials(), len(c.moves)
		c.r.pass(time.Hour)
		if n := dials() - before; n > 130 {
			t.Errorf("%d dials in an hour", n)
		}
		if n := len(c.moves) - moves; n < 30 || n > 60 {
			t.Errorf("%d changes in an hour", n)
		}
	})
}

// Another broker is tried soon, however long the pauses have become.
func TestPausesBeginAnewAtTheNextBroker(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		o := c.r.link()
		c.a.down.Store(true)
		o.Reopen(c.r.now(), persistent, upstream.ReopenNow)
		for c.r.runUntilIdle(); len(c.moves) == 0; {
			c.r.pass(o.Deadline() - c.r.now())
		}
		if wait := o.Deadline() - c.r.now(); wait != time.Second {
			t.Errorf("the next try is in %v", wait)
		}
	})
}

func TestBrokerThatIsRestartedIsNotLeft(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		c.use(c.a)
		var peers []*upstreamtest.Peer
		for range 20 {
			_, p := c.r.up(persistent, false)
			peers = append(peers, p)
		}
		c.a.down.Store(true)
		for _, p := range peers {
			p.Conn.Close()
		}
		c.r.pass(9 * time.Second)
		if c.a.dials.Load() < 20+3*20 {
			t.Fatalf("only %d dials: the test does not test", c.a.dials.Load())
		}
		c.a.down.Store(false)
		for c.r.d.Stats().Open.Load() < 20 {
			c.r.pass(time.Second)
			for c.a.Dialled() > 0 {
				c.a.Accept(t).Accept(true)
			}
		}
		c.wantMoves()
	})
}

// One device whose CONNECT fails says nothing of a broker that others are connected to.
func TestOneConnectThatFailsMovesNobody(t *testing.T) {
	for name, play := range map[string]func(c *cluster, p *upstreamtest.Peer){
		"no CONNACK":   func(c *cluster, p *upstreamtest.Peer) {},
		"unavailable":  func(c *cluster, p *upstreamtest.Peer) { p.SendRaw(0x20, 2, 0, 3) },
		"closed":       func(c *cluster, p *upstreamtest.Peer) { p.Conn.Close() },
		"not CONNACK":  func(c *cluster, p *upstreamtest.Peer) { p.SendRaw(0xd0, 0) },
		"unauthorized": func(c *cluster, p *upstreamtest.Peer) { p.SendRaw(0x20, 2, 0, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			withCluster(t, upstream.Options{}, func(c *cluster) {
				c.use(c.a)
				_, p := c.r.up(&upstream.Connect{ClientID: "gateway", KeepAlive: 60}, false)
				c.r.link().Reopen(c.r.now(), persistent, upstream.ReopenNow)
				for range 600 {
					c.answer(time.Second, p)
					for c.a.Dialled() > 0 {
						bad := c.a.Accept(t)
						bad.Read()
						play(c, bad)
					}
				}
				if c.a.dials.Load() < 10 {
					t.Fatalf("only %d dials: the test does not test", c.a.dials.Load())
				}
				c.wantMoves()
			})
		})
	}
}

// A refusal is an answer: the next broker would have to know the device, too.
func TestBrokerThatRefusesEverybodyIsNotLeft(t *testing.T) {
	for code, moved := range map[byte]bool{1: false, 2: false, 4: false, 5: false, 3: true} {
		withCluster(t, upstream.Options{}, func(c *cluster) {
			c.r.link().Reopen(c.r.now(), persistent, upstream.ReopenNow)
			for range 600 {
				c.r.pass(time.Second)
				for c.a.Dialled() > 0 {
					c.refuse(c.a, code)
				}
			}
			if (len(c.moves) > 0) != moved {
				t.Errorf("code %d: moved %v", code, c.moves)
			}
		})
	}
}

// The broker's machine goes silent. Connections that are paused stay open, and do not
// keep the others there; they follow.
func TestSilentBrokerIsLeftWithPausedConnectionsOpen(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		c.use(c.a)
		paused, _ := c.r.up(&upstream.Connect{ClientID: "paused", KeepAlive: 60}, false)
		o, _ := c.r.up(persistent, false)
		paused.Pause()
		for c.r.now() < 3*time.Minute && len(c.moves) == 0 {
			c.r.pass(time.Second)
		}
		for len(o.events) > 0 {
			o.want(upstream.EventDown, "lost, and each try that failed")
		}
		c.wantInUse(1, "b:1", "the next")
		if e := paused.want(upstream.EventDown, "it follows"); !errors.Is(e.Err, upstream.ErrMoved) {
			t.Errorf("got %v", e.Err)
		}
		c.r.pass(2 * time.Second)
		for range 2 {
			c.b.Accept(t).Accept(false)
		}
		o.want(upstream.EventUp, "up")
		paused.want(upstream.EventUp, "up")
	})
}

// Another broker has another session, even where it remembers an old one.
func TestSessionOfAnotherBrokerIsANewOne(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		c.use(c.a)
		o, p := c.r.up(persistent, true)
		o.publishOwn(1, "x")
		wantOwn(p, false, "first")
		o.received(p, "PUBREC")
		o.release(1)
		wantPubrel(p, "released")
		c.a.down.Store(true)
		p.Conn.Close()
		c.r.pass(20 * time.Second)
		c.use(c.b)
		p = o.accept(true)
		for len(o.events) > 1 {
			o.want(upstream.EventDown, "lost, and each try that failed")
		}
		if e := o.want(upstream.EventUp, "at b"); e.SessionPresent {
			t.Error("the session is not the one that is known")
		}
		wantOwn(p, true, "the exchange begins anew")
		o.received(p, "PUBREC")
		r := c.r
		r.pass(10 * time.Second) // so that it is not taken for a device that has moved
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(2 * time.Second)
		p = o.accept(true)
		if e := o.want(upstream.EventUp, "at b again"); !e.SessionPresent {
			t.Error("this one is")
		}
		o.release(1)
		wantPubrel(p, "released")
	})
}

// An earlier process had the session at b, or at a broker that is not one of them any
// more. What another one remembers is older, also when that one is in use now.
func TestSessionOfAnEarlierProcessIsAtItsHome(t *testing.T) {
	for _, test := range []struct {
		home    string
		present bool
	}{{"b:1", false}, {"x:1", false}, {"c:1", true}, {"", true}} {
		t.Run("home "+test.home, func(t *testing.T) {
			withCluster(t, upstream.Options{}, func(c *cluster) {
				c.r.d.StartAt("c:1")
				c.use(c.c)
				hello := *persistent
				hello.Home = test.home
				o := c.r.link()
				o.publishOwn(1, "x", released)
				o.Reopen(c.r.now(), &hello, upstream.ReopenNow)
				if o.Home() != test.home {
					t.Errorf("the session is at %q", o.Home())
				}
				p := o.accept(true)
				if e := o.want(upstream.EventUp, "at c"); e.SessionPresent != test.present {
					t.Errorf("present: %v", e.SessionPresent)
				}
				if test.present {
					wantPubrel(p, "it has been released")
				} else {
					wantOwn(p, true, "PUBREL would mean nothing to c")
				}
				if o.Home() != "c:1" {
					t.Errorf("the session is at %q", o.Home())
				}
				o = c.r.link()
				o.Connect(c.r.now(), &hello)
				o.accept(true)
				if e := o.want(upstream.EventConnected, "at c"); e.SessionPresent != test.present {
					t.Errorf("present for a device that connects: %v", e.SessionPresent)
				}
			})
		})
	}
}

// probed plays the preferred broker for one trial.
func (c *cluster) probed() *upstreamtest.Peer {
	c.r.t.Helper()
	c.r.runUntilIdle()
	if c.a.Dialled() != 1 {
		c.r.t.Fatalf("%d dials, want one trial", c.a.Dialled())
	}
	p := c.a.Accept(c.r.t)
	m := upstreamtest.Want[*packets.ConnectPacket](p, "a trial")
	if m.ClientIdentifier != "gw-probe" || !m.CleanSession {
		c.r.t.Errorf("CONNECT of %q, clean %v", m.ClientIdentifier, m.CleanSession)
	}
	return p
}

func TestFailsBackWhenThePreferredBrokerAnswers(t *testing.T) {
	opt := upstream.Options{FailBack: 5 * time.Minute, ProbeClientID: "gw-probe", PingInterval: 10 * time.Hour, AnswerTimeout: 10 * time.Hour}
	withCluster(t, opt, func(c *cluster) {
		c.r.d.StartAt("b:1")
		c.use(c.b)
		o, old := c.r.up(&upstream.Connect{ClientID: "dev", Will: &upstream.Will{Topic: "w"}}, false)
		o.Publish(c.r.now(), 1, "t", []byte("x"), 1, false)
		c.r.runUntilIdle()
		wantPublish(old, "x", 1, false, "at b")
		c.a.down.Store(true)
		c.r.pass(5 * time.Minute)
		c.wantInUse(1, "b:1", "the port is closed")
		c.a.down.Store(false)
		for _, silence := range []func(p *upstreamtest.Peer){
			func(*upstreamtest.Peer) { c.r.pass(10 * time.Second) },
			func(p *upstreamtest.Peer) { p.Conn.Close() },
			func(p *upstreamtest.Peer) { p.SendRaw(0x20, 2, 0, 3) },
			func(p *upstreamtest.Peer) { p.SendRaw(0x20, 2, 0, 5) },
			func(p *upstreamtest.Peer) { p.SendRaw(0xd0, 0) },
		} {
			for c.a.Dialled() == 0 {
				c.r.pass(10 * time.Second)
			}
			p := c.probed()
			silence(p)
			p.WantEOF("given up")
			c.wantInUse(1, "b:1", "that is not a broker that accepts")
		}
		o.wantQuiet("nothing has happened")
		for c.a.Dialled() == 0 {
			c.r.pass(10 * time.Second)
		}
		p := c.probed()
		p.SendRaw(0x20, 2, 0, 0)
		upstreamtest.Want[*packets.DisconnectPacket](p, "the end of the trial")
		p.WantEOF("and of its connection")
		if e := o.want(upstream.EventDown, "moving"); !errors.Is(e.Err, upstream.ErrMoved) {
			t.Errorf("got %v", e.Err)
		}
		upstreamtest.Want[*packets.DisconnectPacket](old, "so that no will is published")
		c.r.runUntilIdle()
		if c.a.Dialled() != 0 {
			t.Error("dialled before the old connection was gone")
		}
		old.Conn.Close()
		c.use(c.a)
		p = o.accept(true)
		if e := o.want(upstream.EventUp, "moved"); e.SessionPresent {
			t.Error("it is another session")
		}
		wantPublish(p, "x", 1, true, "what was in flight")
		c.wantInUse(0, "a:1", "preferred")
		c.wantMoves("b:1 a:1")
		c.r.pass(time.Hour)
		if c.a.Dialled() != 0 || c.r.d.Stats().FailBacks.Load() != 1 || c.r.d.Stats().Losses.Load() != 0 {
			t.Errorf("%d dials, %d times back, %d losses", c.a.Dialled(), c.r.d.Stats().FailBacks.Load(), c.r.d.Stats().Losses.Load())
		}
	})
}

func TestWithoutFailBackTheBrokerInUseStays(t *testing.T) {
	withCluster(t, upstream.Options{}, func(c *cluster) {
		c.r.d.StartAt("x:1")
		c.wantInUse(0, "a:1", "not one of the brokers")
		c.r.d.StartAt("c:1")
		c.wantInUse(2, "c:1", "where the earlier process was")
		c.r.pass(240 * time.Hour)
		if c.a.dials.Load()+c.b.dials.Load() != 0 {
			t.Error("the others were dialled")
		}
	})
}

func TestConnectionsAreMovedOverTime(t *testing.T) {
	opt := upstream.Options{FailBack: time.Minute, MaxDials: 4, PingInterval: 10 * time.Hour}
	withCluster(t, opt, func(c *cluster) {
		c.r.d.StartAt("b:1")
		c.use(c.b)
		const n = 40
		var old []*upstreamtest.Peer
		for i := range n {
			_, p := c.r.up(&upstream.Connect{ClientID: fmt.Sprint(i)}, false)
			old = append(old, p)
		}
		for c.a.Dialled() == 0 {
			c.r.pass(time.Second)
		}
		c.a.Accept(t).Accept(false)
		c.r.runUntilIdle()
		for second := 1; second <= n/4; second++ {
			left := 0
			for _, p := range old {
				if p.Conn.Buffered() > 0 {
					left++
				}
			}
			if left != second*4 {
				t.Fatalf("second %d: %d have left, want %d", second, left, second*4)
			}
			c.r.pass(time.Second)
		}
		for range n {
			c.r.runUntilIdle()
			c.a.Accept(t).Accept(false)
		}
		c.r.runUntilIdle()
		for _, o := range c.r.links {
			o.want(upstream.EventDown, "moving")
			o.want(upstream.EventUp, "moved")
			o.wantQuiet("once")
		}
	})
}

// moving returns a link whose connection is being moved, with a QoS 1 message that was
// not acknowledged.
func (c *cluster) moving() (*owned, *upstreamtest.Peer) {
	c.r.t.Helper()
	c.r.d.StartAt("b:1")
	c.use(c.b)
	o, old := c.r.up(persistent, false)
	o.Publish(c.r.now(), 1, "t", []byte("x"), 1, false)
	c.r.runUntilIdle()
	wantPublish(old, "x", 1, false, "at b")
	for c.a.Dialled() == 0 {
		c.r.pass(time.Second)
	}
	c.a.Accept(c.r.t).Accept(false)
	o.want(upstream.EventDown, "moving")
	upstreamtest.Want[*packets.DisconnectPacket](old, "leaving")
	c.use(c.a)
	return o, old
}

func TestCallsWhileAConnectionIsMoved(t *testing.T) {
	opt := upstream.Options{FailBack: time.Minute, PingInterval: 10 * time.Hour, AnswerTimeout: 10 * time.Hour}
	t.Run("the broker does not close", func(t *testing.T) {
		withCluster(t, opt, func(c *cluster) {
			o, old := c.moving()
			old.Publish("t", "m", 1, 7, false)
			ack(old, pubrel, 9)
			o.wantQuiet("nothing can be acknowledged there any more")
			o.Subscribe(c.r.now(), 2, "f", 0)
			o.want(upstream.EventSubscribed, "no connection")
			c.r.pass(time.Second)
			old.WantEOF("ended from here")
			o.accept(false)
			o.want(upstream.EventUp, "moved")
		})
	})
	t.Run("drain", func(t *testing.T) {
		withCluster(t, opt, func(c *cluster) {
			o, old := c.moving()
			o.Close(c.r.now(), upstream.CloseDrain)
			old.Conn.Close()
			p := o.accept(false)
			o.want(upstream.EventUp, "there is something to drain")
			ack(p, puback, wantPublish(p, "x", 1, true, "at a"))
			o.want(upstream.EventPublished, "drained")
			upstreamtest.Want[*packets.DisconnectPacket](p, "closed")
			p.Conn.Close()
			o.want(upstream.EventClosed, "closed")
		})
	})
	t.Run("graceful", func(t *testing.T) {
		withCluster(t, opt, func(c *cluster) {
			o, old := c.moving()
			o.Close(c.r.now(), upstream.CloseGraceful)
			old.Conn.Close()
			o.want(upstream.EventClosed, "closed")
			c.r.pass(time.Minute)
			if c.a.Dialled() != 0 {
				t.Error("it has come back")
			}
		})
	})
	t.Run("abort", func(t *testing.T) {
		withCluster(t, opt, func(c *cluster) {
			o, old := c.moving()
			o.Close(c.r.now(), upstream.CloseAbort)
			o.want(upstream.EventClosed, "closed")
			old.WantEOF("at once")
		})
	})
	t.Run("connect", func(t *testing.T) {
		withCluster(t, opt, func(c *cluster) {
			o, old := c.moving()
			o.Connect(c.r.now(), persistent)
			old.Conn.Close()
			o.accept(true)
			if e := o.want(upstream.EventConnected, "the device is answered"); e.SessionPresent {
				t.Error("it is another session")
			}
			o.wantQuiet("once")
		})
	})
}

// Connects that hang are tried for ever. They leave room for devices that connect.
func TestReconnectsThatHangLeaveSlotsForDevices(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 8}, func(r *rig) {
		for i := range 20 {
			r.link().Reopen(r.now(), &upstream.Connect{ClientID: fmt.Sprint("hangs ", i)}, upstream.ReopenNow)
		}
		r.runUntilIdle()
		for range 6 {
			r.lis.Accept(t)
		}
		if r.lis.Dialled() != 0 {
			t.Fatalf("%d more have a slot", r.lis.Dialled())
		}
		for range 100 {
			r.up(&upstream.Connect{ClientID: "device"}, false)
		}
		r.links[19].Nudge(r.now())
		r.links[19].accept(true)
		r.links[19].want(upstream.EventUp, "its device has spoken")
		if r.now() != 0 {
			t.Errorf("it took %v", r.now())
		}
	})
}

func TestBrokersAreChecked(t *testing.T) {
	for _, o := range []upstream.Options{
		{Address: "a:1", Fallbacks: []string{"b"}},
		{Address: "a:1", Fallbacks: []string{"a:1"}},
		{Address: "a:1", Fallbacks: []string{"b:1", "c:1", "b:1"}},
		{Address: "a:1", FailBack: -1},
		{Address: "a:1", ProbeClientID: string(make([]byte, 65536))},
	} {
		if _, err := upstream.NewDialer(o); err == nil {
			t.Errorf("%v %v was accepted", o.Fallbacks, o.FailBack)
		}
	}
}
