package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// scrape returns the samples of /metrics by name and labels.
func (r *rig) scrape() map[string]float64 {
	r.t.Helper()
	synctest.Wait()
	rec := httptest.NewRecorder()
	r.gateway.metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		r.t.Fatalf("/metrics: %d %s", rec.Code, rec.Body)
	}
	samples := make(map[string]float64)
	for line := range strings.Lines(rec.Body.String()) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && strings.HasPrefix(line, "sngate_") {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
			if err != nil {
				r.t.Fatalf("%q: %v", line, err)
			}
			samples[line[:i]] = v
		}
	}
	return samples
}

func (r *rig) wantSamples(why string, want map[string]float64) {
	r.t.Helper()
	got := r.scrape()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			r.t.Errorf("%s: %s is %v (there: %v), want %v", why, name, g, ok, v)
		}
	}
}

func TestMetricsTellWhatHappened_Case185(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.wantSamples("at the start", map[string]float64{
			`sngate_messages_total{direction="in",type="CONNECT"}`: 0,
			`sngate_sessions{state="active"}`:                      0,
			`sngate_upstream_connections`:                          1,
			`sngate_upstream_connects_total{result="accepted"}`:    1,
		})
		a, b, c := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000"), r.device("10.0.1.3:5000")
		a.connect("a")
		b.connectWith(false, 60, "b")
		b.subscribe("t", 1)
		b.sleep(600)
		for range 5 {
			r.publish("t", "12345", 1)
		}
		c.send("02 16")
		c.send("05 16")
		c.send("03 fe 00 02 16")
		a.discard()
		a.sendMessage(sn12.Publish{QoS: 1, TopicID: 999, MsgID: 1})
		a.discard()
		a.subscribe("ab", 1)
		r.publish("ab", "x", 1)
		time.Sleep(10 * time.Second) // one retransmission
		r.wantSamples("after some traffic", map[string]float64{
			`sngate_messages_total{direction="in",type="CONNECT"}`:         2,
			`sngate_messages_total{direction="out",type="CONNACK"}`:        2,
			`sngate_messages_total{direction="in",type="PINGREQ"}`:         1,
			`sngate_messages_total{direction="in",type="DISCONNECT"}`:      1,
			`sngate_messages_total{direction="out",type="DISCONNECT"}`:     2,
			`sngate_messages_total{direction="in",type="PUBLISH"}`:         1,
			`sngate_messages_total{direction="out",type="PUBACK"}`:         1,
			`sngate_messages_total{direction="out",type="PUBLISH"}`:        2,
			`sngate_retransmissions_total{type="PUBLISH"}`:                 1,
			`sngate_drops_total{reason="unknown_sender"}`:                  1,
			`sngate_drops_total{reason="malformed"}`:                       1,
			`sngate_drops_total{reason="encapsulation"}`:                   1,
			`sngate_drops_total{reason="unknown_topic_id"}`:                1,
			`sngate_sessions{state="active"}`:                              1,
			`sngate_sessions{state="asleep"}`:                              1,
			`sngate_sessions{state="lost"}`:                                0,
			`sngate_sleep_buffer_messages`:                                 6, // the unacknowledged one of a
			`sngate_shard_queue_depth{queue="datagrams",shard="0"}`:        0,
			`sngate_shard_queue_depth{queue="events",shard="0"}`:           0,
			`sngate_shard_queue_depth{queue="strangers",shard="0"}`:        0,
			`sngate_shard_queue_capacity{queue="datagrams"}`:               arrivalQueue,
			`sngate_shard_queue_capacity{queue="strangers"}`:               strangerQueue,
			`sngate_shard_queue_capacity{queue="events"}`:                  inputQueue,
			`sngate_upstream_connections`:                                  3,
			`sngate_upstream_connects_total{result="accepted"}`:            3,
			`sngate_upstream_drops_total{reason="down"}`:                   0,
			`sngate_socket_receive_buffer_bytes{listener="10.0.0.1:1883"}`: 1,
		})
		b.wake("b")
		a.send("02 18")
		r.wantSamples("later", map[string]float64{
			`sngate_sleep_buffer_messages`:          0,
			`sngate_sleep_buffer_bytes`:             0,
			`sngate_sessions{state="active"}`:       0,
			`sngate_sessions{state="disconnected"}`: 0, // not kept
			`sngate_sessions{state="asleep"}`:       1,
			`sngate_upstream_connections`:           2,
		})
		time.Sleep(660 * time.Second)
		r.wantSamples("in the end", map[string]float64{`sngate_sessions{state="asleep"}`: 0, `sngate_sessions{state="lost"}`: 1})
	})
}

// The sum of the gauges is the number of entries after every step of many devices.
func TestSessionsGaugeIsTheNumberOfEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		devices := []*device{r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000"), r.device("10.0.1.3:5000")}
		steps := []string{
			"07 04 04 01 003c 61", "07 04 00 01 003c 62", "07 04 0c 01 003c 63", "02 18", "04 18 000a", "03 16 61", "03 16 62",
			"04 07 00 77", "03 09 78", "07 04 04 01 000a 62", "07 04 00 01 0005 61", "02 16", "06 12 20 0001 74",
		}
		for i := range 2000 {
			devices[i%3].send(steps[(i*7+i/13)%len(steps)])
			if i%5 == 0 {
				time.Sleep(time.Duration(i%23) * time.Second)
			}
			synctest.Wait()
			r.wantSessions("after "+strconv.Itoa(i), len(r.gateway.shards[0].roster.byID))
			for _, d := range devices {
				d.discard()
			}
		}
		var ended, exported float64
		for i := range session.ReasonNames() {
			ended += float64(r.gateway.metrics.Ends(session.Reason(i)))
		}
		for _, n := range r.ends() {
			exported += n
		}
		if ended == 0 || ended != exported {
			t.Errorf("%v ends, %v of them exported", ended, exported)
		}
	})
}

// The operator's server shows the same as the registry.
func TestOperatorsServerOfAGateway_Case185(t *testing.T) {
	broker := upstreamtest.NewBroker()
	defer broker.Close()
	c := newCrowd()
	connected := make(chan struct{})
	g, err := Start(waiting(Options{
		ClientID: "own", Version: "9.8.7", Listeners: []listen.Options{{}}, Listen: c.listen, MaxSessions: 10, Session: sessionConfig(t),
		OpsAddress: "127.0.0.1:0", Log: zerolog.New(signal{"connected to the broker", connected}),
		Upstream: upstream.Options{Address: "broker:1883", Dial: broker.Dial},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(4 * time.Second)
	<-connected
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for path, want := range map[string][]string{
		"/healthz": {"ok\n"}, "/readyz": {"ready\n"}, "/": {"sngate 9.8.7", "active"},
		"/metrics": {`sngate_build_info{`, `version="9.8.7"`, `sngate_sessions{state="asleep"} 0`, "go_goroutines", "process_"},
	} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+g.OpsAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
		}
		if i := slices.IndexFunc(want, func(w string) bool { return !strings.Contains(string(body), w) }); i >= 0 {
			t.Errorf("%s does not contain %q:\n%s", path, want[i], body)
		}
	}
}

// signal closes a channel when a text is logged.
type signal struct {
	text string
	done chan struct{}
}

func (s signal) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.text) {
		close(s.done)
	}
	return len(b), nil
}
