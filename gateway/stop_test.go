package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestStopSaysGoodbyeToDevicesAndBroker_Case20(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, nil)
		active, asleep, gone := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000"), r.device("10.0.1.3:5000")
		active.connectWill("active", "will/active", "gone")
		asleep.connectWill("asleep", "will/asleep", "gone")
		asleep.sleep(600)
		gone.connectWith(false, 60, "gone")
		gone.send("02 18")
		gone.want("goodbye", "02 18")
		began := time.Now()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > time.Second {
			t.Fatalf("Stop took %s", d)
		}
		active.want("DISCONNECT", "02 18")
		asleep.wantQuiet("its radio is off")
		gone.wantQuiet("it knows")
		r.wantWill("none", "will/active", "")
		r.wantWill("none", "will/asleep", "")
		if n := r.broker.Connected(); n != 0 {
			t.Fatalf("%d clients at the broker", n)
		}
		if durable {
			r.wantStored("what CleanSession=0 keeps", "sessions gone|S")
		}
		if err := r.gateway.Stop(time.Second); err != nil {
			t.Fatalf("Stop again: %v", err)
		}
	})
}

func TestStopWithThousandsOfSessions_Case20(t *testing.T) {
	n := scale(5000, 1000)
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
				c := newCrowd()
				var goodbyes atomic.Int64
				c.sent = func(b []byte, _ netip.AddrPort) {
					if string(b) == "\x02\x18" {
						goodbyes.Add(1)
					}
				}
				r := newRig(t, func(o *Options) { o.Listen, o.MaxSessions, o.Shards = c.listen, n, shards })
				for i := range n {
					c.sendMessage(t, source(i), sn12.Connect{CleanSession: i%2 == 0, ProtocolID: 1, Duration: 600, ClientID: clientID(i)})
					if i%100 == 99 {
						synctest.Wait()
					}
				}
				if active := r.state(session.StateActive); active != int64(n) {
					t.Fatalf("%d active, want %d", active, n)
				}
				began := time.Now()
				if err := r.gateway.Stop(4 * time.Second); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(began); d > 2*time.Second {
					t.Fatalf("Stop took %s", d)
				}
				if goodbyes.Load() != int64(n) {
					t.Fatalf("%d DISCONNECTs, want %d", goodbyes.Load(), n)
				}
				if n := r.broker.Connected(); n != 0 {
					t.Fatalf("%d clients at the broker", n)
				}
			})
		})
	}
}

func TestStopWhileTheBrokerIsDown_Case20(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		id := d.register("t")
		r.broker.Kill(true)
		synctest.Wait()
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
		if durable {
			d.wantMessage("in the store", sn12.PubAck{TopicID: id, MsgID: 1})
		}
		began := time.Now()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Fatalf("Stop took %s", d)
		}
		d.want("DISCONNECT all the same", "02 18")
		if durable {
			got := r.observe()
			r.broker.Start()
			r.stop()
			r.start()
			time.Sleep(time.Minute)
			got.want(t, "what was acknowledged is relayed by the next run", "dev t x 1")
			r.wantStored("and the session, CleanSession=1, is forgotten")
		}
	})
}

// A broker that neither answers nor closes holds Stop up by a second, not by the grace.
func TestStopWhileTheBrokerDoesNotAnswer_Case20(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial = broker.Dial })
		broker.Accept(t).Accept(false) // the gateway's own connection
		d := r.device("10.0.1.1:5000")
		for i := range 100 { // 64 dial, 36 wait
			d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: clientID(i)})
		}
		began := time.Now()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Fatalf("Stop took %s", d)
		}
	})
}

func TestNothingIsTakenWhileStopping_Case20(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial = broker.Dial })
		broker.Accept(t).Accept(false) // does not react to DISCONNECT: Stop takes a second
		d := r.device("10.0.1.1:5000")
		stopped := make(chan error)
		go func() { stopped <- r.gateway.Stop(4 * time.Second) }()
		synctest.Wait()
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("late")})
		d.wantQuiet("dropped: the device tries another gateway, or again")
		r.wantDropped(session.ReasonStopping, 1)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	})
}

func TestStartThatFailsLeavesNothingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := gatewaytest.New(1, nil)
		var opened []*gatewaytest.Conn
		var groups []*gatewaytest.Group
		_, err := Start(waiting(Options{
			ClientID: "own", Listeners: make([]listen.Options, 2), Session: sessionConfig(t), Log: zerolog.Nop(),
			Upstream: upstream.Options{Address: "broker:1883"},
			Listen: func(listen.Options) (listen.Listener, error) { // both in one group, which is refused
				conn, err := network.Listen(netip.MustParseAddrPort("10.0.0.1:0"))
				if err != nil {
					return listen.Listener{}, err
				}
				group, err := conn.JoinGroup(netip.MustParseAddrPort("239.1.1.1:1883"))
				opened, groups = append(opened, conn), append(groups, group)
				return listen.Listener{Conn: conn, Group: group}, err
			},
		}))
		if err == nil || len(opened) != 2 {
			t.Fatalf("Start: %v", err)
		}
		for i := range opened {
			if err := opened[i].Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("listener %d was left open", i)
			}
			if err := groups[i].Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("group %d was left open", i)
			}
		}
	})
}
