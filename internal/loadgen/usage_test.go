package loadgen

import (
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
)

const someMetrics = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 14
process_cpu_seconds_total 12.5
process_resident_memory_bytes 2.097152e+07
sngate_socket_drops_total{listener="0"} 3
sngate_socket_drops_total{listener="1"} 4
sngate_store_file_bytes 65536
sngate_store_written_bytes_total 1.5e+06
sngate_store_written_bytes_total_of_another_name 9
`

func TestMetricsOfAGatewayAreRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(someMetrics))
	}))
	defer server.Close()
	u, err := newObserver(&Options{Ops: strings.TrimPrefix(server.URL, "http://")}).measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u.at, u.self, u.machine = usage{}.at, 0, 0
	if want := (usage{cpu: 12.5, rss: 20 << 20, goroutines: 14, socketDrops: 7, stored: 1_500_000, storeFile: 65536}); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
}

func TestAGatewayThatDoesNotAnswerIsAnError(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := strings.TrimPrefix(server.URL, "http://")
	for range 2 {
		if _, err := newObserver(&Options{Ops: address}).measure(t.Context()); err == nil || !strings.Contains(err.Error(), "metrics of the gateway") {
			t.Errorf("%v", err)
		}
		server.Close() // for the second time
	}
	if _, err := newObserver(&Options{PID: 1 << 30}).measure(t.Context()); err == nil || !strings.Contains(err.Error(), "ops.address") {
		t.Errorf("%v", err)
	}
}

func TestProcessesAreMeasuredOnLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	cpu, rss, err := process(os.Getpid())
	if err != nil || rss < 1<<20 || cpu < 0 {
		t.Errorf("%v s, %d octets, %v", cpu, rss, err)
	}
	if machine() <= 0 {
		t.Error("the machine has done nothing")
	}
}
