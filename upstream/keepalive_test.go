package upstream_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestIdleConnectionIsPinged(t *testing.T) {
	for _, c := range []struct {
		keepAlive uint16
		every     time.Duration
	}{
		{0, 60 * time.Second},
		{4, 3 * time.Second},
		{60, 45 * time.Second},
		{80, 60 * time.Second},
		{65535, 60 * time.Second},
	} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o, p := r.up(&upstream.Connect{ClientID: "dev", KeepAlive: c.keepAlive}, false)
			for range 3 {
				r.pass(c.every - 1)
				p.WantQuiet("not yet")
				r.pass(1)
				upstreamtest.Want[*packets.PingreqPacket](p, "idle")
				p.SendRaw(0xd0, 0)
				r.runUntilIdle()
			}
			r.pass(c.every / 2)
			o.Publish(r.now(), 1, "t", nil, 1, false)
			r.runUntilIdle()
			ack(p, puback, upstreamtest.Want[*packets.PublishPacket](p, "traffic").MessageID)
			r.pass(c.every - 1)
			p.WantQuiet("traffic counts")
			r.pass(1)
			upstreamtest.Want[*packets.PingreqPacket](p, "idle again")
			o.want(upstream.EventPublished, "the publish")
			o.wantQuiet("keep-alive is not reported")
		})
	}
}

func TestKeepAliveIsWhatTheBrokerAllows(t *testing.T) {
	for _, c := range []struct {
		device, told uint16
		every        time.Duration
	}{
		{0, 1200, 60 * time.Second},
		{10, 40, 30 * time.Second},
		{40, 40, 30 * time.Second},
		{60, 60, 45 * time.Second},
		{65535, 1200, 60 * time.Second},
	} {
		bubble(t, upstream.Options{KeepAliveMin: 40, KeepAliveMax: 1200}, func(r *rig) {
			o := r.link()
			connect := func(p *upstreamtest.Peer) {
				if got := p.Accept(true).Keepalive; got != c.told {
					t.Errorf("%d: the broker is told %d, want %d", c.device, got, c.told)
				}
			}
			o.Connect(r.now(), &upstream.Connect{ClientID: "dev", KeepAlive: c.device})
			r.runUntilIdle()
			p := r.lis.Accept(t)
			connect(p)
			o.want(upstream.EventConnected, "accepted")
			r.pass(c.every - 1)
			p.WantQuiet("not yet")
			r.pass(1)
			pong(p, "before the broker gives up")
			p.Conn.Close()
			o.want(upstream.EventDown, "lost")
			r.pass(time.Second)
			connect(r.lis.Accept(t))
			o.want(upstream.EventUp, "back")
		})
	}
}

func TestBrokerThatIsSilentIsLost(t *testing.T) {
	bubble(t, upstream.Options{PingTimeout: 20 * time.Second}, func(r *rig) {
		o, p := r.up(persistent, false)
		r.pass(60*time.Second + 20*time.Second - 1)
		o.wantQuiet("not yet")
		r.pass(1)
		if e := o.want(upstream.EventDown, "no PINGRESP"); !errors.Is(e.Err, upstream.ErrTimeout) {
			t.Errorf("got %v", e.Err)
		}
		upstreamtest.Want[*packets.PingreqPacket](p, "the ping")
		p.WantEOF("closed")
		r.pass(time.Second)
		o.accept(true)
		o.want(upstream.EventUp, "back")
	})
}

// A half-open connection takes what is written for a long time.
func TestConnectionThatOnlySendsNoticesThatNobodyIsThere(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, _ := r.up(persistent, false)
		for range 16 {
			r.pass(5 * time.Second)
			o.Publish(r.now(), 0, "t", nil, 0, false)
		}
		o.want(upstream.EventDown, "nothing heard for PingInterval and PingTimeout")
	})
}

func TestAnyPacketShowsThatTheBrokerLives(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		r.pass(70 * time.Second)
		p.Publish("t", "x", 0, 0, false)
		o.want(upstream.EventMessage, "a message instead of the PINGRESP")
		r.pass(19 * time.Second)
		o.wantQuiet("alive")
	})
}

func TestPausedConnectionIsPingedAndNotGivenUp(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Pause()
		r.pass(40 * time.Second)
		for range 600 {
			r.pass(20 * time.Second) // no answer is heard, so it is more often than every minute
			upstreamtest.Want[*packets.PingreqPacket](p, "the broker must not give up either")
			p.SendRaw(0xd0, 0)
		}
		o.Ping(r.now(), 9)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PingreqPacket](p, "the barrier")
		o.Resume()
		r.pass(19 * time.Second)
		o.wantQuiet("the PINGRESPs of the pause do not answer the barrier")
		p.SendRaw(0xd0, 0)
		if e := o.want(upstream.EventPong, "its own does"); e.Token != 9 || e.Err != nil {
			t.Errorf("got %+v", e)
		}
	})
}

func TestResumedConnectionGetsTheWholePingTimeout(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, _ := r.up(persistent, false)
		o.Pause()
		r.pass(time.Hour)
		o.Resume()
		r.pass(20*time.Second - 1)
		o.wantQuiet("not yet")
		r.pass(1)
		o.want(upstream.EventDown, "silent after Resume")
	})
}

// Half-open: nothing arrives any more and nothing is refused. It is noticed while the
// broker still waits for one and a half of the keep-alive it was told.
func TestHalfOpenConnectionIsNoticedInOneAndAHalfKeepAlives(t *testing.T) {
	for _, c := range []struct {
		keepAlive uint16
		ping      time.Duration
		within    time.Duration // of the last sign of life
	}{
		{1, 0, 1500 * time.Millisecond},
		{2, 0, 3 * time.Second},
		{10, 0, 15 * time.Second},
		{20, 0, 30 * time.Second},
		{60, 0, 65 * time.Second}, // PingTimeout
		{600, 0, 80 * time.Second},
		{0, 0, 80 * time.Second},
		{0, 10 * time.Second, 15 * time.Second},
		{600, 10 * time.Second, 15 * time.Second},
		{12, 10 * time.Second, 15 * time.Second},
	} {
		for busy, every := range map[string]time.Duration{"idle": time.Hour, "busy": 300 * time.Millisecond} {
			t.Run(fmt.Sprintf("keep-alive %d interval %v %s", c.keepAlive, c.ping, busy), func(t *testing.T) {
				bubble(t, upstream.Options{PingInterval: c.ping}, func(r *rig) {
					o, _ := r.up(&upstream.Connect{ClientID: "dev", KeepAlive: c.keepAlive}, false)
					heard := r.now() // CONNACK was the last sign of life
					for r.now() < heard+c.within-1 {
						o.wantQuiet("not yet")
						r.pass(min(every, heard+c.within-1-r.now()))
						if r.now() < heard+c.within-1 {
							o.Publish(r.now(), 0, "t", nil, 0, false)
						}
					}
					o.wantQuiet("not yet")
					r.pass(1)
					if e := o.want(upstream.EventDown, "silent"); !errors.Is(e.Err, upstream.ErrTimeout) {
						t.Errorf("got %v", e.Err)
					}
				})
			})
		}
	}
}

// A paused connection does not listen, so it is probed: a write finds out that the system
// has given it up.
func TestPausedConnectionThatIsGoneIsNoticedByAWrite(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(&upstream.Connect{ClientID: "dev", KeepAlive: 10}, false)
		p.Publish("t", "x", 0, 0, false)
		o.wantMessage("x", "heard")
		o.Pause()
		r.pass(time.Hour)
		o.wantQuiet("the broker's answers are not read")
		r.pass(time.Second)
		p.Conn.Break()
		r.pass(15 * time.Second)
		o.want(upstream.EventDown, "the next PINGREQ could not be written")
	})
}

func TestPingIsABarrier(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		r.pass(60 * time.Second)
		upstreamtest.Want[*packets.PingreqPacket](p, "keep-alive, unanswered")
		o.Ping(r.now(), 1)
		o.Ping(r.now(), 2)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PingreqPacket](p, "1")
		upstreamtest.Want[*packets.PingreqPacket](p, "2")
		p.SendRaw(0xd0, 0)
		o.wantQuiet("that was the keep-alive's")
		p.Publish("t", "before", 0, 0, false)
		p.SendRaw(0xd0, 0)
		o.wantMessage("before", "what the broker sent first")
		if e := o.want(upstream.EventPong, "1"); e.Token != 1 {
			t.Errorf("token %d", e.Token)
		}
		p.SendRaw(0xd0, 0)
		if e := o.want(upstream.EventPong, "2"); e.Token != 2 {
			t.Errorf("token %d", e.Token)
		}
	})
}

func TestPingsAreBounded(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, _ := r.up(persistent, false)
		for i := range 65 {
			o.Ping(r.now(), upstream.Token(i+1))
		}
		if e := o.want(upstream.EventPong, "the last"); e.Token != 65 || !errors.Is(e.Err, upstream.ErrCongested) {
			t.Errorf("got %+v", e)
		}
	})
}
