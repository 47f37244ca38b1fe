package dial_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"sngate/internal/eventloop"
	"sngate/internal/eventloop/looptest"
	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
	"sngate/upstream/upstreamtest"
)

// The owner of a Conn is told the same whether a goroutine reads the connection or the owner
// does, in its loop, with TLS as without, and also where both are simulated. These tests run for
// all of it.

// site is a broker's end and an owner of one connection between real sockets.
type site struct {
	t     *testing.T
	loop  *eventloop.Loop // nil: goroutines read
	queue chan dial.Input
	got   []dial.Input // but for those a test has taken
	d     *dial.Dialer
	stats *dial.Stats
	conn  *dial.Conn

	listener net.Listener
	opt      dial.Options
	speaks   *secure.TLS  // nil: no TLS
	peer     *tls.Config  // of the broker
	secrets  bytes.Buffer // of TLS
	tap      bytes.Buffer // what the broker has written below TLS
	broker   net.Conn
	socket   *net.TCPConn         // of broker
	client   *net.TCPConn         // of conn
	taken    func(in *dial.Input) // called for each Input, if not nil
}

func (s *site) Push(in *dial.Input, done <-chan struct{}) bool {
	select {
	case <-done: // what still comes means nothing
		return false
	default:
	}
	select {
	case s.queue <- *in:
		if s.loop != nil {
			s.loop.Wake()
		}
		return true
	case <-done:
		return false
	}
}

func (s *site) Deliver(in *dial.Input) { s.take(*in) }

func (s *site) take(in dial.Input) {
	in.Done()
	s.got = append(s.got, in)
	if s.taken != nil {
		s.taken(&in)
	}
}

// turn lets the owner do what there is to do, and waits for a moment if there is nothing.
func (s *site) turn() {
	s.t.Helper()
	if s.loop == nil {
		select {
		case in := <-s.queue:
			s.take(in)
		case <-time.After(5 * time.Millisecond):
		}
		return
	}
	if err := s.loop.Wait(0, 5*time.Millisecond); err != nil {
		s.t.Fatal(err)
	}
	for len(s.queue) > 0 {
		s.take(<-s.queue)
	}
}

// want returns the next Input, which is to be of a kind.
func (s *site) want(kind dial.Kind, why string) dial.Input {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(s.got) == 0; s.turn() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: nothing comes", why)
		}
	}
	in := s.got[0]
	s.got = s.got[1:]
	if in.Kind != kind {
		s.t.Fatalf("%s: %d with %v, want %d", why, in.Kind, in.Err, kind)
	}
	return in
}

// quiet expects that nothing comes.
func (s *site) quiet(why string) {
	s.t.Helper()
	for range 10 {
		s.turn()
	}
	if len(s.got) > 0 {
		s.t.Fatalf("%s: %d with %v", why, s.got[0].Kind, s.got[0].Err)
	}
}

func (s *site) send(b []byte) {
	s.t.Helper()
	if _, err := s.broker.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// bothOwners runs f with an accepted connection, once for each way of reading it. first comes
// from the broker right behind CONNACK.
func bothOwners(t *testing.T, first []byte, paused bool, f func(s *site)) {
	for _, kind := range []struct {
		name   string
		looped bool
		tls    uint16
		open   func(*testing.T, bool, uint16) *site
	}{
		{"goroutine", false, 0, newSite}, {"loop", true, 0, newSite},
		{"goroutine over TLS", false, tls.VersionTLS13, newSite},
		{"loop over TLS 1.2", true, tls.VersionTLS12, newSite}, {"loop over TLS 1.3", true, tls.VersionTLS13, newSite},
		{"simulated, goroutine", false, 0, newSimulatedSite}, {"simulated loop", true, 0, newSimulatedSite},
		{"simulated loop over TLS 1.3", true, tls.VersionTLS13, newSimulatedSite},
	} {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.open(t, kind.looped, kind.tls)
			s.connect(first, paused)
			f(s)
			s.conn.Abandon()
			if n := s.stats.Open.Load(); kind.looped && n != 0 {
				t.Errorf("%d connections are counted as open", n)
			}
		})
	}
}

// newSite returns a broker that speaks a version of TLS, or 0, and a Dialer for it.
func newSite(t *testing.T, looped bool, version uint16) *site {
	s := &site{t: t, queue: make(chan dial.Input, 64), stats: new(dial.Stats)}
	if looped {
		var err error
		if s.loop, err = eventloop.New(time.Now()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.loop.Close() })
	}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	s.opt = dial.Options{
		Addresses: []string{s.listener.Addr().String()}, MaxDials: 1, MaxWaiting: 1, MaxPayload: 1 << 20, WriteTimeout: 200 * time.Millisecond,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			s.client, _ = nc.(*net.TCPConn)
			return nc, err
		},
	}
	if version != 0 {
		s.secure(version)
	}
	return s
}

// newSimulatedSite is newSite with connections in memory.
func newSimulatedSite(t *testing.T, looped bool, version uint16) *site {
	s := &site{t: t, queue: make(chan dial.Input, 64), stats: new(dial.Stats)}
	if looped {
		var err error
		if s.loop, err = looptest.New(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	far := make(memoryListener, 1)
	s.listener = far
	s.opt = dial.Options{
		Addresses: []string{"127.0.0.1:1883"}, MaxDials: 1, MaxWaiting: 1, MaxPayload: 1 << 20, WriteTimeout: 200 * time.Millisecond,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, broker := upstreamtest.Pipe(0)
			far <- broker
			return near, nil
		},
	}
	if version != 0 {
		s.secure(version)
	}
	return s
}

// memoryListener implements net.Listener.
type memoryListener chan net.Conn

func (l memoryListener) Accept() (net.Conn, error) { return <-l, nil }
func (l memoryListener) Close() error              { return nil }
func (l memoryListener) Addr() net.Addr            { return nil }

// reset has the broker's system forget the connection.
func (s *site) reset() {
	if s.socket == nil {
		s.broker.Close()
		return
	}
	_ = s.socket.SetLinger(0)
	s.socket.Close()
}

// secure has the broker speak a version of TLS.
func (s *site) secure(version uint16) {
	s.t.Helper()
	ca := securetest.NewCA(s.t, "ca")
	file := filepath.Join(s.t.TempDir(), "ca.pem")
	ca.Write(s.t, file)
	speaks, err := secure.New(secure.Options{Brokers: s.opt.Addresses, CAFile: file, MinVersion: tls.VersionTLS12}, new(secure.Stats))
	if err != nil {
		s.t.Fatal(err)
	}
	s.speaks = speaks
	own := ca.Issue(s.t, securetest.Certificate{IPs: []net.IP{{127, 0, 0, 1}}}).TLS(s.t)
	s.peer = &tls.Config{
		Certificates: []tls.Certificate{own}, MinVersion: version, MaxVersion: version, KeyLogWriter: &s.secrets,
		DynamicRecordSizingDisabled: true, // what is written at once comes at once
	}
}

// connect makes conn.
func (s *site) connect(first []byte, paused bool) {
	s.t.Helper()
	if s.d == nil {
		s.d = dial.New(s.opt, s.stats)
		s.t.Cleanup(s.d.Close)
	}
	hello := mqtt.EncodeConnect(&mqtt.Connect{ClientID: "dev"})
	var err error
	greet := func(address string) (dial.Greeting, error) {
		g := dial.Greeting{Hello: says(hello)}
		var err error
		if s.speaks != nil {
			g.Secure, err = s.speaks.For(address, "dev")
		}
		return g, err
	}
	s.conn, err = s.d.Connect(&dial.Request{Greet: greet, Inbox: s, Loop: s.loop, Paused: paused}, true)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.broker, err = s.listener.Accept(); err != nil {
		s.t.Fatal(err)
	}
	s.socket, _ = s.broker.(*net.TCPConn)
	socket := s.broker
	s.t.Cleanup(func() { _ = socket.Close() })
	if s.peer != nil {
		s.broker = tls.Server(tapped{s.broker, &s.tap}, s.peer)
	}
	if _, err := io.ReadFull(s.broker, make([]byte, len(hello))); err != nil {
		s.t.Fatal(err)
	}
	s.send(append([]byte{0x20, 2, 0, 0}, first...))
	s.want(dial.Accepted, "CONNACK")
}

func publishPacket(topic string, payload []byte) []byte {
	return mqtt.AppendPublish(nil, "", topic, payload, 0, false, 0)
}

func TestOwnerIsGivenAllThatComes(t *testing.T) {
	large := bytes.Repeat([]byte("large"), 100_000)
	bothOwners(t, publishPacket("first", []byte("x")), false, func(s *site) {
		if p := s.want(dial.Received, "what came with CONNACK").Packet; p.Topic != "first" {
			s.t.Errorf("%+v", p)
		}
		var stream []byte
		for range 400 { // of 16 octets each, so that a read buffer ends with one of them
			stream = append(stream, publishPacket("t", []byte("the payload"))...)
		}
		s.send(stream)
		for range 400 {
			s.want(dial.Received, "of one TLS record, where there is TLS")
		}
		go func() { // more than a connection takes while nobody reads
			_, _ = s.broker.Write(append(stream, publishPacket("big", large)...))
		}()
		for range 400 {
			if p := s.want(dial.Received, "in order").Packet; p.Topic != "t" || string(p.Payload) != "the payload" {
				s.t.Fatalf("%+v", p)
			}
		}
		if p := s.want(dial.Received, "then the large one").Packet; p.Topic != "big" || !bytes.Equal(p.Payload, large) {
			s.t.Errorf("%s, %d octets", p.Topic, len(p.Payload))
		}
		for _, octet := range publishPacket("slow", []byte("y")) {
			s.send([]byte{octet})
			s.turn()
		}
		if p := s.want(dial.Received, "octet by octet").Packet; p.Topic != "slow" {
			s.t.Errorf("%+v", p)
		}
		s.quiet("that is all")
	})
}

func TestOwnerThatPausesIsGivenNothing(t *testing.T) {
	bothOwners(t, publishPacket("first", nil), true, func(s *site) {
		s.send(publishPacket("second", nil))
		s.quiet("paused from the beginning")
		s.conn.SetPaused(false)
		s.want(dial.Received, "what was read already")
		s.want(dial.Received, "and what was not")
		s.conn.SetPaused(true)
		s.send(publishPacket("third", nil))
		s.turn() // a reader goroutine may have one under way
		s.conn.Leave()
		s.want(dial.Received, "read on to the end")
		s.broker.Close()
		if in := s.want(dial.Ended, "the end"); !errors.Is(in.Err, io.EOF) {
			s.t.Error(in.Err)
		}
		s.quiet("once")
	})
}

// What has been read and decrypted, or decoded, is not forgotten when the owner pauses in the
// middle of it: the socket has nothing more that would tell of it.
func TestOwnerMayPauseInTheMiddle(t *testing.T) {
	bothOwners(t, nil, false, func(s *site) {
		if s.loop == nil {
			return // a reader goroutine is ahead of its owner
		}
		s.taken = func(in *dial.Input) { s.conn.SetPaused(true) }
		var stream []byte
		for i := range 10 {
			stream = append(stream, publishPacket("t", bytes.Repeat([]byte{'x'}, 100*i))...)
		}
		s.send(stream)
		for i := range 10 {
			if p := s.want(dial.Received, "one by one").Packet; len(p.Payload) != 100*i {
				s.t.Fatalf("%d octets, want %d", len(p.Payload), 100*i)
			}
			s.quiet("while paused")
			s.conn.SetPaused(false)
		}
		s.quiet("that is all")
	})
}

func TestOwnerIsToldTheEndOnce(t *testing.T) {
	cause := errors.New("cause")
	for name, end := range map[string]struct {
		do   func(s *site)
		want error
	}{
		"the broker closes":      {func(s *site) { s.broker.Close() }, io.EOF},
		"the owner fails it":     {func(s *site) { s.conn.Fail(cause) }, cause},
		"DISCONNECT":             {func(s *site) { s.send([]byte{0xe0, 0}) }, mqtt.Disconnected(0)},
		"not MQTT":               {func(s *site) { s.send([]byte{0x20, 0xff, 0xff, 0xff, 0xff}) }, mqtt.ProtocolError("the remaining length has more than four bytes")},
		"in the middle of one":   {func(s *site) { s.send([]byte{0x30, 10, 0}); s.broker.Close() }, io.EOF},
		"the owner writes, gone": {(*site).reset, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bothOwners(t, nil, false, func(s *site) {
				end.do(s)
				if in := s.want(dial.Ended, name); end.want != nil && !errors.Is(in.Err, end.want) {
					s.t.Errorf("%v, want %v", in.Err, end.want)
				}
				s.quiet("once")
				s.conn.Write([]byte{0xc0, 0}) // nobody is there: nothing happens
				s.quiet("of a connection that has ended")
			})
		})
	}
}

func TestOwnerThatAbandonsIsToldNothing(t *testing.T) {
	bothOwners(t, nil, false, func(s *site) {
		s.send(publishPacket("t", nil))
		s.conn.Abandon()
		for range 5 {
			s.turn()
		}
		for _, in := range s.got {
			if in.Kind != dial.Received { // on its way before
				s.t.Errorf("%d with %v", in.Kind, in.Err)
			}
		}
		if _, err := s.broker.Read(make([]byte, 1)); err == nil {
			s.t.Error("the connection is open")
		}
	})
}

// What the broker does not take now is written later; one that takes nothing is given up.
func TestOwnerMayWriteMoreThanTheBrokerTakes(t *testing.T) {
	bothOwners(t, nil, false, func(s *site) {
		const size = 8 << 20
		if s.socket != nil { // its buffer would grow with what is read
			if err := s.socket.SetReadBuffer(256 << 10); err != nil {
				s.t.Fatal(err)
			}
		}
		s.conn.Write(make([]byte, size))
		if s.conn.Backlog() == 0 {
			s.t.Fatal("the system takes it all: more is needed")
		}
		s.conn.WantWritable()
		if n, err := io.CopyN(io.Discard, s.broker, size); err != nil {
			s.t.Fatal(n, err)
		}
		s.want(dial.Writable, "all is written")
		s.conn.Write(make([]byte, 2*size))
		if in := s.want(dial.Ended, "the broker takes nothing"); !errors.Is(in.Err, dial.ErrTimeout) {
			s.t.Error(in.Err)
		}
		for range 10 {
			s.turn()
		}
		if _, err := io.Copy(io.Discard, s.broker); err != nil && !errors.Is(err, net.ErrClosed) {
			s.t.Log(err) // a reset is as good
		}
	})
}
