package outage

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// scene is a broker that keeps its state over a kill, a gateway with a store, and between
// them a relay, if the test wants one.
type scene struct {
	t      *testing.T
	broker *mosquitto.Broker
	relay  *testgateway.Relay // nil: none
	*testgateway.Gateway
	observer *testgateway.Client // of what devices publish below "up"
}

// quick are settings that let what takes minutes by default take seconds. The port is a
// fixed one, for the gateway to be found again after a restart.
func quick(t *testing.T) testgateway.Settings {
	return testgateway.Settings{
		"listener":               fmt.Sprintf(`[{address = "127.0.0.1:%d"}]`, testgateway.FreeUDPPort(t)),
		"broker.connect_timeout": `"2s"`,
		"broker.reconnect_min":   `"100ms"`,
		"broker.reconnect_max":   `"500ms"`,
	}
}

func newScene(t *testing.T, relayed bool, o mosquitto.Options, change testgateway.Settings) *scene {
	t.Helper()
	s := &scene{t: t, broker: mosquitto.Start(t, o)}
	url := s.broker.URL()
	if relayed {
		s.relay = testgateway.StartRelay(t, s.broker.Addr())
		url = s.relay.URL()
	}
	settings := quick(t)
	maps.Copy(settings, change)
	s.watch()
	s.Gateway = testgateway.Start(t, program, url, settings)
	s.AwaitReady(200)
	return s
}

// standard is a scene with a broker that survives a kill and no relay.
func standard(t *testing.T, change testgateway.Settings) *scene {
	t.Helper()
	return newScene(t, false, mosquitto.Options{Persistence: t.TempDir()}, change)
}

// watch connects the observer, whose session the broker keeps.
func (s *scene) watch() {
	s.t.Helper()
	s.observer = testgateway.ConnectMQTTWith(s.t, s.broker.Addr(), func(o *mqtt.ClientOptions) {
		o.SetClientID("observer").SetCleanSession(false).SetOrderMatters(true)
	}, "up/#")
}

// brokerBack starts the broker again and waits until the gateway has noticed.
func (s *scene) brokerBack() {
	s.t.Helper()
	s.broker.Restart()
	s.watch()
	s.AwaitReady(200)
}

// wantUp checks what has arrived at the broker of one topic, in order. Messages of QoS 1
// may be doubled where again says so.
func (s *scene) wantUp(topic string, again bool, texts ...string) {
	s.t.Helper()
	var got []string
	for len(got) < len(texts) {
		m := s.observer.Receive()
		if m.Topic() != topic {
			s.t.Fatalf("received %q on %s, want %s", m.Payload(), m.Topic(), topic)
		}
		if text := string(m.Payload()); !again || m.Qos() == 2 || !slices.Contains(got, text) {
			got = append(got, text)
		}
	}
	if !slices.Equal(got, texts) {
		s.t.Fatalf("%s: the broker got %q, want %q", topic, got, texts)
	}
}

// device is a device with one topic to publish to, "up/" and its client id.
type device struct {
	*testgateway.Node
	id      string
	topicID uint16
	names   map[uint16]string
	msgID   uint16
}

func (s *scene) node(id string) *device {
	s.t.Helper()
	return &device{Node: testgateway.NewNode(s.t, s.Addr), id: id, names: make(map[uint16]string), msgID: 100}
}

// device connects a device, which publishes to "up/ID" and subscribes to "down/ID" at
// QoS 2.
func (s *scene) device(id string, clean bool) *device {
	s.t.Helper()
	d := s.node(id)
	d.MustConnect(id, clean, 60)
	d.topicID = d.Register("up/" + id)
	d.names[d.Subscribe("down/"+id, 2).TopicID] = "down/" + id
	return d
}

// send sends a PUBLISH to the device's topic and returns the next message.
func (d *device) send(qos uint8, text string) sn12.Message {
	d.T.Helper()
	d.msgID++
	d.Send(sn12.Publish{QoS: qos, TopicID: d.topicID, MsgID: d.msgID, Data: []byte(text)})
	return d.Next()
}

// publish publishes with QoS 1 or 2 and is accepted.
func (d *device) publish(qos uint8, text string) {
	d.T.Helper()
	answer := d.send(qos, text)
	var want sn12.Message = sn12.PubAck{TopicID: d.topicID, MsgID: d.msgID}
	if qos == 2 {
		want = sn12.PubRec{MsgID: d.msgID}
	}
	if answer != want {
		d.T.Fatalf("%s: PUBLISH %q is answered by %v %+v", d.id, text, answer.Type(), answer)
	}
	if qos == 2 {
		d.release(d.msgID)
	}
}

// release ends a QoS 2 exchange.
func (d *device) release(msgID uint16) {
	d.T.Helper()
	d.Send(sn12.PubRel{MsgID: msgID})
	if c := testgateway.Want[sn12.PubComp](d.Node); c.MsgID != msgID {
		d.T.Fatalf("%s: PUBCOMP %d, want %d", d.id, c.MsgID, msgID)
	}
}

// wantRefused publishes and is told to try again later.
func (d *device) wantRefused(qos uint8, text string) {
	d.T.Helper()
	want := sn12.PubAck{TopicID: d.topicID, MsgID: d.msgID + 1, ReturnCode: sn12.RejectedCongestion}
	if answer := d.send(qos, text); answer != sn12.Message(want) {
		d.T.Fatalf("%s: PUBLISH %q is answered by %v %+v", d.id, text, answer.Type(), answer)
	}
}

// receive takes one message, with all that belongs to it, and returns its text.
func (d *device) receive(topic string) string {
	d.T.Helper()
	m := d.Next()
	if r, ok := m.(sn12.Register); ok {
		d.names[r.TopicID] = string(r.TopicName)
		d.Send(sn12.RegAck{TopicID: r.TopicID, MsgID: r.MsgID})
		m = d.Next()
	}
	p, ok := m.(sn12.Publish)
	if !ok || d.names[p.TopicID] != topic {
		d.T.Fatalf("%s: received %v %+v, want a PUBLISH to %s", d.id, m.Type(), m, topic)
	}
	d.Acknowledge(p)
	return string(p.Data)
}

// wakeFor wakes up and wants these messages.
func (d *device) wakeFor(texts ...string) {
	d.T.Helper()
	var got []string
	for _, m := range d.Wake(d.id, d.names) {
		got = append(got, string(m.Data))
	}
	if !slices.Equal(got, texts) {
		d.T.Fatalf("%s wakes for %q, want %q", d.id, got, texts)
	}
}

// wantBothWays shows that messages flow up and down.
func (s *scene) wantBothWays(d *device, text string) {
	s.t.Helper()
	d.publish(1, text)
	s.wantUp("up/"+d.id, false, text)
	s.observer.Send("down/"+d.id, []byte(text), 2, false)
	if got := d.receive("down/" + d.id); got != text {
		s.t.Fatalf("%s: received %q, want %q", d.id, got, text)
	}
}

// held waits until so many messages are held for devices.
func (s *scene) held(n int) {
	s.t.Helper()
	s.Await("sngate_sleep_buffer_messages", float64(n))
}

// atOnce checks that f takes no longer than a moment.
func atOnce(t *testing.T, what string, f func()) {
	t.Helper()
	begin := time.Now()
	f()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("%s takes %v", what, took)
	}
}
