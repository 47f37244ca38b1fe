package session

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// unanswered expects all repetitions of a PUBLISH, of which the first has been expected, and
// their end.
func (r *rig) unanswered(p sn12.Publish, alive bool) {
	r.t.Helper()
	r.unansweredFor(p, r.s.cfg.RetryCount, alive)
	r.advance(r.s.cfg.RetryInterval)
}

// unansweredFor expects so many repetitions of a PUBLISH. A device that lives pings.
func (r *rig) unansweredFor(p sn12.Publish, repetitions int, alive bool) {
	r.t.Helper()
	for range repetitions {
		r.advance(r.s.cfg.RetryInterval)
		r.want("repeated", dup(p))
		if len(r.sent) > 0 {
			r.wantHex("is it there?", "02 16")
		}
		if alive {
			r.ping()
		}
	}
}

// A message that the device cannot take, and says nothing to, while it goes on with all else.
func TestUnansweredByADeviceThatLivesIsGivenUp(t *testing.T) {
	for qos := uint8(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, id := subscriber(t, nil, false, "a/b")
			big := string(bytes.Repeat([]byte{1}, 1000))
			r.event(fromBroker("a/b", big, qos, 1))
			p := pub(qos, id, 1, big)
			r.want("first", p)
			r.event(fromBroker("a/b", "small", qos, 2))
			r.unanswered(p, true)
			r.want("it lives: once more as often", dup(p))
			r.unanswered(p, true)
			r.wantDrop("and given up", ReasonUnanswered)
			r.wantLost("with its size and topic", fmt.Sprintf("unanswered a/b QoS %d, 1000 octets", qos))
			r.wantAck("or the broker would send it for ever", 1)
			r.want("the one behind it", pub(qos, id, 2, "small"))
			r.wantState("it was never thrown out", StateActive)
		})
	}
}

// All repetitions in two sessions, in which the device says other things.
func TestUnansweredInTwoSessionsIsGivenUp(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "big", 1, 1))
	r.want("first", pub(1, id, 1, "big"))
	r.unansweredFor(pub(1, id, 1, "big"), 3, true)
	r.send(sn12.Disconnect{})
	r.want("bye", sn12.Disconnect{})
	r.wantAction("bye", Action{Kind: ActionCloseClean})
	r.comeBack(false)
	again := fromBroker("a/b", "big", 1, 1)
	again.Dup, again.Handle = true, 2
	r.event(again)
	r.want("REGISTER", reg(id, 2, "a/b"))
	r.send(sn12.RegAck{TopicID: id, MsgID: 2})
	r.want("a second time", pub(1, id, 3, "big"))
	r.unanswered(pub(1, id, 3, "big"), true)
	r.wantDrop("not a third time", ReasonUnanswered)
	r.wantLost("said", "unanswered a/b QoS 1, 3 octets")
	r.wantAck("or the broker would send it for ever", 2)
	r.wantState("it goes on", StateActive)
	r.event(fromBroker("a/b", "next", 1, 2))
	r.want("the one behind it", pub(1, id, 4, "next"))
}

// A device that says nothing at all may not be there: its battery is empty, or it is out
// of reach. One that hangs with the message looks the same.
func TestUnansweredBySilentDevicesIsGivenUpMuchLater(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "big", 1, 1))
	p := pub(1, id, 1, "big")
	for n := uint16(1); ; n++ {
		r.want("PUBLISH", p)
		r.unanswered(p, false)
		r.want("it says nothing at all", sn12.Disconnect{})
		r.wantAction("lost", Action{Kind: ActionCloseAbort})
		r.event(Event{Kind: EventClosed})
		r.comeBack(false)
		again := fromBroker("a/b", "big", 1, 1)
		again.Dup, again.Handle = true, Handle(n+1)
		r.event(again)
		if n == minPatience {
			break
		}
		r.want("REGISTER", reg(id, 2*n, "a/b"))
		r.send(sn12.RegAck{TopicID: id, MsgID: 2 * n})
		p = pub(1, id, 2*n+1, "big")
	}
	r.wantDrop("but not for ever", ReasonUnanswered)
	r.wantAck("given up", minPatience+1)
	r.event(fromBroker("a/b", "next", 1, 2))
	r.want("the one behind it", reg(id, 2*minPatience, "a/b"))
}

// A device that begins anew whenever it gets the message, as one whose memory it exceeds.
func TestUnansweredByADeviceThatRestartsIsGivenUp(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "big", 1, 1))
	r.want("first", pub(1, id, 1, "big"))
	r.event(fromBroker("a/b", "next", 1, 2))
	for n := range uint16(minPatience) {
		r.advance(2 * time.Second)
		r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
		r.wantAction("the session goes on", Action{Kind: ActionSetWill})
		r.want("CONNACK", sn12.ConnAck{})
		if n == minPatience-1 {
			break
		}
		r.want("REGISTER", reg(id, n+2, "a/b"))
		r.send(sn12.RegAck{TopicID: id, MsgID: n + 2})
		r.want("again", dup(pub(1, id, 1, "big")))
	}
	r.wantDrop("not for ever", ReasonUnanswered)
	r.wantAck("given up", 1)
	r.want("next", reg(id, minPatience+1, "a/b"))
	r.send(sn12.RegAck{TopicID: id, MsgID: minPatience + 1})
	r.want("next", pub(1, id, minPatience+2, "next"))
}

func TestUnansweredInShortWakesIsGivenUp(t *testing.T) {
	for qos := uint8(1); qos <= 2; qos++ {
		r, id := sleeper(t, nil, false)
		r.event(fromBroker("a/b", "big", qos, 1))
		r.event(fromBroker("a/b", "next", 0, 0))
		for n := range 8 {
			r.wake()
			p := pub(qos, id, 1, "big")
			if n > 0 {
				p = dup(p)
			}
			r.want("once in each wake", p)
			r.advance(time.Second)
			r.sleep(60)
		}
		r.wake()
		r.wantDrop("as often as in two connections", ReasonUnanswered)
		r.wantAck("given up", 1)
		r.want("next", pub(0, id, 0, "next"))
		for range qos {
			r.pong("acknowledged")
		}
		r.want("last", sn12.PingResp{})
	}
}

func TestUnansweredInOneWakeEndsWithPingResp(t *testing.T) {
	r, id := sleeper(t, nil, false)
	r.event(fromBroker("a/b", "big", 1, 1))
	r.event(fromBroker("a/b", "next", 0, 0))
	r.wake()
	p := pub(1, id, 1, "big")
	r.want("first", p)
	for range 7 {
		r.advance(10 * time.Second)
		r.want("again", dup(p))
		r.sent = nil // PINGREQ
		r.wake()     // it waits for PINGRESP
		r.wantQuiet("not yet")
	}
	r.advance(10 * time.Second)
	r.wantDrop("given up", ReasonUnanswered)
	r.wantAck("given up", 1)
	r.want("next", pub(0, id, 0, "next"))
	r.pong("acknowledged")
	r.want("last", sn12.PingResp{})
}

func TestUnansweredPubRelOfADeviceThatLives(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("PUBLISH", pub(2, id, 1, "x"))
	r.event(fromBroker("a/b", "next", 1, 2))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	for n := range 4 {
		r.want("PUBREL", sn12.PubRel{MsgID: 1})
		r.ping()
		if n < 3 {
			r.advance(10 * time.Second)
		}
	}
	r.advance(10 * time.Second)
	r.wantDrop("it has the message", ReasonReleaseUnanswered)
	r.wantLost("nothing is lost")
	r.want("the one behind it", pub(1, id, 2, "next"))
	r.send(sn12.PubRec{MsgID: 1})
	r.want("it is released all the same, when it asks", sn12.PubRel{MsgID: 1})
}

func TestUnansweredPubRelIsGivenUpWhateverTheDeviceDoes(t *testing.T) {
	cfg := testConfig()
	cfg.RetryCount = 0
	r, id := subscriber(t, cfg, false, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("PUBLISH", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	for range minPatience {
		r.want("PUBREL", sn12.PubRel{MsgID: 1})
		r.advance(10 * time.Second)
		r.want("lost", sn12.Disconnect{})
		r.wantAction("lost", Action{Kind: ActionCloseAbort})
		r.event(Event{Kind: EventClosed})
		r.comeBack(false)
	}
	r.wantDrop("not for ever", ReasonReleaseUnanswered)
	r.event(fromBroker("a/b", "next", 1, 2))
	r.want("the one behind it", reg(id, 2, "a/b"))
}

// What a device may answer to a PUBLISH, and what comes of it.
func TestAnswersToAPublish(t *testing.T) {
	ack := func(topicID, msgID uint16, code sn12.ReturnCode) sn12.Message {
		return sn12.PubAck{TopicID: topicID, MsgID: msgID, ReturnCode: code}
	}
	const (
		waits   = iota // nothing has changed
		ended          // acknowledged to the broker, the next comes
		paused         // the device is left alone
		told           // by REGISTER
		release        // acknowledged to the broker, PUBREL
	)
	for _, tc := range []struct {
		name   string
		qos    uint8
		answer sn12.Message
		want   int
		drop   Reason
	}{
		{"PUBACK", 1, ack(1, 1, 0), ended, 0},
		{"PUBACK with another topic id", 1, ack(77, 1, 0), ended, 0},
		{"PUBACK without topic id", 1, ack(0, 1, 0), ended, 0},
		{"PUBACK with another MsgId", 1, ack(1, 2, 0), waits, ReasonUnexpectedMessage},
		{"PUBACK congestion", 1, ack(1, 1, 1), paused, 0},
		{"PUBACK congestion with another MsgId", 1, ack(1, 2, 1), waits, ReasonUnexpectedMessage},
		{"PUBACK invalid topic id", 1, ack(1, 1, 2), told, 0},
		{"PUBACK not supported", 1, ack(1, 1, 3), ended, ReasonClientRejected},
		{"PUBACK with a reserved code", 1, ack(1, 1, 0x44), ended, ReasonClientRejected},
		{"PUBACK to QoS 2", 2, ack(1, 1, 0), ended, 0},
		{"PUBACK congestion to QoS 2", 2, ack(1, 1, 1), paused, 0},
		{"PUBACK invalid topic id to QoS 2", 2, ack(1, 1, 2), told, 0},
		{"PUBACK not supported to QoS 2", 2, ack(1, 1, 3), ended, ReasonClientRejected},
		{"PUBREC", 2, sn12.PubRec{MsgID: 1}, release, 0},
		{"PUBREC to QoS 1", 1, sn12.PubRec{MsgID: 1}, release, 0},
		{"PUBCOMP", 1, sn12.PubComp{MsgID: 1}, waits, ReasonUnexpectedMessage},
		{"PUBCOMP to QoS 2", 2, sn12.PubComp{MsgID: 1}, waits, ReasonUnexpectedMessage},
		{"REGACK", 1, sn12.RegAck{TopicID: 1, MsgID: 1}, waits, ReasonUnexpectedMessage},
		{"PINGRESP", 1, sn12.PingResp{}, waits, 0},
	} {
		for _, asleep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/asleep=%v", tc.name, asleep), func(t *testing.T) {
				r, id := subscriber(t, nil, false, "a/b")
				if asleep {
					r.sleep(60)
				}
				r.event(fromBroker("a/b", "x", tc.qos, 1))
				if asleep {
					r.wake()
				}
				r.want("PUBLISH", pub(tc.qos, id, 1, "x"))
				r.event(fromBroker("a/b", "y", 0, 0))
				r.send(tc.answer)
				if tc.drop != ReasonNone {
					r.wantDrop(tc.name, tc.drop)
				} else {
					r.wantDrop(tc.name)
				}
				switch tc.want {
				case waits:
					r.wantQuiet("as if nothing had come")
					r.advance(10 * time.Second)
					r.want("repeated", dup(pub(tc.qos, id, 1, "x")))
					return
				case told:
					r.want("REGISTER", reg(id, 2, "a/b"))
					return
				case paused:
					if asleep {
						r.want("the rest is for the next wake", sn12.PingResp{})
					}
					r.wantHeld("both", 2, 2*(messageOverhead+4))
					return
				}
				r.wantAck("the broker has been waiting", 1)
				if tc.want == release {
					r.want("PUBREL", sn12.PubRel{MsgID: 1})
					if tc.qos == 2 {
						r.send(sn12.PubComp{MsgID: 1})
					}
				}
				r.want("next", pub(0, id, 0, "y"))
				if !asleep {
					return
				}
				for range tc.qos {
					r.pong("acknowledged")
				}
				r.want("last", sn12.PingResp{})
			})
		}
	}
}

// A device that answers every PUBLISH of a message with "congestion" is left alone each
// time, and not for ever.
func TestCongestionForOneMessageHasAnEnd(t *testing.T) {
	cfg := testConfig()
	cfg.RetryCount = 1
	r, id := subscriber(t, cfg, false, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	p := pub(1, id, 1, "x")
	for n := range minPatience {
		r.want("PUBLISH", p)
		if n == 0 {
			r.event(fromBroker("a/b", "y", 0, 0))
		}
		p = dup(p)
		r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
		if n < minPatience-1 {
			r.wantDrop("not yet")
			r.advance(5 * time.Minute)
		}
	}
	r.wantDrop("not for ever", ReasonClientRejected)
	r.wantAck("given up", 1)
	r.want("next", pub(0, id, 0, "y"))
}

// What is heard before the first repetition may have been sent before the message.
func TestUnansweredWordOfBeforeIsNoSignOfLife(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.ping()
	r.unanswered(pub(1, id, 1, "x"), false)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestUnansweredCountEndsWithTheAnswer(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	for n := range uint16(5) {
		r.event(fromBroker("a/b", "toggle", 1, n+1)) // the same each time
		r.want("PUBLISH", pub(1, id, n+1, "toggle"))
		r.send(sn12.Disconnect{HasDuration: true, Duration: 60})
		r.want("asleep", sn12.Disconnect{})
		r.wake()
		r.want("again", dup(pub(1, id, n+1, "toggle")))
		r.send(sn12.PubAck{TopicID: id, MsgID: n + 1})
		r.wantAck("answered", Handle(n+1))
		r.pong("acknowledged")
		r.want("last", sn12.PingResp{})
		r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
		r.wantAction("awake", Action{Kind: ActionSetWill})
		r.want("CONNACK", sn12.ConnAck{})
	}
	if len(r.s.down.tallies) > 0 {
		t.Errorf("%d messages are still counted", len(r.s.down.tallies))
	}
}

func TestUnansweredCountsAreBounded(t *testing.T) {
	s := newSession(testConfig(), "dev")
	for n := range 3 * maxTallies {
		s.down.tallies.of(&outgoing{topic: fmt.Sprint(n), qos: 1}).sends = uint8(n)
	}
	if len(s.down.tallies) != maxTallies || s.down.tallies[0].sends != 2*maxTallies {
		t.Errorf("%d tallies, the oldest of %d", len(s.down.tallies), s.down.tallies[0].sends)
	}
}

func TestMaxPacketSizeOfAPattern(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPacketSize = 1000
	cfg.PacketSizes = []PacketSize{{Client: "other-*", Octets: 40}, {Client: "de?", Octets: 100}, {Client: "dev", Octets: 200}}
	r, id := subscriber(t, cfg, true, "a/b")
	r.event(fromBroker("a/b", string(make([]byte, 93)), 0, 0))
	r.want("100 octets", sn12.Publish{TopicID: id, Data: make([]byte, 93)})
	r.event(fromBroker("a/b", string(make([]byte, 94)), 1, 1))
	r.wantDrop("one more", ReasonTooLarge)
	r.wantLost("said", "too_large a/b QoS 1, 94 octets")
	r.wantAck("or the broker would send it for ever", 1)
	for id, want := range map[string]int{"other-1": 40, "dev": 100, "dew": 100, "elsewhere": 1000} {
		if got := newSession(cfg, id).down.maxPacket(&step{}); got != want {
			t.Errorf("%s: %d octets, want %d", id, got, want)
		}
	}
}
