//go:build unix

package bench

import (
	"maps"
	"strings"
	"testing"

	"sngate/internal/loadgen"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// programs are the paths of what is loaded, by peer.
type programs map[peer]string

// stage runs a load with a peer and a broker of its own, which end with the subtest, and
// returns its result: nil if it failed, which fails the test. opts are more options of a gateway.
func stage(t *testing.T, all programs, l load, p peer, opts ...string) (r *loadgen.Result) {
	t.Run(l.name+", "+string(p), func(t *testing.T) {
		broker := mosquitto.Start(t, mosquitto.Options{Extra: []string{
			"log_dest none", "log_type none", "max_queued_messages 0", "max_inflight_messages 0", "set_tcp_nodelay true",
		}})
		o := l.options
		o.Broker = broker.Addr()
		if p == floor {
			f := testgateway.StartProcess(t, testgateway.Command{Name: all[floor], Args: []string{broker.Addr()}})
			testgateway.Eventually(t, "the floor starts", func() bool { return strings.HasSuffix(f.Stdout.String(), "\n") })
			o.Gateway, o.PID = strings.TrimSpace(f.Stdout.String()), f.Cmd.Process.Pid
		} else {
			g := testgateway.Start(t, all[p], broker.URL(), maps.Clone(l.settings), opts...)
			g.AwaitReady(200)
			o.Gateway, o.PID, o.Ops = g.Addr, g.PID(), g.Ops
		}
		got, err := loadgen.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var lost int64
		for _, s := range []*loadgen.Stream{got.Up, got.Down} {
			if s != nil && o.QoS > 0 {
				lost += s.Lost
			}
		}
		if lost+got.Connect.Failed > 0 {
			t.Fatalf("figures of a run in which something was lost do not count: %d devices failed, %d messages are lost", got.Connect.Failed, lost)
		}
		r = got
	})
	return r
}
