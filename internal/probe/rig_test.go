package probe

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"sngate/upstream/credential"
	"sngate/upstream/dial"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second // for what happens at once
	// silence is for what never happens: a busy machine makes it longer, and changes nothing.
	silence = 300 * time.Millisecond
	secret  = "open-sesame"
)

// serve accepts connections and gives each to one goroutine, until the test ends.
func serve(t *testing.T, handle func(nc net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				handle(nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// script is a broker. What is nil behaves well.
type script struct {
	code       byte // of CONNACK
	present    bool
	suback     byte
	deaf       bool // PUBLISH is acknowledged, and goes to nobody
	closesAt   byte // the type of a packet on which it closes; 0: never
	first      packets.ControlPacket
	mu         sync.Mutex
	connects   []*packets.ConnectPacket
	subscribed int
	filters    []string
	messages   []*packets.PublishPacket
	acked      []uint16 // PUBACKs of the client
}

// handle serves one connection.
func (b *script) handle(nc net.Conn) {
	for {
		p, err := packets.ReadPacket(nc)
		if err != nil || b.closesAt != 0 && typeOf(p) == b.closesAt {
			return
		}
		b.mu.Lock()
		answers := b.answers(p)
		b.mu.Unlock()
		for _, a := range answers {
			if a.Write(nc) != nil {
				return
			}
		}
		if _, bye := p.(*packets.DisconnectPacket); bye {
			return
		}
	}
}

func typeOf(p packets.ControlPacket) byte {
	switch p.(type) {
	case *packets.ConnectPacket:
		return packets.Connect
	case *packets.SubscribePacket:
		return packets.Subscribe
	case *packets.PublishPacket:
		return packets.Publish
	}
	return 0
}

// answers is what follows a packet. b.mu is held.
func (b *script) answers(p packets.ControlPacket) []packets.ControlPacket {
	switch p := p.(type) {
	case *packets.ConnectPacket:
		b.connects = append(b.connects, p)
		ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		ack.ReturnCode, ack.SessionPresent = b.code, b.present
		list := []packets.ControlPacket{ack}
		if b.first != nil {
			list = append(list, b.first)
		}
		return list
	case *packets.SubscribePacket:
		b.subscribed++
		b.filters = append(b.filters, p.Topics...)
		ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		ack.MessageID, ack.ReturnCodes = p.MessageID, []byte{b.suback}
		return []packets.ControlPacket{ack}
	case *packets.PublishPacket:
		b.messages = append(b.messages, p)
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		if b.deaf || b.subscribed == 0 {
			return []packets.ControlPacket{ack}
		}
		return []packets.ControlPacket{aMessage(p.TopicName, string(p.Payload)), ack} // a broker may send the message first
	case *packets.PubackPacket:
		b.acked = append(b.acked, p.MessageID)
	}
	return nil
}

func aMessage(topic, payload string) packets.ControlPacket {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload, m.Qos, m.MessageID = topic, []byte(payload), 1, 77
	return m
}

// brokerAt is a broker without TLS.
func brokerAt(address string) *Broker {
	return &Broker{
		Address: address, Scheme: "tcp", ClientID: "dev",
		Identity: func() (credential.Connect, error) {
			return credential.Connect{ClientID: "dev", HasUsername: true, Username: "u-" + secret, Password: []byte(secret)}, nil
		},
		Dial: dial.Net(nil), ConnectTimeout: patience, KeepAlive: 60,
	}
}

// run probes a broker and looks whether the report is whole.
func run(t *testing.T, b *Broker, timeout time.Duration) *Part {
	t.Helper()
	return runAim(t, Aim{Broker: b, Topic: "dev/probe", Limits: Limits{MaxQoS: 2}, Timeout: timeout})
}

// runAim probes one part and looks whether its report is whole.
func runAim(t *testing.T, a Aim) *Part {
	t.Helper()
	var told []Step
	a.Told = func(_ *Part, s *Step) { told = append(told, *s) }
	r := Run(t.Context(), a)
	p := r.Parts()[0]
	wantWhole(t, p, told)
	if r.Result != p.Result {
		t.Errorf("%s, of the part %s", r.Result, p.Result)
	}
	return p
}

// wantWhole wants all steps of a part in their order, each told once.
func wantWhole(t *testing.T, p *Part, told []Step) {
	t.Helper()
	names := Steps(p.Name)
	if len(p.Steps) != len(names) || len(told) != len(names) {
		t.Fatalf("%d steps, %d told, want %d: %+v", len(p.Steps), len(told), len(names), p.Steps)
	}
	for i, s := range p.Steps {
		if s.Name != names[i] || told[i] != s || s.Text == "" {
			t.Errorf("step %d is %+v, told as %+v; want %s", i, s, told[i], names[i])
		}
		if (s.Result == Failed) != (s.Name == p.FailedStep) || s.Result == Failed && s.Reason == "" {
			t.Errorf("failed is %q, and step %+v", p.FailedStep, s)
		}
	}
}

// step finds a step.
func (p *Part) step(name string) Step {
	for _, s := range p.Steps {
		if s.Name == name {
			return s
		}
	}
	return Step{}
}

// tlsSite is a broker with TLS, and what the client knows of it.
type tlsSite struct {
	*Broker
	t    *testing.T
	ca   *securetest.CA
	dir  string
	opt  secure.Options
	peer *tls.Config
}

// newTLS makes a site whose certificate is valid for "localhost" until then.
func newTLSSite(t *testing.T, c securetest.Certificate) *tlsSite {
	t.Helper()
	s := &tlsSite{t: t, ca: securetest.NewCA(t, "site ca"), dir: t.TempDir()}
	s.ca.Write(t, s.at("ca.pem"))
	s.peer = &tls.Config{Certificates: []tls.Certificate{s.ca.Issue(t, c).TLS(t)}, ClientCAs: s.ca.Pool()}
	s.opt = secure.Options{CAFile: s.at("ca.pem"), ServerName: "localhost", MinVersion: tls.VersionTLS12}
	return s
}

func (s *tlsSite) at(name string) string { return filepath.Join(s.dir, name) }

// start starts the broker.
func (s *tlsSite) start() *Broker {
	s.t.Helper()
	b := &script{}
	address := serve(s.t, func(nc net.Conn) {
		c := tls.Server(nc, s.peer)
		if c.HandshakeContext(context.Background()) == nil {
			b.handle(c)
		}
	})
	return s.broker(address)
}

// broker is a broker with TLS at an address.
func (s *tlsSite) broker(address string) *Broker {
	o := s.opt
	o.Brokers = []string{address}
	broker := brokerAt(address)
	broker.Scheme = "ssl"
	broker.Secure = func() (secure.Handshake, error) {
		t, err := secure.New(o, new(secure.Stats))
		if err != nil {
			return nil, err
		}
		return t.For(address, "dev")
	}
	return broker
}
