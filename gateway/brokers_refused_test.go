package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/upstreamtest"
)

// A client id that nobody has chosen is refused by some brokers: the log has to say which
// it is and where another can be set, also when a broker begins to refuse it later.
func TestRefusedClientIDOfTheGatewayIsNamedWithItsKey(t *testing.T) {
	for code, want := range map[byte]string{
		2: "warn | sngate-test.7 | set gateway.client_id to one that the broker accepts | the broker answers CONNECT with return code 2 (identifier rejected)",
		5: "warn | sngate-test.7 | <nil> | the broker answers CONNECT with return code 5 (not authorized)",
	} {
		wantAll := func(r *rig, message string) {
			lines := r.logged(message, "level", "client_id", "advice", "error")
			if len(lines) == 0 {
				t.Errorf("code %d: no line %q", code, message)
			}
			for _, line := range lines {
				if line != want {
					t.Errorf("code %d: %s: %s\nwant %s", code, message, line, want)
				}
			}
		}
		synctest.Test(t, func(t *testing.T) {
			broker := upstreamtest.NewBroker()
			defer broker.Close()
			broker.Refuse = func(string, string, []byte) byte { return code }
			r := newRig(t, func(o *Options) { o.Upstream.Dial, o.ClientID = broker.Dial, "sngate-test.7" })
			wantAll(r, "broker unavailable")
		})
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.ClientID = "sngate-test.7" })
			r.broker.Refuse = func(string, string, []byte) byte { return code }
			r.broker.Drop("sngate-test.7")
			time.Sleep(10 * time.Minute)
			wantAll(r, "broker still unavailable")
		})
	}
}
