package upstream_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sngate/upstream"
)

// hostile are things a broker may not send on an open connection.
var hostile = map[string][]byte{
	"type 0":                       {0x00, 0x00},
	"type 15":                      {0xf0, 0x00},
	"CONNECT":                      {0x10, 0x00},
	"SUBSCRIBE":                    {0x82, 0x05, 0, 1, 0, 0, 0},
	"UNSUBSCRIBE":                  {0xa2, 0x02, 0, 1},
	"PINGREQ":                      {0xc0, 0x00},
	"DISCONNECT":                   {0xe0, 0x00},
	"a second CONNACK":             {0x20, 0x02, 0, 0},
	"PUBACK with flags":            {0x41, 0x02, 0, 1},
	"PUBREL without its flags":     {0x60, 0x02, 0, 1},
	"PINGRESP with flags":          {0xd1, 0x00},
	"PINGRESP with a body":         {0xd0, 0x01, 0},
	"PUBACK of one byte":           {0x40, 0x01, 0},
	"PUBACK of three bytes":        {0x40, 0x03, 0, 1, 0},
	"PUBACK of 256 MB":             {0x40, 0xff, 0xff, 0xff, 0x7f},
	"SUBACK of 256 MB":             {0x90, 0xff, 0xff, 0xff, 0x7f},
	"SUBACK with two codes":        {0x90, 0x04, 0, 1, 0, 0},
	"SUBACK with no code":          {0x90, 0x02, 0, 1},
	"SUBACK with code 3":           {0x90, 0x03, 0, 1, 3},
	"a length of five bytes":       {0x30, 0xff, 0xff, 0xff, 0xff, 0x01},
	"PUBLISH with QoS 3":           {0x36, 0x05, 0, 1, 't', 0, 1},
	"PUBLISH without a topic":      {0x30, 0x01, 0},
	"PUBLISH shorter than topic":   {0x30, 0x04, 0, 9, 't', 't'},
	"PUBLISH with an empty topic":  {0x30, 0x02, 0, 0},
	"PUBLISH without identifier":   {0x32, 0x03, 0, 1, 't'},
	"PUBLISH with identifier 0":    {0x32, 0x05, 0, 1, 't', 0, 0},
	"PUBLISH to a wildcard":        {0x30, 0x03, 0, 1, '#'},
	"PUBLISH to invalid UTF-8":     {0x30, 0x03, 0, 1, 0xff},
	"PUBLISH to a topic with NUL":  {0x30, 0x03, 0, 1, 0},
	"UNSUBACK with a reserved bit": {0xb8, 0x02, 0, 1},
}

func TestMisbehavingBrokerCostsThatConnectionOnly(t *testing.T) {
	for name, raw := range hostile {
		t.Run(name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				other, otherPeer := r.up(&upstream.Connect{ClientID: "other"}, false)
				o, p := r.up(persistent, false)
				p.SendRaw(raw...)
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

func TestMisbehaviourInsteadOfConnackIsARefusal(t *testing.T) {
	cases := map[string][]byte{
		"CONNACK with reserved flags": {0x20, 2, 2, 0},
		"CONNACK with header flags":   {0x21, 2, 0, 0},
		"CONNACK too long":            {0x20, 3, 0, 0, 0},
		"CONNACK of 256 MB":           {0x20, 0xff, 0xff, 0xff, 0x7f},
		"PINGRESP first":              {0xd0, 0},
		"PUBLISH first":               {0x30, 3, 0, 1, 't'},
		"HTTP":                        []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o := r.link()
				o.Connect(r.now(), persistent)
				r.settle()
				p := r.lis.Accept(t)
				p.Read()
				p.SendRaw(raw...)
				if e := o.want(upstream.EventRefused, name); e.Code != 0 || e.Err == nil {
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
		r.settle()
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
		r.settle()
		for _, b := range stream {
			p.SendRaw(b)
			r.settle()
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
