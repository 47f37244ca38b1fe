package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// TestStrangersWithWillsAndNamesLeaveRoom: two thousand wills of 120,000 octets, then a
// hundred devices with a thousand names of 256 octets each. The memory stays bounded, the
// store does not fill, and who was here before gets what it asks for.
func TestStrangersWithWillsAndNamesLeaveRoom(t *testing.T) {
	const limit = 16 << 20
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{
		"gateway.memory_limit": fmt.Sprint(limit), "store.max_bytes": "67108864", "spool.total_bytes": "8388608",
	})
	honest := testgateway.NewNode(t, g.Addr)
	honest.MustConnect("honest", false, 65535)
	honest.Register("honest/1")

	long := []byte(strings.Repeat("w", 60000))
	crowd(20, func(worker int) {
		for i := range 100 {
			n := testgateway.NewNode(t, g.Addr)
			n.Send(sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 65535, ClientID: fmt.Appendf(nil, "will-%d-%d", worker, i)})
			testgateway.Want[sn12.WillTopicReq](n)
			n.Send(sn12.WillTopic{Topic: long})
			if code := testgateway.Want[sn12.ConnAck](n).ReturnCode; code != sn12.RejectedNotSupported {
				t.Errorf("a will topic of 60,000 octets gets CONNACK %v", code)
			}
			n.Conn.Close()
		}
	})
	var refused sync.Map
	crowd(100, func(worker int) {
		n := testgateway.NewNode(t, g.Addr)
		n.MustConnect(fmt.Sprintf("names-%d", worker), true, 65535)
		for i := range 1000 {
			name := fmt.Sprintf("%03d/%04d/", worker, i)
			n.Send(sn12.Register{MsgID: uint16(i + 1), TopicName: []byte(name + strings.Repeat("n", 256-len(name)))})
			if testgateway.Want[sn12.RegAck](n).ReturnCode != sn12.Accepted {
				refused.Store(worker, true)
				return
			}
		}
	})
	if used := g.Value("sngate_memory_used_bytes"); used > limit {
		t.Errorf("%v octets are counted of %v", used, limit)
	}
	if n := g.Value("sngate_store_healthy"); n != 1 {
		t.Error("the store is full")
	}
	rss := g.Value("process_resident_memory_bytes")
	if t.Logf("%.0f MiB resident", rss/(1<<20)); rss > attackResident {
		t.Errorf("%.0f octets resident, want at most %d", rss, attackResident)
	}
	if _, any := refused.Load(0); !any {
		t.Error("nobody was refused")
	}
	for i := range 20 {
		honest.Register(fmt.Sprintf("honest/more/%d", i))
		honest.Subscribe(fmt.Sprintf("honest/in/%d", i), 1)
	}
}

// crowd runs f for each of n workers at once.
func crowd(n int, f func(worker int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
