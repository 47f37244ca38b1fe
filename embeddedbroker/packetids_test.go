package embeddedbroker_test

import (
	"fmt"
	"net"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/embeddedbroker"
)

// outstanding connects client "device" with a kept session, subscribed to "down"
// at qos, and leaves it with n unacknowledged messages whose identifiers the
// broker chose: 1 to n. It returns the connection.
func outstanding(t *testing.T, b *embeddedbroker.Broker, qos byte, n int) net.Conn {
	t.Helper()
	conn := rawConnect(t, b, "device", func(c *packets.ConnectPacket) { c.CleanSession = false })
	sub := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	sub.MessageID, sub.Topics, sub.Qoss = 1, []string{"down"}, []byte{qos}
	send(t, conn, sub)
	receive(t, conn)
	sender := mustConnect(t, b, "sender")
	for i := range n {
		done(t, "publish", sender.Publish("down", qos, false, fmt.Sprint(i)))
		m := receive(t, conn).(*packets.PublishPacket)
		if m.MessageID != uint16(i+1) || string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d has identifier %d, payload %q", i, m.MessageID, m.Payload)
		}
	}
	return conn
}

// wantAgain connects the device again and expects the n messages once more.
func wantAgain(t *testing.T, b *embeddedbroker.Broker, n int) {
	t.Helper()
	conn := rawConnect(t, b, "device", func(c *packets.ConnectPacket) { c.CleanSession = false })
	seen := make(map[string]bool)
	for range n {
		m, ok := receive(t, conn).(*packets.PublishPacket)
		if !ok || !m.Dup {
			t.Fatalf("got %v, want a message again with DUP", m)
		}
		seen[string(m.Payload)] = true
	}
	if len(seen) != n {
		t.Fatalf("got %v again, want %d messages", seen, n)
	}
}

func TestSubscribeWithAnIdentifierOfAnUnacknowledgedMessage(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	conn := outstanding(t, b, 1, 3)
	sub := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	sub.MessageID, sub.Topics, sub.Qoss = 2, []string{"more"}, []byte{1}
	send(t, conn, sub)
	if ack := receive(t, conn).(*packets.SubackPacket); ack.MessageID != 2 || len(ack.ReturnCodes) != 1 || ack.ReturnCodes[0] != 1 {
		t.Fatalf("SUBACK %v, want identifier 2, granted QoS 1", ack)
	}
	unsub := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
	unsub.MessageID, unsub.Topics = 3, []string{"more"}
	send(t, conn, unsub)
	if ack := receive(t, conn).(*packets.UnsubackPacket); ack.MessageID != 3 {
		t.Fatalf("UNSUBACK %v, want identifier 3", ack)
	}
	conn.Close()
	wantAgain(t, b, 3)
}

func TestPublishWithAnIdentifierOfAnUnacknowledgedMessage(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprint("QoS", qos), func(t *testing.T) {
			b := start(t, embeddedbroker.Options{})
			got := make(chan mqtt.Message, 10)
			subscribe(t, mustConnect(t, b, "watcher"), "up", 2, got)
			conn := outstanding(t, b, 1, 3)

			up := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			up.MessageID, up.TopicName, up.Payload, up.Qos = 2, "up", []byte("hello"), qos
			send(t, conn, up)
			if qos == 2 {
				for range 2 { // the second time as after a lost PUBREC
					if ack := receive(t, conn).(*packets.PubrecPacket); ack.MessageID != 2 {
						t.Fatalf("PUBREC %v, want identifier 2", ack)
					}
					up.Dup = true
					send(t, conn, up)
				}
				receive(t, conn)
				rel := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
				rel.MessageID = 2
				send(t, conn, rel)
				if ack := receive(t, conn).(*packets.PubcompPacket); ack.MessageID != 2 {
					t.Fatalf("PUBCOMP %v, want identifier 2", ack)
				}
			} else if ack := receive(t, conn).(*packets.PubackPacket); ack.MessageID != 2 {
				t.Fatalf("PUBACK %v, want identifier 2", ack)
			}
			if m := next(t, got); string(m.Payload()) != "hello" {
				t.Fatalf("got %q", m.Payload())
			}
			conn.Close()
			wantAgain(t, b, 3)
			if len(got) != 0 {
				t.Errorf("the message arrived %d times", 1+len(got))
			}
		})
	}
}

func TestAcknowledgingBothDirectionsWithEqualIdentifiers(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	got := make(chan mqtt.Message, 100)
	subscribe(t, mustConnect(t, b, "watcher"), "up", 2, got)
	conn := outstanding(t, b, 2, 3)
	for id := range uint16(3) {
		id++
		up := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		up.MessageID, up.TopicName, up.Payload, up.Qos = id, "up", fmt.Append(nil, id), 2
		send(t, conn, up)
		if ack := receive(t, conn).(*packets.PubrecPacket); ack.MessageID != id {
			t.Fatalf("PUBREC %v, want %d", ack, id)
		}
		rec := packets.NewControlPacket(packets.Pubrec).(*packets.PubrecPacket)
		rec.MessageID = id
		send(t, conn, rec)
		if rel := receive(t, conn).(*packets.PubrelPacket); rel.MessageID != id {
			t.Fatalf("PUBREL %v, want %d", rel, id)
		}
		rel := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
		rel.MessageID = id
		send(t, conn, rel)
		if comp := receive(t, conn).(*packets.PubcompPacket); comp.MessageID != id {
			t.Fatalf("PUBCOMP %v, want %d", comp, id)
		}
		comp := packets.NewControlPacket(packets.Pubcomp).(*packets.PubcompPacket)
		comp.MessageID = id
		send(t, conn, comp)
		if m := next(t, got); string(m.Payload()) != fmt.Sprint(id) {
			t.Fatalf("got %q, want %d", m.Payload(), id)
		}
	}
	if len(got) != 0 {
		t.Errorf("%d messages too many", len(got))
	}
}
