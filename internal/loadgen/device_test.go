package loadgen

import (
	"bytes"
	"testing"

	"sngate/snpacket/sn12"
)

func TestRepeatsSayThatTheyAre(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 300) // of the long form of the Length field
	for _, tt := range []struct{ first, repeat sn12.Message }{
		{sn12.Publish{QoS: 1, TopicID: 7, MsgID: 8, Data: []byte("data")}, sn12.Publish{DUP: true, QoS: 1, TopicID: 7, MsgID: 8, Data: []byte("data")}},
		{sn12.Publish{QoS: 2, TopicID: 7, MsgID: 8, Data: long}, sn12.Publish{DUP: true, QoS: 2, TopicID: 7, MsgID: 8, Data: long}},
		{sn12.Subscribe{QoS: 1, MsgID: 3, TopicName: []byte("a/b")}, sn12.Subscribe{DUP: true, QoS: 1, MsgID: 3, TopicName: []byte("a/b")}},
		{sn12.PubRel{MsgID: 8}, sn12.PubRel{MsgID: 8}},
		{sn12.Connect{ProtocolID: 1, ClientID: []byte("x")}, sn12.Connect{ProtocolID: 1, ClientID: []byte("x")}},
	} {
		first, err1 := tt.first.Append(nil)
		want, err2 := tt.repeat.Append(nil)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		d := device{repeat: first}
		for range 2 {
			if d.markRepeated(); !bytes.Equal(d.repeat, want) {
				t.Errorf("%v is repeated as % x, want % x", tt.first.Type(), d.repeat, want)
			}
		}
	}
}

func TestMsgIDsAreNeverZero(t *testing.T) {
	d := device{msgID: 0xfffe}
	if a, b := d.nextID(), d.nextID(); a != 0xffff || b != 1 {
		t.Errorf("%#x, %#x", a, b)
	}
}
