//go:build unix

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sngate/internal/loadgen"
)

// sizes are the loads of docs/SIZING.md: the gateway as it is configured by default, with its
// store. Every one is measured once.
func sizes() []load {
	var list []load
	add := func(name string, o loadgen.Options) {
		list = append(list, load{name, []peer{gateway}, o, onDisk()})
	}
	traffic := func(mode loadgen.Mode, devices int, qos uint8, rate float64) {
		o := common(mode, devices, qos)
		o.Rate, o.WarmUp, o.Duration, o.Drain = rate, 2*time.Second, 10*time.Second, 20*time.Second
		add(fmt.Sprintf("%s, %d devices, QoS %d, %g/s", mode, devices, qos, rate), o)
	}
	for _, devices := range []int{100, 1000, 5000} {
		for _, rate := range []float64{100, 1000, 5000} {
			traffic(loadgen.Up, devices, 1, rate)
		}
	}
	traffic(loadgen.Up, 1000, 0, 1000)
	traffic(loadgen.Up, 1000, 2, 1000)
	traffic(loadgen.Down, 1000, 1, 1000)
	traffic(loadgen.Mixed, 1000, 1, 1000)
	for _, devices := range []int{100, 1000, 5000} {
		o := common(loadgen.Connect, devices, 0)
		o.Hold = 20 * time.Second
		add(fmt.Sprintf("%d devices connect and are idle", devices), o)
	}
	for _, devices := range []int{100, 1000} {
		o := common(loadgen.Sleep, devices, 1)
		o.Messages, o.Rate, o.Hold = 20, 1000, 3*time.Second
		add(fmt.Sprintf("%d devices sleep, 20 messages each", devices), o)
	}
	return list
}

func sizingHead() []string {
	return []string{"load", "CPU", "memory", "written", "p99"}
}

// sizeRow is a load's row of docs/SIZING.md.
func sizeRow(l load, r *loadgen.Result) []string {
	row := []string{l.name, "-", "-", "-", "-"}
	if r == nil {
		return row
	}
	g := r.Gateway
	row[2] = fmt.Sprintf("%.0f MiB", float64(g.Bytes)/(1<<20))
	switch r.Mode {
	case loadgen.Connect:
		row[1] = fmt.Sprintf("%.0f us per connect; %.1f %%", g.MicrosPerConnect, 100*g.IdleCores)
		if r.Connect.Connack != nil {
			row[4] = millis(r.Connect.Connack.P99) + " to CONNACK"
		}
	case loadgen.Sleep:
		row[1] = fmt.Sprintf("%.0f us per message", g.MicrosPerMessage)
		row[3] = written(g)
		if r.Sleep.Wake != nil {
			row[4] = millis(r.Sleep.Wake.P99) + " to wake"
		}
	default:
		row[1] = fmt.Sprintf("%.0f us per message; %.0f %%", g.MicrosPerMessage, 100*g.Cores)
		row[3] = written(g)
		s := r.Up
		if s == nil {
			s = r.Down
		}
		if s.EndToEnd != nil {
			row[4] = millis(s.EndToEnd.P99)
		}
	}
	return row
}

func written(g *loadgen.Gateway) string {
	if g.StoreWritten == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%.1f kB per message", g.StorePerMessage/1000)
}

func millis(us float64) string { return fmt.Sprintf("%.1f ms", us/1000) }

func TestSizingPageHasARowForEachLoad(t *testing.T) {
	_, block, _ := readBlock(t, sizingPage)
	want := []string{sizingHead()[0]}
	for _, l := range sizes() {
		want = append(want, l.name)
	}
	if got := rowsOf(block); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the rows are\n%s\nand should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
