package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/internal/eventloop/looptest"
	"sngate/snpacket/sn12"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// What a shard is promised of its sockets and connections is the same however it waits for them:
// these tests run for goroutines that read and for event loops, with sockets of the system and
// with simulated ones, in real time. What it is promised of one connection, at greater length, is
// in upstream/dial, and what of one socket in gateway/listen.

// site is a gateway with one listener, and a broker.
type site struct {
	t       *testing.T
	broker  *upstreamtest.Broker
	gateway *Gateway
	open    func() port
	topics  chan string // of what the broker is published
}

// port is the socket of a device.
type port interface {
	write(b []byte)
	read(within time.Duration) ([]byte, bool)
}

// everyWay runs f for each way in which a shard may wait.
func everyWay(t *testing.T, f func(s *site)) {
	for _, way := range []struct {
		name              string
		simulated, looped bool
	}{{"goroutines", false, false}, {"loop", false, true}, {"simulated, goroutines", true, false}, {"simulated loop", true, true}} {
		t.Run(way.name, func(t *testing.T) {
			s := &site{t: t, broker: upstreamtest.NewBroker(), topics: make(chan string, 1000)}
			s.broker.Observe = func(_ string, m upstreamtest.Message) { s.topics <- m.Topic + " " + string(m.Payload) }
			t.Cleanup(s.broker.Close)
			o := Options{
				ClientID: "sngate-test-7", MaxSessions: 1000, Session: sessionConfig(t), Log: zerolog.Nop(), NoEventLoop: !way.looped,
				Listeners: []listen.Options{{Address: "127.0.0.1:0"}},
			}
			if way.simulated {
				s.simulate(&o)
			} else {
				s.connectBySystem(&o)
			}
			var err error
			if s.gateway, err = Start(o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.gateway.Stop(5 * time.Second); err != nil {
					t.Error(err)
				}
			})
			// Other systems have no loop for sockets of theirs.
			if looped := s.gateway.shards[0].loop != nil; looped != way.looped && (way.simulated || runtime.GOOS == "linux") {
				t.Fatalf("the shard waits in a loop: %v", looped)
			}
			f(s)
		})
	}
}

func (s *site) simulate(o *Options) {
	network := gatewaytest.New(1, nil)
	at := netip.MustParseAddrPort("10.0.0.1:1883")
	o.NewEventLoop, o.Upstream = looptest.New, upstream.Options{Address: "broker:1883", Dial: s.broker.Dial}
	o.Listen = func(listen.Options) (listen.Listener, error) {
		conn, err := network.Listen(at)
		return listen.Listener{Conn: conn, ReceiveBuffer: 1}, err
	}
	s.open = func() port {
		conn, err := network.Listen(netip.MustParseAddrPort("10.0.1.1:0"))
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		return simulatedPort{s.t, conn, at}
	}
}

type simulatedPort struct {
	t    *testing.T
	conn *gatewaytest.Conn
	to   netip.AddrPort
}

func (p simulatedPort) write(b []byte) {
	if _, err := p.conn.WriteTo(b, p.to); err != nil {
		p.t.Fatal(err)
	}
}

func (p simulatedPort) read(within time.Duration) ([]byte, bool) {
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		if n, _, ok := p.conn.TryReadFrom(buf); ok {
			return buf[:n], true
		}
		if time.Now().After(end) {
			return nil, false
		}
	}
}

// connectBySystem puts the broker behind TCP.
func (s *site) connectBySystem(o *Options) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	o.Upstream = upstream.Options{Address: l.Addr().String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := s.broker.Dial(context.Background(), "", "")
			if err != nil {
				near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					near.Close()
					far.Close()
				}()
			}
		}
	}()
	s.open = func() port {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.gateway.Addrs()[0]))
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		return systemPort{s.t, conn}
	}
}

type systemPort struct {
	t    *testing.T
	conn *net.UDPConn
}

func (p systemPort) write(b []byte) {
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p systemPort) read(within time.Duration) ([]byte, bool) {
	buf := make([]byte, 1<<16)
	_ = p.conn.SetReadDeadline(time.Now().Add(within))
	n, err := p.conn.Read(buf)
	return buf[:n], err == nil
}

const patience = 20 * time.Second

func (s *site) send(p port, m sn12.Message) {
	s.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p.write(b)
}

func (s *site) want(p port, why string, want sn12.Message) {
	s.t.Helper()
	b, ok := p.read(patience)
	if !ok {
		s.t.Fatalf("%s: nothing comes", why)
	}
	wanted, err := want.Append(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if !slices.Equal(b, wanted) {
		s.t.Fatalf("%s: % x, want % x", why, b, wanted)
	}
}

func (s *site) connect(id string) port {
	s.t.Helper()
	p := s.open()
	s.send(p, sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: []byte(id)})
	s.want(p, "CONNECT is accepted", sn12.ConnAck{})
	return p
}

// hold keeps the shard busy until release.
func (s *site) hold() (release func()) {
	held, done := make(chan struct{}), make(chan struct{})
	s.gateway.shards[0].queues.post(func() { close(held); <-done })
	<-held
	return func() { close(done) }
}

// numbered is a PUBLISH of QoS 0.
func numbered(i int) sn12.Publish {
	return sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: binary.BigEndian.AppendUint16(nil, uint16(i))}
}

// Datagrams of a device come in their order, whether they come one by one or all at once, and so
// do the packets of a connection.
func TestShardIsGivenAllInOrder(t *testing.T) {
	everyWay(t, func(s *site) {
		const messages = 200
		p := s.connect("dev")
		s.send(p, sn12.Subscribe{MsgID: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab")})
		s.want(p, "SUBSCRIBE", sn12.SubAck{TopicID: sn12.ShortID("ab"), MsgID: 1})
		for _, busy := range []bool{false, true} {
			release := func() {}
			if busy {
				release = s.hold()
			}
			for i := range messages {
				s.send(p, numbered(i))
			}
			release()
			for i := range messages {
				select {
				case got := <-s.topics:
					if want := fmt.Sprintf("ab %s", binary.BigEndian.AppendUint16(nil, uint16(i))); got != want {
						s.t.Fatalf("the broker gets %q, want %q", got, want)
					}
				case <-time.After(patience):
					s.t.Fatal("the broker gets nothing")
				}
				s.want(p, "back again", numbered(i))
			}
		}
	})
}

// A shard that waits for hours is woken by what other goroutines have for it.
func TestShardIsWoken(t *testing.T) {
	everyWay(t, func(s *site) {
		for range 100 {
			done := make(chan struct{})
			s.gateway.shards[0].queues.post(func() { close(done) })
			select {
			case <-done:
			case <-time.After(patience):
				s.t.Fatal("it sleeps")
			}
		}
	})
}

// Of many strangers in line, no more than one is served before a known device for each batch of
// datagrams that is read, and none is forgotten. A PINGREQ in the name of somebody who is not
// there is a stranger's, whoever sends it.
func TestShardServesKnownDevicesBeforeStrangers(t *testing.T) {
	everyWay(t, func(s *site) {
		const strangers, batches = 160, 160/32 + 1
		p := s.connect("known")
		release := s.hold()
		for i := range strangers {
			s.send(p, sn12.PingReq{ClientID: clientID(i)})
		}
		s.send(p, sn12.PingReq{})
		shard := s.gateway.shards[0]
		for end := time.Now().Add(patience); shard.loop == nil && shard.queues.lengths().Datagrams == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				s.t.Fatal("the listener is not read")
			}
		}
		release()
		before, after := 0, -1
		for before+max(after, 0) < strangers || after < 0 {
			b, ok := p.read(patience)
			switch m, _ := sn12.Parse(b); {
			case !ok:
				s.t.Fatalf("nothing comes; %d and %d strangers were answered", before, after)
			case m == sn12.PingResp{}:
				after = 0
			case after < 0:
				before++
			default:
				after++
			}
		}
		if before > batches+1 {
			s.t.Errorf("%d strangers were served before the device that is known", before)
		}
	})
}

// After Stop nothing is read and nothing sent, and whoever is connected is told before.
func TestStoppedShardDoesNothing(t *testing.T) {
	everyWay(t, func(s *site) {
		p := s.connect("dev")
		if err := s.gateway.Stop(patience); err != nil {
			s.t.Fatal(err)
		}
		s.want(p, "goodbye", sn12.Disconnect{})
		s.send(p, sn12.PingReq{})
		if b, ok := p.read(50 * time.Millisecond); ok {
			s.t.Errorf("% x after the end", b)
		}
		if n := s.broker.Connected(); n != 0 {
			s.t.Errorf("%d connections are open", n)
		}
	})
}

// The end of a connection is noticed at once, also of one over which nothing is said.
func TestShardIsToldTheEndOfAConnection(t *testing.T) {
	everyWay(t, func(s *site) {
		for _, ready := range []bool{true, false} {
			for end := time.Now().Add(patience); s.gateway.BrokerReady() != ready; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					s.t.Fatalf("the gateway's own connection is up: %v", !ready)
				}
			}
			s.broker.Drop("sngate-test-7")
		}
	})
}
