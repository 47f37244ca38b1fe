package testgateway

import (
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Client is an MQTT client at the broker, on the other side of the gateway.
type Client struct {
	mqtt.Client
	t        testing.TB
	messages chan mqtt.Message
}

// ConnectMQTT connects an MQTT client to addr ("host:port") and subscribes it to filters with
// QoS 2.
func ConnectMQTT(t testing.TB, addr string, filters ...string) *Client {
	t.Helper()
	return ConnectMQTTWith(t, addr, func(*mqtt.ClientOptions) {}, filters...)
}

func ConnectMQTTWith(t testing.TB, addr string, adjust func(*mqtt.ClientOptions), filters ...string) *Client {
	t.Helper()
	c := &Client{t: t, messages: make(chan mqtt.Message, 10000)}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetAutoReconnect(false).SetConnectTimeout(Patience)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.messages <- m })
	adjust(o)
	c.Client = mqtt.NewClient(o)
	c.Done(c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	for _, f := range filters {
		c.Done(c.Subscribe(f, 2, nil))
	}
	return c
}

// Done waits for what a token stands for.
func (c *Client) Done(token mqtt.Token) {
	c.t.Helper()
	if !token.WaitTimeout(Patience) {
		c.t.Fatalf("the broker did not answer within %v", Patience)
	}
	if err := token.Error(); err != nil {
		c.t.Fatal(err)
	}
}

// Send returns when the broker has the message: at QoS 0 when it is sent.
func (c *Client) Send(topic string, payload []byte, qos uint8, retain bool) {
	c.t.Helper()
	c.Done(c.Publish(topic, qos, retain, payload))
}

func (c *Client) Receive() mqtt.Message {
	c.t.Helper()
	m := c.ReceiveWithin(Patience)
	if m == nil {
		c.t.Fatalf("no MQTT message within %v", Patience)
	}
	return m
}

// ReceiveWithin returns the next message, nil if none comes within limit.
func (c *Client) ReceiveWithin(limit time.Duration) mqtt.Message {
	select {
	case m := <-c.messages:
		return m
	case <-time.After(limit):
		return nil
	}
}

// WantMessage receives one message and checks topic and payload.
func (c *Client) WantMessage(topic, payload string) mqtt.Message {
	c.t.Helper()
	m := c.Receive()
	if m.Topic() != topic || string(m.Payload()) != payload {
		c.t.Fatalf("received %q on %s, want %q on %s", m.Payload(), m.Topic(), payload, topic)
	}
	return m
}

// WantNothingBefore publishes a message of its own and checks that it is the next to
// arrive: whatever the broker had for this client before would come first.
func (c *Client) WantNothingBefore(topic string) {
	c.t.Helper()
	c.Send(topic, []byte("fence"), 2, false)
	c.WantMessage(topic, "fence")
}
