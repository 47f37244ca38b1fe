package main

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
	"sngate/gateway"
	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/internal/secretstest"
	"sngate/internal/snclient"
	"sngate/store"
	"sngate/test/cloud"
	"sngate/test/hub"
	"sngate/upstream/secure/securetest"
	"sngate/upstream/upstreamtest"
)

// cloudRig is a gateway with the configuration of a section of docs/CLOUD.md, in a bubble of
// testing/synctest, and the hub of the section.
type cloudRig struct {
	*cloud.Section
	t   *testing.T
	net *gatewaytest.Network
	hub *hub.Hub
	log bytes.Buffer

	secrets secretstest.Search
}

// gatewayAddr is where the gateway is on the simulated network.
const gatewayAddr = "10.0.0.1:1883"

// deviceKeepAlive is one that many hubs do not take.
const deviceKeepAlive = 2 * time.Hour

// newCloudRig starts gateway and hub; the working directory is empty.
func newCloudRig(t *testing.T, s *cloud.Section) *cloudRig {
	t.Helper()
	ca := securetest.NewCA(t, "hub") // in the bubble, for its time
	s.Place(t, ".", ca)
	r := &cloudRig{Section: s, t: t, net: gatewaytest.New(1, nil), hub: s.Hub(t, ca)}
	data, err := os.ReadFile("sngate.toml")
	if err != nil {
		t.Fatal(err)
	}
	env := s.Environment("hub:8883", "SNGATE_STORE_PATH=", "SNGATE_OPS_ADDRESS=", "SNGATE_LOG_LEVEL=debug")
	cfg, err := conf.Parse("sngate.toml", data, env)
	if err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(zerolog.SyncWriter(&r.log))
	opts, err := gatewayOptions(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := openAccounts(cfg.Credentials(opts.ClientID, env), log)
	if err != nil {
		t.Fatal(err)
	}
	opts.Upstream.Credentials = r.secrets.Of(accounts.of)
	opts.Upstream.TLS.Files = accounts.certificate
	r.secrets.Add(cfg.Broker.Password.Reveal(), cfg.Broker.Signer.Key.Reveal())
	opts.Session.Limits.PrefixSize = accounts.prefixSize
	opts.Store = store.InMemory()
	opts.Listeners = []listen.Options{{Address: gatewayAddr}}
	opts.Listen = func(o listen.Options) (listen.Listener, error) {
		conn, err := r.net.Listen(netip.MustParseAddrPort(o.Address))
		return listen.Listener{Conn: conn, ReceiveBuffer: 1}, err
	}
	opts.Upstream.Dial = func(context.Context, string, string) (net.Conn, error) {
		near, far := upstreamtest.Pipe(0)
		r.hub.Serve(far)
		return near, nil
	}
	g, err := gateway.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(stopGrace); err != nil {
			t.Errorf("stop: %v", err)
		}
		r.secrets.Check(t, "the log", r.log.String())
		if t.Failed() {
			t.Logf("%v\nlog of the gateway:\n%s", r.hub.Violations(), r.log.String())
		}
	})
	time.Sleep(10 * time.Second) // hubs do not want to be asked too often
	synctest.Wait()
	if !g.BrokerReady() {
		t.Fatalf("the hub does not take the gateway: %v", r.hub.Violations())
	}
	return r
}

// device returns a client for a device, at an address of its own.
func (r *cloudRig) device(id, addr string, will *snclient.Will) *snclient.Client {
	r.t.Helper()
	conn, err := r.net.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := snclient.New(newDeviceConn(conn), snclient.Options{ClientID: id, KeepAlive: deviceKeepAlive, Will: will})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// deviceConn is a simulated socket as a connected one.
type deviceConn struct {
	conn  *gatewaytest.Conn
	in    chan []byte // closed at the end
	moved chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

func newDeviceConn(conn *gatewaytest.Conn) *deviceConn {
	d := &deviceConn{conn: conn, in: make(chan []byte), moved: make(chan struct{}, 1)}
	go func() {
		defer close(d.in)
		buf := make([]byte, 65535)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			d.in <- bytes.Clone(buf[:n])
		}
	}()
	return d
}

func (d *deviceConn) Write(b []byte) (int, error) {
	return d.conn.WriteTo(b, netip.MustParseAddrPort(gatewayAddr))
}

func (d *deviceConn) Close() error {
	err := d.conn.Close()
	for range d.in { // what is still on its way to a reader
	}
	return err
}

func (d *deviceConn) SetReadDeadline(at time.Time) error {
	d.mu.Lock()
	d.deadline = at
	d.mu.Unlock()
	select {
	case d.moved <- struct{}{}:
	default:
	}
	return nil
}

func (d *deviceConn) Read(b []byte) (int, error) {
	for {
		d.mu.Lock()
		at := d.deadline
		d.mu.Unlock()
		wait := time.Until(at)
		if at.IsZero() {
			wait = time.Hour
		}
		select {
		case datagram, open := <-d.in:
			if !open {
				return 0, net.ErrClosed
			}
			return copy(b, datagram), nil
		case <-d.moved:
		case <-time.After(wait):
			if !at.IsZero() {
				return 0, os.ErrDeadlineExceeded
			}
		}
	}
}
