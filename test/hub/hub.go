package hub

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Bounds of a hub.
const (
	maxConns      = 256
	maxPacket     = 1 << 20 // octets of a packet
	maxViolations = 1000
	maxMessages   = 10000 // that are remembered
)

// connectTime is how long a connection may take to its CONNECT, the handshake included.
const connectTime = 10 * time.Second

// Device is one that was created at the hub. What a hub does not ask of it is left out.
type Device struct {
	ID       string // client id; of azure-event-grid the authentication name
	Product  string // tencent-iot-hub, alibaba-iot
	Name     string // the same: of the device within the product
	Key      []byte // by which it signs
	Username string // emqx-cloud, hivemq-cloud
	Password string
}

// Options say which hub it is.
type Options struct {
	Profile string
	Host    string // its name, which its certificate has
	// Certificate is that of the hub; not used where there is no TLS.
	Certificate tls.Certificate
	// Authorities have signed the certificates of its devices.
	Authorities *x509.CertPool
	// Port443: the hub is reached at port 443, where some want ALPN.
	Port443 bool
	// WebSocket: it is spoken to by WebSocket alone.
	WebSocket bool
	Devices   []Device
	// Rules, if set, may alter those of the profile.
	Rules func(*Rules)
}

// Message is one that has been published.
type Message struct {
	ClientID string // who has published it
	Topic    string
	Payload  string
	QoS      byte
	Retain   bool
}

// Hub is a running hub.
type Hub struct {
	o     Options
	rules Rules
	tls   *tls.Config
	wg    sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners []net.Listener
	open      map[*conn]struct{}
	sessions  map[string]*session // by client id
	connected map[string]time.Time
	connects  map[string]int
	retained  map[string]Message
	messages  []Message
	broken    []Violation
}

// New makes a hub, which serves what it is given until the test ends.
func New(t testing.TB, o Options) *Hub {
	t.Helper()
	rules, ok := RulesOf(o.Profile)
	if !ok {
		t.Fatalf("there is no hub %q", o.Profile)
	}
	if o.Rules != nil {
		o.Rules(&rules)
	}
	h := &Hub{
		o: o, rules: rules, open: make(map[*conn]struct{}), sessions: make(map[string]*session),
		connected: make(map[string]time.Time), connects: make(map[string]int), retained: make(map[string]Message),
	}
	if o.Certificate.Certificate != nil {
		h.tls = h.tlsConfig()
	}
	t.Cleanup(h.Close)
	return h
}

// Listen serves a TCP port of the loopback interface that the system chooses, and returns its
// address.
func (h *Hub) Listen(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.listeners = append(h.listeners, l)
	h.mu.Unlock()
	h.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			h.Serve(nc)
		}
	})
	return l.Addr().String()
}

// Serve serves a connection, and returns at once.
func (h *Hub) Serve(nc net.Conn) {
	c := newConn(h, nc)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.open) >= maxConns {
		nc.Close()
		return
	}
	h.open[c] = struct{}{}
	h.wg.Go(c.serve)
}

// Close ends all connections and waits for them.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	for _, l := range h.listeners {
		l.Close()
	}
	for c := range h.open {
		c.raw.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// Violations are the rules that were broken, in this order.
func (h *Hub) Violations() []Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.broken)
}

// Messages are those that have been published, in this order, the wills too.
func (h *Hub) Messages() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// Connects says how often a client id has been accepted.
func (h *Hub) Connects(clientID string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connects[clientID]
}

// Subscriptions are the filters of a client.
func (h *Hub) Subscriptions(clientID string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[clientID]
	if s == nil {
		return nil
	}
	var list []string
	for _, f := range s.filters {
		list = append(list, f.filter)
	}
	return list
}

// Publish sends a message of the cloud to whoever has subscribed to its topic.
func (h *Hub) Publish(topic, payload string, qos byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.route(Message{Topic: topic, Payload: payload, QoS: qos})
}

// Kick ends the connection of a client without a reason, as a hub does that moves it.
func (h *Hub) Kick(clientID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sessions[clientID]; s != nil && s.conn != nil {
		s.conn.raw.Close()
	}
}

// note keeps a violation.
func (h *Hub) note(v Violation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.broken) < maxViolations {
		h.broken = append(h.broken, v)
	}
}

// tlsConfig is how the hub speaks TLS. Certificates of clients are checked here if they come, and
// missed at CONNECT.
func (h *Hub) tlsConfig() *tls.Config {
	base := &tls.Config{Certificates: []tls.Certificate{h.o.Certificate}, MinVersion: tls.VersionTLS12, ClientCAs: h.o.Authorities}
	if h.o.Authorities != nil {
		base.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if h.o.Port443 && h.rules.ALPN != "" {
		base.NextProtos = []string{h.rules.ALPN}
	}
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.rules.ServerName && hello.ServerName != h.o.Host {
			return nil, h.refuse(RuleServerName, fmt.Sprintf("the name %q", hello.ServerName))
		}
		if h.o.Port443 && h.rules.ALPN != "" && !slices.Contains(hello.SupportedProtos, h.rules.ALPN) {
			return nil, h.refuse(RuleALPN, fmt.Sprintf("the protocols %q", hello.SupportedProtos))
		}
		return nil, nil
	}
	return base
}

func (h *Hub) refuse(rule Rule, detail string) error {
	h.note(Violation{Rule: rule, Detail: detail})
	return errors.New(string(rule))
}
