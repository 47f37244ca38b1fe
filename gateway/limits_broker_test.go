package gateway

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// Brokers that close the connection on what they do not take, as those in the cloud do. Whatever
// devices ask for, no connection is closed.

// hubTakes is what such a broker takes, and hubLimits the same for the gateway.
var (
	hubTakes  = upstreamtest.Strict{MaxQoS: 1, NoRetain: true, NoWills: true, NoWildcards: true, MaxTopicBytes: 12, MaxTopicLevels: 3, MaxPayload: 8}
	hubLimits = session.Limits{MaxQoS: 1, NoRetain: true, NoWills: true, NoWildcards: true, MaxTopicBytes: 12, MaxTopicLevels: 3, MaxPayload: 8}
)

// takes makes the broker strict, and tells the next gateway what it takes.
func (r *rig) takes(strict upstreamtest.Strict, l session.Limits) {
	r.broker.SetHabits(upstreamtest.Habits{Strict: &strict})
	cfg := *r.opts.Session
	cfg.Limits, cfg.PublishesWills = &l, l.NoWills
	r.opts.Session = &cfg
}

func (r *rig) wantNoneClosed(why string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.broker.Broken(); len(got) > 0 {
		r.t.Fatalf("%s: the broker had to close connections: %q", why, got)
	}
}

// ask has a device ask for everything that a hub does not take, and wants the answers.
func (d *device) ask(code sn12.ReturnCode) {
	d.r.t.Helper()
	id := d.register("a/b")
	for qos := range uint8(3) {
		m := sn12.Publish{QoS: qos, Retain: true, TopicID: id, Data: fmt.Appendf(nil, "qos%d", qos)}
		switch qos {
		case 0:
			d.sendMessage(m)
		case 1:
			m.MsgID = 11
			d.sendMessage(m)
			d.wantMessage("QoS 1", sn12.PubAck{TopicID: id, MsgID: 11})
		case 2:
			m.MsgID = 12
			for range 3 {
				d.sendMessage(m)
				d.wantMessage("QoS 2", sn12.PubRec{MsgID: 12})
				m.DUP = true
			}
			d.sendMessage(sn12.PubRel{MsgID: 12})
			d.wantMessage("QoS 2", sn12.PubComp{MsgID: 12})
		}
	}
	d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 13, Data: []byte("too large")})
	d.wantMessage("payload", sn12.PubAck{TopicID: id, MsgID: 13, ReturnCode: code})
	for i, name := range []string{"a/b/c/d", "a/longer/name"} {
		msgID := uint16(20 + i)
		d.sendMessage(sn12.Register{MsgID: msgID, TopicName: []byte(name)})
		d.wantMessage(name, sn12.RegAck{MsgID: msgID, ReturnCode: code})
		d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: msgID, TopicName: []byte(name)})
		d.wantMessage(name, sn12.SubAck{MsgID: msgID, ReturnCode: code})
		d.sendMessage(sn12.Unsubscribe{MsgID: msgID, TopicName: []byte(name)})
		d.wantMessage(name, sn12.UnsubAck{MsgID: msgID})
	}
	d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: 30, TopicName: []byte("a/#")})
	d.wantMessage("wildcard", sn12.SubAck{MsgID: 30, ReturnCode: code})
	d.sendMessage(sn12.Subscribe{QoS: 2, MsgID: 31, TopicName: []byte("c")})
	if ack, ok := d.next(time.Second).(sn12.SubAck); !ok || ack.QoS != 1 || ack.ReturnCode != sn12.Accepted {
		d.r.t.Fatalf("SUBSCRIBE at QoS 2: %+v", ack)
	}
}

func TestNothingThatTheBrokerClosesOnReachesIt(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, func(o *Options) { o.Session.Limits, o.Session.PublishesWills = &hubLimits, true })
		r.broker.SetHabits(upstreamtest.Habits{Strict: &hubTakes})
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connectWillKept("dev", "will", "gone", 60)
		d.ask(sn12.RejectedNotSupported)
		got.want(t, "once each, at QoS 1", "dev a/b qos0 0", "dev a/b qos1 1", "dev a/b qos2 1")
		stray := r.device("10.0.1.9:5000")
		stray.sendMessage(sn12.Publish{QoS: sn12.QoSMinusOne, Retain: true, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("x")})
		got.want(t, "without a session", "sngate-test-7 ab x 0")
		stray.sendMessage(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: bytes.Repeat([]byte("x"), 9)})
		r.wantDropped(session.ReasonLimitsPayloadMax, 2)
		d.expire()
		got.want(t, "the will, by the gateway", "dev will gone 1")
		r.wantNoneClosed("whatever was asked for")
		if !strings.Contains(r.log.String(), `"reason":"limits_payload_max"`) {
			t.Error("the log does not say why")
		}
	})
}

// What was stored while the broker took everything does not close a connection either.
func TestWhatIsStoredFromOtherLimitsDoesNotCloseConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, inAHurry)
		d := r.device("10.0.1.1:5000")
		d.connectWillKept("dev", "will", "gone", 0)
		id, deep := d.register("a/b"), d.register("a/b/c/d")
		d.subscribe("c", 2)
		d.subscribe("c/#", 2)
		r.broker.Kill(false)
		time.Sleep(time.Second)
		publish := func(id, msgID uint16, qos uint8, payload string) {
			d.sendMessage(sn12.Publish{QoS: qos, Retain: true, TopicID: id, MsgID: msgID, Data: []byte(payload)})
			if qos == 1 {
				d.wantMessage("stored", sn12.PubAck{TopicID: id, MsgID: msgID})
				return
			}
			d.wantMessage("stored", sn12.PubRec{MsgID: msgID})
			d.sendMessage(sn12.PubRel{MsgID: msgID})
			d.wantMessage("stored", sn12.PubComp{MsgID: msgID})
		}
		publish(id, 1, 2, "two")
		publish(id, 2, 1, "too large")
		publish(deep, 3, 1, "deep")
		publish(id, 4, 1, "one")
		r.crash()
		r.takes(hubTakes, hubLimits)
		got := r.observe()
		r.broker.Start()
		r.start()
		time.Sleep(time.Minute)
		if list := payloads(got.take(), "dev"); !slices.Equal(list, []string{"two", "one"}) {
			t.Fatalf("the broker got %q", list)
		}
		r.wantDropped(session.ReasonLimitsPayloadMax, 1)
		r.wantDropped(session.ReasonLimitsMaxTopicLevels, 1)
		r.wantDropped(session.ReasonLimitsWildcards, 1)
		r.publish("c", "down", 2)
		if list := d.receive(time.Second); !slices.Equal(list, []string{"down"}) {
			t.Fatalf("the device got %q: its subscription is there", list)
		}
		r.wantNoneClosed("after a restart")
	})
}

func TestStatusIsWhatTheBrokerTakes(t *testing.T) {
	for _, c := range []struct {
		max  uint8
		want string
	}{{1, "1"}, {0, "0"}} {
		synctest.Test(t, func(t *testing.T) {
			l, strict := hubLimits, hubTakes
			l.MaxQoS, strict.MaxQoS = c.max, c.max
			r := newRig(t, func(o *Options) { o.StatusTopic, o.Session.Limits = "gw/7", &l })
			r.broker.SetHabits(upstreamtest.Habits{Strict: &strict})
			got := r.observe()
			r.restart()
			got.want(t, "started", "sngate-test-7 gw/7 online "+c.want)
			if err := r.gateway.Stop(4 * time.Second); err != nil {
				t.Fatal(err)
			}
			got.want(t, "stopped", "sngate-test-7 gw/7 offline "+c.want)
			for _, rule := range r.broker.Broken() {
				t.Errorf("broken: %s", strings.TrimSpace(rule))
			}
		})
	}
}

// With what stands before it at the broker the topic is too long.
func TestStatusThatTheBrokerDoesNotTakeIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := session.Limits{MaxQoS: 2, MaxTopicBytes: 12, PrefixSize: func(string, bool) (octets, slashes int) { return 9, 1 }}
		r := newRig(t, func(o *Options) { o.StatusTopic, o.Session.Limits = "gw/7", &l })
		got := r.observe()
		r.restart()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		got.want(t, "neither online nor offline")
		if lines := r.logged("publishing the gateway status failed", "topic", "error"); len(lines) == 0 || lines[0] != "gw/7 | limits_max_topic_bytes" {
			t.Errorf("the log says %q", lines)
		}
	})
}

func TestConnectWithAWillIsRefusedBeforeAnythingIsAskedOfTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hubLimits
		l.RefuseWills = true
		r := newRig(t, func(o *Options) { o.Session.Limits, o.Session.PublishesWills = &l, true })
		before, _ := r.broker.Connects()
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{Will: true, CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		d.wantMessage("refused", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		r.wantDropped(session.ReasonLimitsWill, 1)
		if n, _ := r.broker.Connects(); n != before {
			t.Errorf("%d connects", n-before)
		}
		d.connect("dev")
		d.sendMessage(sn12.Connect{Will: true, CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		d.wantMessage("also of a device that is connected", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
	})
}
