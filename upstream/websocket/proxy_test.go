package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sngate/upstream/upstreamtest"
	"sngate/upstream/websocket"
)

// throughProxy dials the site's broker through a proxy that answers as given.
func (s *site) throughProxy(answer string) (nc net.Conn, asked *http.Request, err error) {
	s.t.Helper()
	s.start()
	done := make(chan struct{})
	var end *upstreamtest.Conn
	dial := s.web.Dial(func(_ context.Context, network, to string) (net.Conn, error) {
		if network != "tcp" || to != "proxy.example:3128" {
			s.t.Errorf("dials %s %s", network, to)
		}
		a, b := upstreamtest.Pipe(64 << 10)
		end = b
		go func() {
			defer close(done)
			if asked, err = http.ReadRequest(bufio.NewReader(b)); err != nil {
				s.t.Errorf("the proxy has no request: %v", err)
			}
			_, _ = io.WriteString(b, answer)
			if answer == "" {
				b.Close()
			}
		}()
		return a, nil
	})
	nc, fault := dial(s.t.Context(), "tcp", address)
	<-done
	if fault != nil && !end.Ended() {
		s.t.Error("a connection that has failed is not closed")
	}
	return nc, asked, fault
}

func TestTheProxyIsAskedForTheBroker(t *testing.T) {
	for env, auth := range map[string]string{
		"HTTPS_PROXY=http://proxy.example:3128":                        "",
		"HTTPS_PROXY=proxy.example:3128":                               "",
		"https_proxy=http://us%65r:" + secret + "@proxy.example:3128/": "Basic dXNlcjpodW50ZXIyLWhvcnNl",
		"HTTPS_PROXY=http://user@proxy.example:3128":                   "Basic dXNlcjo=",
	} {
		bubble(t, "wss://broker.example/mqtt", func(s *site) {
			s.opt.Proxies = websocket.ReadProxies([]string{"http_proxy=http://other", env})
			nc, asked, err := s.throughProxy("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if asked.Method != "CONNECT" || asked.RequestURI != address || asked.Host != address || asked.Header.Get("Proxy-Authorization") != auth || asked.Header.Get("Authorization") != "" {
				t.Errorf("%s %s, host %s, %v", asked.Method, asked.RequestURI, asked.Host, asked.Header)
			}
			nc.Close()
		})
	}
}

func TestAProxyThatFailsIsNamed(t *testing.T) {
	for _, c := range []struct {
		user, answer string
		reason       websocket.Reason
		want         string
	}{
		{"", "HTTP/1.1 407 x\r\n\r\n", websocket.ProxyAuth, "the proxy proxy.example:3128 wants a user name and password, in HTTPS_PROXY: 407 Proxy Authentication Required"},
		{"user:" + secret + "@", "HTTP/1.1 407 x\r\n\r\n", websocket.ProxyAuth, "the proxy proxy.example:3128 does not take the user name and password in HTTPS_PROXY: 407"},
		{"", "HTTP/1.0 403 x\r\n\r\n", websocket.ProxyRefused, "the proxy proxy.example:3128 does not connect to broker.example:443: 403 Forbidden"},
		{"", "HTTP/1.1 502 x\r\n\r\n", websocket.ProxyRefused, "does not connect to broker.example:443: 502 Bad Gateway"},
		{"", "HTTP/1.1 101 x\r\n\r\n", websocket.ProxyRefused, "101 Switching Protocols"},
		{"", "HTTP/1.1 200 x\r\n\r\nhello", websocket.ProxyAnswer, "the proxy proxy.example:3128 has sent more than an answer"},
		{"", "SSH-2.0-x\r\n", websocket.ProxyAnswer, "what the proxy proxy.example:3128 answers is no HTTP"},
		{"", strings.Repeat("x", 32<<10), websocket.ProxyAnswer, "is no HTTP"},
		{"", "HTTP/1.1 200 x\r\n" + strings.Repeat("A: b\r\n", 8<<10), websocket.ProxyAnswer, "is no HTTP"},
		{"", "", websocket.ProxyAnswer, "is no HTTP"},
	} {
		bubble(t, "wss://broker.example/mqtt", func(s *site) {
			s.opt.Proxies = websocket.ReadProxies([]string{"HTTPS_PROXY=http://" + c.user + "proxy.example:3128"})
			_, _, err := s.throughProxy(c.answer)
			var f *websocket.Fault
			if !errors.As(err, &f) || f.Reason != c.reason || !strings.Contains(err.Error(), c.want) || strings.Contains(fmt.Sprintf("%v %+v", err, f), secret) {
				t.Errorf("%.30q: %v", c.answer, err)
			} else if n := s.stats.Failures[c.reason].Load(); n != 1 {
				t.Errorf("%.30q: %s is counted %d times", c.answer, f.Reason, n)
			}
		})
	}
	bubble(t, "wss://broker.example/mqtt", func(s *site) {
		s.opt.Proxies = websocket.ReadProxies([]string{"HTTPS_PROXY=http://proxy.example:3128"})
		s.start()
		down := errors.New("connection refused")
		_, err := s.web.Dial(func(context.Context, string, string) (net.Conn, error) { return nil, down })(s.t.Context(), "tcp", address)
		if !errors.Is(err, down) || !strings.Contains(err.Error(), "no connection to the proxy proxy.example:3128: connection refused") || s.stats.Failures[websocket.ProxyUnreachable].Load() != 1 {
			t.Errorf("%v", err)
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		var end *upstreamtest.Conn
		_, err = s.web.Dial(func(context.Context, string, string) (net.Conn, error) {
			var a *upstreamtest.Conn
			a, end = upstreamtest.Pipe(4 << 10)
			return a, nil
		})(ctx, "tcp", address)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second || !end.Ended() {
			t.Errorf("a proxy that does not answer: %v", err)
		}
	})
}

// Which brokers are reached through which proxy.
func TestProxiesAreThoseOfTheEnvironment(t *testing.T) {
	both := []string{"HTTP_PROXY=http://plain", "HTTPS_PROXY=http://secure:8080"}
	for _, c := range []struct {
		url  string
		env  []string
		want string // "": the broker itself
	}{
		{"ws://a.example/", both, "plain:80"},
		{"wss://a.example/", both, "secure:8080"},
		{"wss://a.example/", both[:1], ""},
		{"ws://a.example/", both[1:], ""},
		{"ws://a.example/", []string{"http_proxy=http://low"}, "low:80"},
		{"ws://a.example/", []string{"HTTP_PROXY=http://up", "http_proxy=http://low"}, "up:80"},
		{"ws://a.example/", []string{"HTTP_PROXY=", "http_proxy=http://low"}, "low:80"},
		{"ws://a.example/", []string{"HTTP_PROXY=[2001:db8::1]:3128"}, "[2001:db8::1]:3128"},
		{"ws://localhost/", both, ""},
		{"ws://127.0.0.9/", both, ""},
		{"ws://[::1]/", both, ""},
		{"ws://10.1.2.3/", both, "plain:80"},
		{"ws://a.example/", append(both, "NO_PROXY=*"), ""},
		{"ws://a.example/", append(both, "NO_PROXY= b.example , A.example"), ""},
		{"ws://x.a.example/", append(both, "no_proxy=a.example"), ""},
		{"ws://xa.example/", append(both, "no_proxy=a.example"), "plain:80"},
		{"ws://a.example/", append(both, "NO_PROXY=.example"), ""},
		{"ws://a.example/", append(both, "NO_PROXY=.a.example"), "plain:80"},
		{"ws://x.a.example/", append(both, "NO_PROXY=*.a.example"), ""},
		{"ws://a.example:9001/", append(both, "NO_PROXY=a.example:9001"), ""},
		{"ws://a.example/", append(both, "NO_PROXY=a.example:9001"), "plain:80"},
		{"wss://a.example/", append(both, "NO_PROXY=a.example:443"), ""},
		{"ws://10.1.2.3/", append(both, "NO_PROXY=10.0.0.0/8"), ""},
		{"ws://10.1.2.3/", append(both, "NO_PROXY=10.1.2.3"), ""},
		{"ws://10.1.2.3/", append(both, "NO_PROXY=10.1.2.3:81,1.2.3,.3,"), "plain:80"},
		{"ws://[2001:db8::7]:81/", append(both, "NO_PROXY=[2001:db8::7]:81"), ""},
		{"ws://[2001:db8::7]/", append(both, "NO_PROXY=2001:db8::7"), ""},
		{"ws://[2001:db8::7]/", append(both, "NO_PROXY=2001:db8::/32"), ""},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		web, err := websocket.New(websocket.Options{Brokers: map[string]*url.URL{address: u}, Proxies: websocket.ReadProxies(c.env)}, new(websocket.Stats))
		if err != nil {
			t.Fatal(err)
		}
		for broker, want := range map[string]string{address: c.want, "other:1883": ""} {
			var to string
			_, _ = web.Dial(func(_ context.Context, _, address string) (net.Conn, error) {
				to = address
				return nil, io.EOF
			})(t.Context(), "tcp", broker)
			if want == "" {
				want = broker
			}
			if to != want {
				t.Errorf("%s with %q: dials %s, want %s", c.url, c.env, to, want)
			}
		}
	}
}
