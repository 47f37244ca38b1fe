package dial_test

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
)

// What the system is told of a connection reaches the socket below TLS.
func TestTCPBelowTLSIsLeftToTheSystemWhilePaused(t *testing.T) {
	ca := securetest.NewCA(t, "ca")
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca.Write(t, file)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	speaks, err := secure.New(secure.Options{Brokers: []string{address}, CAFile: file, MinVersion: tls.VersionTLS12}, new(secure.Stats))
	if err != nil {
		t.Fatal(err)
	}
	sockets := make(chan net.Conn, 1)
	d := dial.New(dial.Options{
		Addresses: []string{address}, MaxDials: 1, MaxWaiting: 1, WriteTimeout: time.Second, MaxPayload: 1024,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			sockets <- nc
			return nc, err
		},
	}, new(dial.Stats))
	defer d.Close()
	o := make(owner, 8)
	greet := func(address string) (dial.Greeting, error) {
		secure, err := speaks.For(address, "dev")
		return dial.Greeting{Hello: says([]byte{0x10, 0}), Secure: secure}, err
	}
	c, err := d.Connect(&dial.Request{Greet: greet, Inbox: o, Paused: true, Unacked: 5 * time.Second}, true)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	broker := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, securetest.Certificate{IPs: []net.IP{{127, 0, 0, 1}}}).TLS(t)}})
	if _, err := broker.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.Write([]byte{0x20, 2, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if in := <-o; in.Kind != dial.Accepted {
		t.Fatalf("%+v", in)
	}
	socket := <-sockets
	if got := sockopt(t, socket, syscall.IPPROTO_TCP, 18); got != 5000 {
		t.Errorf("TCP_USER_TIMEOUT is %d ms while paused, want 5000", got)
	}
	c.SetPaused(false)
	if got := sockopt(t, socket, syscall.IPPROTO_TCP, 18); got != 0 {
		t.Errorf("TCP_USER_TIMEOUT is %d ms while reading, want 0", got)
	}
	c.Abandon()
}
