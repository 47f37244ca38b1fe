package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

// Devices as common clients make them.

func TestBurstOfSubscribesAtTheStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := testgateway.NewNode(t, b.Addr)
	n.MustConnect("burst", true, 60)
	for id := range uint16(8) {
		n.Send(sn12.Subscribe{QoS: 1, MsgID: id + 1, TopicName: fmt.Appendf(nil, "burst/%d", id)})
	}
	for range 8 {
		if ack := testgateway.Want[sn12.SubAck](n); ack.ReturnCode != sn12.Accepted || ack.TopicID == 0 {
			t.Fatalf("%+v", ack)
		}
	}
	for id := range uint16(8) {
		n.Send(sn12.Unsubscribe{MsgID: id + 11, TopicName: fmt.Appendf(nil, "burst/%d", id)})
	}
	for range 8 {
		testgateway.Want[sn12.UnsubAck](n)
	}
}

func TestDeviceWithoutRegisterAndWithoutClientID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mosquittoPub("-t", "cfg/mode", "-m", "on", "-q", "1", "-r")
	n := testgateway.NewNode(t, b.Addr)
	if _, err := n.Conn.Write([]byte{6, 4, 4, 1, 0, 60}); err != nil {
		t.Fatal(err)
	}
	if ack := testgateway.Want[sn12.ConnAck](n); ack.ReturnCode != sn12.Accepted {
		t.Fatalf("%+v", ack)
	}
	n.Send(sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: []byte("cfg/mode")})
	id := testgateway.Want[sn12.SubAck](n).TopicID
	p := testgateway.Want[sn12.Publish](n)
	if p.TopicID != id || string(p.Data) != "on" || !p.Retain {
		t.Fatalf("%+v, with topic id %d in the SUBACK", p, id)
	}
	n.Send(sn12.PubAck{TopicID: id, MsgID: p.MsgID})
	n.Send(sn12.Subscribe{QoS: 1, MsgID: 2, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ec")})
	if ack := testgateway.Want[sn12.SubAck](n); ack.TopicID != sn12.ShortID("ec") {
		t.Fatalf("%+v", ack)
	}
}

func TestGoodbyeAndReturnFromAnotherPortAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := testgateway.NewNode(t, b.Addr)
	n.MustConnect("hasty", false, 60)
	for range 15 {
		n.Send(sn12.Disconnect{})
		n = testgateway.NewNode(t, b.Addr)
		n.Send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("hasty")})
		n.Send(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/b")})
		if ack := testgateway.Want[sn12.ConnAck](n); ack.ReturnCode != sn12.Accepted {
			t.Fatalf("%+v", ack)
		}
		if m := n.Read(20 * time.Millisecond); m != nil && m.Type() != sn12.TypeSubAck {
			t.Fatalf("%v %+v", m.Type(), m)
		}
	}
}

func TestManyRetainedMessagesForADeviceThatAnswers(t *testing.T) {
	t.Parallel()
	const count = 900 // session.max_topics
	b := newBench(t)
	_, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	from := connect(t, "127.0.0.1:"+port, snclient.Options{ClientID: "source", KeepAlive: time.Minute})
	for i := range count {
		from.publish(snclient.Name(fmt.Sprintf("many/%d", i)), []byte{byte(i)}, 1, true)
	}
	n := testgateway.NewNode(t, b.Addr)
	n.MustConnect("sink", true, 60)
	n.Send(sn12.Subscribe{MsgID: 1, TopicName: []byte("many/#")})
	testgateway.Want[sn12.SubAck](n)
	for got := 0; got < count; {
		switch m := n.Next().(type) {
		case sn12.Register:
			time.Sleep(4 * time.Millisecond)
			n.Send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
		case sn12.Publish:
			got++
		default:
			t.Fatalf("%v %+v", m.Type(), m)
		}
	}
}
