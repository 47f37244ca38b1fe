package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"sngate/snpacket/sn12"
)

// about returns all lines about a client, without the address.
func (r *rig) about(clientID string) (lines []string) {
	r.t.Helper()
	synctest.Wait()
	for line := range strings.Lines(r.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			r.t.Fatal(err)
		}
		if m["client_id"] != clientID {
			continue
		}
		text := fmt.Sprintf("%s: %s", m["level"], m["message"])
		for _, f := range []string{"keep_alive", "sleep", "messages_held", "reason", "error"} {
			if m[f] != nil {
				text += fmt.Sprintf(", %s %v", f, m[f])
			}
		}
		lines = append(lines, text)
	}
	return lines
}

// eventful is a device that connects, sleeps, wakes, stays, is lost, comes back and leaves.
func eventful(r *rig) {
	d := r.device("10.0.1.1:5000")
	d.connectWith(false, 60, "pump-1")
	d.subscribeAfter("cmd/#")
	d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: 300})
	r.publish("cmd/x", "on", 0)
	d.sendMessage(sn12.PingReq{ClientID: []byte("pump-1")})
	d.sendMessage(sn12.RegAck{TopicID: 3, MsgID: 1})
	time.Sleep(time.Second)
	d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("pump-1")})
	time.Sleep(5 * time.Minute)
	d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 90, ClientID: []byte("pump-1")})
	d.sendMessage(sn12.Disconnect{})
	d.discard()
}

func TestEachEventOfADeviceIsOneLine(t *testing.T) {
	tests := []struct {
		name  string
		level zerolog.Level
		quiet bool
		want  []string
	}{
		{"debug", zerolog.DebugLevel, false, []string{
			"info: device connected, keep_alive 1m0s",
			"info: device asleep, sleep 5m0s, messages_held 0",
			"debug: device awake, messages_held 1",
			"debug: device asleep, sleep 5m0s, messages_held 0",
			"info: device connected, keep_alive 1m0s",
			"warn: device lost, reason keep_alive_expired",
			"info: device connected, keep_alive 1m30s",
			"info: device disconnected, reason client_disconnect",
		}},
		{"info", zerolog.InfoLevel, false, []string{
			"info: device connected, keep_alive 1m0s",
			"info: device asleep, sleep 5m0s, messages_held 0",
			"info: device connected, keep_alive 1m0s",
			"warn: device lost, reason keep_alive_expired",
			"info: device connected, keep_alive 1m30s",
			"info: device disconnected, reason client_disconnect",
		}},
		{"quiet", zerolog.DebugLevel, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.Log, o.QuietSessions = o.Log.Level(tt.level), tt.quiet })
				eventful(r)
				if d := cmp.Diff(tt.want, r.about("pump-1")); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			})
		})
	}
}

// A CONNECT that comes to nothing is one line, whatever the reason.
func TestAConnectThatComesToNothingIsOneLine(t *testing.T) {
	tests := []struct {
		name string
		do   func(r *rig, d *device)
		want string
	}{
		{"will dialogue", func(_ *rig, d *device) {
			d.sendMessage(sn12.Connect{Will: true, CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("pump-1")})
			time.Sleep(5 * time.Minute)
		}, "info: connect given up, reason will"},
		{"no will topic", func(_ *rig, d *device) {
			d.sendMessage(sn12.Connect{Will: true, CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("pump-1")})
			d.sendMessage(sn12.WillTopic{Topic: []byte("a/#")})
		}, "info: dropped or refused, reason will"},
		{"broker", func(r *rig, d *device) {
			r.broker.Refuse = func(string, string, []byte) byte { return 2 }
			d.connectUnanswered("pump-1")
		}, "warn: upstream connect failed, error the broker answers CONNECT with return code 2 (identifier rejected)"},
		{"gateway", func(r *rig, d *device) {
			r.gateway.opts.Session.Allow = []string{"meter-*"}
			d.connectUnanswered("pump-1")
		}, "info: connect refused, reason client_not_allowed"},
		{"full", func(r *rig, d *device) {
			r.gateway.opts.MaxSessions = 1
			r.device("10.0.1.2:5000").connect("first")
			d.connectUnanswered("pump-1")
		}, "info: connect refused, reason max_sessions"},
		{"gone before the broker answered", func(r *rig, d *device) {
			r.broker.Kill(true)
			d.connectUnanswered("pump-1")
			time.Sleep(time.Minute)
		}, "warn: upstream connect failed, error upstream: upstreamtest: the broker is down"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.Log = o.Log.Level(zerolog.InfoLevel) })
				tt.do(r, r.device("10.0.1.1:5000"))
				if d := cmp.Diff([]string{tt.want}, r.about("pump-1")); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			})
		})
	}
}
