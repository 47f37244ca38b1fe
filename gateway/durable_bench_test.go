package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/store/bolt"
	"sngate/store/storetest"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// What the store costs, in real time: the whole gateway with a file, between devices and a
// broker that answer at once. Each benchmark is run in memory first; with the file it
// reports how many times slower that is, as "x-memory".

// bench is a gateway with devices that wait for each answer.
type bench struct {
	tb      testing.TB
	crowd   *crowd
	broker  *ackBroker
	gateway *Gateway
	answers []chan []byte // by device
}

// ackBroker acknowledges what clients send, and sends them what they have not asked for:
// the least that a broker can cost.
type ackBroker struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	clients map[string]*ackClient
}

type ackClient struct {
	conn  net.Conn
	acked chan uint16 // packet identifiers of its PUBACKs and PUBCOMPs
}

// answer sends an acknowledgement, which is a first octet and a packet identifier.
func (c *ackClient) answer(first byte, id uint16) error {
	_, err := c.conn.Write([]byte{first, 2, byte(id >> 8), byte(id)})
	return err
}

func (k *ackBroker) dial(context.Context, string, string) (net.Conn, error) {
	near, far := upstreamtest.Pipe(0)
	k.wg.Go(func() { k.serve(&ackClient{conn: far, acked: make(chan uint16, 64)}) })
	return near, nil
}

func (k *ackBroker) serve(c *ackClient) {
	defer c.conn.Close()
	for {
		p, err := packets.ReadPacket(c.conn)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			k.mu.Lock()
			k.clients[p.ClientIdentifier] = c
			k.mu.Unlock()
			_, err = c.conn.Write([]byte{0x20, 2, 0, 0})
		case *packets.PublishPacket:
			if p.Qos > 0 {
				err = c.answer(0x30+p.Qos<<4, p.MessageID) // PUBACK or PUBREC
			}
		case *packets.PubrelPacket:
			err = c.answer(0x70, p.MessageID)
		case *packets.PubrecPacket:
			err = c.answer(0x62, p.MessageID)
		case *packets.PubcompPacket:
			c.acked <- p.MessageID
		case *packets.SubscribePacket:
			_, err = c.conn.Write([]byte{0x90, 3, byte(p.MessageID >> 8), byte(p.MessageID), p.Qoss[0]})
		case *packets.UnsubscribePacket:
			err = c.answer(0xB0, p.MessageID)
		case *packets.PubackPacket:
			c.acked <- p.MessageID
		case *packets.PingreqPacket:
			_, err = c.conn.Write([]byte{0xD0, 0})
		case *packets.DisconnectPacket:
			return
		}
		if err != nil {
			return
		}
	}
}

func (k *ackBroker) client(id string) *ackClient {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clients[id]
}

// publish sends a QoS 1 message with a packet identifier.
func (c *ackClient) publish(topic string, payload []byte, id uint16) error {
	return c.publishQoS(topic, payload, id, 1)
}

func (c *ackClient) publishQoS(topic string, payload []byte, id uint16, qos byte) error {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.MessageID = topic, payload, qos, id
	return p.Write(c.conn)
}

func newBench(tb testing.TB, devices int, s store.Store) *bench {
	tb.Helper()
	return newBenchOn(tb, runtime.GOMAXPROCS(0), devices, s)
}

func newBenchOn(tb testing.TB, shards, devices int, s store.Store) *bench {
	tb.Helper()
	n := &bench{tb: tb, crowd: newCrowd(), broker: &ackBroker{clients: make(map[string]*ackClient)}}
	for range devices {
		n.answers = append(n.answers, make(chan []byte, 64))
	}
	n.crowd.sent = func(b []byte, to netip.AddrPort) {
		a := to.Addr().As4()
		n.answers[binary.BigEndian.Uint32(a[:])-0x0B000000] <- bytes.Clone(b)
	}
	c := sessionConfig(tb)
	c.Spool, c.SpoolMessages, c.SpoolBytes, c.SpoolAge = true, 1000, 1<<20, 24*time.Hour
	var err error
	n.gateway, err = Start(waiting(Options{
		ClientID: "own", Shards: shards, MaxSessions: 1 << 20, Session: c, Store: s, SpoolTotalBytes: 64 << 20,
		Listeners: []listen.Options{{Address: "10.0.0.1:1883"}}, Listen: n.crowd.listen,
		Upstream: upstream.Options{Address: "broker:1883", Dial: n.broker.dial}, Log: zerolog.New(io.Discard),
	}))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func (n *bench) close() {
	if err := n.gateway.Stop(10 * time.Second); err != nil {
		n.tb.Error(err)
	}
	n.broker.wg.Wait()
}

func (n *bench) send(device int, m sn12.Message) { n.crowd.sendMessage(n.tb, source(device), m) }

// next returns the next datagram for a device. That one never comes would be a fault of
// the gateway, which the time limit of the test run ends.
func (n *bench) next(device int) sn12.Message { return parse(n.tb, <-n.answers[device]) }

// ask sends m and returns the answer, which has to be an A.
func ask[A sn12.Message](n *bench, device int, m sn12.Message) A {
	n.send(device, m)
	got := n.next(device)
	a, ok := got.(A)
	if !ok {
		n.tb.Errorf("%+v in answer to %+v", got, m)
	}
	return a
}

func (n *bench) connect(device int, id string) {
	m := sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 3600, ClientID: []byte(id)}
	if a := ask[sn12.ConnAck](n, device, m); a.ReturnCode != sn12.Accepted {
		n.tb.Errorf("CONNECT: %v", a.ReturnCode)
	}
}

// measure has each device do its i-th step, all at once, for as long as the benchmark
// lasts; an operation is one step of one device.
func (n *bench) measure(b *testing.B, step func(device, i int)) {
	tokens := make(chan struct{})
	var wg sync.WaitGroup
	for device := range n.answers {
		wg.Go(func() {
			i := 0
			for range tokens {
				step(device, i)
				i++
			}
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		tokens <- struct{}{}
	}
	close(tokens)
	wg.Wait()
}

func openFile(b *testing.B) store.Store {
	b.Helper()
	s, _, err := bolt.Open(filepath.Join(b.TempDir(), "sngate.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// withAndWithoutFile runs a benchmark in memory and with a file, for one device and for
// many at once. run reports how many events an operation is.
func withAndWithoutFile(b *testing.B, run func(b *testing.B, n *bench) (events float64)) {
	for _, devices := range []int{1, 16, 256} {
		var inMemory float64 // events per second
		for _, name := range []string{"memory", "file"} {
			b.Run(fmt.Sprintf("devices=%d/%s", devices, name), func(b *testing.B) {
				s := store.InMemory()
				if name == "file" {
					s = openFile(b)
				}
				n := newBench(b, devices, s)
				before := s.Stats().Commits
				events := run(b, n) * float64(b.N)
				rate := events / b.Elapsed().Seconds()
				b.ReportMetric(rate, "events/s")
				if name == "memory" {
					inMemory = rate
				} else {
					b.ReportMetric(inMemory/rate, "x-memory")
					b.ReportMetric(events/float64(max(s.Stats().Commits-before, 1)), "events/commit")
				}
				n.close()
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

func BenchmarkRegister(b *testing.B) {
	withAndWithoutFile(b, func(b *testing.B, n *bench) float64 {
		n.measure(b, func(device, i int) {
			if i%500 == 0 { // the topic ids of a device are bounded
				n.connect(device, fmt.Sprintf("dev-%d-%d", device, i))
			}
			a := ask[sn12.RegAck](n, device, sn12.Register{MsgID: uint16(i), TopicName: fmt.Appendf(nil, "site/topic/%d", i)})
			if a.ReturnCode != sn12.Accepted {
				b.Errorf("REGISTER: %v", a.ReturnCode)
			}
		})
		return 1
	})
}

// An operation is ten messages of the broker for a sleeping device, which are held, and
// its wake, in which it acknowledges them.
func BenchmarkHeldQoS1(b *testing.B) {
	const messages = 10
	payload := bytes.Repeat([]byte("x"), 100)
	withAndWithoutFile(b, func(b *testing.B, n *bench) float64 {
		for device := range n.answers {
			n.connect(device, fmt.Sprint("dev-", device))
			ask[sn12.SubAck](n, device, sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: fmt.Append(nil, "t/", device)})
			ask[sn12.Disconnect](n, device, sn12.Disconnect{HasDuration: true, Duration: 3600})
		}
		n.measure(b, func(device, _ int) {
			c := n.broker.client(fmt.Sprint("dev-", device))
			for id := range uint16(messages) {
				if err := c.publish(fmt.Sprint("t/", device), payload, id+1); err != nil {
					b.Error(err)
				}
			}
			// SUBACK comes behind the messages: they are held now.
			ask[sn12.SubAck](n, device, sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: fmt.Append(nil, "t/", device)})
			if n.gateway.opts.Store.Durable() {
				c.wantAcked(messages) // and stored
				n.wake(device, messages)
			} else {
				n.wake(device, messages)
				c.wantAcked(messages)
			}
		})
		return messages
	})
}

func (c *ackClient) wantAcked(n int) {
	for range n {
		<-c.acked
	}
}

// wake has a device wake, and acknowledge the messages that it gets.
func (n *bench) wake(device, messages int) {
	n.send(device, sn12.PingReq{ClientID: fmt.Append(nil, "dev-", device)})
	for {
		switch m := n.next(device).(type) {
		case sn12.Publish:
			n.send(device, sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
			messages--
		case sn12.PingResp:
			if messages != 0 {
				n.tb.Errorf("%d messages are missing at the end of a wake", messages)
			}
			return
		default:
			n.tb.Errorf("%+v in a wake", m)
			return
		}
	}
}

func publishShort(msgID uint16) sn12.Publish {
	return sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: msgID, Data: []byte("21.5")}
}

// BenchmarkRelayWithStore is a QoS 1 PUBLISH that is relayed while the broker answers,
// which touches no disk. Both gateways work by turns, as the two do not differ by more than
// what else the machine does from one second to the next.
func BenchmarkRelayWithStore(b *testing.B) {
	const each = 10 // messages of a device per turn
	for _, devices := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			file := openFile(b)
			var took [2]time.Duration
			gateways := [2]*bench{newBench(b, devices, nil), newBench(b, devices, file)}
			for _, n := range gateways {
				for device := range devices {
					n.connect(device, fmt.Sprint("dev-", device))
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				for k, n := range gateways {
					began := time.Now()
					n.relay(each)
					took[k] += time.Since(began)
				}
			}
			messages := float64(b.N * each * devices)
			b.ReportMetric(messages/took[0].Seconds(), "memory-events/s")
			b.ReportMetric(messages/took[1].Seconds(), "file-events/s")
			b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "x-memory")
			for _, n := range gateways {
				n.close()
			}
			if err := file.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// relay has all devices publish at once, each one message after the other.
func (n *bench) relay(each int) {
	var wg sync.WaitGroup
	for device := range n.answers {
		wg.Go(func() {
			for i := range each {
				ask[sn12.PubAck](n, device, publishShort(uint16(i+1)))
			}
		})
	}
	wg.Wait()
}

// Relaying costs the same with a store and without: no operation of the store, and no
// allocation more.
func TestRelayingDoesNotTouchTheStore(t *testing.T) {
	const rounds = 2000
	relay := func(s store.Store, submitted func() uint64) (allocations float64) {
		n := newBenchOn(t, 1, 1, s) // whichever shard has a device, it costs the same
		defer n.close()
		n.connect(0, "dev")
		for i := range 100 { // buffers grow
			ask[sn12.PubAck](n, 0, publishShort(uint16(i+1)))
		}
		var before, after runtime.MemStats
		stored := submitted()
		runtime.ReadMemStats(&before)
		for i := range rounds {
			ask[sn12.PubAck](n, 0, publishShort(uint16(i+1000)))
			n.send(0, sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("21.5")})
			ask[sn12.PingResp](n, 0, sn12.PingReq{})
		}
		runtime.ReadMemStats(&after)
		if got := submitted(); got != stored {
			t.Errorf("%d batches for the store", got-stored)
		}
		return float64(after.Mallocs-before.Mallocs) / rounds
	}
	s := storetest.New()
	// The least of some trials: what else goes on in the process allocates as well, by time and
	// not by messages.
	without, with := math.Inf(1), math.Inf(1)
	for range 3 {
		without = min(without, relay(nil, func() uint64 { return 0 }))
		with = min(with, relay(s, s.Submitted))
	}
	t.Logf("%.2f allocations per round without a store, %.2f with one", without, with)
	if with > without+0.9 { // one for each round would be 1
		t.Errorf("%.2f allocations per round of relaying with a store, %.2f without", with, without)
	}
}
