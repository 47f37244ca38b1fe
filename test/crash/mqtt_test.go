package crash

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// mqttClient is an MQTT 3.1.1 client with a persistent session (CleanSession=0), which keeps its part
// of that session in memory over all connections and is itself never killed: what it has
// received and sent is as the standard has it in section 4.3, so that a QoS 2 message that it
// delivers or has released counts once.
type mqttClient struct {
	w      *world
	id     string
	filter string // subscribed to with QoS 2; "": nothing
	// deliver is called for each message but the repeated ones of QoS 2.
	deliver func(topic string, qos uint8, payload []byte)
	up      chan struct{} // closed when it has been connected and subscribed for the first time

	mu       sync.Mutex
	conn     net.Conn    // nil while it is not connected
	open     []*outgoing // in the order of publishing
	nextID   uint16
	began    bool            // the session exists at the broker
	received map[uint16]bool // QoS 2 packet identifiers between PUBLISH and PUBREL
}

// outgoing is a message that has not been finished.
type outgoing struct {
	packet   *packets.PublishPacket
	released bool // PUBREC has come
	done     chan struct{}
}

func newMQTTClient(w *world, id, filter string, deliver func(string, uint8, []byte)) *mqttClient {
	return &mqttClient{
		w: w, id: id, filter: filter, deliver: deliver,
		up: make(chan struct{}), received: make(map[uint16]bool),
	}
}

// run connects again whenever the connection is lost, until the context ends.
func (c *mqttClient) run() {
	for c.w.ctx.Err() == nil {
		if conn, err := net.Dial("tcp", c.w.broker.addr()); err == nil {
			stop := context.AfterFunc(c.w.ctx, func() { conn.Close() })
			c.serve(conn) // its error is that of a connection that is gone
			stop()
			conn.Close()
		}
		c.w.pause(10 * time.Millisecond)
	}
}

func (c *mqttClient) serve(conn net.Conn) error {
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.ClientIdentifier = "MQTT", 4, c.id
	if err := hello.Write(conn); err != nil {
		return err
	}
	p, err := packets.ReadPacket(conn)
	if err != nil {
		return err
	}
	ack, ok := p.(*packets.ConnackPacket)
	if !ok || ack.ReturnCode != 0 {
		c.w.fault("%s: CONNECT is answered by %v", c.id, p)
		return nil
	}
	c.w.trace.note(c.id, "is connected, session present %v", ack.SessionPresent)
	if err := c.resend(conn, ack.SessionPresent); err != nil {
		return err
	}
	defer func() {
		c.mu.Lock()
		c.conn = nil
		c.mu.Unlock()
	}()
	for {
		p, err := packets.ReadPacket(conn)
		if err == nil {
			err = c.handle(conn, p)
		}
		if err != nil {
			return err
		}
	}
}

// resend sends again what was not answered, in order, and lets new messages out.
func (c *mqttClient) resend(conn net.Conn, present bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began && !present {
		c.w.fault("the broker has forgotten the session of %s", c.id)
	}
	if !c.began && c.filter != "" {
		p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		p.MessageID, p.Topics, p.Qoss = 0xFFFF, []string{c.filter}, []byte{2}
		if err := p.Write(conn); err != nil {
			return err
		}
	} else {
		c.beginLocked()
	}
	for _, o := range c.open {
		if err := o.repeat(conn); err != nil {
			return err
		}
	}
	c.conn = conn
	return nil
}

func (c *mqttClient) beginLocked() {
	if !c.began {
		c.began = true
		close(c.up)
	}
}

func (o *outgoing) repeat(conn net.Conn) error {
	if o.released {
		return answer(conn, packets.Pubrel, o.packet.MessageID)
	}
	o.packet.Dup = true
	return o.packet.Write(conn)
}

// publish hands a message over. done is closed when the broker has acknowledged it to the end,
// at once with QoS 0.
func (c *mqttClient) publish(topic string, qos uint8, payload []byte) (done <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.Payload = topic, qos, payload
	o := &outgoing{packet: p, done: make(chan struct{})}
	if qos == 0 {
		close(o.done)
	} else {
		c.nextID = c.nextID%0xFFF0 + 1 // far more than are open at a time
		p.MessageID = c.nextID
		c.open = append(c.open, o)
	}
	if c.conn != nil {
		_ = p.Write(c.conn) // a broken connection is noticed by who reads it
	}
	return o.done
}

func (c *mqttClient) handle(conn net.Conn, p packets.ControlPacket) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p := p.(type) {
	case *packets.SubackPacket:
		c.beginLocked()
	case *packets.PublishPacket:
		return c.take(conn, p)
	case *packets.PubrelPacket:
		delete(c.received, p.MessageID)
		return answer(conn, packets.Pubcomp, p.MessageID)
	case *packets.PubrecPacket:
		if i := c.find(p.MessageID); i >= 0 {
			c.open[i].released = true
		}
		return answer(conn, packets.Pubrel, p.MessageID)
	case *packets.PubackPacket:
		c.finish(p.MessageID)
	case *packets.PubcompPacket:
		c.finish(p.MessageID)
	default:
		c.w.fault("%s receives %v", c.id, p)
	}
	return nil
}

func (c *mqttClient) take(conn net.Conn, p *packets.PublishPacket) error {
	c.w.trace.note(c.id, "<- PUBLISH DUP %v QoS %d packet id %d %s %q", p.Dup, p.Qos, p.MessageID, p.TopicName, p.Payload)
	if p.Qos == 2 && c.received[p.MessageID] {
		return answer(conn, packets.Pubrec, p.MessageID)
	}
	c.deliver(p.TopicName, p.Qos, p.Payload)
	switch p.Qos {
	case 1:
		return answer(conn, packets.Puback, p.MessageID)
	case 2:
		c.received[p.MessageID] = true
		return answer(conn, packets.Pubrec, p.MessageID)
	}
	return nil
}

func (c *mqttClient) find(id uint16) int {
	for i, o := range c.open {
		if o.packet.MessageID == id {
			return i
		}
	}
	return -1
}

func (c *mqttClient) finish(id uint16) {
	if i := c.find(id); i >= 0 {
		close(c.open[i].done)
		c.open = append(c.open[:i], c.open[i+1:]...)
	}
}

// answer writes a packet that has nothing but a packet identifier.
func answer(conn net.Conn, kind byte, id uint16) error {
	first := kind << 4
	if kind == packets.Pubrel {
		first |= 2
	}
	_, err := conn.Write([]byte{first, 2, byte(id >> 8), byte(id)})
	return err
}
