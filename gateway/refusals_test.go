package gateway

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
)

var refusalFields = []string{"level", "client_id", "addr", "reason", "packet", "topic_id", "topic_id_type", "topic", "advice"}

func (r *rig) wantRefusal(why string, want string) {
	r.t.Helper()
	lines := append(r.logged("dropped or refused", refusalFields...), r.logged("connect refused", refusalFields...)...)
	for _, l := range lines {
		if l == want {
			return
		}
	}
	r.t.Errorf("%s: not in the log:\n%s\nbut\n%s", why, want, strings.Join(lines, "\n"))
}

func TestTheFirstRefusalOfADeviceIsLoggedWithWhatWouldBeRight(t *testing.T) {
	tests := []struct {
		name string
		send func(d *device)
		want string
	}{
		{"unknown topic id", func(d *device) {
			d.connect("pump-1")
			d.send("0b 0a 0000 0001 61 2f62 6300") // REGISTER with a NUL: no id
			d.sendMessage(sn12.Register{MsgID: 2, TopicName: []byte("a/b")})
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: 7, MsgID: 3, Data: []byte("x")})
		}, "info | pump-1 | 10.0.1.1:5000 | unknown_topic_id | PUBLISH | 7 | normal | <nil> | REGISTER the topic name and use the id of the REGACK; " +
			"a CONNECT with CleanSession=1 ends earlier ids; the device has 3 (a/b)"},
		{"unknown topic id at QoS 0, which has no answer", func(d *device) {
			d.connect("pump-1")
			d.sendMessage(sn12.Publish{TopicID: 9, Data: []byte("x")})
		}, "info | pump-1 | 10.0.1.1:5000 | unknown_topic_id | PUBLISH | 9 | normal | <nil> | REGISTER the topic name and use the id of the REGACK; " +
			"a CONNECT with CleanSession=1 ends earlier ids; the device has none"},
		{"unknown predefined id", func(d *device) {
			d.connect("pump-1")
			d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 7, MsgID: 3})
		}, "info | pump-1 | 10.0.1.1:5000 | unknown_topic_id | PUBLISH | 7 | pre-defined | <nil> | topics.predefined has no id 7 for this client id; it has 1 (site/alarm), 2 (site/cfg)"},
		{"predefined id of another client", func(d *device) {
			d.connect("meter-1")
			d.sendMessage(sn12.Subscribe{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 2, MsgID: 3})
		}, "info | meter-1 | 10.0.1.1:5000 | unknown_topic_id | SUBSCRIBE | 2 | pre-defined | <nil> | topics.predefined has no id 2 for this client id; it has 1 (site/alarm)"},
		{"predefined id taken for a normal one", func(d *device) {
			d.connect("pump-1")
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: 2, MsgID: 3})
		}, "info | pump-1 | 10.0.1.1:5000 | unknown_topic_id | PUBLISH | 2 | normal | <nil> | 2 is a predefined id (site/cfg): use topic id type 0b01 (pre-defined) for it"},
		{"normal id taken for a predefined one", func(d *device) {
			d.connect("pump-1")
			d.sendMessage(sn12.Register{MsgID: 2, TopicName: []byte("a/b")})
			d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 3, MsgID: 3})
		}, "info | pump-1 | 10.0.1.1:5000 | unknown_topic_id | PUBLISH | 3 | pre-defined | <nil> | 3 is an id the device has registered (a/b): use topic id type 0b00 (normal) for it"},
		{"no session", func(d *device) {
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: 1, MsgID: 3})
		}, "info | <nil> | 10.0.1.1:5000 | unknown_sender | PUBLISH | 1 | normal | <nil> | " + oplog.Advice(session.ReasonUnknownSender)},
		{"PINGREQ with a client id that has no session", func(d *device) {
			d.sendMessage(sn12.PingReq{ClientID: []byte("sleeper")})
		}, "info | sleeper | 10.0.1.1:5000 | unknown_sender | PINGREQ | <nil> | <nil> | <nil> | " + oplog.Advice(session.ReasonUnknownSender)},
		{"QoS -1 with an unknown id", func(d *device) {
			d.sendMessage(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDPredefined, TopicID: 2})
		}, "info | <nil> | 10.0.1.1:5000 | unknown_topic_id | PUBLISH | 2 | pre-defined | <nil> | topics.predefined has no id 2 for this client id; it has 1 (site/alarm)"},
		{"malformed", func(d *device) { d.send("07 16") },
			"info | <nil> | 10.0.1.1:5000 | malformed | <nil> | <nil> | <nil> | <nil> | at offset 0x0000: Length is 7, but only 2 octets are there: 5 missing"},
		{"malformed, of a device with a session", func(d *device) { d.connect("pump-1"); d.send("04 0c 00 00") },
			"info | pump-1 | 10.0.1.1:5000 | malformed | PUBLISH | <nil> | <nil> | <nil> | at offset 0x0003: TopicId takes 2 octets, but the message ends after 1"},
		{"a malformed SEARCHGW", func(d *device) { d.send("02 01") },
			"info | <nil> | 10.0.1.1:5000 | malformed | SEARCHGW | <nil> | <nil> | <nil> | message does not fit the layout of its type"},
		{"a filter that is none", func(d *device) {
			d.connect("pump-1")
			d.sendMessage(sn12.Subscribe{MsgID: 3, TopicName: []byte("a/#/b")})
		}, "info | pump-1 | 10.0.1.1:5000 | invalid_topic | SUBSCRIBE | <nil> | <nil> | a/#/b | " + oplog.Advice(session.ReasonInvalidTopic)},
		{"a message that is too large", func(d *device) {
			d.connect("pump-1")
			d.subscribe("cfg", 0)
			d.r.publish("cfg", strings.Repeat("x", 65507), 0)
		}, "info | pump-1 | 10.0.1.1:5000 | too_large | <nil> | <nil> | <nil> | cfg | " + oplog.Advice(session.ReasonTooLarge)},
		{"a client id that is not allowed", func(d *device) {
			d.r.gateway.opts.Session.Allow = []string{"pump-*"}
			d.connectUnanswered("meter-1")
		}, "info | meter-1 | 10.0.1.1:5000 | client_not_allowed | CONNECT | <nil> | <nil> | <nil> | " + oplog.Advice(session.ReasonClientNotAllowed)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				tt.send(r.device("10.0.1.1:5000"))
				synctest.Wait()
				r.wantRefusal(tt.name, tt.want)
			})
		})
	}
}

// The same fault is told once a minute, and then how often it was.
func TestARefusalIsLoggedOncePerReasonAndMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connect("pump-1")
		stranger := r.device("10.0.1.2:5000")
		for range 90 { // seconds
			for range 3 {
				d.sendMessage(sn12.Publish{TopicID: 9})
				stranger.sendMessage(sn12.Publish{TopicID: 9})
			}
			time.Sleep(time.Second)
		}
		d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDReserved, TopicID: 9, MsgID: 1}) // another reason
		r.wantLogged("dropped or refused", []string{"client_id", "reason", "times"},
			"pump-1 | unknown_topic_id | <nil>",
			"<nil> | unknown_sender | <nil>",
			"pump-1 | unknown_topic_id | 180",
			"<nil> | unknown_sender | <nil>",
			"pump-1 | invalid_topic | <nil>")
		r.wantDropped(session.ReasonUnknownTopicID, 270)
	})
}

// Reconnecting does not begin the minute anew: a device in a loop is told once a minute.
func TestADeviceThatIsRefusedInALoopIsLoggedOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Log = o.Log.Level(zerolog.InfoLevel) })
		r.broker.Refuse = func(id, _ string, _ []byte) byte {
			if id == "pump-1" {
				return 4
			}
			return 0
		}
		d := r.device("10.0.1.1:5000")
		for range 30 {
			d.connectUnanswered("pump-1")
			time.Sleep(time.Second)
		}
		r.wantLogged("upstream connect failed", []string{"client_id", "error"},
			"pump-1 | the broker answers CONNECT with return code 4 (bad user name or password)")
		if n := len(r.logged("connect refused")) + len(r.logged("dropped or refused")) + len(r.logged("connect given up")); n != 0 {
			t.Errorf("%d more lines for the same", n)
		}
	})
}

// What strangers do costs no memory, and few lines.
func TestAFloodOfStrangersIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.Allow = []string{"ok"} })
		for i := range 2000 {
			d := r.device(fmt.Sprintf("10.0.%d.%d:5000", 2+i/250, 1+i%250))
			d.connectUnanswered(fmt.Sprintf("stranger-%d", i))
			d.send("07 16")
			_ = d.conn.Close()
		}
		if n := r.gateway.shards[0].report.past.Len(); n > 256 {
			t.Errorf("%d client ids are remembered, want at most %d", n, 256)
		}
		if n := strings.Count(r.log.String(), "\n"); n > 4*50 {
			t.Errorf("%d lines", n)
		}
	})
}

// A broker that refuses is named with its code, in the log and where readiness is asked for.
func TestReadinessNamesWhatTheBrokerAnswers(t *testing.T) {
	tests := []struct {
		name, want string
		broker     func(r *rig)
	}{
		{"refused", "the broker answers CONNECT with return code 4 (bad user name or password)",
			func(r *rig) { r.broker.Refuse = func(string, string, []byte) byte { return 4 } }},
		{"not there", "the broker is down", func(r *rig) { r.broker.Kill(true) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				if faults := r.gateway.opsOptions().NotReady(); len(faults) != 0 {
					t.Fatalf("not ready: %q", faults)
				}
				tt.broker(r)
				r.broker.Drop("sngate-test-7")
				time.Sleep(5 * time.Minute)
				faults := r.gateway.opsOptions().NotReady()
				if len(faults) != 1 || !strings.HasPrefix(faults[0], "no connection to the broker broker:1883: ") || !strings.Contains(faults[0], tt.want) {
					t.Errorf("not ready: %q, want %q in it", faults, tt.want)
				}
				found := false
				for _, line := range append(r.logged("broker still unavailable", "error"), r.logged("broker unavailable", "error")...) {
					found = found || strings.Contains(line, tt.want)
				}
				if !found {
					t.Errorf("%q is not in the log", tt.want)
				}
				r.broker.Refuse = nil
				r.broker.Start()
				time.Sleep(5 * time.Minute)
				if faults := r.gateway.opsOptions().NotReady(); len(faults) != 0 {
					t.Errorf("not ready when it is back: %q", faults)
				}
			})
		})
	}
}

func TestABrokerThatClosesIsNamed(t *testing.T) {
	for err, want := range map[error]string{
		io.EOF: "the broker closed the connection: EOF",
		fmt.Errorf("upstream: no CONNACK: %w", io.ErrUnexpectedEOF): "the broker closed the connection: upstream: no CONNACK: unexpected EOF",
		syscall.ECONNRESET:   "the broker closed the connection: connection reset by peer",
		upstream.ErrTimeout:  "upstream: no answer in time",
		syscall.ECONNREFUSED: "connection refused",
	} {
		if got := connectError(&upstream.Event{Err: err}).Error(); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	refused := upstream.Event{Refusal: upstream.Refusal{Kind: upstream.RefusedForGood, Text: "return code 5 (not authorized)"}}
	if got := connectError(&refused).Error(); got != "the broker answers CONNECT with return code 5 (not authorized)" {
		t.Errorf("%q", got)
	}
}
