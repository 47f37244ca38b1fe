package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sngate/gateway/admin"
	"sngate/internal/probe"
)

// serveProbes probes every interval, and serves the results, until ctx is done. One probe runs
// at a time; a scrape takes the results of the last one, and starts none.
func serveProbes(ctx context.Context, s streams, address string, interval time.Duration, aim probe.Aim) error {
	results := newProbeResults()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(results); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server, err := admin.Serve(address, mux)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stderr, "results at http://%s/metrics\n", server.Addr())
	rest := aim.Limits.ConnectInterval
	if interval < rest {
		interval = rest
		fmt.Fprintf(s.stderr, "a probe every %v, as broker.limits.connect_interval wants\n", interval)
	}
	before := ""
	again(ctx, interval, rest, func() {
		r := probe.Run(ctx, aim)
		if ctx.Err() != nil {
			return
		}
		results.add(r)
		if now := probeState(r); now != before {
			before = now
			fmt.Fprintf(s.stderr, "%s %s\n", r.Started.Format(time.RFC3339), probeSummary(r))
		}
	})
	return server.Shutdown(stopGrace)
}

// again does something every interval until ctx is done, and rests in between: a probe that took
// long has connected at its end, too.
func again(ctx context.Context, interval, rest time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		do()
		for _, due := range []<-chan time.Time{time.After(rest), tick.C} {
			select {
			case <-ctx.Done():
				return
			case <-due:
			}
		}
	}
}

// probeState is what has to change for a line in the log: the times always do.
func probeState(r *probe.Report) string {
	state := string(r.Result)
	if p, s := r.First(r.Result); s != nil && r.Result != probe.OK {
		state += " " + p.Name + " " + s.Name + " " + s.Reason
	}
	return state
}

// probeResults shows the last probe, and counts all, as a prometheus.Collector.
type probeResults struct {
	mu       sync.Mutex
	last     *probe.Report // nil: none is complete
	probes   map[probe.Result]uint64
	failures map[[2]string]uint64 // by part and step

	success, partSuccess, stepSuccess           *prometheus.Desc
	duration, stepDuration, roundTrip           *prometheus.Desc
	began, expiry, probesTotal, failuresByPlace *prometheus.Desc
}

func newProbeResults() *probeResults {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sngate_probe_"+name, help, labels, nil)
	}
	return &probeResults{
		probes:          make(map[probe.Result]uint64),
		failures:        make(map[[2]string]uint64),
		success:         desc("success", "1 if no step of the last probe has failed, otherwise 0."),
		partSuccess:     desc("part_success", "1 if no step of this part of the last probe has failed, otherwise 0; absent if it was skipped.", "part"),
		stepSuccess:     desc("step_success", "1 if this step of the last probe has worked, 0 if it has failed; absent if it was skipped.", "part", "step"),
		duration:        desc("duration_seconds", "Time that the last probe took."),
		stepDuration:    desc("step_duration_seconds", "Time that this step of the last probe took; absent if it was skipped.", "part", "step"),
		roundTrip:       desc("round_trip_seconds", "Time of the last probe from PUBLISH until the message was back; absent if it did not come.", "part"),
		began:           desc("begin_timestamp_seconds", "When the last probe began, in Unix time."),
		expiry:          desc("certificate_expiry_timestamp_seconds", "When the first of the broker's certificates ends, in Unix time; absent if none was seen."),
		probesTotal:     desc("probes_total", "Probes, by result.", "result"),
		failuresByPlace: desc("failures_total", "Probes that have failed, by part and step.", "part", "step"),
	}
}

// add takes a result.
func (c *probeResults) add(r *probe.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = r
	c.probes[r.Result]++
	for _, p := range r.Parts() {
		if p.FailedStep != "" {
			c.failures[[2]string{p.Name, p.FailedStep}]++
		}
	}
}

// Describe implements prometheus.Collector.
func (c *probeResults) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.success, c.partSuccess, c.stepSuccess, c.duration, c.stepDuration, c.roundTrip, c.began, c.expiry, c.probesTotal, c.failuresByPlace,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *probeResults) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, r := range []probe.Result{probe.OK, probe.Warning, probe.Failed, probe.Skipped} {
		value(prometheus.CounterValue, c.probesTotal, float64(c.probes[r]), string(r))
	}
	for _, part := range []string{probe.PartBroker, probe.PartGateway} {
		for _, step := range probe.Steps(part) {
			value(prometheus.CounterValue, c.failuresByPlace, float64(c.failures[[2]string{part, step}]), part, step)
		}
	}
	if c.last == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { value(prometheus.GaugeValue, d, v, labels...) }
	gauge(c.success, worked(c.last.Result))
	gauge(c.duration, c.last.Seconds)
	gauge(c.began, float64(c.last.Started.UnixMilli())/1000)
	for _, p := range c.last.Parts() {
		if p.Result != probe.Skipped {
			gauge(c.partSuccess, worked(p.Result), p.Name)
		}
		if p.RoundTripSeconds != nil {
			gauge(c.roundTrip, *p.RoundTripSeconds, p.Name)
		}
		if p.TLS != nil && p.TLS.Expires != nil {
			gauge(c.expiry, float64(p.TLS.Expires.Unix()))
		}
		for _, s := range p.Steps {
			if s.Result != probe.Skipped {
				gauge(c.stepSuccess, worked(s.Result), p.Name, s.Name)
				gauge(c.stepDuration, s.Seconds, p.Name, s.Name)
			}
		}
	}
}

// worked is 1 for what has worked, a warning included.
func worked(r probe.Result) float64 {
	if r == probe.OK || r == probe.Warning {
		return 1
	}
	return 0
}
