package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is how many there are in a second of what Linux tells of CPU time (proc(5)).
const ticks = 100

// usage is what a gateway, and this process, have used up to an instant. What is not known
// is 0.
type usage struct {
	at            time.Time
	cpu           float64 // seconds
	rss           int64   // octets
	goroutines    int64
	socketDrops   int64
	stored        int64   // octets written to the store's file
	storeFile     int64   // octets
	self, machine float64 // CPU seconds of this process, and of all
}

// observer measures a gateway, from outside or by its own metrics.
type observer struct {
	pid    int
	ops    string
	client *http.Client
}

func newObserver(o *Options) *observer {
	// No connection is kept: it would be a load of its own. No proxy: the address is the gateway's.
	return &observer{o.PID, o.Ops, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// sees reports whether there is a gateway to measure.
func (b *observer) sees() bool { return b.pid != 0 || b.ops != "" }

// measure takes a sample. What /proc says of the gateway counts more than what the gateway
// says of itself.
func (b *observer) measure(ctx context.Context) (u usage, err error) {
	if b.ops != "" {
		if err := b.scrape(ctx, &u); err != nil {
			return u, err
		}
	}
	u.at = time.Now()
	if b.pid != 0 {
		if u.cpu, u.rss, err = process(b.pid); err != nil {
			return u, fmt.Errorf("process %d: %w", b.pid, err)
		}
	}
	u.self, _, _ = process(os.Getpid()) // 0 where there is no /proc
	u.machine = machine()
	return u, nil
}

// scrape reads the gateway's metrics.
func (b *observer) scrape(ctx context.Context, u *usage) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.ops+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return fmt.Errorf("the metrics of the gateway: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the metrics of the gateway: status %d: is this ops.address of a gateway?", response.StatusCode)
	}
	return u.readMetrics(response.Body)
}

// readMetrics reads the text format of Prometheus.
func (u *usage) readMetrics(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			continue
		}
		switch name, _, _ := strings.Cut(line[:i], "{"); name {
		case "process_cpu_seconds_total":
			u.cpu = value
		case "process_resident_memory_bytes":
			u.rss = int64(value)
		case "go_goroutines":
			u.goroutines = int64(value)
		case "sngate_socket_drops_total":
			u.socketDrops += int64(value)
		case "sngate_store_written_bytes_total":
			u.stored = int64(value)
		case "sngate_store_file_bytes":
			u.storeFile = int64(value)
		}
	}
	return lines.Err()
}

// process returns the CPU seconds and the resident memory of a process, as Linux tells them.
func process(pid int) (cpu float64, rss int64, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, errors.New("there is none, or this system has no /proc: the gateway's ops.address tells the same")
	}
	if err != nil {
		return 0, 0, err
	}
	// The name of the program is in parentheses and may have any characters. Behind it, utime
	// and stime are the 12th and 13th field, rss in pages the 22nd.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 22 {
		return 0, 0, errors.New("unknown format of /proc/PID/stat")
	}
	var n [3]int64
	for i, at := range []int{11, 12, 21} {
		if n[i], err = strconv.ParseInt(f[at], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return float64(n[0]+n[1]) / ticks, n[2] * int64(os.Getpagesize()), nil
}

// machine returns the CPU seconds that all processes have used, as Linux tells them.
func machine() (busy float64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		// user, nice, system, idle, iowait, irq, softirq, steal
		if v, err := strconv.ParseFloat(field, 64); err == nil && i >= 1 && i <= 8 && i != 4 && i != 5 {
			busy += v / ticks
		}
	}
	return busy
}
