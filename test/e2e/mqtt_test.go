package e2e

import (
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// client is an MQTT client at the broker, on the other side of the gateway.
type client struct {
	mqtt.Client
	t        testing.TB
	messages chan mqtt.Message
}

// mqttConnect connects an MQTT client to addr ("host:port") and subscribes it to filters with
// QoS 2.
func mqttConnect(t testing.TB, addr string, filters ...string) *client {
	t.Helper()
	return mqttConnectWith(t, addr, func(*mqtt.ClientOptions) {}, filters...)
}

func mqttConnectWith(t testing.TB, addr string, adjust func(*mqtt.ClientOptions), filters ...string) *client {
	t.Helper()
	c := &client{t: t, messages: make(chan mqtt.Message, 10000)}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetAutoReconnect(false).SetConnectTimeout(patience)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.messages <- m })
	adjust(o)
	c.Client = mqtt.NewClient(o)
	c.done(c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	for _, f := range filters {
		c.done(c.Subscribe(f, 2, nil))
	}
	return c
}

// done waits for what a token stands for.
func (c *client) done(token mqtt.Token) {
	c.t.Helper()
	if !token.WaitTimeout(patience) {
		c.t.Fatalf("the broker did not answer within %v", patience)
	}
	if err := token.Error(); err != nil {
		c.t.Fatal(err)
	}
}

// publish returns when the broker has the message: at QoS 0 when it is sent.
func (c *client) publish(topic string, payload []byte, qos uint8, retain bool) {
	c.t.Helper()
	c.done(c.Publish(topic, qos, retain, payload))
}

func (c *client) receive() mqtt.Message {
	c.t.Helper()
	select {
	case m := <-c.messages:
		return m
	case <-time.After(patience):
		c.t.Fatalf("no MQTT message within %v", patience)
		return nil
	}
}

// wantMessage receives one message and checks topic and payload.
func (c *client) wantMessage(topic, payload string) mqtt.Message {
	c.t.Helper()
	m := c.receive()
	if m.Topic() != topic || string(m.Payload()) != payload {
		c.t.Fatalf("received %q on %s, want %q on %s", m.Payload(), m.Topic(), payload, topic)
	}
	return m
}

// wantNothingBefore publishes a message of its own and checks that it is the next to
// arrive: whatever the broker had for this client before would come first.
func (c *client) wantNothingBefore(topic string) {
	c.t.Helper()
	c.publish(topic, []byte("fence"), 2, false)
	c.wantMessage(topic, "fence")
}
