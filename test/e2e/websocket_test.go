package e2e

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
	"sngate/upstream/secure/securetest"
)

// webHost is a name that only the proxy of the tests knows: it leads to this machine.
const webHost = "broker.test"

// webSite is a mosquitto with a listener for WebSocket, with TLS or without, beside the plain one
// that tests watch it by.
type webSite struct {
	*mosquitto.Broker
	scheme, port, ca string
}

func startWeb(t testing.TB, scheme string, opts mosquitto.Options) *webSite {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &webSite{scheme: scheme, port: strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
	l.Close()
	opts.Extra = append(opts.Extra, "max_queued_messages 0", "listener "+s.port, "protocol websockets")
	if scheme == "wss" {
		dir := t.TempDir()
		ca := securetest.NewCA(t, "site ca")
		s.ca = filepath.Join(dir, "ca.pem")
		cert, key := filepath.Join(dir, "broker.pem"), filepath.Join(dir, "broker.key")
		ca.Write(t, s.ca)
		ca.Issue(t, securetest.Certificate{DNS: []string{"localhost", webHost}}).Write(t, cert, key)
		opts.Extra = append(opts.Extra, "cafile "+s.ca, "certfile "+cert, "keyfile "+key)
	}
	s.Broker = mosquitto.Start(t, opts)
	testgateway.Eventually(t, "the broker listens for WebSocket", func() bool { // after the plain listener
		nc, err := net.Dial("tcp", "localhost:"+s.port)
		if err != nil {
			return false
		}
		nc.Close()
		return true
	})
	return s
}

func (s *webSite) url(host string) string { return s.scheme + "://" + host + ":" + s.port + "/mqtt" }

// settings says how the site is trusted, and more.
func (s *webSite) settings(more testgateway.Settings) testgateway.Settings {
	all := testgateway.Settings{"broker.reconnect_max": `"1s"`, "gateway.client_id": `"gw"`}
	if s.ca != "" {
		all["broker.ca_file"] = strconv.Quote(s.ca)
	}
	for key, value := range more {
		all[key] = value
	}
	return all
}

func webFailures(reason string) string {
	return fmt.Sprintf("sngate_upstream_websocket_failures_total{reason=%q}", reason)
}

const webUpgrades = "sngate_upstream_websocket_upgrades_total"

// proxy is an HTTP proxy that connects to this machine for those with the right password.
type proxy struct {
	t       testing.TB
	addr    string
	tunnels atomic.Int64 // made so far
	wg      sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while it is killed
	conns    map[net.Conn]bool
}

const proxyUser, proxyPassword = "site", "hunter2-horse"

func startProxy(t testing.TB) *proxy {
	t.Helper()
	p := &proxy{t: t, addr: "127.0.0.1:0"}
	p.start()
	t.Cleanup(p.kill)
	return p
}

// url has the user and password, or none of both.
func (p *proxy) url(user bool) string {
	if user {
		return "http://" + proxyUser + ":" + proxyPassword + "@" + p.addr
	}
	return "http://" + p.addr
}

// start starts it, after kill on the same port.
func (p *proxy) start() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = l.Addr().String()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener, p.conns = l, make(map[net.Conn]bool)
	p.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(near) })
		}
	})
}

// kill ends it with all its connections.
func (p *proxy) kill() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// keep notes a connection for kill, and reports whether there was none yet.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return p.listener != nil
}

func (p *proxy) serve(near net.Conn) {
	defer near.Close()
	r := bufio.NewReader(near)
	if !p.keep(near) {
		return
	}
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	host, port, _ := net.SplitHostPort(req.Host)
	refuse := func(code int) { fmt.Fprintf(near, "HTTP/1.1 %d no\r\nContent-Length: 0\r\n\r\n", code) }
	switch want := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword)); {
	case req.Method != http.MethodConnect:
		refuse(http.StatusMethodNotAllowed)
		return
	case req.Header.Get("Proxy-Authorization") != want:
		refuse(http.StatusProxyAuthRequired)
		return
	case host != webHost:
		refuse(http.StatusForbidden)
		return
	}
	far, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		refuse(http.StatusBadGateway)
		return
	}
	defer far.Close()
	if !p.keep(far) {
		return
	}
	p.tunnels.Add(1)
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	p.wg.Go(func() {
		_, _ = io.Copy(near, far)
		near.Close()
	})
	_, _ = io.Copy(far, r)
}

// wantWebFault wants the text in one line of the log about the device and in /readyz, and the
// reason counted. None of them has a secret in it.
func wantWebFault(t *testing.T, g *testgateway.Gateway, reason, text string, secrets ...string) {
	t.Helper()
	wantCounted(t, g, "pump-1", sn12.RejectedCongestion, webFailures(reason), text)
	var body string
	testgateway.Eventually(t, "/readyz says what is wrong", func() bool {
		var status int
		status, body = g.Get("/readyz")
		return status == 503 && strings.Contains(body, text)
	})
	_, metrics := g.Get("/metrics")
	for _, secret := range secrets {
		if strings.Contains(g.Stderr.String()+body+metrics, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

func TestDevicesReachABrokerByWebSocket(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := startWeb(t, scheme, mosquitto.Options{})
			g := startGateway(t, s.url("localhost"), s.settings(testgateway.Settings{"broker.websocket.headers": `{ X-Site = "hunter2" }`}))
			g.AwaitReady(200)
			watcher := testgateway.ConnectMQTT(t, s.Addr(), "up/#")
			d := connect(t, g.Addr, snclient.Options{ClientID: "pump-1", CleanSession: true, KeepAlive: time.Minute})
			d.subscribe(snclient.Name("down/#"), 2)
			for i, n := range []int{0, 1, 125, 126, 16 << 10, 60_000} {
				payload := strings.Repeat("x", n)
				d.publish(snclient.Name("up/"+strconv.Itoa(i)), []byte(payload), uint8(i%3), false)
				watcher.WantMessage("up/"+strconv.Itoa(i), payload)
				watcher.Send("down/"+strconv.Itoa(i), []byte(payload), uint8(i%3), false)
				if m := d.receive(); string(m.Payload) != payload {
					t.Errorf("%d octets are %d at the device", n, len(m.Payload))
				}
			}
			if n := g.Value(webUpgrades); n != 2 {
				t.Errorf("%v upgrades are counted", n)
			}
			if strings.Contains(g.Stderr.String(), "hunter2") {
				t.Error("the log shows the value of a header")
			}
			s.Kill()
			g.AwaitReady(503)
			s.Restart()
			g.AwaitReady(200)
		})
	}
}

func TestABrokerThatIsNotReachedByWebSocketSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, text string
		answer       func(w http.ResponseWriter, accept string)
	}{
		{"unauthorized", `WebSocket: the broker refuses the upgrade of "/mqtt": 403 Forbidden`, func(w http.ResponseWriter, _ string) { w.WriteHeader(403) }},
		{"not_found", `WebSocket: the broker has nothing at the path "/mqtt": 404 Not Found`, func(w http.ResponseWriter, _ string) { w.WriteHeader(404) }},
		{"refused", `WebSocket: the broker does not upgrade "/mqtt": 503 Service Unavailable`, func(w http.ResponseWriter, _ string) { w.WriteHeader(503) }},
		{"subprotocol", `WebSocket: the broker chooses the subprotocol "chat", not "mqtt"`, func(w http.ResponseWriter, accept string) {
			for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept, "Sec-WebSocket-Protocol": "chat"} {
				w.Header().Set(name, value)
			}
			w.WriteHeader(101)
		}},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			c.answer(w, base64.StdEncoding.EncodeToString(sum[:]))
		}))
		t.Cleanup(server.Close)
		g := startGateway(t, "ws"+strings.TrimPrefix(server.URL, "http"), testgateway.Settings{
			"gateway.client_id": `"gw"`, "broker.websocket.headers": `{ Authorization = "Bearer hunter2" }`})
		wantWebFault(t, g, c.reason, c.text, "hunter2")
	}
	plain := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, "ws://"+plain.Addr(), testgateway.Settings{"gateway.client_id": `"gw"`})
	wantWebFault(t, g, "closed", "does it speak WebSocket on this port?")
	g = startGateway(t, "wss://"+plain.Addr(), testgateway.Settings{"gateway.client_id": `"gw"`})
	wantFault(t, g, "closed", "does the broker speak TLS on this port?")
	web := startWeb(t, "wss", mosquitto.Options{})
	g = startGateway(t, web.url("localhost"), testgateway.Settings{"gateway.client_id": `"gw"`})
	wantFault(t, g, "unknown_ca", `none of the known authorities (broker.ca_file) has signed the broker's certificate`)
}

// The environment is that of the tests, so these do not run beside others.
func TestABrokerBehindAProxy(t *testing.T) {
	for scheme, variable := range map[string]string{"ws": "HTTP_PROXY", "wss": "HTTPS_PROXY"} {
		t.Run(scheme, func(t *testing.T) {
			s, p := startWeb(t, scheme, mosquitto.Options{}), startProxy(t)
			fault := func(value, host, reason, text string) {
				t.Helper()
				t.Setenv(variable, value)
				g := startGateway(t, s.url(host), s.settings(nil))
				defer g.Stop() // or it would take the client id of the next one
				wantWebFault(t, g, reason, text, proxyPassword, "hunter3",
					base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword)))
			}
			fault(p.url(false), webHost, "proxy_auth", "the proxy "+p.addr+" wants a user name and password, in "+variable+": 407")
			fault("http://site:hunter3@"+p.addr, webHost, "proxy_auth", "does not take the user name and password in "+variable+": 407")
			fault(p.url(true), "other.test", "proxy_refused", "the proxy "+p.addr+" does not connect to other.test:"+s.port+": 403 Forbidden")
			s.Stop()
			fault(p.url(true), webHost, "proxy_refused", "does not connect to "+webHost+":"+s.port+": 502 Bad Gateway")
			s.Restart()
			p.kill()
			fault(p.url(true), webHost, "proxy_unreachable", "no connection to the proxy "+p.addr+": ")
			p.start()
			fault("http://"+s.Addr(), webHost, "proxy_answer", "what the proxy "+s.Addr()+" answers is no HTTP")

			t.Setenv(variable, p.url(true))
			g := startGateway(t, s.url(webHost), s.settings(nil))
			g.AwaitReady(200)
			n := testgateway.NewNode(t, g.Addr)
			n.MustConnect("pump-1", true, 60)
			if made := p.tunnels.Load(); made < 2 {
				t.Errorf("%d connections go through the proxy", made)
			}
			made := p.tunnels.Load()
			t.Setenv("NO_PROXY", "test")
			g = startGateway(t, s.url("localhost"), s.settings(testgateway.Settings{"gateway.client_id": `"other"`})) // the first goes on
			g.AwaitReady(200)
			if p.tunnels.Load() != made {
				t.Error("this machine is reached through the proxy")
			}
		})
	}
}

// 50 devices publish while the broker is started again and the proxy killed: what was
// acknowledged arrives.
func TestNothingIsLostBehindAProxy(t *testing.T) {
	const devices, messages = 50, 16
	for scheme, variable := range map[string]string{"ws": "HTTP_PROXY", "wss": "HTTPS_PROXY"} {
		t.Run(scheme, func(t *testing.T) {
			s, p := startWeb(t, scheme, mosquitto.Options{Persistence: t.TempDir()}), startProxy(t)
			t.Setenv(variable, p.url(true))
			watch := func(filters ...string) *testgateway.Client {
				return testgateway.ConnectMQTTWith(t, s.Addr(), func(o *mqtt.ClientOptions) { o.SetClientID("watcher").SetCleanSession(false) }, filters...)
			}
			watch("up/#").Disconnect(100)
			g := startGateway(t, s.url(webHost), s.settings(nil))
			g.AwaitReady(200)
			failed := make(chan error, devices)
			for i := range devices {
				d := connect(t, g.Addr, snclient.Options{ClientID: fmt.Sprint("meter-", i), CleanSession: true, KeepAlive: time.Minute})
				go func() {
					for n := range messages {
						if err := d.Publish(d.ctx, snclient.Name(fmt.Sprint("up/", i)), []byte(strconv.Itoa(n)), 1, false); err != nil {
							failed <- fmt.Errorf("device %d, message %d: %w", i, n, err)
							return
						}
						<-time.After(100 * time.Millisecond)
					}
					failed <- nil
				}()
			}
			s.Restart()
			p.kill()
			p.start()
			for range devices {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			g.AwaitReady(200)
			w, got := watch(), make(map[string]bool)
			for len(got) < devices*messages {
				m := w.Receive()
				got[m.Topic()+" "+string(m.Payload())] = true
			}
			if strings.Contains(g.Stderr.String(), proxyPassword) {
				t.Error("the log shows the password of the proxy")
			}
		})
	}
}

// The broker that is preferred is reached by WebSocket through a proxy, the next one by TCP.
func TestBrokersOfSeveralKindsTakeTurns(t *testing.T) {
	s, p := startWeb(t, "wss", mosquitto.Options{}), startProxy(t)
	t.Setenv("HTTPS_PROXY", p.url(true))
	other := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, s.url(webHost), s.settings(testgateway.Settings{
		"broker.fallback_urls": "[" + strconv.Quote(other.URL()) + "]", "broker.fail_back": `"10s"`, "broker.reconnect_min": `"500ms"`}))
	g.AwaitReady(200)
	d := connect(t, g.Addr, snclient.Options{ClientID: "pump-1", CleanSession: true, KeepAlive: time.Minute})
	d.subscribe(snclient.Name("down"), 1)
	p.kill()
	testgateway.Within(t, time.Minute, "the device is at the other broker", func() bool { return strings.Contains(other.Log(), " as pump-1 (") })
	testgateway.ConnectMQTT(t, other.Addr()).Send("down", []byte("other"), 1, true)
	if m := d.receive(); string(m.Payload) != "other" {
		t.Errorf("received %q", m.Payload)
	}
	p.start()
	upgrades := g.Value(webUpgrades)
	testgateway.Within(t, time.Minute, "the device is back", func() bool {
		return g.Value("sngate_upstream_failbacks_total") == 1 && g.Value(webUpgrades) >= upgrades+3
	})
	testgateway.ConnectMQTT(t, s.Addr()).Send("down", []byte("back"), 1, true)
	if m := d.receive(); string(m.Payload) != "back" {
		t.Errorf("received %q", m.Payload)
	}
}
