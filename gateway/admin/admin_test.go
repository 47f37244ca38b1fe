package admin

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// opsLab is a running server whose state the test sets.
type opsLab struct {
	t                         *testing.T
	server                    *Server
	client                    *http.Client
	stuck, notReady, degraded atomic.Value // []string
}

func newOpsLab(t *testing.T, metrics http.Handler) *opsLab {
	t.Helper()
	l := &opsLab{t: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}}
	l.stuck.Store([]string(nil))
	l.notReady.Store([]string(nil))
	l.degraded.Store([]string(nil))
	if metrics == nil {
		metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "sngate_sessions 5\n") })
	}
	server, err := Listen(Options{
		Address:  "127.0.0.1:0",
		Version:  "1.2.3<&>",
		Metrics:  metrics,
		Stuck:    func() []string { return l.stuck.Load().([]string) },
		NotReady: func() []string { return l.notReady.Load().([]string) },
		Degraded: func() []string { return l.degraded.Load().([]string) },
		Store:    func() string { return "12 <MiB>" },
		Sessions: func() []StateCount { return []StateCount{{"active", 4711}, {"asleep", 42}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.server = server
	return l
}

func (l *opsLab) get(path string) (status int, body string, header http.Header) {
	l.t.Helper()
	r, err := l.client.Get("http://" + l.server.Addr() + path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

func (l *opsLab) want(path string, status int, body string) {
	l.t.Helper()
	if s, b, _ := l.get(path); s != status || b != body {
		l.t.Errorf("%s: %d %q, want %d %q", path, s, b, status, body)
	}
}

func (l *opsLab) shutdown(wait time.Duration) {
	l.t.Helper()
	if err := l.server.Shutdown(wait); err != nil {
		l.t.Errorf("shutdown: %v", err)
	}
}

func TestHealthAndReadinessAreDifferentQuestions(t *testing.T) {
	l := newOpsLab(t, nil)
	defer l.shutdown(5 * time.Second)
	l.want("/healthz", 200, "ok\n")
	l.want("/readyz", 200, "ready\n")
	l.notReady.Store([]string{"listener :1883 is not bound", "no connection to the broker"})
	l.want("/healthz", 200, "ok\n")
	l.want("/readyz", 503, "listener :1883 is not bound\nno connection to the broker\n")
	l.stuck.Store([]string{"shard 0 has not turned for 31s"})
	l.want("/healthz", 503, "shard 0 has not turned for 31s\n")
	l.stuck.Store([]string(nil))
	l.notReady.Store([]string(nil))
	l.want("/healthz", 200, "ok\n")
	l.want("/readyz", 200, "ready\n")
}

// Neither a supervisor nor a load balancer may take a gateway away that still relays.
func TestDegradedGatewayStaysReadyAndSaysSo(t *testing.T) {
	l := newOpsLab(t, nil)
	defer l.shutdown(5 * time.Second)
	l.degraded.Store([]string{"store: no space left on device"})
	l.want("/healthz", 200, "ok\n")
	l.want("/readyz", 200, "ready\ndegraded: store: no space left on device\n")
	l.notReady.Store([]string{"no connection to the broker"})
	l.want("/readyz", 503, "no connection to the broker\ndegraded: store: no space left on device\n")
	if _, body, _ := l.get("/"); !strings.Contains(body, "<li>store: no space left on device</li>") {
		t.Errorf("not on the page:\n%s", body)
	}
}

func TestMetricsAreServed_Case185(t *testing.T) {
	l := newOpsLab(t, nil)
	defer l.shutdown(5 * time.Second)
	status, body, _ := l.get("/metrics")
	if status != 200 || body != "sngate_sessions 5\n" {
		t.Errorf("status %d, body %q", status, body)
	}
}

func TestIndexPageShowsStateAndEscapesIt(t *testing.T) {
	l := newOpsLab(t, nil)
	defer l.shutdown(5 * time.Second)
	status, body, header := l.get("/")
	for _, want := range []string{"1.2.3&lt;&amp;&gt;", "4711", "asleep", `href="metrics"`, `href="healthz"`, `href="readyz"`, "Ready.", "Store: 12 &lt;MiB&gt;."} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in\n%s", want, body)
		}
	}
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || strings.Contains(body, "src=") {
		t.Errorf("status %d, header %v", status, header)
	}
	l.notReady.Store([]string{"broker <b>away</b>"})
	if _, body, _ := l.get("/"); !strings.Contains(body, "broker &lt;b&gt;away") || strings.Contains(body, "Ready.") {
		t.Errorf("not ready:\n%s", body)
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	l := newOpsLab(t, nil)
	defer l.shutdown(5 * time.Second)
	tests := []struct {
		method, path string
		want         int
	}{
		{"HEAD", "/", 200}, {"HEAD", "/metrics", 200}, {"HEAD", "/healthz", 200},
		{"POST", "/", 405}, {"PUT", "/metrics", 405}, {"DELETE", "/healthz", 405}, {"POST", "/readyz", 405},
		{"GET", "/nothing", 404}, {"GET", "/metrics/x", 404}, {"GET", "/debug/pprof/", 404},
	}
	for _, tt := range tests {
		r, err := http.NewRequest(tt.method, "http://"+l.server.Addr()+tt.path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		response, err := l.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, response.StatusCode, tt.want)
		}
	}
	r, _ := http.NewRequest("GET", "http://"+l.server.Addr()+"/", nil)
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	response, err := l.client.Do(r)
	if err == nil {
		response.Body.Close()
		if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("64 KiB of header: %d", response.StatusCode)
		}
	}
}

func TestShutdownWaitsForARequestButNotForever(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "done")
	})
	request := func(l *opsLab) chan string {
		result := make(chan string, 1)
		go func() {
			r, err := l.client.Get("http://" + l.server.Addr() + "/metrics")
			if err != nil {
				result <- "cut off"
				return
			}
			defer r.Body.Close()
			b, _ := io.ReadAll(r.Body)
			result <- string(b)
		}()
		<-entered
		return result
	}

	l := newOpsLab(t, slow)
	result := request(l)
	go func() { release <- struct{}{} }()
	l.shutdown(10 * time.Second)
	if got := <-result; got != "done" {
		t.Errorf("the request in progress got %q", got)
	}

	l = newOpsLab(t, slow)
	result = request(l)
	l.shutdown(20 * time.Millisecond)
	if got := <-result; got != "cut off" {
		t.Errorf("the request that hangs got %q", got)
	}
	release <- struct{}{} // let its handler end
	if c, err := net.Dial("tcp", l.server.Addr()); err == nil {
		c.Close()
		t.Error("the address still accepts")
	}
}

func TestAddressOfTheOperatorsServerInUseIsAnError(t *testing.T) {
	l := newOpsLab(t, nil)
	defer l.shutdown(5 * time.Second)
	_, err := Listen(Options{Address: l.server.Addr(), Metrics: http.NotFoundHandler()})
	if err == nil || !strings.Contains(err.Error(), l.server.Addr()) {
		t.Errorf("err = %v", err)
	}
}
