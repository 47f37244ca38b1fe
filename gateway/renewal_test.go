package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket/sn12"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// The passwords of a hub end again and again. Two devices, the sleeping one among them, notice
// nothing of it, and each message comes, of every QoS and once, though messages go both ways all
// the time. Nor does an operator, or who looks at the status of the gateway.
func TestCredentialsAreRenewedUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newRig(t, func(o *Options) {
			o.StatusTopic = statusTopic
			o.Upstream.Credentials = func(clientID string) (credential.Connect, error) {
				return credential.Connect{ClientID: clientID, HasUsername: true, Username: "u", Password: []byte("made after " + time.Since(start).String()), Life: 10 * time.Minute}, nil
			}
		})
		r.broker.Will = func(clientID string, _ upstreamtest.Message) { t.Errorf("the will of %s is published", clientID) }
		got := make(map[string][]string)
		r.broker.Observe = func(clientID string, m upstreamtest.Message) {
			key := fmt.Sprintf("%s QoS %d", clientID, m.QoS)
			got[key] = append(got[key], string(m.Payload))
		}
		talker, sleeper := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		talker.connectWill("talker", "will/talker", "gone")
		id := talker.register("up")
		sleeper.connectWith(false, 60, "sleeper")
		sleeper.subscribe("down", 1)
		sleeper.sleep(3600)
		var sent, woken []string
		for i := range 29 * 60 { // a second each
			text := fmt.Sprint(i)
			talker.sendMessage(sn12.Publish{TopicID: id, Data: []byte(text)})
			talker.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: uint16(i + 1), Data: []byte(text)})
			talker.wantMessage("taken", sn12.PubAck{TopicID: id, MsgID: uint16(i + 1)})
			sent = append(sent, text)
			if i%20 == 0 {
				r.publish("down", text, 1)
			}
			if i%200 == 199 {
				woken = append(woken, sleeper.wake("sleeper")...)
			}
			time.Sleep(time.Second)
		}
		for _, qos := range []string{"0", "1"} {
			if diff := cmp.Diff(sent, got["talker QoS "+qos]); diff != "" {
				t.Errorf("from the talker at QoS %s: %s", qos, diff)
			}
		}
		var down []string
		for i := 0; i < 29*60-140; i += 20 { // what has come after the last wake waits
			down = append(down, fmt.Sprint(i))
		}
		if diff := cmp.Diff(down, slices.Compact(woken)); diff != "" {
			t.Errorf("to the sleeper: %s", diff)
		}
		if n, _ := r.broker.Connects(); n != 3*4 {
			t.Errorf("two devices and the gateway have connected %d times in 29 minutes, want 4 each", n)
		}
		if again := got["sngate-test-7 QoS 1"]; len(again) > 0 {
			t.Errorf("the status is published again: %q", again)
		}
		lines := r.log.String()
		if n := strings.Count(lines, "connected to the broker"); !r.gateway.BrokerReady() || n != 1 || strings.Contains(lines, "lost") {
			t.Errorf("after %v the log has %d lines of a connection to the broker:\n%s", time.Since(start), n, lines)
		}
		if s := r.gateway.dialer.Stats(); s.Parkings.Load() != 0 || s.FailedRenewals.Load() != 0 {
			t.Errorf("%d parked, %d renewals failed", s.Parkings.Load(), s.FailedRenewals.Load())
		}
	})
}
