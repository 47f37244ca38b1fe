package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"

	"sngate/snpacket/sn12"
)

// testGateway answers one client at a time over UDP, as much of a gateway as pub and
// sub need. It records what it was asked.
type testGateway struct {
	conn *net.UDPConn
	// deliver is sent after the last SUBACK of a subscription to "end", or at a
	// PINGREQ with client id.
	deliver []sn12.Publish
	// refuse is the code of the SUBACKs.
	refuse sn12.ReturnCode
	// hangUp answers that many PUBLISHes and PINGREQs with DISCONNECT.
	hangUp int

	mu  sync.Mutex
	log []string
}

func startGateway(t *testing.T, g *testGateway) *testGateway {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	g.conn = conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m, err := sn12.Parse(buf[:n])
			if err != nil {
				g.note("malformed % x", buf[:n])
				continue
			}
			for _, answer := range g.handle(m) {
				b, err := answer.Append(nil)
				if err == nil {
					_, err = conn.WriteToUDPAddrPort(b, from)
				}
				if err != nil {
					g.note("cannot answer: %v", err)
				}
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return g
}

// args are the options that lead to the gateway.
func (g *testGateway) args(args ...string) []string {
	addr := g.conn.LocalAddr().(*net.UDPAddr)
	return append(args, "-h", "127.0.0.1", "-p", strconv.Itoa(addr.Port))
}

func (g *testGateway) note(format string, args ...any) {
	g.mu.Lock()
	g.log = append(g.log, fmt.Sprintf(format, args...))
	g.mu.Unlock()
}

func (g *testGateway) notes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.log)
}

func (g *testGateway) handle(m sn12.Message) []sn12.Message {
	switch m := m.(type) {
	case sn12.Connect:
		g.note("CONNECT clean=%v will=%v keepalive=%d", m.CleanSession, m.Will, m.Duration)
		if m.Will {
			return []sn12.Message{sn12.WillTopicReq{}}
		}
		return []sn12.Message{sn12.ConnAck{}}
	case sn12.WillTopic:
		g.note("WILLTOPIC %s qos=%d retain=%v", m.Topic, m.QoS, m.Retain)
		return []sn12.Message{sn12.WillMsgReq{}}
	case sn12.WillMsg:
		g.note("WILLMSG %s", m.Message)
		return []sn12.Message{sn12.ConnAck{}}
	case sn12.Register:
		g.note("REGISTER %s", m.TopicName)
		return []sn12.Message{sn12.RegAck{TopicID: 1, MsgID: m.MsgID}}
	case sn12.Publish:
		return g.publish(m)
	case sn12.PubRel:
		return []sn12.Message{sn12.PubComp{MsgID: m.MsgID}}
	case sn12.Subscribe:
		g.note("SUBSCRIBE %s qos=%d type=%v id=%d", m.TopicName, m.QoS, m.TopicIDType, m.TopicID)
		answers := []sn12.Message{sn12.SubAck{QoS: m.QoS, TopicID: 7, MsgID: m.MsgID, ReturnCode: g.refuse}}
		if string(m.TopicName) == "end" {
			return append(answers, g.flush()...)
		}
		return answers
	case sn12.PubAck:
		g.note("PUBACK %d", m.MsgID)
	case sn12.PingReq:
		g.note("PINGREQ %s", m.ClientID)
		if g.hangUp > 0 {
			g.hangUp--
			return []sn12.Message{sn12.Disconnect{}}
		}
		return append(g.flush(), sn12.PingResp{})
	case sn12.Disconnect:
		g.note("DISCONNECT %d", m.Duration)
		return []sn12.Message{sn12.Disconnect{}}
	}
	return nil
}

func (g *testGateway) publish(m sn12.Publish) []sn12.Message {
	g.note("PUBLISH %s qos=%d retain=%v type=%v id=%d", m.Data, m.QoS, m.Retain, m.TopicIDType, m.TopicID)
	if g.hangUp > 0 {
		g.hangUp--
		return []sn12.Message{sn12.Disconnect{}}
	}
	switch m.QoS {
	case 1:
		return []sn12.Message{sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID}}
	case 2:
		return []sn12.Message{sn12.PubRec{MsgID: m.MsgID}}
	}
	return nil
}

func (g *testGateway) flush() []sn12.Message {
	var list []sn12.Message
	for _, p := range g.deliver {
		list = append(list, p)
	}
	g.deliver = nil
	return list
}
