package snclient

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket/sn12"
)

func predefined(qos uint8, msgID uint16, data string) sn12.Publish {
	return sn12.Publish{QoS: qos, TopicIDType: sn12.TopicIDPredefined, TopicID: 1, MsgID: msgID, Data: []byte(data)}
}

func TestReceiveQoS0And1(t *testing.T) {
	connected(t, Options{Predefined: map[uint16]string{1: "site/alarm"}}, func(g *gateway) {
		p := predefined(0, 0, "a")
		p.Retain = true
		g.send(p)
		want := Message{Topic: Topic{Type: sn12.TopicIDPredefined, Name: "site/alarm", ID: 1}, Payload: []byte("a"), Retain: true}
		if diff := cmp.Diff(want, g.message("QoS 0")); diff != "" {
			t.Error(diff)
		}
		g.send(predefined(1, 9, "b"))
		g.want("the acknowledgement", sn12.PubAck{TopicID: 1, MsgID: 9})
		if m := g.message("QoS 1"); string(m.Payload) != "b" || m.QoS != 1 || m.MsgID != 9 {
			t.Errorf("delivered %+v", m)
		}
	})
}

func TestPayloadDoesNotAliasTheReadBuffer(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.send(predefined(0, 0, "first"))
		m := g.message("first")
		g.send(predefined(0, 0, "other"))
		g.message("other")
		if string(m.Payload) != "first" {
			t.Errorf("the payload changed to %q", m.Payload)
		}
	})
}

func TestQoS2IsDeliveredOnce_Case90(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		p := predefined(2, 9, "x")
		g.send(p)
		g.want("the first half", sn12.PubRec{MsgID: 9})
		g.message("at PUBLISH")
		p.DUP = true
		g.send(p)
		g.want("PUBREC was lost", sn12.PubRec{MsgID: 9})
		g.send(sn12.PubRel{MsgID: 9})
		g.want("the second half", sn12.PubComp{MsgID: 9})
		g.send(sn12.PubRel{MsgID: 9})
		g.want("PUBCOMP was lost", sn12.PubComp{MsgID: 9})
		g.send(p)
		g.want("a copy the network delayed", sn12.PubRec{MsgID: 9})
		g.noMessage("copies")
		if s := g.c.Stats(); s.Messages != 1 || s.Duplicates != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestMsgIDsOfQoS2AreUsableAgain(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		for i := range uint16(recentIDs + 1) {
			g.send(predefined(2, i+1, "x"))
			g.want("PUBREC", sn12.PubRec{MsgID: i + 1})
			g.send(sn12.PubRel{MsgID: i + 1})
			g.want("PUBCOMP", sn12.PubComp{MsgID: i + 1})
			g.message("new")
		}
		g.send(predefined(2, 1, "x"))
		g.want("PUBREC", sn12.PubRec{MsgID: 1})
		g.message("long enough ago")
		g.send(predefined(2, recentIDs, "y"))
		g.want("PUBREC", sn12.PubRec{MsgID: recentIDs})
		g.message("another message")
	})
}

func TestQoS2StateSurvivesReconnectUnlessClean(t *testing.T) {
	for _, clean := range []bool{false, true} {
		connected(t, Options{CleanSession: clean}, func(g *gateway) {
			for _, id := range []uint16{8, 9} {
				g.send(predefined(2, id, "x"))
				g.want("PUBREC", sn12.PubRec{MsgID: id})
				g.message("new")
			}
			g.send(sn12.PubRel{MsgID: 8})
			g.want("PUBCOMP", sn12.PubComp{MsgID: 8})
			g.connect()
			g.send(predefined(2, 8, "x"))
			g.want("PUBREC", sn12.PubRec{MsgID: 8})
			g.message("the exchange was over: MsgId 8 is a new message")
			g.send(predefined(2, 9, "x"))
			g.want("PUBREC", sn12.PubRec{MsgID: 9})
			if clean {
				g.message("a clean session knows no MsgId 9")
			} else {
				g.noMessage("the exchange goes on")
			}
		})
	}
}

func TestWhatIsNotTakenIsNotAcknowledged(t *testing.T) {
	connected(t, Options{Buffer: 1}, func(g *gateway) {
		g.send(predefined(1, 1, "a"))
		g.want("taken", sn12.PubAck{TopicID: 1, MsgID: 1})
		g.send(predefined(0, 0, "b"))
		g.send(predefined(1, 2, "c"))
		g.send(predefined(2, 3, "d"))
		g.quiet("the channel is full", time.Second)
		if s := g.c.Stats(); s.Dropped != 1 || s.NotTaken != 2 || s.Messages != 1 {
			t.Errorf("%+v", s)
		}
		g.message("room is made")
		g.send(predefined(2, 3, "d"))
		g.want("now", sn12.PubRec{MsgID: 3})
		if m := g.message("now"); string(m.Payload) != "d" {
			t.Errorf("delivered %+v", m)
		}
	})
}

func TestOpenQoS2IDsAreBounded(t *testing.T) {
	connected(t, Options{Handler: func(Message) bool { return true }}, func(g *gateway) {
		for i := range uint16(maxOpenIDs) {
			g.send(predefined(2, i+1, ""))
			g.want("PUBREC", sn12.PubRec{MsgID: i + 1})
		}
		g.send(predefined(2, maxOpenIDs+1, ""))
		g.quiet("no PUBREL ever came: not taken", time.Second)
		g.send(predefined(2, 5, ""))
		g.want("a known one is answered", sn12.PubRec{MsgID: 5})
	})
}

func TestRegisterFromTheGateway(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.send(sn12.Register{TopicID: 0, MsgID: 1, TopicName: []byte("x")})
		g.want("reserved", sn12.RegAck{MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		g.send(sn12.Register{TopicID: 0xFFFF, MsgID: 2, TopicName: []byte("x")})
		g.want("reserved", sn12.RegAck{TopicID: 0xFFFF, MsgID: 2, ReturnCode: sn12.RejectedInvalidTopicID})
		g.send(sn12.Register{TopicID: 7, MsgID: 3})
		g.want("no name", sn12.RegAck{TopicID: 7, MsgID: 3, ReturnCode: sn12.RejectedNotSupported})
		g.send(sn12.Register{TopicID: 7, MsgID: 4, TopicName: []byte("old")})
		g.want("taken", sn12.RegAck{TopicID: 7, MsgID: 4})
		g.send(sn12.Register{TopicID: 7, MsgID: 5, TopicName: []byte("new")})
		g.want("replaced", sn12.RegAck{TopicID: 7, MsgID: 5})
		g.send(sn12.Publish{TopicID: 7})
		if m := g.message("by the new name"); m.Topic.Name != "new" {
			t.Errorf("delivered %+v", m)
		}
		done := g.publish(Name("new"), "x", 0)
		g.want("the id serves both ways", sn12.Publish{TopicID: 7, Data: []byte("x")})
		done.want("Publish", nil)
	})
}

func TestUnknownTopicIDIsRefusedAtEveryQoS(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		for qos := range uint8(3) {
			g.send(sn12.Publish{QoS: qos, TopicID: 5, MsgID: uint16(qos)})
			g.want("refused", sn12.PubAck{TopicID: 5, MsgID: uint16(qos), ReturnCode: sn12.RejectedInvalidTopicID})
		}
		g.send(sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 0})
		g.want("reserved id", sn12.PubAck{ReturnCode: sn12.RejectedInvalidTopicID})
	})
}

func TestTopicIDsAfterReconnect(t *testing.T) {
	for _, clean := range []bool{false, true} {
		connected(t, Options{CleanSession: clean}, func(g *gateway) {
			g.send(sn12.Register{TopicID: 7, MsgID: 1, TopicName: []byte("n")})
			g.want("REGACK", sn12.RegAck{TopicID: 7, MsgID: 1})
			g.connect()
			g.send(sn12.Publish{TopicID: 7})
			if clean {
				g.want("a clean session knows no ids", sn12.PubAck{TopicID: 7, ReturnCode: sn12.RejectedInvalidTopicID})
			} else {
				g.message("a gateway that kept the id is understood")
			}
			done := g.publish(Name("n"), "x", 0)
			g.register("n", 1, 9)
			g.want("never an old id on the way out", sn12.Publish{TopicID: 9, Data: []byte("x")})
			done.want("Publish", nil)
		})
	}
}

func TestResumedSessionIsServedBeforeConnAck(t *testing.T) {
	for _, clean := range []bool{false, true} {
		script(t, Options{CleanSession: clean}, func(g *gateway) {
			done := g.call(g.c.Connect)
			g.receive("CONNECT", time.Second)
			g.send(predefined(1, 1, "x"))
			if clean {
				g.quiet("what comes early belongs to an older session", time.Second)
			} else {
				g.want("CONNACK was overtaken", sn12.PubAck{TopicID: 1, MsgID: 1})
			}
			g.send(sn12.ConnAck{})
			done.want("Connect", nil)
		})
	}
}

func TestMessagesOnlyClientsSendAreCounted(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.send(sn12.Connect{ClientID: []byte("x")})
		g.send(sn12.Subscribe{TopicName: []byte("x")})
		g.send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162})
		g.sendBytes([]byte{0x01, 0x00})
		g.sendBytes([]byte{0x03, 0x16})
		g.quiet("no answer", time.Minute)
		if s := g.c.Stats(); s.Malformed != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDatagramLargerThanMaxPacketSizeIsDropped(t *testing.T) {
	connected(t, Options{MaxPacketSize: 20}, func(g *gateway) {
		g.send(predefined(0, 0, "0123456789abc"))
		g.message("20 octets")
		g.send(predefined(0, 0, "0123456789abcd"))
		g.noMessage("21 octets")
		if s := g.c.Stats(); s.Malformed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// sink is a transport that takes everything.
type sink struct{ Conn }

func (sink) Write(b []byte) (int, error) { return len(b), nil }

// FuzzReceive feeds a client two datagrams in every state. Nothing may panic, every
// datagram is accounted for, and without an open request the state can only fall to
// Disconnected.
func FuzzReceive(f *testing.F) {
	for _, m := range []sn12.Message{
		sn12.ConnAck{}, sn12.WillTopicReq{}, sn12.WillMsgReq{}, sn12.RegAck{TopicID: 1, MsgID: 1},
		sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("n")}, predefined(2, 1, "x"),
		sn12.PubAck{MsgID: 1}, sn12.PubRec{MsgID: 1}, sn12.PubRel{MsgID: 1}, sn12.PubComp{MsgID: 1},
		sn12.SubAck{MsgID: 1}, sn12.PingReq{}, sn12.PingResp{}, sn12.Disconnect{}, sn12.GWInfo{},
	} {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(Active), b, b)
		f.Add(uint8(Connecting), b, []byte{0x02, 0x17})
	}
	f.Fuzz(func(t *testing.T, state uint8, a, b []byte) {
		c, err := newClient(sink{}, Options{ClientID: "x", Buffer: 1, MaxPacketSize: 1024})
		if err != nil {
			t.Fatal(err)
		}
		before := State(state % 5)
		c.state = before
		c.receive(a)
		c.receive(b)
		if s := c.Stats(); s.Received != 2 || s.Sent > 2 || s.Malformed+s.Unexpected+s.Messages+s.NotTaken+s.Dropped > 2 {
			t.Errorf("%+v", s)
		}
		if after := c.State(); after != before && after != Disconnected {
			t.Errorf("state %v became %v", before, after)
		}
	})
}

func TestHandlerTakesTheMessages(t *testing.T) {
	var got []string
	take := true
	connected(t, Options{Handler: func(m Message) bool {
		got = append(got, string(m.Payload))
		return take
	}}, func(g *gateway) {
		g.send(predefined(1, 1, "a"))
		g.want("taken", sn12.PubAck{TopicID: 1, MsgID: 1})
		take = false
		g.send(predefined(1, 2, "b"))
		g.quiet("not taken", time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatWasTakenIsAcknowledgedBeforeDisconnect(t *testing.T) {
	var release chan struct{}
	connected(t, Options{Handler: func(Message) bool { <-release; return true }}, func(g *gateway) {
		release = make(chan struct{})
		g.send(predefined(1, 1, "x"))
		synctest.Wait()
		done := g.call(g.c.Disconnect)
		g.quiet("the handler is still at it", time.Second)
		close(release)
		g.want("first", sn12.PubAck{TopicID: 1, MsgID: 1})
		g.want("then", sn12.Disconnect{})
		g.send(sn12.Disconnect{})
		done.want("Disconnect", nil)
	})
}

func TestContextEndsAWait(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		ctx, cancel := context.WithCancel(g.t.Context())
		done := g.call(func(context.Context) error { return g.c.Ping(ctx) })
		g.receive("PINGREQ", time.Second)
		cancel()
		if err := done.get("Ping"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		g.wantState("a context is no loss", Active)
	})
}
