package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// silentNode connects and subscribes by sending what it has to, and answers nothing.
func silentNode(t *testing.T, addr, id, filter string, qos uint8) *testgateway.Node {
	t.Helper()
	n := testgateway.NewNode(t, addr)
	n.MustConnect(id, true, 65535)
	n.Subscribe(filter, qos)
	return n
}

// TestForgedSubscriberIsNotFlooded is the attack as the network sees it: a subscription
// in the name of an address that says nothing.
func TestForgedSubscriberIsNotFlooded(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"session.retry_interval": `"200ms"`})
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	for qos := range uint8(3) {
		filter := "busy/" + string('0'+rune(qos))
		victim := silentNode(t, g.Addr, "forged-"+string('0'+rune(qos)), filter, qos)
		for range 500 {
			publisher.Send(filter, []byte(strings.Repeat("x", 200)), 0, false)
		}
		got := 0
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			if m := victim.Read(100 * time.Millisecond); m != nil {
				got += m.Len()
			}
		}
		// CONNECT of 14 octets and SUBSCRIBE of 11, and the DISCONNECT of a loss.
		if limit := 3*(14+11) + 2 + 2; got > limit {
			t.Errorf("QoS %d: the silent address has been sent %d octets, want at most %d", qos, got, limit)
		}
	}
}

func TestListenerThatAnswersPingReqIsServed(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	n := silentNode(t, g.Addr, "listener", "stream", 0)
	for i := range 300 {
		publisher.Send("stream", []byte(strings.Repeat("x", 200)), 1, false)
		m := n.Next()
		for m.Type() == sn12.TypePingReq {
			n.Send(sn12.PingResp{})
			m = n.Next()
		}
		switch m := m.(type) {
		case sn12.Register:
			n.Send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
			n.Next()
		case sn12.Publish:
		default:
			t.Fatalf("message %d: %v", i, m.Type())
		}
	}
	g.WantCleanLog()
}

// TestICMPEndsDeliveriesToNobody: the kernel of the host where nobody listens says so.
// What is proven is not ended by it.
func TestICMPEndsDeliveriesToNobody(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{
		"listener": `[{address = "127.0.0.1:0"}, {address = "[::1]:0"}]`, "session.retry_interval": `"300ms"`, "session.retry_count": "20",
	})
	publisher := testgateway.ConnectMQTT(t, broker.Addr())
	for i, addr := range g.Addrs {
		n := silentNode(t, addr, "gone", "to/gone", 1)
		local := n.Conn.LocalAddr().String()
		before := g.Value(testgateway.DropsFor("unreachable"))
		if err := n.Conn.Close(); err != nil {
			t.Fatal(err)
		}
		publisher.Send("to/gone", []byte("x"), 1, false)
		testgateway.Eventually(t, "the ICMP message is taken", func() bool {
			return g.Value(testgateway.DropsFor("unreachable")) > before
		})
		sent := g.Value(`sngate_messages_total{direction="out",type="PUBLISH"}`)
		time.Sleep(time.Second)
		if now := g.Value(`sngate_messages_total{direction="out",type="PUBLISH"}`); now != sent {
			t.Errorf("listener %d: PUBLISH goes on: %v, then %v", i, sent, now)
		}
		n = rebind(t, addr, local)
		n.MustConnect("gone", true, 600) // lets go of the message
		if err := n.Conn.Close(); err != nil {
			t.Fatal(err)
		}

		proven := testgateway.NewNode(t, addr)
		proven.MustConnect("proven", true, 600)
		proven.Subscribe("to/proven", 1)
		publisher.Send("to/proven", []byte("1"), 1, false)
		proven.Acknowledge(testgateway.Want[sn12.Publish](proven))
		local = proven.Conn.LocalAddr().String()
		if err := proven.Conn.Close(); err != nil {
			t.Fatal(err)
		}
		publisher.Send("to/proven", []byte("2"), 1, false)
		time.Sleep(500 * time.Millisecond)
		proven = rebind(t, addr, local)
		if m := testgateway.Want[sn12.Publish](proven); string(m.Data) != "2" || !m.DUP {
			t.Errorf("listener %d: got %+v, want the message again", i, m)
		} else {
			proven.Acknowledge(m)
		}
		proven.Ping()
	}
	g.WantCleanLog()
}

// rebind is a node at an address where one has been before.
func rebind(t *testing.T, addr, local string) *testgateway.Node {
	t.Helper()
	from, err := net.ResolveUDPAddr("udp", local)
	if err != nil {
		t.Fatal(err)
	}
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &testgateway.Node{T: t, Conn: conn, Buf: make([]byte, 65536)}
}
