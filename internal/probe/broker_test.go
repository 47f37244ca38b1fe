package probe

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/credential"
	"sngate/upstream/secure"
)

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestABrokerThatWorks(t *testing.T) {
	s := &script{suback: 1, first: aMessage("dev/probe", "retained by somebody else")}
	p := run(t, brokerAt(serve(t, s.handle)), patience)
	if p.Result != OK || p.RoundTripSeconds == nil || *p.RoundTripSeconds <= 0 {
		t.Fatalf("%+v", p)
	}
	for _, step := range p.Steps {
		if want := (map[string]Result{StepResolve: Skipped, StepTLS: Skipped, StepWebSocket: Skipped}[step.Name]); want == "" && step.Result != OK || want != "" && step.Result != want {
			t.Errorf("%+v", step)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.connects) != 1 || !s.connects[0].CleanSession || s.connects[0].Keepalive != 60 || len(s.acked) != 2 {
		t.Errorf("CONNECT %v, acknowledged %v", s.connects, s.acked)
	}
}

// The session that a device has at the broker stays as it is: no CleanSession, no subscription,
// and no message is taken from it.
func TestTheSessionOfADeviceIsKept(t *testing.T) {
	s := &script{present: true, first: aMessage("for/device", "held")}
	b := brokerAt(serve(t, s.handle))
	b.KeepSession = true
	p := run(t, b, patience)
	if p.Result != OK || p.RoundTripSeconds != nil || p.step(StepPublish).Result != OK || !strings.Contains(p.step(StepConnect).Text, "has a session") {
		t.Errorf("%+v", p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connects[0].CleanSession || s.subscribed != 0 || len(s.acked) != 0 {
		t.Errorf("clean %v, %d SUBSCRIBEs, acknowledged %v", s.connects[0].CleanSession, s.subscribed, s.acked)
	}
}

func TestNoSecretIsShown(t *testing.T) {
	for _, s := range []*script{{}, {code: 4}, {code: 5}, {closesAt: packets.Connect}} {
		out, err := json.Marshal(run(t, brokerAt(serve(t, s.handle)), patience))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), secret) {
			t.Errorf("%s", out)
		}
	}
}

// Every fault, where it shows, its reason and what is told of it.
func TestFaultsOfABroker(t *testing.T) {
	silent := func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1)); _, _ = nc.Read(make([]byte, 1<<16)) }
	wait := func(nc net.Conn) {
		for buf := make([]byte, 1024); ; {
			if _, err := nc.Read(buf); err != nil {
				return
			}
		}
	}
	says := func(text string) func(net.Conn) {
		return func(nc net.Conn) { silent(&oneRead{Conn: nc}); _, _ = nc.Write([]byte(text)) }
	}
	for _, tc := range []struct {
		name   string
		broker func(t *testing.T) *Broker
		step   string
		reason string
		text   string // in text or advice
	}{
		{"no credentials", func(t *testing.T) *Broker {
			b := brokerAt(closedPort(t))
			b.Identity = func() (credential.Connect, error) { return credential.Connect{}, credential.ErrNone }
			return b
		}, StepCredentials, "no_credentials", "no credentials for this client id"},
		{"nobody listens", func(t *testing.T) *Broker { return brokerAt(closedPort(t)) }, StepTCP, "refused", "connection refused"},
		{"a firewall drops", func(t *testing.T) *Broker {
			b := brokerAt("192.0.2.1:1883")
			b.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
			}
			return b
		}, StepTCP, "timeout", "a firewall on the way drops"},
		{"no route", func(t *testing.T) *Broker {
			b := brokerAt("192.0.2.1:1883")
			b.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
			}
			return b
		}, StepTCP, "unreachable", "no way to the broker"},
		{"says nothing", func(t *testing.T) *Broker { return brokerAt(serve(t, wait)) }, StepConnect, "timeout", `want "ssl://"`},
		{"speaks TLS", func(t *testing.T) *Broker { return brokerAt(serve(t, says("\x15\x03\x01\x00\x02\x02\x46"))) }, StepConnect, "not_mqtt", "speaks TLS"},
		{"speaks HTTP", func(t *testing.T) *Broker { return brokerAt(serve(t, says("HTTP/1.1 400 Bad Request\r\n\r\n"))) }, StepConnect, "not_mqtt", "is a web server"},
		{"speaks something", func(t *testing.T) *Broker { return brokerAt(serve(t, says("220 mail.example ESMTP\r\n"))) }, StepConnect, "not_mqtt", "the port of an MQTT broker?"},
		{"closes at CONNECT", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{closesAt: packets.Connect}).handle)) }, StepConnect, "closed", "instead of answering CONNECT"},
		{"refuses 1", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{code: 1}).handle)) }, StepConnect, "connack_1", "does not speak MQTT 3.1.1"},
		{"refuses 2", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{code: 2}).handle)) }, StepConnect, "connack_2", "look at the client id"},
		{"refuses 3", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{code: 3}).handle)) }, StepConnect, "connack_3", "takes no clients at present"},
		{"refuses 4", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{code: 4}).handle)) }, StepConnect, "connack_4", "look at user name and password"},
		{"refuses 5", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{code: 5}).handle)) }, StepConnect, "connack_5", "look at user name and password"},
		{"refuses 5, nobody", func(t *testing.T) *Broker {
			b := brokerAt(serve(t, (&script{code: 5}).handle))
			b.Identity = func() (credential.Connect, error) { return credential.Connect{ClientID: "dev"}, nil }
			return b
		}, StepConnect, "connack_5", "no user name was sent"},
		{"refuses 0x87", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{code: 0x87}).handle)) }, StepConnect, "connack_other", "return code 135"},
		{"refuses SUBSCRIBE", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{suback: 0x80}).handle)) }, StepSubscribe, "subscription_refused", "refuses the subscription"},
		{"closes at SUBSCRIBE", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{closesAt: packets.Subscribe}).handle)) }, StepSubscribe, "closed", "after SUBSCRIBE"},
		{"closes at PUBLISH", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{closesAt: packets.Publish}).handle)) }, StepPublish, "closed", "after PUBLISH"},
		{"may not publish", func(t *testing.T) *Broker { return brokerAt(serve(t, (&script{deaf: true}).handle)) }, StepReceive, "no_echo", "may not publish"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b, timeout := tc.broker(t), patience
			if tc.reason == "timeout" {
				b.ConnectTimeout = silence
			}
			if tc.reason == "no_echo" {
				timeout = silence
			}
			p := run(t, b, timeout)
			s := p.step(p.FailedStep)
			if p.Result != Failed || s.Name != tc.step || s.Reason != tc.reason || !strings.Contains(s.Text+"\n"+s.Advice, tc.text) {
				t.Errorf("%s failed: %+v", p.FailedStep, s)
			}
		})
	}
}

// oneRead is a connection that ends after what was read first.
type oneRead struct {
	net.Conn
	done bool
}

func (o *oneRead) Read(p []byte) (int, error) {
	if o.done {
		return 0, net.ErrClosed
	}
	o.done = len(p) > 1
	return o.Conn.Read(p)
}

func TestFaultsOfNames(t *testing.T) {
	for _, tc := range []struct {
		err          error
		reason, text string
	}{
		{&net.DNSError{Err: "no such host", Name: "mqtt.example", IsNotFound: true}, "not_found", `the name "mqtt.example" does not exist`},
		{&net.DNSError{Err: "i/o timeout", Name: "mqtt.example", IsTimeout: true}, "timeout", "no name server has answered within 5s"},
		{context.DeadlineExceeded, "timeout", "no name server has answered within 5s"},
		{&net.DNSError{Err: "server misbehaving", Name: "mqtt.example", Server: "192.0.2.53:53"}, "resolver", "server misbehaving"},
	} {
		if o := resolveFault("mqtt.example", tc.err, 5*time.Second); o.result != Failed || o.reason != tc.reason || !strings.Contains(o.text, tc.text) || o.advice == "" {
			t.Errorf("%v: %+v", tc.err, o)
		}
	}
}

func TestANameIsResolved(t *testing.T) {
	s := &script{}
	_, port, err := net.SplitHostPort(serve(t, s.handle))
	if err != nil {
		t.Fatal(err)
	}
	b := brokerAt(net.JoinHostPort("localhost", port))
	p := run(t, b, patience)
	if p.Result != OK || p.step(StepResolve).Result != OK || !strings.Contains(p.step(StepResolve).Text, "127.0.0.1") || len(p.Addresses) == 0 {
		t.Errorf("%+v", p)
	}
}

// A certificate file that cannot be read is told before anything is sent.
func TestFaultsOfFiles(t *testing.T) {
	b := brokerAt(closedPort(t))
	b.Secure = func() (secure.Handshake, error) {
		return nil, &secure.FileError{Key: "cert_file", Path: "certs/dev.pem", Msg: "cannot be read: no such file or directory", Reason: secure.BadFile}
	}
	p := run(t, b, patience)
	if s := p.step(StepCredentials); s.Result != Failed || s.Reason != "tls_bad_file" || !strings.Contains(s.Text, "certs/dev.pem cannot be read") || !strings.Contains(s.Advice, "broker.cert_file") {
		t.Errorf("%+v", s)
	}
}

// A probe ends at once when nobody wants it any more.
func TestAProbeCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := serve(t, func(nc net.Conn) {
		cancel()
		for buf := make([]byte, 1024); ; {
			if _, err := nc.Read(buf); err != nil {
				return
			}
		}
	})
	begin := time.Now()
	b := brokerAt(address)
	b.ConnectTimeout = time.Hour
	r := Run(ctx, Aim{Broker: b, Topic: "dev/probe", Timeout: time.Hour})
	if r.Result != Failed || time.Since(begin) > patience {
		t.Errorf("%+v after %v", r, time.Since(begin))
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error(ctx.Err())
	}
}
