package gateway

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/snpacket/sn12"
	"sngate/upstream"
)

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// With real sockets shards wait in event loops, unless that is switched off; devices are
// answered either way, and nothing is left open.
func TestShardsWaitInEventLoopsWhereTheyCan(t *testing.T) {
	for name, off := range map[string]bool{"loop": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			before := descriptors(t)
			g, err := Start(Options{
				ID: 7, ClientID: "sngate-test-7", Shards: 2, MaxSessions: 10, Session: sessionConfig(t), NoEventLoop: off, Log: zerolog.Nop(),
				Listeners: []listen.Options{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0"}},
				Upstream:  upstream.Options{Address: "127.0.0.1:1"}, // nobody is there
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range g.shards {
				if waits := s.loop != nil; waits == off {
					t.Errorf("shard %d has an event loop: %v", s.index, waits)
				}
			}
			for _, at := range g.Addrs() {
				device, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
				if err != nil {
					t.Fatal(err)
				}
				ping, _ := sn12.PingReq{}.Append(nil)
				if _, err := device.Write(ping); err != nil {
					t.Fatal(err)
				}
				var answer [8]byte
				_ = device.SetReadDeadline(time.Now().Add(20 * time.Second))
				if n, err := device.Read(answer[:]); err != nil || n < 2 || sn12.Type(answer[1]) != sn12.TypeDisconnect {
					t.Errorf("%v: % x, %v; want DISCONNECT", at, answer[:n], err)
				}
				device.Close()
			}
			if err := g.Stop(time.Second); err != nil {
				t.Error(err)
			}
			if after := descriptors(t); after > before+1 { // the poller of the runtime may be new
				t.Errorf("%d descriptors, %d before", after, before)
			}
		})
	}
}
