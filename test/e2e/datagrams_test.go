package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

const (
	floodDatagrams = 1_000_000
	floodWarmUp    = 200_000
	floodSources   = 300
	// floodBatch is how many datagrams go out before the sender waits until the gateway
	// has got through them. It fits into the receive buffer that Linux gives by default.
	floodBatch = 200
	floodLimit = time.Minute
)

// The limits of the gateway under the flood. They are low, so that the tables which
// devices may fill are full at the end of the warm-up: growth after that is a leak.
func floodSettings() testgateway.Settings {
	return testgateway.Settings{
		"session.max_sessions":      "200",
		"session.max_topics":        "20",
		"session.max_subscriptions": "5",
		"session.max_inflight":      "4",
		"sleep.max_messages":        "10",
		"sleep.max_bytes":           "4096",
		"log.level":                 `"info"`,
		"topics.predefined":         `[{id = 1, name = "flood/1"}, {id = 5, name = "flood/5"}]`,
	}
}

// mutator makes hostile datagrams out of the vectors of the codec.
type mutator struct {
	random  *rand.Rand
	vectors [][]byte
}

func newMutator(t *testing.T, seed uint64) *mutator {
	t.Helper()
	text, err := os.ReadFile("../../snpacket/sn12/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Hex string }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	m := &mutator{random: rand.New(rand.NewPCG(seed, seed))}
	for _, v := range list {
		b, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		m.vectors = append(m.vectors, b)
	}
	if len(m.vectors) < 100 {
		t.Fatalf("only %d vectors", len(m.vectors))
	}
	return m
}

// next appends the next datagram to b, which has to be empty.
func (m *mutator) next(b []byte) []byte {
	r := m.random
	if r.IntN(5) == 0 { // nothing but noise
		for range r.IntN(64) {
			b = append(b, byte(r.Uint32()))
		}
		return b
	}
	b = append(b, m.vectors[r.IntN(len(m.vectors))]...)
	if len(b) > 300 {
		b = b[:300+r.IntN(len(b)-300)]
		b = b[:min(len(b), 1400)]
	}
	switch r.IntN(8) {
	case 0: // as it is
	case 1: // cut off
		b = b[:r.IntN(len(b)+1)]
	case 2: // with something behind
		for range 1 + r.IntN(8) {
			b = append(b, byte(r.Uint32()))
		}
	case 3: // cut off, with a length that fits
		if b = b[:r.IntN(len(b)+1)]; len(b) > 0 && len(b) < 256 {
			b[0] = byte(len(b))
		}
	default: // some octets changed
		for range 1 + r.IntN(3) {
			if len(b) > 0 {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
		}
	}
	if len(b) > 1 && len(b) < 256 && r.IntN(2) == 0 { // whatever happened, the length is right
		b[0] = byte(len(b))
	}
	return b
}

// tally is what a flood consisted of.
type tally struct {
	framed   float64 // datagrams with a header that can be read, which the gateway counts by type
	connects float64 // of those, CONNECTs that may make a session
	pings    float64 // PINGREQs of the device connected before
}

func (n *tally) add(datagram []byte) {
	if sn12.IsEncapsulated(datagram) {
		var outer sn12.Encapsulated
		if outer.Parse(datagram) != nil || outer.Nested() || len(outer.NodeID) == 0 {
			return
		}
		datagram = outer.Inner
	}
	kind, _, err := snpacket.Split(datagram)
	if err != nil || sn12.Type(kind) == sn12.TypeEncapsulated {
		return
	}
	n.framed++
	if m, err := sn12.Parse(datagram); err == nil && m.Type() == sn12.TypeConnect {
		n.connects++
	}
}

// flood sends count datagrams from all sources, never more than the gateway can take.
// device is a device connected before: its PINGREQ, sent behind each batch, is answered
// when the gateway has read the batch.
func (m *mutator) flood(device *testgateway.Node, sources []net.Conn, count int, n *tally) {
	device.T.Helper()
	buf := make([]byte, 0, 2048)
	for i := range count {
		datagram := m.next(buf)
		n.add(datagram)
		// Nobody reads the answers: they are dropped when the source's buffer is full.
		if _, err := sources[m.random.IntN(len(sources))].Write(datagram); err != nil {
			device.T.Fatal(err)
		}
		if i%floodBatch == floodBatch-1 || i == count-1 {
			synchronise(device, n)
		}
	}
}

// synchronise waits for the device's PINGRESP. A PINGREQ that the system dropped in the
// flood is repeated, as every device would.
func synchronise(device *testgateway.Node, n *tally) {
	device.T.Helper()
	for range 10 {
		device.Send(sn12.PingReq{})
		n.pings++
		for {
			answer := device.Read(2 * time.Second)
			if answer == nil {
				break
			}
			if _, ok := answer.(sn12.PingResp); ok {
				return
			}
			device.T.Fatalf("the device connected before is sent %+v", answer)
		}
	}
	device.T.Fatal("the device connected before gets no PINGRESP any more")
}

// memory is what the gateway's process holds, in octets.
type memory struct{ resident, heap, stacks float64 }

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f MiB heap, %.1f MiB stacks", m.resident/(1<<20), m.heap/(1<<20), m.stacks/(1<<20))
}

func memoryOf(g *testgateway.Gateway) memory {
	m := g.Metrics()
	return memory{m["process_resident_memory_bytes"], m["go_memstats_heap_inuse_bytes"], m["go_memstats_stack_inuse_bytes"]}
}

// A million datagrams that are noise, broken, or valid and out of place. The gateway
// lives, serves the device that was there before, and holds no more memory than after
// the first fifth.
func TestMillionHostileDatagrams_Case8_158(t *testing.T) {
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := testgateway.Start(t, built.plain, broker.URL(), floodSettings())
	g.AwaitReady(200)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := newMutator(t, seed)
	device := testgateway.NewNode(t, g.Addr)
	device.MustConnect("the-device-connected-before", true, 60)
	var sources []net.Conn
	for range floodSources {
		conn, err := net.Dial("udp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		sources = append(sources, conn)
	}

	begin := time.Now()
	var sent tally
	m.flood(device, sources, floodWarmUp, &sent)
	before := memoryOf(g)
	m.flood(device, sources, floodDatagrams-floodWarmUp, &sent)
	after, took := memoryOf(g), time.Since(begin)

	end := g.Metrics()
	in := end.Sum("sngate_messages_total{", `direction="in"`) - end.Sum("sngate_messages_total{", `direction="in"`, `type="ENCAPSULATED"`)
	received := in - sent.pings - 1 // without the device's own
	dials := end.Sum("sngate_upstream_connects_total")
	t.Logf("%d datagrams in %v, %.0f of them with a readable header, of which the gateway received %.0f; the system dropped %.0f of all",
		floodDatagrams, took.Round(time.Millisecond), sent.framed, received, end.Sum("sngate_socket_drops_total"))
	t.Logf("dropped as malformed: %.0f; CONNECTs: %.0f; connects to the broker: %.0f", end[testgateway.DropsFor("malformed")], sent.connects, dials)
	t.Logf("after %d datagrams %v, at the end %v", floodWarmUp, before, after)
	if took > floodLimit {
		t.Errorf("the flood took %v, more than %v", took, floodLimit)
	}
	if received < sent.framed/2 || received > sent.framed {
		t.Errorf("the gateway received %.0f of %.0f readable datagrams: the test says little", received, sent.framed)
	}
	if dials > sent.connects+2 { // the gateway's own connection and the device's
		t.Errorf("%.0f connects to the broker by %.0f CONNECTs", dials, sent.connects)
	}
	const slack = 8 << 20
	if after.resident > before.resident*1.1+slack || after.heap > before.heap*1.1+slack || after.stacks > before.stacks*1.1+slack {
		t.Error("memory has grown")
	}
	if status, body := g.Get("/healthz"); status != 200 {
		t.Errorf("/healthz answers %d %q", status, body)
	}
	late := testgateway.NewNode(t, g.Addr)
	late.Send(sn12.PingReq{})
	testgateway.Want[sn12.Disconnect](late)
}
