package loadgen

import (
	"fmt"
	"net"
	"sync"
	"time"

	"sngate/upstream/mqtt"
)

const (
	brokerPatience = 10 * time.Second // for the connection, its CONNACK and its SUBACK
	maxUnwritten   = 64 << 20         // octets that wait for a broker that does not read
)

// brokerConn is an MQTT connection that subscribes to what the devices publish and publishes
// to them. What is to be written is collected and written by a goroutine of its own, so that
// nobody waits for the broker.
type brokerConn struct {
	conn net.Conn
	in   *mqtt.Scanner // the reader's

	mu        sync.Mutex // guards all below
	unwritten sync.Cond
	out       []byte
	id        uint16
	closed    bool
}

// dialBroker connects, and subscribes to filter with QoS 0 unless that is "".
func dialBroker(o *Options, clientID, filter string) (*brokerConn, error) {
	conn, err := net.DialTimeout("tcp", o.Broker, brokerPatience)
	if err != nil {
		return nil, fmt.Errorf("the broker: %w", err)
	}
	b := &brokerConn{conn: conn, in: mqtt.NewScanner(conn, MaxPayload+1024)}
	b.unwritten.L = &b.mu
	connect := &mqtt.Connect{ClientID: clientID, CleanSession: true, HasUsername: o.Username != "", Username: o.Username, Password: o.Password}
	if err := b.open(connect, filter); err != nil {
		conn.Close()
		return nil, fmt.Errorf("the broker at %s: %w", o.Broker, err)
	}
	return b, nil
}

func (b *brokerConn) open(connect *mqtt.Connect, filter string) error {
	if err := b.conn.SetDeadline(time.Now().Add(brokerPatience)); err != nil {
		return err
	}
	code, err := b.ask(mqtt.EncodeConnect(connect), mqtt.TypeConnack)
	if err != nil {
		return err
	}
	if code != mqtt.CodeAccepted {
		return fmt.Errorf("CONNECT is refused: %s", mqtt.ConnackText(code))
	}
	if filter != "" {
		if code, err = b.ask(mqtt.EncodeSubscribe(1, filter, 0), mqtt.TypeSuback); err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("the subscription to %s is refused", filter)
		}
	}
	return b.conn.SetDeadline(time.Time{})
}

// ask writes a packet and returns the code of the answer, which is the next packet.
func (b *brokerConn) ask(packet []byte, answer uint8) (code uint8, err error) {
	if _, err := b.conn.Write(packet); err != nil {
		return 0, err
	}
	var v mqtt.View
	if err := b.in.Next(&v); err != nil {
		return 0, err
	}
	if v.Kind != answer {
		return 0, fmt.Errorf("a packet of type %d instead of %d", v.Kind, answer)
	}
	return v.Code, nil
}

// publish puts a PUBLISH behind what is to be written.
func (b *brokerConn) publish(topic string, payload []byte, qos uint8) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := uint16(0)
	if qos > 0 {
		if b.id++; b.id == 0 {
			b.id = 1
		}
		id = b.id
	}
	b.out = mqtt.AppendPublish(b.out, "", topic, payload, qos, false, id)
	b.unwritten.Signal()
}

// write writes until the connection is closed.
func (b *brokerConn) write() error {
	var spare []byte
	for {
		b.mu.Lock()
		for len(b.out) == 0 && !b.closed {
			b.unwritten.Wait()
		}
		ready, full, closed := b.out, len(b.out) > maxUnwritten, b.closed
		b.out = spare[:0]
		b.mu.Unlock()
		if closed {
			return nil
		}
		if full {
			return fmt.Errorf("the broker does not read: more than %d octets wait for it", maxUnwritten)
		}
		if _, err := b.conn.Write(ready); err != nil {
			return err
		}
		spare = ready
	}
}

// read reads until the connection is closed, and calls take with the payload of each message.
func (b *brokerConn) read(take func(payload []byte)) error {
	var v mqtt.View
	for {
		if err := b.in.Next(&v); err != nil {
			return err
		}
		switch v.Kind {
		case mqtt.TypePublish:
			take(v.Payload)
		case mqtt.TypePubrec:
			b.mu.Lock()
			b.out = mqtt.AppendAck(b.out, mqtt.TypePubrel, v.ID)
			b.unwritten.Signal()
			b.mu.Unlock()
		}
	}
}

// close ends read and write.
func (b *brokerConn) close() {
	b.mu.Lock()
	b.closed = true
	b.unwritten.Signal()
	b.mu.Unlock()
	_, _ = b.conn.Write(mqtt.AppendBare(nil, mqtt.TypeDisconnect)) // as good as it goes
	b.conn.Close()
}
