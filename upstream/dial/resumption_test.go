package dial_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
)

// fleet is many devices with TLS, and their broker.
type fleet struct {
	t       *testing.T
	devices int
	config  *tls.Config // of the broker
	address string
	stop    func() // the broker
	speaks  *secure.TLS
	d       *dial.Dialer
	inbox   owner

	full, resumed atomic.Int64 // handshakes, as the broker has seen them

	mu    sync.Mutex
	conns []*net.TCPConn // of the broker
}

// hello is any CONNECT.
var hello = []byte{0x10, 0}

// start starts the broker, at the same address each time.
func (f *fleet) start() {
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.address = l.Addr().String()
	var wg sync.WaitGroup
	config := f.config.Clone()
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, nc.(*net.TCPConn))
			f.mu.Unlock()
			wg.Go(func() { f.serve(tls.Server(nc, config)) })
		}
	})
	f.stop = func() {
		l.Close()
		f.kill()
		wg.Wait()
	}
}

func (f *fleet) serve(nc *tls.Conn) {
	defer nc.Close()
	if _, err := io.ReadFull(nc, make([]byte, len(hello))); err != nil {
		return
	}
	if nc.ConnectionState().DidResume {
		f.resumed.Add(1)
	} else {
		f.full.Add(1)
	}
	_, _ = nc.Write([]byte{0x20, 2, 0, 0})
	_, _ = io.Copy(io.Discard, nc)
}

// kill resets all connections.
func (f *fleet) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, nc := range f.conns {
		_ = nc.SetLinger(0)
		nc.Close()
	}
	f.conns = nil
}

// connect connects all devices, and returns how many handshakes were full ones.
func (f *fleet) connect() (full int64) {
	f.t.Helper()
	f.full.Store(0)
	f.resumed.Store(0)
	for i := range f.devices {
		greet := func(address string) (dial.Greeting, error) {
			secure, err := f.speaks.For(address, fmt.Sprint("device-", i))
			return dial.Greeting{Hello: says(hello), Secure: secure}, err
		}
		if _, err := f.d.Connect(&dial.Request{Greet: greet, Inbox: f.inbox}, true); err != nil {
			f.t.Fatal(err)
		}
	}
	f.want(dial.Accepted)
	if all := f.full.Load() + f.resumed.Load(); all != int64(f.devices) {
		f.t.Errorf("%d handshakes for %d devices", all, f.devices)
	}
	return f.full.Load()
}

// want waits for one Input of a kind from each device.
func (f *fleet) want(kind dial.Kind) {
	f.t.Helper()
	deadline := time.After(time.Minute)
	for n := range f.devices {
		select {
		case in := <-f.inbox:
			in.Done()
			if in.Kind != kind {
				f.t.Fatalf("%d with %v, want %d", in.Kind, in.Err, kind)
			}
		case <-deadline:
			f.t.Fatalf("%d of %d come", n, f.devices)
		}
	}
}

// When the connections of a whole fleet are lost, at most one in twenty devices has to make a full
// handshake, with a certificate of its own or not. That is the gateway's side of it: a broker has
// to keep the keys of its tickets.
func TestAFleetResumesItsTLSSessions(t *testing.T) {
	const devices, atOnce = 200, 8
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, own := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, certificates of their own %v", tls.VersionName(version), own), func(t *testing.T) {
				f := newFleet(t, devices, atOnce, version, own)
				first := int64(atOnce)
				if own {
					first = devices
				}
				if full := f.connect(); full == 0 || full > first {
					t.Errorf("%d of %d handshakes are full at first", full, devices)
				}
				for _, lost := range []struct {
					why  string
					do   func()
					most int64
				}{
					{"the connections are reset", f.kill, devices / 20},
					{"the broker is started again", func() { f.stop(); f.start() }, devices / 20},
					{"and with other keys", func() { f.stop(); f.config.SetSessionTicketKeys([][32]byte{{2}}); f.start() }, first},
					{"the connections are reset after that", f.kill, devices / 20},
				} {
					lost.do()
					f.want(dial.Ended)
					if full := f.connect(); full > lost.most {
						t.Errorf("%s: %d of %d handshakes are full, want at most %d", lost.why, full, devices, lost.most)
					}
				}
			})
		}
	}
}

func newFleet(t *testing.T, devices, atOnce int, version uint16, own bool) *fleet {
	f := &fleet{t: t, devices: devices, address: "127.0.0.1:0", inbox: make(owner, 2*devices)}
	ca, dir := securetest.NewCA(t, "ca"), t.TempDir()
	o := secure.Options{CAFile: filepath.Join(dir, "ca.pem"), MinVersion: version, MaxClients: devices}
	ca.Write(t, o.CAFile)
	f.config = &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, securetest.Certificate{IPs: []net.IP{{127, 0, 0, 1}}}).TLS(t)},
		ClientCAs:    ca.Pool(), MinVersion: version, MaxVersion: version,
	}
	f.config.SetSessionTicketKeys([][32]byte{{1}})
	if own {
		f.config.ClientAuth = tls.RequireAndVerifyClientCert
		o.Files = securetest.Files(filepath.Join(dir, "{client_id}"))
		for i := range devices {
			path := filepath.Join(dir, fmt.Sprint("device-", i))
			ca.Issue(t, securetest.Certificate{Name: "device"}).Write(t, path+".pem", path+".key")
		}
	}
	f.start()
	t.Cleanup(func() { f.stop() })
	o.Brokers = []string{f.address}
	var err error
	if f.speaks, err = secure.New(o, new(secure.Stats)); err != nil {
		t.Fatal(err)
	}
	f.d = dial.New(dial.Options{
		Addresses: o.Brokers, MaxDials: atOnce, MaxWaiting: devices, WriteTimeout: time.Minute, MaxPayload: 1024,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}, new(dial.Stats))
	t.Cleanup(f.d.Close)
	return f
}
