package brokers

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/internal/snclient"
	"sngate/test/testgateway"
)

// stage is what a scenario plays on: a broker that others have used before. Client ids and
// topics are of this scenario alone.
type stage struct {
	testing.TB
	kind
	broker broker
	sngate string // path of the program
	id     string // part of its topics and client ids
}

// connectsAccepted counts the connections that the broker has accepted from a gateway.
const connectsAccepted = `sngate_upstream_connects_total{result="accepted"}`

// gateway starts sngate with quick reconnects.
func (s *stage) gateway(more testgateway.Settings) *testgateway.Gateway {
	return s.gatewayAt(s.broker.URL(), more)
}

func (s *stage) gatewayAt(url string, more testgateway.Settings) *testgateway.Gateway {
	s.Helper()
	settings := testgateway.Settings{"broker.reconnect_min": `"200ms"`, "broker.reconnect_max": `"2s"`}
	if s.broker.Login() != "" {
		settings["broker.username"], settings["broker.password"] = strconv.Quote(s.broker.Login()), strconv.Quote(s.broker.Login())
	}
	maps.Copy(settings, more)
	g := testgateway.Start(s, s.sngate, url, settings)
	g.AwaitReady(200)
	return g
}

// client connects an MQTT client to the broker.
func (s *stage) client(filters ...string) *testgateway.Client {
	s.Helper()
	return testgateway.ConnectMQTTWith(s, s.broker.Addr(), func(o *mqtt.ClientOptions) {
		o.SetClientID(fresh("client")).SetProtocolVersion(4).SetUsername(s.broker.Login()).SetPassword(s.broker.Login())
	}, filters...)
}

// device connects a device.
func (s *stage) device(g *testgateway.Gateway, o snclient.Options) *snclient.Client {
	s.Helper()
	if o.ClientID == "" {
		o.ClientID = s.id
	}
	o.RetryInterval, o.RetryCount, o.Buffer = 2*time.Second, 5, 2000
	d, err := snclient.Dial(s.Context(), g.Addr, o)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { d.Close() })
	s.must(d.Connect(s.Context()))
	return d
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) topic(name string) string { return s.id + "/" + name }

// maxQoS is the highest QoS the broker delivers with.
func (s *stage) maxQoS() uint8 {
	if s.name == "RabbitMQ" {
		return 1
	}
	return 2
}

func (s *stage) subscribe(d *snclient.Client, filter string, qos uint8) {
	s.Helper()
	granted, err := d.Subscribe(s.Context(), snclient.Name(filter), qos)
	s.must(err)
	if want := min(qos, s.maxQoS()); granted != want {
		s.Fatalf("SUBSCRIBE to %s with QoS %d is granted QoS %d, want %d", filter, qos, granted, want)
	}
}

func (s *stage) publish(d *snclient.Client, topic, payload string, qos uint8) {
	s.Helper()
	s.must(d.Publish(s.Context(), snclient.Name(topic), []byte(payload), qos, false))
}

// numbered are payloads that tell their order.
func numbered(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("message %d", i))
	}
	return list
}

// want waits for payloads in order. At QoS 1 a message may come again later.
func (s *stage) want(why string, next func(limit time.Duration) (string, bool), payloads []string, once bool) {
	s.Helper()
	seen := make(map[string]int)
	for i := 0; i < len(payloads); {
		p, ok := next(testgateway.Patience)
		switch {
		case !ok:
			s.Fatalf("%s: %d of %d arrived, then nothing for %v", why, i, len(payloads), testgateway.Patience)
		case p == payloads[i]:
			i++
		case seen[p] > 0 && !once:
		default:
			s.Fatalf("%s: %q arrived, want %q", why, p, payloads[i])
		}
		seen[p]++
	}
}

// wantAll waits for payloads in any order.
func (s *stage) wantAll(why string, next func(limit time.Duration) (string, bool), payloads []string) {
	s.Helper()
	missing := make(map[string]bool)
	for _, p := range payloads {
		missing[p] = true
	}
	for len(missing) > 0 {
		p, ok := next(testgateway.Patience)
		if !ok {
			s.Fatalf("%s: %d of %d are missing", why, len(missing), len(payloads))
		}
		delete(missing, p)
	}
}

// atDevice and atClient are the next payload that arrives there.
func atDevice(d *snclient.Client) func(time.Duration) (string, bool) {
	return func(limit time.Duration) (string, bool) {
		select {
		case m := <-d.Messages():
			return string(m.Payload), true
		case <-time.After(limit):
			return "", false
		}
	}
}

func (s *stage) fence(c *testgateway.Client, topic string) {
	s.Helper()
	c.Send(topic, []byte("fence"), 1, false)
}

// collect returns the payloads that a client gets up to a fence.
func (s *stage) collect(c *testgateway.Client) (list []string) {
	s.Helper()
	for {
		m := c.Receive()
		if string(m.Payload()) == "fence" {
			return list
		}
		list = append(list, string(m.Payload()))
	}
}

func atClient(c *testgateway.Client) func(time.Duration) (string, bool) {
	return func(limit time.Duration) (string, bool) {
		m := c.ReceiveWithin(limit)
		if m == nil {
			return "", false
		}
		return string(m.Payload()), true
	}
}

// play runs the scenarios on one broker.
func play(t *testing.T, k kind, b broker, sngate string, list []scenario) {
	for _, sc := range list {
		t.Run(sc.name, func(t *testing.T) {
			id := strings.ReplaceAll(strings.ToLower(sc.name), " ", "-")
			sc.play(&stage{TB: t, kind: k, broker: b, sngate: sngate, id: id})
		})
	}
}

type scenario struct {
	name string
	play func(s *stage)
}
