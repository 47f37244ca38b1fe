package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

func TestFaultyFramesOfAStrangerHaveNoEffect_Case1_2_4(t *testing.T) {
	tests := []struct{ name, datagram string }{
		{"empty", ""},
		{"one byte", "04"},
		{"long form, 1 byte", "01"},
		{"long form, 2 bytes", "01 00"},
		{"long form, 3 bytes", "01 00 0a"},
		{"length larger than the datagram", "20 04 04 01 00 3c 78"},
		{"length smaller than the datagram", "06 04 04 01 00 3c 78"},
		{"length 0", "00 04 04 01 00 3c 78"},
		{"long form, length below the header", "01 00 03 16"},
		{"encapsulation cut off", "05 fe 00"},
		{"nothing encapsulated", "04 fe 00 61"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.send(tt.datagram)
				d.wantQuiet("no answer")
				r.wantDropped(session.ReasonMalformed, 1)
				r.wantSessions("none made", 0)
				if n := r.connects(); n != 1 {
					t.Fatalf("%d connections to the broker, want only the gateway's own", n)
				}
				d.connect("alive")
			})
		})
	}
}

func TestConnectInTheLongForm_Case3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.send("01 00 0a 04 04 01 00 3c 6c 33")
		d.want("accepted", "03 05 00")
		r.wantSessions("one", 1)
		d.send("01 00 04 16")
		d.want("PINGREQ in the long form", "02 17")
	})
}

// The session answers PINGREQ after each message whose type is any octet and whose body
// has 0 to 8 octets, except where that message ended it by the rules.
func TestEveryTypeWithShortBodies_Case8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.MaxInFlight = 1000 })
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 0, "dev")
		fills := []func(i int) byte{
			func(int) byte { return 0 }, func(int) byte { return 0xFF }, func(i int) byte { return byte(i + 1) },
		}
		for typ := range 256 {
			for size := range 9 {
				for _, fill := range fills {
					b := []byte{byte(2 + size), byte(typ)}
					for i := range size {
						b = append(b, fill(i))
					}
					d.sendRaw(b)
					d.discard()
					if ended := r.state(session.StateActive) == 0; ended {
						if typ != int(sn12.TypeDisconnect) && typ != int(sn12.TypeConnect) {
							t.Fatalf("%x has ended the session", b)
						}
						d.sendMessage(sn12.Disconnect{})
						d.discard()
						d.connectWith(true, 0, "dev")
					}
					d.ping(fmt.Sprintf("PINGREQ after %x", b))
				}
			}
		}
	})
}

// pattern is a payload of n octets in which no two places look the same.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*7
	}
	return b
}

func TestPayloadsUpToTheLimitBothWays_Case6_7(t *testing.T) {
	for _, n := range []int{0, 1, 246, 247, 248, 249, 250, 300, 1200, 60_000} {
		for _, qos := range []uint8{0, 1, 2} {
			t.Run(fmt.Sprintf("%d octets, QoS %d", n, qos), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { carryBothWays(t, pattern(n), qos) })
			})
		}
	}
}

func carryBothWays(t *testing.T, payload []byte, qos uint8) {
	r := newRig(t, nil)
	d := r.device("10.0.1.1:5000")
	d.connect("dev")
	var got []upstreamtest.Message
	r.broker.Observe = func(_ string, m upstreamtest.Message) { got = append(got, m) }
	id := d.register("up")
	d.sendMessage(sn12.Publish{QoS: qos, TopicID: id, MsgID: uint16(qos), Data: payload})
	switch qos {
	case 1:
		d.wantMessage("acknowledged", sn12.PubAck{TopicID: id, MsgID: 1})
	case 2:
		d.wantMessage("received", sn12.PubRec{MsgID: 2})
		d.sendMessage(sn12.PubRel{MsgID: 2})
		d.wantMessage("complete", sn12.PubComp{MsgID: 2})
	}
	synctest.Wait()
	if len(got) != 1 || !bytes.Equal(got[0].Payload, payload) || got[0].QoS != qos || got[0].Topic != "up" {
		t.Fatalf("the broker has %d messages", len(got))
	}
	id = d.subscribe("down", qos)
	r.broker.Publish(upstreamtest.Message{Topic: "down", Payload: payload, QoS: qos})
	synctest.Wait()
	b := <-d.in
	header := slices.Concat([]byte{byte(len(payload) + 7)}, []byte{0x0c})
	if len(payload)+7 > 255 {
		header = append(binary.BigEndian.AppendUint16([]byte{1}, uint16(len(payload)+9)), 0x0c)
	}
	if !bytes.HasPrefix(b, header) {
		t.Fatalf("PUBLISH begins with %x, want %x", b[:4], header)
	}
	p, ok := parse(t, b).(sn12.Publish)
	if !ok || !bytes.Equal(p.Data, payload) || p.TopicID != id || p.QoS != qos {
		t.Fatalf("got %d octets %v", len(b), ok)
	}
	d.answer(p, make(map[uint16]sn12.Publish))
	d.receive(time.Second)
	if waiting, _ := r.broker.Pending("dev"); waiting != 0 {
		t.Fatalf("%d messages unacknowledged at the broker", waiting)
	}
}

func TestMessagesTooLargeForTheDeviceAreDroppedAndAcknowledged_Case7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.MaxPacketSize = 1000 })
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		d.subscribe("t", 1)
		for _, n := range []int{1000 - 9 + 1, 60_000, 100_000} { // the last is not even read
			r.broker.Publish(upstreamtest.Message{Topic: "t", Payload: pattern(n), QoS: 1})
		}
		d.wantQuiet("too large")
		r.wantDropped(session.ReasonTooLarge, 3)
		if waiting, _ := r.broker.Pending("dev"); waiting != 0 {
			t.Fatalf("%d messages unacknowledged: the broker would send them for ever", waiting)
		}
		r.broker.Publish(upstreamtest.Message{Topic: "t", Payload: pattern(1000 - 9), QoS: 1})
		if got := d.receive(time.Second); len(got) != 1 || got[0] != string(pattern(1000-9)) {
			t.Fatalf("the largest that fits: got %d messages", len(got))
		}
	})
}

func TestAdvertiseAndGWInfoOfOtherGatewaysMakeNoSession_Case18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.send("05 00 09 00 3c")
		d.send("03 02 09")
		d.send("07 02 09 0a000001")
		d.wantQuiet("not answered")
		r.wantSessions("none", 0)
		r.wantDropped(session.ReasonOtherGateway, 3)
		d.send("03 01 00")
		d.want("SEARCHGW by unicast is answered", "03 02 07")
	})
}

// A message that fits MaxPacketSize but no UDP datagram must not cost the device its
// session, again and again.
func TestMessagesTooLargeForUDPAreDropped_Case7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.MaxPacketSize = 65535 })
		direct, forwarder := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		direct.connect("direct")
		direct.send("06 12 20 0001 74")
		direct.want("SUBACK", "08 13 20 0002 0001 00")
		forwarder.send(node("a1a2", "0a 04 04 01 003c 6e6f6465"))
		forwarder.want("CONNACK", node("a1a2", "03 05 00"))
		forwarder.send(node("a1a2", "06 12 20 0001 74"))
		forwarder.want("SUBACK", node("a1a2", "08 13 20 0002 0001 00"))
		for _, size := range []int{65507 - 9 + 1, 65526} {
			r.publish("t", string(make([]byte, size)), 1)
			direct.wantQuiet("it would be lost on the way")
		}
		r.wantDropped(session.ReasonTooLarge, 4)
		r.publish("t", string(make([]byte, 65507-9)), 1)
		r.wantDropped(session.ReasonTooLarge, 5) // the node's encapsulation makes it too long
		if got := <-direct.in; len(got) != 65507 {
			t.Errorf("%d octets, want 65507", len(got))
		}
		forwarder.wantQuiet("too long with the encapsulation")
		r.wantDropped(session.ReasonSendFailed, 0)
	})
}
