package upstream_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// hostile are octets behind which nobody knows where the next packet begins.
var hostile = map[string][]byte{
	"PUBACK of 256 MB":       {0x40, 0xff, 0xff, 0xff, 0x7f},
	"SUBACK of 256 MB":       {0x90, 0xff, 0xff, 0xff, 0x7f},
	"a length of five bytes": {0x30, 0xff, 0xff, 0xff, 0xff, 0x01},
	"nothing but nonsense":   bytes.Repeat([]byte{0xf0, 0x00}, 17),
}

func TestLostFramingCostsThatConnectionOnly(t *testing.T) {
	for name, raw := range hostile {
		t.Run(name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				other, otherPeer := r.up(&upstream.Connect{ClientID: "other"}, false)
				o, p := r.up(persistent, false)
				p.SendRaw(raw...)
				r.runUntilIdle()
				o.events = slices.DeleteFunc(o.events, func(e upstream.Event) bool { return e.Kind == upstream.EventBadPacket })
				if e := o.want(upstream.EventDown, name); !errors.Is(e.Err, upstream.ErrLost) {
					t.Errorf("got %v", e.Err)
				}
				p.WantEOF("closed")
				if n := r.d.Stats().ProtocolErrors.Load(); n != 1 {
					t.Errorf("%d protocol errors", n)
				}
				r.pass(time.Second)
				o.accept(true)
				o.want(upstream.EventUp, "tried again")
				otherPeer.Publish("t", "x", 0, 0, false)
				other.wantMessage("x", "not affected")
			})
		})
	}
}

// What is wrong inside a packet costs that packet: it is acknowledged by its QoS where it
// can be, so that it does not come again, and the connection goes on.
func TestBadPacketCostsThatPacketOnly(t *testing.T) {
	puback, pubrec := []byte{0x40, 2, 0, 1}, []byte{0x50, 2, 0, 1}
	for _, c := range []struct {
		name   string
		raw    []byte
		answer []byte
	}{
		{"type 0", []byte{0x00, 0x00}, nil},
		{"type 15", []byte{0xf0, 0x00}, nil},
		{"CONNECT", []byte{0x10, 0x00}, nil},
		{"SUBSCRIBE", []byte{0x82, 0x05, 0, 1, 0, 0, 0}, nil},
		{"UNSUBSCRIBE", []byte{0xa2, 0x02, 0, 1}, nil},
		{"PINGREQ", []byte{0xc0, 0x00}, nil},
		{"a second CONNACK", []byte{0x20, 0x02, 0, 0}, nil},
		{"PUBACK of one byte", []byte{0x40, 0x01, 0}, nil},
		{"SUBACK with no code", []byte{0x90, 0x02, 0, 1}, nil},
		{"UNSUBACK of one byte", []byte{0xb0, 0x01, 0}, nil},
		{"PUBLISH with QoS 3", []byte{0x36, 0x05, 0, 1, 't', 0, 1}, nil},
		{"PUBLISH without a topic", []byte{0x30, 0x01, 0}, nil},
		{"PUBLISH shorter than its topic", []byte{0x30, 0x04, 0, 9, 't', 't'}, nil},
		{"PUBLISH with an empty topic", []byte{0x30, 0x02, 0, 0}, nil},
		{"PUBLISH without identifier", []byte{0x32, 0x03, 0, 1, 't'}, nil},
		{"PUBLISH with identifier 0", []byte{0x32, 0x05, 0, 1, 't', 0, 0}, nil},
		{"QoS 0 to a wildcard", []byte{0x30, 0x03, 0, 1, '#'}, nil},
		{"QoS 1 to a wildcard", []byte{0x32, 0x06, 0, 1, '+', 0, 1, 'x'}, puback},
		{"QoS 2 to a wildcard", []byte{0x34, 0x06, 0, 1, '+', 0, 1, 'x'}, pubrec},
		{"QoS 1 to nothing", []byte{0x32, 0x05, 0, 0, 0, 1, 'x'}, puback},
		{"QoS 1 to invalid UTF-8", []byte{0x32, 0x06, 0, 1, 0xff, 0, 1, 'x'}, puback},
		{"QoS 2 to a topic with NUL", []byte{0x34, 0x06, 0, 1, 0, 0, 1, 'x'}, pubrec},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o, p := r.up(persistent, false)
				for range 2 { // a broker may send it again
					p.SendRaw(c.raw...)
					if e := o.want(upstream.EventBadPacket, c.name); e.Err == nil {
						t.Error("it is not said what is wrong")
					}
					if c.answer != nil {
						wantRaw(p, c.answer, "so that it does not come again")
					}
				}
				if c.answer != nil && c.answer[0] == 0x50 {
					ack(p, pubrel, 1)
					o.want(upstream.EventReleased, "the exchange is over")
					wantRaw(p, []byte{0x70, 2, 0, 1}, "PUBCOMP")
				}
				p.Publish("t", "x", 1, 1, false)
				o.wantMessage("x", "the connection goes on, and the identifier is free")
				if n := r.d.Stats().BadPackets.Load(); n != 2 {
					t.Errorf("%d bad packets counted, want 2", n)
				}
			})
		})
	}
}

// Flags that mean nothing, reason codes of MQTT 5 and codes that MQTT 3.1.1 does not know
// are no reason to stop.
func TestUnknownFlagsAndCodesAreOverlooked(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		for i, flags := range []byte{0x40, 0x41, 0x40} {
			token := upstream.Token(i + 1)
			o.Publish(r.now(), token, "t", []byte("x"), 1, false)
			r.runUntilIdle()
			id := wantPublish(p, "x", 1, false, "sent")
			raw := []byte{flags, 2, byte(id >> 8), byte(id)}
			if i == 2 {
				raw = append(raw, 0x10)
				raw[1] = 3
			}
			p.SendRaw(raw...)
			if e := o.want(upstream.EventPublished, "acknowledged"); e.Token != token {
				t.Errorf("token %d", e.Token)
			}
		}
		ack(p, 0x60, 5)
		o.want(upstream.EventReleased, "PUBREL without its flags")
		wantRaw(p, []byte{0x70, 2, 0, 5}, "answered")
		o.Ping(r.now(), 9)
		r.runUntilIdle()
		wantRaw(p, []byte{0xc0, 0}, "PINGREQ")
		p.SendRaw(0xd1, 1, 0)
		o.want(upstream.EventPong, "PINGRESP with flags and a body")
		for i, code := range []byte{0x80, 0x8f, 0xff, 0x03, 0x02} {
			o.Subscribe(r.now(), upstream.Token(20+i), "f", 2)
			r.runUntilIdle()
			id := upstreamtest.Want[*packets.SubscribePacket](p, "asked").MessageID
			p.SendRaw(0x90, 3, byte(id>>8), byte(id), code)
			want := upstream.RefusedForGood
			if code == 2 {
				want = upstream.NotRefused
			}
			if e := o.want(upstream.EventSubscribed, "answered at once"); e.Refusal.Kind != want || want == upstream.NotRefused && e.Granted != code || e.Err != nil {
				t.Errorf("code %#x: got %+v", code, e)
			}
		}
		if n := r.d.Stats().ProtocolErrors.Load() + r.d.Stats().BadPackets.Load(); n != 0 {
			t.Errorf("%d faults counted", n)
		}
	})
}

// DISCONNECT from the broker is a close like any other, and says who is to blame when it
// has the reason "session taken over".
func TestDisconnectFromTheBrokerIsAClose_Case157(t *testing.T) {
	for _, c := range []struct {
		name  string
		raw   []byte
		parks bool
	}{
		{"plain", []byte{0xe0, 0}, false},
		{"server shutting down", []byte{0xe0, 1, 0x8b}, false},
		{"taken over", []byte{0xe0, 1, 0x8e}, true},
		{"taken over, with properties", []byte{0xe0, 2, 0x8e, 0}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o, p := r.up(persistent, false)
				r.pass(40 * time.Second)
				p.SendRaw(c.raw...)
				o.want(upstream.EventDown, "closed")
				p.WantEOF("by both")
				r.pass(5 * time.Second)
				if upstream.Parked(o.Link) != c.parks {
					t.Errorf("parked %v", upstream.Parked(o.Link))
				}
				if n := r.d.Stats().ProtocolErrors.Load(); n != 0 {
					t.Errorf("%d protocol errors", n)
				}
				if !c.parks {
					o.accept(true)
					o.want(upstream.EventUp, "tried again")
				}
			})
		})
	}
}

func TestMisbehaviourInsteadOfConnackIsARefusal(t *testing.T) {
	cases := map[string][]byte{
		"CONNACK too short": {0x20, 1, 0},
		"CONNACK of 256 MB": {0x20, 0xff, 0xff, 0xff, 0x7f},
		"PINGRESP first":    {0xd0, 0},
		"PUBLISH first":     {0x30, 3, 0, 1, 't'},
		"DISCONNECT first":  {0xe0, 1, 0x87},
		"HTTP":              []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o := r.link()
				o.Connect(r.now(), persistent)
				r.runUntilIdle()
				p := r.lis.Accept(t)
				p.Read()
				p.SendRaw(raw...)
				if e := o.want(upstream.EventRefused, name); e.Refusal.Kind != upstream.NotRefused || e.Err == nil {
					t.Errorf("got %+v", e)
				}
				wantIdle(t, r)
			})
		})
	}
}

func TestConnectionClosedBeforeConnackIsARefusal(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Connect(r.now(), persistent)
		r.runUntilIdle()
		p := r.lis.Accept(t)
		p.Read()
		p.Conn.Close()
		o.want(upstream.EventRefused, "closed")
		o.wantQuiet("once")
	})
}

// Whatever the cuts of TCP, the packets are the same.
func TestPacketsMayArriveByteByByte(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		stream := bytes.Join([][]byte{
			{0x32, 9, 0, 3, 'a', '/', 'b', 0, 7, 'h', 'i'},
			{0xd0, 0},
			{0x30, 4, 0, 1, 't', 'x'},
		}, nil)
		o.Ping(r.now(), 4)
		r.runUntilIdle()
		for _, b := range stream {
			p.SendRaw(b)
			r.runUntilIdle()
		}
		o.wantMessage("hi", "first")
		o.want(upstream.EventPong, "second")
		o.wantMessage("x", "third")
	})
}

func TestTopicLongerThanTheReadBuffer(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		topic := string(bytes.Repeat([]byte("abc/"), 16_000))
		p.Publish(topic, "x", 1, 3, false)
		if e := o.wantMessage("x", "long topic"); e.Topic != topic {
			t.Error("the topic has changed")
		}
	})
}
