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
// nothing of it, and each message comes, though messages go both ways all the time.
func TestCredentialsAreRenewedUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newRig(t, func(o *Options) {
			o.Upstream.Credentials = func(clientID string) (credential.Connect, error) {
				return credential.Connect{ClientID: clientID, HasUsername: true, Username: time.Since(start).String(), Life: 10 * time.Minute}, nil
			}
		})
		r.broker.Will = func(clientID string, _ upstreamtest.Message) { t.Errorf("the will of %s is published", clientID) }
		var got []string
		r.broker.Observe = func(clientID string, m upstreamtest.Message) {
			if clientID == "talker" {
				got = append(got, string(m.Payload))
			}
		}
		talker, sleeper := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		talker.connectWill("talker", "will/talker", "gone")
		id := talker.register("up")
		sleeper.connectWith(false, 60, "sleeper")
		sleeper.subscribe("down", 1)
		sleeper.sleep(3600)
		var sent, woken []string
		for i := range 60 {
			text := fmt.Sprint(i)
			sent = append(sent, text)
			r.publish("down", text, 1)
			talker.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: uint16(i + 1), Data: []byte(text)})
			talker.wantMessage("taken", sn12.PubAck{TopicID: id, MsgID: uint16(i + 1)})
			time.Sleep(29 * time.Second)
			if i%20 == 19 {
				woken = append(woken, sleeper.wake("sleeper")...)
			}
		}
		if diff := cmp.Diff(sent, got); diff != "" {
			t.Errorf("from the talker: %s", diff)
		}
		if diff := cmp.Diff(sent, slices.Compact(woken)); diff != "" {
			t.Errorf("to the sleeper: %s", diff)
		}
		if n, _ := r.broker.Connects(); n != 3*4 {
			t.Errorf("two devices and the gateway have connected %d times in 29 minutes, want 4 each", n)
		}
		if !r.gateway.BrokerReady() || strings.Contains(r.log.String(), "connection to the broker lost") {
			t.Error("the broker seemed to be gone")
		}
		if n := r.gateway.dialer.Stats().Parkings.Load(); n != 0 {
			t.Errorf("%d parked", n)
		}
	})
}
