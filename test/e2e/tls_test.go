package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
	"sngate/upstream/secure/securetest"
)

// tlsSite is a mosquitto with TLS, whose certificate is for "localhost" by its subject alternative
// name only, and files of certificates.
type tlsSite struct {
	*mosquitto.Broker
	t   testing.TB
	ca  *securetest.CA
	dir string
}

func startTLS(t testing.TB, extra ...string) *tlsSite {
	t.Helper()
	return startTLSWith(t, nil, extra...)
}

// startTLSWith starts one that knows users; nil: it asks nobody who they are.
func startTLSWith(t testing.TB, users map[string]string, extra ...string) *tlsSite {
	t.Helper()
	s := &tlsSite{t: t, ca: securetest.NewCA(t, "site ca"), dir: t.TempDir()}
	s.ca.Write(t, s.at("ca.pem"))
	s.ca.Issue(t, securetest.Certificate{DNS: []string{"localhost"}}).Write(t, s.at("broker.pem"), s.at("broker.key"))
	s.Broker = mosquitto.Start(t, mosquitto.Options{Persistence: t.TempDir(), Users: users, Extra: append([]string{
		"cafile " + s.at("ca.pem"), "certfile " + s.at("broker.pem"), "keyfile " + s.at("broker.key"), "max_queued_messages 0",
	}, extra...)})
	return s
}

func (s *tlsSite) at(name string) string { return filepath.Join(s.dir, name) }

func (s *tlsSite) url() string {
	_, port, _ := strings.Cut(s.Addr(), ":")
	return "ssl://localhost:" + port
}

// client writes a client certificate to files.
func (s *tlsSite) client(name, file string) {
	s.t.Helper()
	s.ca.Issue(s.t, securetest.Certificate{Name: name}).Write(s.t, s.at(file+".pem"), s.at(file+".key"))
}

// settings has the broker's authority, and more keys.
func (s *tlsSite) settings(more testgateway.Settings) testgateway.Settings {
	all := testgateway.Settings{"broker.ca_file": strconv.Quote(s.at("ca.pem")), "broker.reconnect_max": `"1s"`, "gateway.client_id": `"gw"`}
	for key, value := range more {
		all[key] = value
	}
	return all
}

// wantConnected waits until the broker has told that a client has connected as a user.
func (s *tlsSite) wantConnected(client, user string) {
	s.t.Helper()
	testgateway.Eventually(s.t, fmt.Sprintf("the broker sees %s as %s", client, user), func() bool {
		for line := range strings.Lines(s.Log()) {
			if strings.Contains(line, " as "+client+" (") && strings.Contains(line, "u'"+user+"'") {
				return true
			}
		}
		return false
	})
}

func failures(reason string) string {
	return fmt.Sprintf("sngate_upstream_tls_failures_total{reason=%q}", reason)
}

// wantFault wants a fault that every connection has: of a device as wantFaultOf says, and of the
// gateway's own in /readyz.
func wantFault(t *testing.T, g *testgateway.Gateway, reason, text string) {
	t.Helper()
	wantFaultOf(t, g, "pump-1", sn12.RejectedCongestion, reason, text)
	testgateway.Eventually(t, "/readyz says what is wrong", func() bool {
		status, body := g.Get("/readyz")
		return status == 503 && strings.Contains(body, text)
	})
}

// wantFaultOf wants the CONNECT of a device answered by a code, the reason counted, and the text in
// one line of the log.
func wantFaultOf(t *testing.T, g *testgateway.Gateway, client string, want sn12.ReturnCode, reason, text string) {
	t.Helper()
	wantCounted(t, g, client, want, failures(reason), text)
}

// wantCounted is wantFaultOf with the metric that counts.
func wantCounted(t *testing.T, g *testgateway.Gateway, client string, want sn12.ReturnCode, metric, text string) {
	t.Helper()
	n := testgateway.NewNode(t, g.Addr)
	if code := n.Connect(sn12.Connect{ClientID: []byte(client), CleanSession: true, Duration: 60}); code != want {
		t.Errorf("CONNECT is answered by %v, want %v", code, want)
	}
	var lines []string
	testgateway.Eventually(t, "the log tells of the device", func() bool {
		lines = nil
		for _, l := range g.LogLines() {
			if l.ClientID == client && l.Message == "upstream connect failed" {
				lines = append(lines, l.Error)
			}
		}
		return len(lines) > 0
	})
	if len(lines) != 1 || !strings.Contains(lines[0], text) {
		t.Errorf("the log says %q, want one line with %q", lines, text)
	}
	if v := g.Value(metric); v < 1 {
		t.Errorf("%s is %v", metric, v)
	}
}

func TestTheNameInTheBrokersCertificateIsVerified_Case170(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	g := startGateway(t, s.url(), s.settings(nil))
	g.AwaitReady(200)
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("pump-1", true, 60)

	g = startGateway(t, s.url(), s.settings(testgateway.Settings{"broker.server_name": `"mqtt.example"`}))
	const text = `TLS: the broker's certificate is for "localhost", not for "mqtt.example"`
	wantFault(t, g, "name_mismatch", text)

	g = startGateway(t, s.url(), testgateway.Settings{})
	wantFault(t, g, "unknown_ca", `none of the known authorities (broker.ca_file) has signed the broker's certificate, but "CN=site ca"`)

	begin, end := time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	s.ca.Issue(t, securetest.Certificate{Name: "old", DNS: []string{"localhost"}, NotBefore: begin, NotAfter: end}).Write(t, s.at("broker.pem"), s.at("broker.key"))
	s.Restart()
	g = startGateway(t, s.url(), s.settings(nil))
	wantFault(t, g, "expired", `TLS: the broker's certificate "CN=old" expired at `+end.UTC().Format(time.DateTime))

	plain := mosquitto.Start(t, mosquitto.Options{})
	g = startGateway(t, "ssl://"+plain.Addr(), s.settings(nil))
	wantFault(t, g, "closed", "does the broker speak TLS on this port?")
}

func TestAClientCertificateIsPresented_Case171(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "require_certificate true", "use_identity_as_username true")
	s.client("all of them", "all")
	g := startGateway(t, s.url(), s.settings(testgateway.Settings{"broker.cert_file": strconv.Quote(s.at("all.pem")), "broker.key_file": strconv.Quote(s.at("all.key"))}))
	g.AwaitReady(200)
	for i := range 20 {
		n := testgateway.NewNode(t, g.Addr)
		id := fmt.Sprint("meter-", i)
		n.MustConnect(id, true, 60)
		s.wantConnected(id, "all of them")
	}
	if full, resumed := g.Value(`sngate_upstream_tls_handshakes_total{kind="full"}`), g.Value(`sngate_upstream_tls_handshakes_total{kind="resumed"}`); full+resumed != 21 || full > 2 {
		t.Errorf("%v handshakes are full and %v resumed", full, resumed)
	}

	g = startGateway(t, s.url(), s.settings(nil))
	wantFault(t, g, "certificate_required", "TLS: the broker asks for a client certificate (broker.cert_file, broker.key_file)")

	securetest.NewCA(t, "stranger").Issue(t, securetest.Certificate{Name: "x"}).Write(t, s.at("x.pem"), s.at("x.key"))
	g = startGateway(t, s.url(), s.settings(testgateway.Settings{"broker.cert_file": strconv.Quote(s.at("x.pem")), "broker.key_file": strconv.Quote(s.at("x.key"))}))
	wantFault(t, g, "certificate_refused", "TLS: the broker refuses the client certificate "+s.at("x.pem"))
}

func TestEachDevicePresentsItsOwnCertificate_Case171(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "require_certificate true", "use_identity_as_username true")
	for _, name := range []string{"gw", "meter-1", "meter-2"} {
		s.client("cn of "+name, name)
	}
	g := startGateway(t, s.url(), s.settings(testgateway.Settings{
		"broker.cert_file": strconv.Quote(s.at("{client_id}.pem")), "broker.key_file": strconv.Quote(s.at("{client_id}.key")),
	}))
	g.AwaitReady(200)
	s.wantConnected("gw", "cn of gw")
	for _, name := range []string{"meter-1", "meter-2", "meter-1"} {
		n := testgateway.NewNode(t, g.Addr)
		n.MustConnect(name, true, 60)
		s.wantConnected(name, "cn of "+name)
	}
	begin := strings.Count(s.Log(), "New connection from")
	wantFaultOf(t, g, "pump-1", sn12.RejectedNotSupported, "bad_file", s.at("pump-1.pem")+" cannot be read: no such file or directory")
	g.Await(testgateway.DropsFor("no_credentials"), 1)

	// A certificate that is broken may be half of a change.
	s.client("cn of pump-2", "pump-2")
	s.client("another", "another")
	if err := os.Rename(s.at("another.key"), s.at("pump-2.key")); err != nil {
		t.Fatal(err)
	}
	wantFaultOf(t, g, "pump-2", sn12.RejectedCongestion, "key_mismatch", s.at("pump-2.key")+" is not the key of the certificate in "+s.at("pump-2.pem"))
	if n := strings.Count(s.Log(), "New connection from"); n != begin {
		t.Error("the broker was connected to")
	}
}

// The credentials of a device name the files of its certificate, and others when they change.
func TestTheCredentialsNameTheCertificateOfADevice_Case171(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "require_certificate true", "use_identity_as_username true")
	for _, name := range []string{"all", "pumps-pump-7", "row", "changed"} {
		s.client("cn of "+name, name)
	}
	rows := func(file string) {
		t.Helper()
		text := fmt.Sprintf("client_id,cert_file,key_file,site\ngw,,,all\nmeter-1,%s,%s,\n", s.at(file+".pem"), s.at(file+".key"))
		if err := os.WriteFile(s.at("new"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(s.at("new"), s.at("devices.csv")); err != nil {
			t.Fatal(err)
		}
	}
	rows("row")
	g := startGateway(t, s.url(), s.settings(testgateway.Settings{
		"broker.cert_file": strconv.Quote(s.at("{site}.pem")), "broker.key_file": strconv.Quote(s.at("{site}.key")),
		"broker.credentials_file": strconv.Quote(s.at("devices.csv")),
		"broker.device": fmt.Sprintf("[{client = 'pump-*', cert_file = %q, key_file = %q}]",
			s.at("pumps-{client_id}.pem"), s.at("pumps-{client_id}.key")),
	}))
	g.AwaitReady(200)
	s.wantConnected("gw", "cn of all")
	for name, cn := range map[string]string{"pump-7": "cn of pumps-pump-7", "meter-1": "cn of row"} {
		testgateway.NewNode(t, g.Addr).MustConnect(name, true, 60)
		s.wantConnected(name, cn)
	}
	begin := strings.Count(s.Log(), "New connection from")
	wantFaultOf(t, g, "pump-8", sn12.RejectedNotSupported, "bad_file", s.at("pumps-pump-8.pem")+" cannot be read: no such file or directory")
	wantFaultOf(t, g, "pump-/../../row", sn12.RejectedNotSupported, "bad_file", "is no name of a file")
	wantFaultOf(t, g, "stranger", sn12.RejectedNotSupported, "bad_file", "there is no value for {site}")
	g.Await(testgateway.DropsFor("no_credentials"), 3)
	if n := strings.Count(s.Log(), "New connection from"); n != begin {
		t.Error("the broker was connected to")
	}
	rows("changed")
	testgateway.Eventually(t, "the rows are read again", func() bool {
		return slices.ContainsFunc(g.LogLines(), func(l testgateway.LogLine) bool { return l.Message == "credentials file read again" })
	})
	testgateway.NewNode(t, g.Addr).MustConnect("meter-1", true, 60)
	s.wantConnected("meter-1", "cn of changed")
}

// The certificate of all devices is renewed while they publish. The connections that are open
// stay; when the broker has been started again all of them come with the new one.
func TestACertificateIsRenewedWhileDevicesPublish_Case171(t *testing.T) {
	const devices, messages = 50, 12
	s := startTLS(t, "require_certificate true", "use_identity_as_username true")
	s.client("old", "all")
	s.client("watcher", "watcher")
	watcher, err := tls.LoadX509KeyPair(s.at("watcher.pem"), s.at("watcher.key"))
	if err != nil {
		t.Fatal(err)
	}
	watch := func(filters ...string) *testgateway.Client {
		return testgateway.ConnectMQTTWith(t, s.Addr(), func(o *mqtt.ClientOptions) {
			o.Servers = nil
			o.AddBroker(s.url()).SetClientID("watcher").SetCleanSession(false)
			o.SetTLSConfig(&tls.Config{RootCAs: s.ca.Pool(), Certificates: []tls.Certificate{watcher}})
		}, filters...)
	}
	watch("up/#").Disconnect(100)
	g := startGateway(t, s.url(), s.settings(testgateway.Settings{"broker.cert_file": strconv.Quote(s.at("all.pem")), "broker.key_file": strconv.Quote(s.at("all.key"))}))
	g.AwaitReady(200)
	s.wantConnected("gw", "old")
	failed := make(chan error, devices)
	for i := range devices {
		d := connect(t, g.Addr, snclient.Options{ClientID: fmt.Sprint("meter-", i), CleanSession: true, KeepAlive: time.Minute})
		go func() {
			topic := snclient.Name(fmt.Sprint("up/", i))
			for n := range messages {
				if err := d.Publish(d.ctx, topic, []byte(strconv.Itoa(n)), 1, false); err != nil {
					failed <- fmt.Errorf("device %d, message %d: %w", i, n, err)
					return
				}
				if n < messages/2 {
					<-time.After(350 * time.Millisecond)
				}
			}
			failed <- nil
		}()
	}
	s.client("new", "all")
	// Files are looked at once in a second, by one connect. Others at the same time use what there was.
	testgateway.Eventually(t, "the new certificate is in use", func() bool {
		testgateway.NewNode(t, g.Addr).MustConnect("early", true, 60)
		return strings.Contains(g.Stderr.String(), `"message":"certificate file read again"`)
	})
	s.Restart()
	for range devices {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	g.AwaitReady(200)
	s.Restart() // who has connected while the file was read has the old one until the next connect
	g.AwaitReady(200)
	for i := range devices {
		s.wantConnected(fmt.Sprint("meter-", i), "new")
	}
	testgateway.NewNode(t, g.Addr).MustConnect("late", true, 60)
	s.wantConnected("late", "new")
	if n := g.Value("sngate_upstream_tls_bad_files_total"); n > 1 { // 1: between the certificate and its key
		t.Errorf("%v changes of files could not be used", n)
	}
	w, got := watch(), make(map[string]bool)
	for len(got) < devices*messages {
		m := w.Receive()
		got[m.Topic()+" "+string(m.Payload())] = true
	}
}
