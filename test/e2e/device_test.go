package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
)

// node is a device on the level of single datagrams.
type node struct {
	t    testing.TB
	conn net.Conn
	buf  []byte
}

func newNode(t testing.TB, addr string) *node {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &node{t: t, conn: conn, buf: make([]byte, 65536)}
}

func (n *node) send(m sn12.Message) {
	n.t.Helper()
	b, err := m.Append(nil)
	if err == nil {
		_, err = n.conn.Write(b)
	}
	if err != nil {
		n.t.Fatalf("send %v: %v", m.Type(), err)
	}
}

// read returns the next message, nil if none comes within limit.
func (n *node) read(limit time.Duration) sn12.Message {
	n.t.Helper()
	if err := n.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		n.t.Fatal(err)
	}
	size, err := n.conn.Read(n.buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	var m sn12.Message
	if err == nil {
		m, err = sn12.Parse(append([]byte(nil), n.buf[:size]...))
	}
	if err != nil {
		n.t.Fatalf("receive: %v", err)
	}
	return m
}

// next returns the next message, which has to come.
func (n *node) next() sn12.Message {
	n.t.Helper()
	m := n.read(patience)
	if m == nil {
		n.t.Fatalf("no message within %v", patience)
	}
	return m
}

// want returns the next message, which has to be an M.
func want[M sn12.Message](n *node) M {
	n.t.Helper()
	m := n.next()
	got, ok := m.(M)
	if !ok {
		var wanted M
		n.t.Fatalf("received %v %+v, want %v", m.Type(), m, wanted.Type())
	}
	return got
}

// wantSilence checks that nothing has arrived by now. Whoever calls it has seen by
// other means that what could have been sent would be here.
func (n *node) wantSilence(why string) {
	n.t.Helper()
	if m := n.read(50 * time.Millisecond); m != nil {
		n.t.Fatalf("received %v %+v, want silence: %s", m.Type(), m, why)
	}
}

func (n *node) connect(m sn12.Connect) sn12.ReturnCode {
	n.t.Helper()
	m.ProtocolID = sn12.ProtocolID
	n.send(m)
	return want[sn12.ConnAck](n).ReturnCode
}

func (n *node) mustConnect(id string, clean bool, keepAlive uint16) {
	n.t.Helper()
	if code := n.connect(sn12.Connect{ClientID: []byte(id), CleanSession: clean, Duration: keepAlive}); code != sn12.Accepted {
		n.t.Fatalf("CONNECT of %q is answered by %v", id, code)
	}
}

func (n *node) register(name string) uint16 {
	n.t.Helper()
	n.send(sn12.Register{MsgID: 1, TopicName: []byte(name)})
	ack := want[sn12.RegAck](n)
	if ack.ReturnCode != sn12.Accepted {
		n.t.Fatalf("REGISTER of %q is answered by %v", name, ack.ReturnCode)
	}
	return ack.TopicID
}

func (n *node) subscribe(filter string, qos uint8) sn12.SubAck {
	n.t.Helper()
	n.send(sn12.Subscribe{QoS: qos, MsgID: 2, TopicName: []byte(filter)})
	ack := want[sn12.SubAck](n)
	if ack.ReturnCode != sn12.Accepted || ack.QoS != qos {
		n.t.Fatalf("SUBSCRIBE to %q with QoS %d is answered by %+v", filter, qos, ack)
	}
	return ack
}

func (n *node) sleep(seconds uint16) {
	n.t.Helper()
	n.send(sn12.Disconnect{HasDuration: true, Duration: seconds})
	want[sn12.Disconnect](n)
}

// ping shows that the gateway is there and has handled everything sent before.
func (n *node) ping() {
	n.t.Helper()
	n.send(sn12.PingReq{})
	want[sn12.PingResp](n)
}

// wake asks for the held messages, takes part in every exchange, and returns the
// messages up to PINGRESP. names are the topic ids the device knows.
func (n *node) wake(id string, names map[uint16]string) []sn12.Publish {
	n.t.Helper()
	n.send(sn12.PingReq{ClientID: []byte(id)})
	var list []sn12.Publish
	for {
		switch m := n.next().(type) {
		case sn12.PingResp:
			return list
		case sn12.Register:
			names[m.TopicID] = string(m.TopicName)
			n.send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
		case sn12.Publish:
			list = append(list, m)
			n.acknowledge(m)
		default:
			n.t.Fatalf("received %v %+v while awake", m.Type(), m)
		}
	}
}

// acknowledge does the device's part of the exchange that m begins.
func (n *node) acknowledge(m sn12.Publish) {
	n.t.Helper()
	switch m.QoS {
	case 1:
		n.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case 2:
		n.send(sn12.PubRec{MsgID: m.MsgID})
		if rel := want[sn12.PubRel](n); rel.MsgID != m.MsgID {
			n.t.Fatalf("PUBREL for message %d, want %d", rel.MsgID, m.MsgID)
		}
		n.send(sn12.PubComp{MsgID: m.MsgID})
	}
}

// device is a device with the client library, connected.
type device struct {
	*snclient.Client
	t   testing.TB
	ctx context.Context
}

// dial makes a device without connecting it.
func dial(t testing.TB, addr string, o snclient.Options) *device {
	t.Helper()
	c, err := snclient.Dial(t.Context(), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &device{Client: c, t: t, ctx: t.Context()}
}

func connect(t testing.TB, addr string, o snclient.Options) *device {
	t.Helper()
	d := dial(t, addr, o)
	d.must(d.Connect(d.ctx))
	return d
}

func (d *device) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) subscribe(topic snclient.Topic, qos uint8) {
	d.t.Helper()
	granted, err := d.Subscribe(d.ctx, topic, qos)
	d.must(err)
	if granted != qos {
		d.t.Fatalf("SUBSCRIBE to %v with QoS %d is granted QoS %d", topic, qos, granted)
	}
}

func (d *device) publish(topic snclient.Topic, payload []byte, qos uint8, retain bool) {
	d.t.Helper()
	d.must(d.Publish(d.ctx, topic, payload, qos, retain))
}

func (d *device) receive() snclient.Message {
	d.t.Helper()
	select {
	case m := <-d.Messages():
		return m
	case <-time.After(patience):
		d.t.Fatalf("no message within %v; %+v", patience, d.Stats())
		return snclient.Message{}
	}
}

// wantLost waits for the gateway's DISCONNECT.
func (d *device) wantLost() {
	d.t.Helper()
	select {
	case err := <-d.Lost():
		if !errors.Is(err, snclient.ErrDisconnected) {
			d.t.Fatalf("the device is lost by %v, want a DISCONNECT", err)
		}
	case <-time.After(patience):
		d.t.Fatalf("no DISCONNECT within %v", patience)
	}
}
