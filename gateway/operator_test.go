package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/gateway/metrics"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// Tests of what an operator sees of ends, refusals and losses.

// logged returns the lines of the log with a message, each with the fields asked for.
func (r *rig) logged(message string, fields ...string) (lines []string) {
	r.t.Helper()
	synctest.Wait()
	for line := range strings.Lines(r.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		if m["message"] != message {
			continue
		}
		var values []string
		for _, f := range fields {
			values = append(values, fmt.Sprint(m[f]))
		}
		lines = append(lines, strings.Join(values, " | "))
	}
	return lines
}

func (r *rig) wantLogged(message string, fields []string, want ...string) {
	r.t.Helper()
	if d := cmp.Diff(want, r.logged(message, fields...)); d != "" {
		r.t.Errorf("log lines %q (-want +got):\n%s", message, d)
	}
}

// ends returns how often each end of a session was counted, without those that never
// were.
func (r *rig) ends() map[string]float64 {
	ends := make(map[string]float64)
	for name, n := range r.scrape() {
		if reason, ok := strings.CutPrefix(name, `sngate_sessions_ended_total{reason="`); ok && n > 0 {
			ends[strings.TrimSuffix(reason, `"}`)] = n
		}
	}
	return ends
}

// allButStrangers has credentials for every client but one.
func allButStrangers(clientID string) (credential.Connect, error) {
	if clientID == "stranger" {
		return credential.Connect{}, credential.ErrNone
	}
	return credential.Connect{ClientID: clientID}, nil
}

func TestEndsOfSessionsAreCountedByReason(t *testing.T) {
	connectID := func(d *device, id string, will bool) {
		d.sendMessage(sn12.Connect{CleanSession: true, Will: will, ProtocolID: 1, Duration: 60, ClientID: []byte(id)})
	}
	tests := []struct {
		reason session.Reason
		end    func(r *rig, d *device)
	}{
		{session.ReasonClientDisconnect, func(_ *rig, d *device) { d.connect("a"); d.send("02 18"); d.send("02 18") }},
		{session.ReasonKeepAliveExpired, func(_ *rig, d *device) { d.connect("a"); time.Sleep(2 * time.Minute) }},
		{session.ReasonSleepExpired, func(_ *rig, d *device) { d.connect("a"); d.sleep(60); time.Sleep(time.Hour) }},
		{session.ReasonRetriesExhausted, func(r *rig, d *device) {
			d.connectWith(true, 0, "a")
			d.subscribe("t", 1)
			r.publish("t", "x", 1)
			time.Sleep(time.Minute)
		}},
		{session.ReasonAddressReused, func(r *rig, d *device) {
			d.connect("a")
			connectID(d, "b", false)
			r.wantSessions("the other one", 1)
		}},
		{session.ReasonWill, func(_ *rig, d *device) { connectID(d, "a", true); time.Sleep(time.Minute) }},
		{session.ReasonBrokerRefused, func(r *rig, d *device) {
			r.broker.Refuse = func(string, string, []byte) byte { return 5 }
			connectID(d, "a", false)
		}},
		{session.ReasonBrokerUnreachable, func(r *rig, d *device) { r.broker.Kill(true); connectID(d, "a", false) }},
		{session.ReasonNoCredentials, func(_ *rig, d *device) { connectID(d, "stranger", false) }},
		{session.ReasonMaxSessions, func(r *rig, d *device) {
			r.gateway.opts.MaxSessions = 1
			connectID(d, "a", true)
			r.device("10.0.1.2:5000").connect("b")
		}},
		{session.ReasonGatewayStop, func(r *rig, d *device) {
			other := r.device("10.0.1.2:5000")
			other.connectWith(false, 60, "kept")
			d.connect("a")
			if err := r.gateway.Stop(4 * time.Second); err != nil {
				r.t.Fatal(err)
			}
		}},
	}
	tested := make(map[session.Reason]bool)
	for _, tt := range tests {
		tested[tt.reason] = true
		t.Run(tt.reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.Upstream.Credentials = allButStrangers })
				tt.end(r, r.device("10.0.1.1:5000"))
				want := map[string]float64{tt.reason.String(): 1}
				if tt.reason == session.ReasonGatewayStop {
					want[tt.reason.String()] = 2
				}
				if d := cmp.Diff(want, r.ends()); d != "" {
					t.Error(d)
				}
			})
		})
	}
	for _, why := range metrics.EndReasons() {
		if !tested[why] {
			t.Errorf("%s is not tested", why)
		}
	}
}

// A session that is kept has ended: stopping the gateway does not end it again.
func TestKeptSessionsEndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		for range 2 {
			d.connectWith(false, 60, "a")
			d.send("02 18")
			d.discard()
		}
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[string]float64{"client_disconnect": 2}, r.ends()); d != "" {
			t.Error(d)
		}
	})
}

func TestConnectsThatTheBrokerDoesNotAcceptAreLogged_Case22(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.Refuse = func(string, string, []byte) byte { return 5 }
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.wantLogged("upstream connect failed", []string{"level", "client_id", "addr", "error"},
			"warn | dev | 10.0.1.1:5000 | the broker answers CONNECT with return code 5 (not authorized)")
		r.wantSamples("refused", map[string]float64{
			`sngate_upstream_refusals_total{code="5"}`:          1,
			`sngate_upstream_refusals_total{code="other"}`:      0,
			`sngate_upstream_connects_total{result="refused"}`:  1,
			`sngate_upstream_connects_total{result="failed"}`:   0,
			`sngate_upstream_connects_total{result="accepted"}`: 1,
		})
		r.broker.Refuse = func(string, string, []byte) byte { return 99 }
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.wantSamples("refused", map[string]float64{`sngate_upstream_refusals_total{code="other"}`: 1})
	})
	synctest.Test(t, func(t *testing.T) {
		silent := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.Upstream.Dial = silent.Dial })
		r.device("10.0.1.1:5000").connectUnanswered("dev")
		time.Sleep(time.Minute)
		lines := r.logged("upstream connect failed", "client_id", "error")
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "dev | ") || !strings.Contains(lines[0], "no answer in time") {
			t.Errorf("%q", lines)
		}
	})
}

func (d *device) connectUnanswered(clientID string) {
	d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte(clientID)})
}

func TestConnectsThatTheGatewayRefusesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.MaxSessions = 1
			o.Session.Allow = []string{"ok/*"}
		})
		d := r.device("10.0.1.1:5000")
		d.connect("ok/1")
		d.connectUnanswered("ok/2")
		d.connectUnanswered("bad\n\"\xff")
		d.connectUnanswered(strings.Repeat("x", 200))
		d.sendMessage(sn12.Connect{ProtocolID: 2, Duration: 60, ClientID: []byte("ok/1")})
		time.Sleep(time.Minute) // the reason is told once a minute
		d.send("06 04 04 01 003c")
		long := strings.Repeat("x", 64) + "..."
		r.wantLogged("connect refused", []string{"level", "client_id", "addr", "reason"},
			`info | ok/2 | 10.0.1.1:5000 | max_sessions`,
			`info | "bad\n\"\xff" | 10.0.1.1:5000 | client_id`,
			`info | `+long+` | 10.0.1.1:5000 | client_not_allowed`,
			`info | ok/1 | 10.0.1.1:5000 | protocol_id`,
			`info | <nil> | 10.0.1.1:5000 | client_id`)
	})
}

// One device's connection is cut, then its reconnect too: it is parked. Others are not.
func TestLossesOfLinksAreCountedAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		var devices []*device
		for i := range 10 {
			d := r.device(fmt.Sprintf("10.0.1.%d:5000", 1+i))
			d.connectWith(false, 3600, fmt.Sprintf("dev-%d", i))
			devices = append(devices, d)
		}
		r.wantSamples("before", map[string]float64{`sngate_broker_up`: 1, `sngate_upstream_losses_total`: 0})
		time.Sleep(time.Minute)
		r.broker.Drop("dev-3")
		time.Sleep(time.Minute)
		r.wantSamples("moved away", map[string]float64{
			`sngate_broker_up`:                                                 1,
			`sngate_upstream_losses_total`:                                     1,
			`sngate_upstream_parked_total`:                                     1,
			`sngate_upstream_reconnects_total`:                                 0,
			`sngate_upstream_packets_total{direction="out",type="CONNECT"}`:    11,
			`sngate_upstream_packets_total{direction="in",type="CONNACK"}`:     11,
			`sngate_upstream_packets_total{direction="out",type="DISCONNECT"}`: 0,
		})
		r.wantLogged("upstream connection parked", []string{"level", "client_id"}, "debug | dev-3")
		devices[3].ping("it is here")
		time.Sleep(time.Minute)
		r.wantSamples("back", map[string]float64{`sngate_upstream_reconnects_total`: 1})
		r.wantLogged("upstream connection lost", []string{"level", "client_id"}, "info | dev-3")
		r.wantLogged("upstream connection up again", []string{"level", "client_id", "session_present"}, "debug | dev-3 | true")

		r.broker.Kill(true)
		time.Sleep(time.Minute)
		r.wantSamples("without the broker", map[string]float64{`sngate_broker_up`: 0, `sngate_upstream_losses_total`: 12})
		r.broker.Start()
		time.Sleep(5 * time.Minute)
		got := r.scrape()
		if got[`sngate_broker_up`] != 1 || got[`sngate_upstream_reconnects_total`] != 12 {
			t.Errorf("up %v, %v reconnects", got[`sngate_broker_up`], got[`sngate_upstream_reconnects_total`])
		}
		if in, out := got[`sngate_upstream_bytes_total{direction="in"}`], got[`sngate_upstream_bytes_total{direction="out"}`]; in < 4*23 || out < 23*14 {
			t.Errorf("%v octets in, %v out", in, out)
		}
	})
}

func TestEncapsulatedMessagesAreCountedBothWays_Case177(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f := r.device("10.0.1.1:5000")
		f.send(node("a1a2", "07 04 04 01 003c 61"))
		f.want("CONNACK", node("a1a2", "03 05 00"))
		f.send(node("b1b2", "02 16"))
		f.want("a stranger", node("b1b2", "02 18"))
		r.device("10.0.1.2:5000").connect("b")
		r.wantSamples("two of three", map[string]float64{
			`sngate_messages_total{direction="in",type="ENCAPSULATED"}`:  2,
			`sngate_messages_total{direction="out",type="ENCAPSULATED"}`: 2,
			`sngate_messages_total{direction="out",type="CONNACK"}`:      2,
			`sngate_messages_total{direction="out",type="DISCONNECT"}`:   1,
			`sngate_bytes_total{direction="out"}`:                        2*3 + 2 + 2*5,
		})
	})
}

// A flood of CONNECTs that are refused, or of new devices, hides no line about a device
// that is known.
func TestFloodsOfStrangersDoNotHideKnownDevicesInTheLog_Case159(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxSessions = 300 })
		known := r.device("10.0.1.1:5000")
		known.connect("known")
		time.Sleep(2 * time.Second)
		flood := r.device("10.0.1.2:5000")
		for i := range 1000 {
			flood.sendMessage(sn12.Connect{Will: i%2 == 0, CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: clientID(i)})
		}
		known.send("02 18")
		perSecond := 50
		if n := len(r.logged("connect refused", "addr")) + len(r.logged("connect given up", "addr")); n > 3*perSecond {
			t.Errorf("%d lines about strangers", n)
		}
		r.wantLogged("device disconnected", []string{"client_id", "reason"}, "known | client_disconnect")
	})
}
