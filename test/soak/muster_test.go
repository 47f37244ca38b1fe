package soak

import (
	"fmt"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
)

// muster is when every device is called to be connected and quiet: nothing may be
// missing then, and two musters can be compared.
type muster struct {
	mu      sync.Mutex // guards what follows
	on      bool
	call    chan struct{} // closed when a muster begins
	over    chan struct{} // closed when it ends
	present map[*device]bool
}

// musterWithin is how long it may take until everybody is there and has everything: an
// outage that is going on, pauses of devices, repetitions.
const musterWithin = 2 * time.Hour

func (w *world) mustering() bool {
	w.muster.mu.Lock()
	defer w.muster.mu.Unlock()
	return w.muster.on
}

// musterCall returns a channel that is closed when the next muster begins.
func (w *world) musterCall() <-chan struct{} {
	w.muster.mu.Lock()
	defer w.muster.mu.Unlock()
	return w.muster.call
}

// answer is where a device spends a muster.
func (w *world) answer(d *device) {
	m := &w.muster
	m.mu.Lock()
	if !m.on {
		m.mu.Unlock()
		return
	}
	m.present[d] = true
	over := m.over
	m.mu.Unlock()
	// A device without keep-alive has only its own traffic to notice that the gateway has
	// given it up.
	for ask := time.NewTicker(5 * time.Minute); ; {
		select {
		case <-ask.C:
			if d.done("PINGREQ", d.client.Ping(w.ctx)) {
				continue
			}
		case <-over:
		case err := <-d.client.Lost():
			d.note("connection lost: %v", err)
			d.online = false
		case <-w.ctx.Done():
		}
		ask.Stop()
		break
	}
	m.mu.Lock()
	delete(m.present, d)
	m.mu.Unlock()
}

// measure is what is compared between musters.
type measure struct {
	at         time.Duration
	goroutines int
	heap       uint64 // octets
	stacks     uint64
	datagrams  uint64
}

func (m measure) String() string {
	return fmt.Sprintf("%s: %d goroutines, heap %d KiB, stacks %d KiB, %d datagrams", clock(m.at), m.goroutines, m.heap>>10, m.stacks>>10, m.datagrams)
}

// hold holds a muster: it waits until every device is connected and has got everything,
// checks the books and measures. It reports false when the run has failed.
func (w *world) hold() (measure, bool) {
	select {
	case w.calm <- struct{}{}: // no outages meanwhile
		defer func() { <-w.calm }()
	case <-w.ctx.Done():
		return measure{}, false
	}
	m := &w.muster
	m.mu.Lock()
	m.on, m.over, m.present = true, make(chan struct{}), make(map[*device]bool)
	close(m.call)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.on, m.call = false, make(chan struct{})
		close(m.over)
	}()
	for began := w.now(); !w.complete(); {
		if !w.running() {
			return measure{}, false
		}
		if w.now()-began > musterWithin {
			w.failIncomplete()
			return measure{}, false
		}
		time.Sleep(10 * time.Second)
	}
	w.checkBooks()
	w.checkCounters()
	w.ledger.closeBooks()
	return w.measure(), w.running()
}

// complete reports whether everybody is there and has everything.
func (w *world) complete() bool {
	w.muster.mu.Lock()
	present := len(w.muster.present)
	w.muster.mu.Unlock()
	if present < len(w.devices) || !w.steady() {
		return false
	}
	for _, d := range w.devices {
		if waiting, _ := w.broker.Pending(d.id); waiting > 0 || w.ledger.outstanding(d) > 0 {
			return false
		}
	}
	if w.scrape()["sngate_sleep_buffer_messages"] > 0 { // QoS 0 behind the end of an exchange
		return false
	}
	// Copies of datagrams have died out, and probes are answered.
	time.Sleep(copiesLiveFor)
	synctest.Wait()
	w.muster.mu.Lock()
	defer w.muster.mu.Unlock()
	return len(w.muster.present) == len(w.devices)
}

func (w *world) failIncomplete() {
	var missing []*device
	var why []string
	for _, d := range w.devices {
		w.muster.mu.Lock()
		present := w.muster.present[d]
		w.muster.mu.Unlock()
		waiting, _ := w.broker.Pending(d.id)
		if n := w.ledger.outstanding(d); !present || waiting > 0 || n > 0 {
			missing = append(missing, d)
			why = append(why, fmt.Sprintf("present %v, %d messages wait at the broker, %d have not arrived", present, waiting, n))
		}
	}
	for i, d := range missing { // after all have been looked at, for it ends the run
		w.fail(d, "after %s of muster: %s", musterWithin, why[i])
	}
}

// checkBooks checks what can be told when nothing is on its way.
func (w *world) checkBooks() {
	w.ledger.checkWills()
	w.ledger.checkLosses()
	for _, d := range w.devices {
		if _, dropped := w.broker.Pending(d.id); dropped > 0 {
			w.fail(d, "the broker has dropped %d messages: the soak sends too many", dropped)
		}
		if s := d.client.Stats(); s.Malformed > 0 {
			w.fail(d, "the gateway has sent %d malformed datagrams", s.Malformed)
		}
	}
	if _, takeovers := w.broker.Connects(); takeovers > 0 {
		w.fail(nil, "the gateway has taken %d sessions from itself", takeovers)
	}
}

// measure measures the process, with garbage collected.
func (w *world) measure() measure {
	synctest.Wait()
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return measure{
		at: w.now(), goroutines: runtime.NumGoroutine(), heap: ms.HeapAlloc, stacks: ms.StackInuse,
		datagrams: w.network.Stats().Sent,
	}
}

// scrape returns the gateway's metrics by name and labels.
func (w *world) scrape() map[string]float64 {
	rec := httptest.NewRecorder()
	w.gateway.Metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	values := make(map[string]float64)
	for line := range strings.Lines(rec.Body.String()) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = v
		}
	}
	return values
}

// never are the reasons for which this network, these devices and this broker give no
// cause.
var never = []session.Reason{
	session.ReasonMalformed, session.ReasonShardFull, session.ReasonForwarderNotAllowed, session.ReasonEncapsulation,
	session.ReasonOtherGateway, session.ReasonNoAddress, session.ReasonSendFailed, session.ReasonReceiveFailed,
	session.ReasonProtocolID, session.ReasonClientID, session.ReasonClientNotAllowed, session.ReasonMaxSessions,
	session.ReasonWill, session.ReasonAddressChange, session.ReasonBrokerRefused, session.ReasonNoCredentials, session.ReasonStopping,
	session.ReasonInvalidTopic, session.ReasonInvalidMessageID, session.ReasonQoSMinusOneDisabled,
	session.ReasonBrokerCongested, session.ReasonWindowFull, session.ReasonTopicsFull, session.ReasonSubscriptionsFull,
	session.ReasonSubscriptionRefused, session.ReasonNotSupported, session.ReasonBufferFull, session.ReasonTooLarge,
	session.ReasonClientRejected,
}

// checkCounters checks that the gateway's metrics say what is so at a muster.
func (w *world) checkCounters() {
	values := w.scrape()
	n := float64(len(w.devices))
	want := map[string]float64{
		"sngate_upstream_connections":          n + 1, // and its own
		"sngate_upstream_connects_in_progress": 0,
		"sngate_upstream_connects_waiting":     0,
		"sngate_sleep_buffer_messages":         0,
		"sngate_sleep_buffer_bytes":            0,
	}
	for _, state := range session.StateNames() {
		want[`sngate_sessions{state="`+state+`"}`] = 0
	}
	want[`sngate_sessions{state="active"}`] = n
	for _, why := range never {
		want[`sngate_drops_total{reason="`+why.String()+`"}`] = 0
	}
	for _, why := range []string{"invalid", "refused_congested", "congested", "oversize", "protocol_error", "write_stall", "ping_timeout"} {
		want[`sngate_upstream_drops_total{reason="`+why+`"}`] = 0
	}
	for name, v := range want {
		if got, ok := values[name]; !ok || got != v {
			w.fail(nil, "metric %s is %v (there: %v), want %v", name, got, ok, v)
		}
	}
	var in, out, again float64
	for name, v := range values {
		switch {
		case strings.HasPrefix(name, "sngate_messages_total") && strings.Contains(name, `direction="in"`):
			in += v
		case strings.HasPrefix(name, "sngate_messages_total"):
			out += v
		case strings.HasPrefix(name, "sngate_retransmissions_total"):
			again += v
		}
	}
	if in != float64(w.tally.read.Load()) || out != float64(w.tally.written.Load()) {
		w.fail(nil, "the gateway counts %v messages in and %v out; it read %d and wrote %d datagrams", in, out, w.tally.read.Load(), w.tally.written.Load())
	}
	if again == 0 || again > out/5 {
		w.fail(nil, "%v of %v messages are repetitions", again, out)
	}
}
