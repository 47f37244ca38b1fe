package e2e

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/rs/zerolog"

	"sngate/conf"
	sngateway "sngate/gateway"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
	"sngate/upstream"
)

const (
	footprintDevices = 1000
	maxDeviceOctets  = 8 << 10
)

// The gateway runs in this process, so that the garbage can be collected before memory
// is measured. The devices are here too: their sockets are open and have been used
// before the first measurement, and one goroutine speaks for all of them, so that what
// is added between the measurements is the gateway's.
func TestFootprintOfIdleDevicesIsAtMost8KiBAndOneGoroutine(t *testing.T) {
	broker := mosquitto.Start(t, mosquitto.Options{})
	g, err := sngateway.Start(defaultOptions(t, broker.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(testgateway.StopLimit); err != nil {
			t.Error(err)
		}
	})
	testgateway.Eventually(t, "the gateway's own connection is up", g.BrokerReady)
	devices := openNodes(t, g.Addrs()[0].String(), footprintDevices)

	before := measure()
	connectAll(devices)
	after := measure()

	heap := (after.heap - before.heap) / footprintDevices
	stacks := (after.stacks - before.stacks) / footprintDevices
	goroutines := after.goroutines - before.goroutines
	t.Logf("%d idle connected devices: %d octets of heap and %d of stacks each, %d goroutines in all; the process: %+v",
		footprintDevices, heap, stacks, goroutines, after)
	if heap+stacks > maxDeviceOctets {
		t.Errorf("a device costs %d octets, more than %d", heap+stacks, maxDeviceOctets)
	}
	// Those that connected to the broker may just be ending.
	testgateway.Eventually(t, "each device costs at most one goroutine", func() bool {
		return runtime.NumGoroutine()-before.goroutines <= footprintDevices
	})
	if heap <= 0 || after.heap < before.heap {
		t.Errorf("the measurement makes no sense: %+v, then %+v", before, after)
	}
	for _, d := range devices {
		d.Ping() // all are served still
	}
}

// The same seen from outside, on the program as it is shipped: what an operator's
// monitoring shows, garbage and the memory of the allocator included.
func TestFootprintOfTheProcessWithIdleDevices(t *testing.T) {
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := testgateway.Start(t, built.plain, broker.URL(), testgateway.Settings{"log.level": `"info"`})
	g.AwaitReady(200)
	devices := openNodes(t, g.Addr, footprintDevices)
	before := g.Metrics()
	connectAll(devices)
	g.Await(testgateway.SessionsIn("active"), footprintDevices)
	g.Await("sngate_upstream_connections", footprintDevices+1)
	after := g.Metrics()
	added := func(name string) float64 { return after[name] - before[name] }
	t.Logf("%d idle connected devices add to the process: %.1f MiB resident (now %.1f), %.1f MiB heap in use, %.1f MiB stacks, %.0f goroutines, %.0f descriptors",
		footprintDevices, added("process_resident_memory_bytes")/(1<<20), after["process_resident_memory_bytes"]/(1<<20),
		added("go_memstats_heap_inuse_bytes")/(1<<20), added("go_memstats_stack_inuse_bytes")/(1<<20),
		added("go_goroutines"), added("process_open_fds"))
	if n := added("go_goroutines"); n > footprintDevices+10 { // those of a scrape come and go
		t.Errorf("%d devices cost %.0f goroutines, more than one each", footprintDevices, n)
	}
	// Garbage up to the size of what lives (GOGC=100) may be among it.
	if n := added("process_resident_memory_bytes") / footprintDevices; n > 3*maxDeviceOctets {
		t.Errorf("a device adds %.0f octets to the resident memory, more than %d", n, 3*maxDeviceOctets)
	}
}

// footprint is what the process holds after the garbage is collected.
type footprint struct{ heap, stacks, goroutines int }

func measure() footprint {
	var m runtime.MemStats
	// Twice: what the first collection takes out of pools the second one frees.
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return footprint{int(m.HeapAlloc), int(m.StackInuse), runtime.NumGoroutine()}
}

// openNodes makes devices that have exchanged one message each and share one buffer.
func openNodes(t *testing.T, addr string, count int) []*testgateway.Node {
	t.Helper()
	buf := make([]byte, 2048)
	list := make([]*testgateway.Node, count)
	for i := range list {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		list[i] = &testgateway.Node{T: t, Conn: conn, Buf: buf}
		list[i].Send(sn12.PingReq{})
		testgateway.Want[sn12.Disconnect](list[i])
	}
	return list
}

func connectAll(devices []*testgateway.Node) {
	for i, d := range devices {
		d.MustConnect(fmt.Sprintf("idle-device-%04d", i), true, 3600)
	}
}

// defaultOptions are those of the default configuration, but for the addresses.
func defaultOptions(t *testing.T, broker string) sngateway.Options {
	t.Helper()
	cfg, _, err := conf.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Session
	return sngateway.Options{
		ID:          cfg.Gateway.ID,
		ClientID:    "sngate-footprint",
		Listeners:   []listen.Options{{Address: "127.0.0.1:0"}},
		MaxSessions: s.MaxSessions,
		Session: &session.Config{
			RetryInterval: s.RetryInterval, RetryCount: s.RetryCount, BrokerWait: s.Hold,
			ToleranceShort: s.ToleranceShort, ToleranceLong: s.ToleranceLong,
			IdleProbe: s.IdleProbe, CongestionWait: s.CongestionWait, BarrierTimeout: cfg.Sleep.BarrierTimeout,
			MaxPacketSize: s.MaxPacketSize, MaxClientID: s.MaxClientID, MaxInFlight: s.MaxInflight,
			MaxTopics: s.MaxTopics, MaxSubscriptions: s.MaxSubscriptions,
			MaxMessages: cfg.Sleep.MaxMessages, MaxBytes: cfg.Sleep.MaxBytes,
		},
		Upstream: upstream.Options{
			Address: broker, ConnectTimeout: cfg.Broker.ConnectTimeout, MaxDials: cfg.Broker.MaxDials,
			MaxWaiting: s.MaxSessions, PingInterval: cfg.Broker.PingInterval,
			ReconnectMin: cfg.Broker.ReconnectMin, ReconnectMax: cfg.Broker.ReconnectMax,
			MaxPayload: s.MaxPacketSize, MaxInFlight: s.MaxInflight + 1,
		},
		OpsAddress: "127.0.0.1:0",
		Log:        zerolog.Nop(),
	}
}
