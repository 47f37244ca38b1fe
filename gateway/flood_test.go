package gateway

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Nobody but a CONNECT costs anything: no dial, no session, no memory for the source,
// no batch for the store, and answers only within their rate.
func TestFloodOfStrangers_Case158(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		c := newCrowd()
		var sent atomic.Int64
		c.sent = func([]byte, netip.AddrPort) { sent.Add(1) }
		r := newRig(t, func(o *Options) { o.Listen = c.listen })
		random := rand.New(rand.NewPCG(158, 0))
		datagrams := [][]byte{
			{2, 0x16}, {5, 0x16, 'd', 'e', 'v'}, {2, 0x18}, {8, 0x0c, 0x20, 0, 1, 0, 1, 'x'}, {6, 0x12, 0, 0, 1, 'a'},
			{6, 4, 4, 1, 0, 60}, {7, 4, 4, 9, 0, 60, 'x'}, {5, 0xfe, 0, 1, 2, 2, 0x16}, {3, 5, 0}, {},
		}
		flood := func(n int) {
			for i := range n {
				b := datagrams[random.IntN(len(datagrams))]
				if random.IntN(4) == 0 {
					b = binary.BigEndian.AppendUint64(nil, random.Uint64())
					b[0], b[1] = 8, b[1]|8 // not CONNECT, 0x04
				}
				c.send(source(random.IntN(10_000)), b)
				if i%1000 == 999 {
					synctest.Wait()
				}
			}
		}
		submitted := r.submitted()
		flood(20_000) // what grows once has grown
		before, goroutines := heap(), runtime.NumGoroutine()
		flood(100_000)
		if after := heap(); after > before+256<<10 {
			t.Fatalf("the heap has grown from %d to %d octets", before, after)
		}
		if n := runtime.NumGoroutine(); n > goroutines+strayGoroutines {
			t.Fatalf("%d goroutines, %d before", n, goroutines)
		}
		r.wantSessions("none", 0)
		if n := r.gateway.dialer.Stats().DialsStarted.Load(); n != 1 {
			t.Fatalf("%d dials, want only the gateway's own", n)
		}
		// The reader and the shard have a rate each.
		if n := sent.Load(); n < replyBurst || n > 2*replyBurst+farewellBurst {
			t.Fatalf("%d answers", n)
		}
		earlier := sent.Load()
		time.Sleep(10 * time.Second)
		flood(100_000)
		if n := sent.Load() - earlier; n > 2*replyBurst+farewellBurst {
			t.Fatalf("%d answers in the next round", n)
		}
		r.wantSubmitted("strangers", submitted, 0)
		if durable {
			r.wantStored("nothing")
		}
	})
}

// CONNECTs with made-up ids: at most so many dials at once and so many sessions, the store
// hears of those alone, and who is connected does not notice.
func TestFloodOfConnects_Case159(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		c := newCrowd()
		var congested, accepted, pongs, dialling, most atomic.Int64
		c.sent = func(b []byte, to netip.AddrPort) {
			switch m, _ := sn12.Parse(b); m {
			case sn12.ConnAck{}:
				accepted.Add(1)
			case sn12.ConnAck{ReturnCode: sn12.RejectedCongestion}:
				congested.Add(1)
			case sn12.PingResp{}:
				if to != source(0) {
					t.Errorf("PINGRESP for %s", to)
				}
				pongs.Add(1)
			}
		}
		const flood, limit = 20_000, 500
		r := newRig(t, func(o *Options) {
			o.Listen, o.MaxSessions = c.listen, limit
			dial := o.Upstream.Dial
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				most.Store(max(most.Load(), dialling.Add(1)))
				defer dialling.Add(-1)
				time.Sleep(50 * time.Millisecond)
				return dial(ctx, network, address)
			}
		})
		submitted := r.submitted()
		c.sendMessage(t, source(0), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 3600, ClientID: []byte("steady")})
		time.Sleep(time.Second)
		for i := range flood {
			c.sendMessage(t, source(1+i), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: clientID(i)})
			if i%100 == 0 {
				c.sendMessage(t, source(0), sn12.PingReq{})
				time.Sleep(10 * time.Millisecond)
				if n := int64(i/100 + 1); pongs.Load() != n {
					t.Fatalf("%d PINGRESPs of %d", pongs.Load(), n)
				}
			}
		}
		time.Sleep(time.Second)
		if n := most.Load(); n > 64 {
			t.Fatalf("%d dials at once", n)
		}
		r.wantSessions("the limit", limit)
		if a := accepted.Load(); a != limit {
			t.Fatalf("%d accepted, want %d", a, limit)
		}
		if refused := r.dropped(session.ReasonMaxSessions); refused != flood-limit+1 || congested.Load() < repliesPerSecond {
			t.Fatalf("%d refused, %d of them answered", refused, congested.Load())
		}
		r.wantSubmitted("CONNECTs that were let in", submitted, limit)
		if durable {
			if n := len(r.store.Keys()); n != limit+1 {
				t.Fatalf("%d records in the store, want one for each session and one of the gateway", n)
			}
		}
		submitted = r.submitted()
		time.Sleep(91 * time.Second)
		r.wantSessions("the flood has dried up", 1)
		r.wantSubmitted("sessions that have ended", submitted, 2*limit)
		if durable {
			r.wantStored("the flood has dried up", "sessions steady|S")
		}
	})
}

// Each gateway takes the DISCONNECT of the other for that of a device that wants an
// answer. What goes on between them is little.
func TestTwoGatewaysDoNotAnswerEachOtherForEver(t *testing.T) {
	for _, latency := range []time.Duration{0, 10 * time.Millisecond, 200 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newCrowd(), newCrowd()
				b.local = netip.MustParseAddrPort("10.0.0.2:1883")
				var count atomic.Int64
				connect := func(from, to *crowd) { // a line that takes latency
					type sent struct {
						at time.Time
						d  []byte
					}
					line := make(chan sent, 10_000)
					from.sent = func(d []byte, _ netip.AddrPort) {
						count.Add(1)
						line <- sent{time.Now().Add(latency), append([]byte(nil), d...)}
					}
					go func() {
						for {
							var s sent
							select {
							case s = <-line:
							case <-from.closed:
								return
							}
							select {
							case <-time.After(time.Until(s.at)):
								to.send(from.local, s.d)
							case <-from.closed:
								return
							}
						}
					}()
				}
				connect(a, b)
				connect(b, a)
				var opts Options
				newRig(t, func(o *Options) { o.Listen = a.listen; opts = *o })
				opts.Listen, opts.ClientID, opts.Log = b.listen, "other", zerolog.Nop()
				second, err := Start(opts)
				if err != nil {
					t.Fatal(err)
				}
				defer second.Stop(4 * time.Second)
				for range 1000 {
					a.send(b.local, []byte{2, 0x16}) // forged: as if the other gateway had sent it
				}
				time.Sleep(time.Minute)
				if n := count.Load(); n > 1000+2*farewellBurst+2*60*farewellsPerSecond {
					t.Fatalf("%d datagrams in the first minute", n)
				}
				count.Store(0)
				time.Sleep(5 * time.Minute)
				if n := count.Load(); n > 2*(300+1)*farewellsPerSecond {
					t.Fatalf("%d datagrams in the next five minutes", n)
				}
			})
		})
	}
}
