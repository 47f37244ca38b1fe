package gateway

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/eventloop/looptest"
	"sngate/internal/secretstest"
	"sngate/snpacket/sn12"
	"sngate/store/storetest"
	"sngate/topicreg"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// rig is a gateway on a simulated network with a broker in memory, in a bubble of
// testing/synctest.
type rig struct {
	t       *testing.T
	net     *gatewaytest.Network
	broker  *upstreamtest.Broker
	gateway *Gateway
	addr    netip.AddrPort
	log     bytes.Buffer
	secrets secretstest.Search
	opts    Options          // of the gateway, for the next one
	store   *storetest.Store // nil: none
}

// sessionConfig is the default configuration of conf, with one global and one
// per-client predefined topic.
func sessionConfig(t testing.TB) *session.Config {
	predefined, err := topicreg.NewPredefined([]topicreg.Entry{
		{ID: 1, Name: "site/alarm"},
		{ID: 2, Name: "site/cfg", Client: "pump-*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &session.Config{
		Predefined:       predefined,
		RetryInterval:    10 * time.Second,
		RetryCount:       3,
		BrokerWait:       20 * time.Second,
		ToleranceShort:   50,
		ToleranceLong:    10,
		IdleProbe:        time.Hour,
		CongestionWait:   5 * time.Minute,
		BarrierTimeout:   5 * time.Second,
		QoSMinusOne:      true,
		MaxPacketSize:    65507,
		MaxClientID:      256,
		MaxInFlight:      16,
		MaxTopics:        1000,
		MaxSubscriptions: 100,
		MaxMessages:      100,
		MaxBytes:         65536,
	}
}

// newRig starts a gateway in the bubble of the caller; change may alter its options.
func newRig(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, net: gatewaytest.New(1, nil), broker: upstreamtest.NewBroker(), addr: netip.MustParseAddrPort("10.0.0.1:1883")}
	opts := Options{
		ID:          7,
		ClientID:    "sngate-test-7",
		Version:     "test",
		Listeners:   []listen.Options{{Address: "10.0.0.1:1883"}},
		MaxSessions: 1000,
		Session:     sessionConfig(t),
		Upstream:    upstream.Options{Address: "broker:1883", Dial: r.broker.Dial},
		Forwarders:  true,
		FirstMsgID:  func() uint16 { return 0 },
		Log:         zerolog.New(zerolog.SyncWriter(&r.log)),
		Listen: func(o listen.Options) (listen.Listener, error) {
			conn, err := r.net.Listen(netip.MustParseAddrPort(o.Address))
			return listen.Listener{Conn: conn, ReceiveBuffer: 1}, err
		},
	}
	if change != nil {
		change(&opts)
	}
	r.opts = waiting(opts)
	r.learnSecrets()
	r.start()
	t.Cleanup(func() {
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Errorf("stop: %v", err)
		}
		r.broker.Close()
		r.secrets.Check(t, "the log", r.log.String())
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", r.log.String())
		}
	})
	return r
}

// waitsInLoops reports whether shards wait in event loops, or goroutines read for them.
func waitsInLoops() bool { return os.Getenv("SNGATE_TEST_EVENT_LOOP") != "off" }

// waiting returns options with which shards wait as SNGATE_TEST_EVENT_LOOP says: "off" for
// goroutines that read, all else for loops, over the simulated network.
func waiting(o Options) Options {
	o.NoEventLoop, o.NewEventLoop = !waitsInLoops(), looptest.New
	return o
}

// learnSecrets notes the passwords that the gateway sends, which its log must not have.
func (r *rig) learnSecrets() {
	up := &r.opts.Upstream
	r.secrets.Add(string(up.Password))
	if up.Credentials != nil {
		up.Credentials = r.secrets.Of(up.Credentials)
	}
}

// start starts the gateway, or the next one after a crash.
func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.gateway, err = Start(r.opts); err != nil {
		r.t.Fatal(err)
	}
	if loop := r.gateway.shards[0].loop != nil; loop == r.opts.NoEventLoop {
		r.t.Fatalf("shards wait in event loops: %v", loop)
	}
	synctest.Wait()
}

// device is a peer on the simulated network that sends and expects datagrams.
type device struct {
	r    *rig
	conn *gatewaytest.Conn
	in   chan []byte
}

func (r *rig) device(addr string) *device {
	r.t.Helper()
	conn, err := r.net.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		r.t.Fatal(err)
	}
	d := &device{r: r, conn: conn, in: make(chan []byte, 1024)}
	go func() {
		buf := make([]byte, 65535)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			d.in <- bytes.Clone(buf[:n])
		}
	}()
	r.t.Cleanup(func() { _ = conn.Close() })
	return d
}

// send sends a datagram written as hex, spaces allowed.
func (d *device) send(h string) {
	d.r.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(h, " ", ""))
	if err != nil {
		d.r.t.Fatal(err)
	}
	d.sendRaw(b)
}

func (d *device) sendRaw(b []byte) {
	d.r.t.Helper()
	if _, err := d.conn.WriteTo(b, d.r.addr); err != nil {
		d.r.t.Fatal(err)
	}
	synctest.Wait()
}

func (d *device) sendMessage(m sn12.Message) {
	d.r.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		d.r.t.Fatal(err)
	}
	d.sendRaw(b)
}

// want expects the next datagram, written as hex; it must have come by now.
func (d *device) want(why, h string) {
	d.r.t.Helper()
	synctest.Wait()
	select {
	case got := <-d.in:
		if want := strings.ReplaceAll(h, " ", ""); hex.EncodeToString(got) != want {
			d.r.t.Fatalf("%s: got %x, want %s", why, got, want)
		}
	default:
		d.r.t.Fatalf("%s: got nothing, want %s", why, h)
	}
}

func (d *device) wantMessage(why string, m sn12.Message) {
	d.r.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		d.r.t.Fatal(err)
	}
	d.want(why, hex.EncodeToString(b))
}

// wantQuiet expects that nothing has come.
func (d *device) wantQuiet(why string) {
	d.r.t.Helper()
	synctest.Wait()
	select {
	case got := <-d.in:
		d.r.t.Fatalf("%s: got %x, want nothing", why, got)
	default:
	}
}

// connect connects the device with CleanSession=1 and a keep-alive of 60 s.
func (d *device) connect(clientID string) {
	d.r.t.Helper()
	d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte(clientID)})
	d.wantMessage("CONNECT is accepted", sn12.ConnAck{})
}

// dropped returns how often the gateway has counted a reason.
func (r *rig) dropped(why session.Reason) (n uint64) {
	synctest.Wait()
	return r.gateway.metrics.Drops(why)
}

func (r *rig) wantDropped(why session.Reason, n uint64) {
	r.t.Helper()
	if got := r.dropped(why); got != n {
		r.t.Fatalf("%d drops of reason %v, want %d", got, why, n)
	}
}
