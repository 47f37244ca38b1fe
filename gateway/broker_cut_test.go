package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
)

// cutConn is a connection to the broker that breaks after a number of octets in one
// direction.
type cutConn struct {
	net.Conn
	mu       sync.Mutex
	armed    bool
	up       bool // the direction that is counted: to the broker
	left     int
	breakOff sync.Once
}

func (c *cutConn) arm(up bool, octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.up, c.left = true, up, octets
}

// take returns how many of n octets pass, and whether the connection breaks then.
func (c *cutConn) take(up bool, n int) (pass int, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed || c.up != up {
		return n, false
	}
	pass = min(n, c.left)
	c.left -= pass
	return pass, c.left == 0
}

func (c *cutConn) Write(b []byte) (int, error) {
	pass, broken := c.take(true, len(b))
	n, err := c.Conn.Write(b[:pass])
	if broken {
		c.breakOff.Do(func() { c.Conn.Close() })
		return len(b), nil // the system has taken them; they are lost
	}
	return n, err
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	pass, broken := c.take(false, n)
	if broken {
		c.breakOff.Do(func() { c.Conn.Close() })
		if pass == 0 {
			return 0, io.EOF
		}
	}
	return pass, err
}

// cutRig is a rig with one device, CleanSession=0, whose connection to the broker can be
// made to break. The own connection of the gateway is the first dial, the device's the
// second.
func cutRig(t *testing.T) (*rig, *device, *cutConn) {
	var conns []*cutConn
	r := newRig(t, func(o *Options) {
		dial := o.Upstream.Dial
		o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			c := &cutConn{Conn: nc}
			conns = append(conns, c)
			return c, nil
		}
	})
	d := r.device("10.0.1.1:5000")
	d.connectWith(false, 600, "dev")
	return r, d, conns[1]
}

// eachCut runs f with the connection broken after each number of octets of a handshake,
// in each direction.
func eachCut(t *testing.T, f func(t *testing.T, up bool, octets int)) {
	for _, up := range []bool{true, false} {
		for octets := range 30 {
			t.Run(fmt.Sprintf("up=%v,octets=%d", up, octets), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { f(t, up, octets) })
			})
		}
	}
}

// wantCut checks that the connection has broken where octets is within what the
// exchange takes at least.
func (r *rig) wantCut(octets, least int) {
	r.t.Helper()
	if n := r.gateway.dialer.Stats().Losses.Load(); octets < least && n == 0 {
		r.t.Fatal("the connection has not broken: nothing was tested")
	}
}

// untilAnswered sends m, again with DUP every 10 s as a device does, until want comes.
func (d *device) untilAnswered(m, want sn12.Message) {
	d.r.t.Helper()
	d.sendMessage(m)
	for range 20 {
		switch got := d.next(10 * time.Second); got {
		case want:
			return
		case nil:
			if p, ok := m.(sn12.Publish); ok {
				p.DUP = true
				m = p
			}
			d.sendMessage(m)
		}
	}
	d.r.t.Fatalf("%s is never answered", m.Type())
}

func TestQoS2UpIsExactlyOnceWhereverTheConnectionBreaks_Case173(t *testing.T) {
	eachCut(t, func(t *testing.T, up bool, octets int) {
		r, d, conn := cutRig(t)
		id := d.register("t")
		got := r.observe()
		conn.arm(up, octets)
		for mid := uint16(1); mid <= 3; mid++ {
			d.untilAnswered(sn12.Publish{QoS: 2, TopicID: id, MsgID: mid, Data: []byte{'0' + byte(mid)}}, sn12.PubRec{MsgID: mid})
			d.untilAnswered(sn12.PubRel{MsgID: mid}, sn12.PubComp{MsgID: mid})
		}
		got.want(t, "exactly once, in order", "dev t 1 2", "dev t 2 2", "dev t 3 2")
		r.wantCut(octets, 24)
	})
}

func TestQoS1UpIsAtLeastOnceWhereverTheConnectionBreaks_Case173(t *testing.T) {
	eachCut(t, func(t *testing.T, up bool, octets int) {
		r, d, conn := cutRig(t)
		id := d.register("t")
		got := r.observe()
		conn.arm(up, octets)
		for mid := uint16(1); mid <= 3; mid++ {
			d.untilAnswered(sn12.Publish{QoS: 1, TopicID: id, MsgID: mid, Data: []byte{'0' + byte(mid)}}, sn12.PubAck{TopicID: id, MsgID: mid})
		}
		list := slices.Compact(got.take())
		if !slices.Equal(list, []string{"dev t 1 1", "dev t 2 1", "dev t 3 1"}) {
			t.Fatalf("the broker got %q", list)
		}
		r.wantCut(octets, 12)
	})
}

func TestQoS2DownIsExactlyOnceWhereverTheConnectionBreaks_Case173(t *testing.T) {
	eachCut(t, func(t *testing.T, up bool, octets int) {
		r, d, conn := cutRig(t)
		d.subscribe("t", 2)
		conn.arm(up, octets)
		var got []string
		for _, p := range []string{"1", "2", "3"} {
			r.publish("t", p, 2)
		}
		for range 10 {
			got = append(got, d.receive(15*time.Second)...)
			d.sendMessage(sn12.PingReq{})
		}
		if !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Fatalf("the device got %q", got)
		}
		if n, _ := r.broker.Pending("dev"); n != 0 {
			t.Fatalf("%d messages unacknowledged", n)
		}
		r.wantCut(octets, 24)
	})
}

func TestQoS2DownIsExactlyOnceForASleeperWhereverTheConnectionBreaks_Case173(t *testing.T) {
	eachCut(t, func(t *testing.T, up bool, octets int) {
		r, d, conn := cutRig(t)
		d.subscribe("t", 2)
		d.sleep(600)
		conn.arm(up, octets)
		var got []string
		for _, p := range []string{"1", "2", "3"} {
			r.publish("t", p, 2)
		}
		for range 5 {
			got = append(got, d.wake("dev")...)
			time.Sleep(100 * time.Second)
		}
		if !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Fatalf("the device got %q", got)
		}
		if n, _ := r.broker.Pending("dev"); n != 0 {
			t.Fatalf("%d messages unacknowledged", n)
		}
		r.wantCut(octets, 24)
	})
}
