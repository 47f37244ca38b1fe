package testgateway

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// Node is a device on the level of single datagrams.
type Node struct {
	T    testing.TB
	Conn net.Conn
	Buf  []byte
}

func NewNode(t testing.TB, addr string) *Node {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Node{T: t, Conn: conn, Buf: make([]byte, 65536)}
}

func (n *Node) Send(m sn12.Message) {
	n.T.Helper()
	b, err := m.Append(nil)
	if err == nil {
		_, err = n.Conn.Write(b)
	}
	if err != nil {
		n.T.Fatalf("send %v: %v", m.Type(), err)
	}
}

// Read returns the next message, nil if none comes within limit.
func (n *Node) Read(limit time.Duration) sn12.Message {
	n.T.Helper()
	if err := n.Conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		n.T.Fatal(err)
	}
	size, err := n.Conn.Read(n.Buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	var m sn12.Message
	if err == nil {
		m, err = sn12.Parse(append([]byte(nil), n.Buf[:size]...))
	}
	if err != nil {
		n.T.Fatalf("receive: %v", err)
	}
	return m
}

// Next returns the next message, which has to come.
func (n *Node) Next() sn12.Message {
	n.T.Helper()
	m := n.Read(Patience)
	if m == nil {
		n.T.Fatalf("no message within %v", Patience)
	}
	return m
}

// Want returns the next message, which has to be an M.
func Want[M sn12.Message](n *Node) M {
	n.T.Helper()
	m := n.Next()
	got, ok := m.(M)
	if !ok {
		var wanted M
		n.T.Fatalf("received %v %+v, want %v", m.Type(), m, wanted.Type())
	}
	return got
}

// WantSilence checks that nothing has arrived by now. Whoever calls it has seen by
// other means that what could have been sent would be here.
func (n *Node) WantSilence(why string) {
	n.T.Helper()
	if m := n.Read(50 * time.Millisecond); m != nil {
		n.T.Fatalf("received %v %+v, want silence: %s", m.Type(), m, why)
	}
}

func (n *Node) Connect(m sn12.Connect) sn12.ReturnCode {
	n.T.Helper()
	m.ProtocolID = sn12.ProtocolID
	n.Send(m)
	return Want[sn12.ConnAck](n).ReturnCode
}

func (n *Node) MustConnect(id string, clean bool, keepAlive uint16) {
	n.T.Helper()
	if code := n.Connect(sn12.Connect{ClientID: []byte(id), CleanSession: clean, Duration: keepAlive}); code != sn12.Accepted {
		n.T.Fatalf("CONNECT of %q is answered by %v", id, code)
	}
}

func (n *Node) Register(name string) uint16 {
	n.T.Helper()
	n.Send(sn12.Register{MsgID: 1, TopicName: []byte(name)})
	ack := Want[sn12.RegAck](n)
	if ack.ReturnCode != sn12.Accepted {
		n.T.Fatalf("REGISTER of %q is answered by %v", name, ack.ReturnCode)
	}
	return ack.TopicID
}

func (n *Node) Subscribe(filter string, qos uint8) sn12.SubAck {
	n.T.Helper()
	n.Send(sn12.Subscribe{QoS: qos, MsgID: 2, TopicName: []byte(filter)})
	ack := Want[sn12.SubAck](n)
	if ack.ReturnCode != sn12.Accepted || ack.QoS != qos {
		n.T.Fatalf("SUBSCRIBE to %q with QoS %d is answered by %+v", filter, qos, ack)
	}
	return ack
}

func (n *Node) Sleep(seconds uint16) {
	n.T.Helper()
	n.Send(sn12.Disconnect{HasDuration: true, Duration: seconds})
	Want[sn12.Disconnect](n)
}

// Ping shows that the gateway is there and has handled everything sent before.
func (n *Node) Ping() {
	n.T.Helper()
	n.Send(sn12.PingReq{})
	Want[sn12.PingResp](n)
}

// Wake asks for the held messages, takes part in every exchange, and returns the
// messages up to PINGRESP. names are the topic ids the device knows.
func (n *Node) Wake(id string, names map[uint16]string) []sn12.Publish {
	n.T.Helper()
	n.Send(sn12.PingReq{ClientID: []byte(id)})
	var list []sn12.Publish
	for {
		switch m := n.Next().(type) {
		case sn12.PingResp:
			return list
		case sn12.Register:
			names[m.TopicID] = string(m.TopicName)
			n.Send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
		case sn12.Publish:
			list = append(list, m)
			n.Acknowledge(m)
		default:
			n.T.Fatalf("received %v %+v while awake", m.Type(), m)
		}
	}
}

// Acknowledge does the device's part of the exchange that m begins.
func (n *Node) Acknowledge(m sn12.Publish) {
	n.T.Helper()
	switch m.QoS {
	case 1:
		n.Send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case 2:
		n.Send(sn12.PubRec{MsgID: m.MsgID})
		if rel := Want[sn12.PubRel](n); rel.MsgID != m.MsgID {
			n.T.Fatalf("PUBREL for message %d, want %d", rel.MsgID, m.MsgID)
		}
		n.Send(sn12.PubComp{MsgID: m.MsgID})
	}
}
