package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// size1 is what a held message with topic "a/b" and a payload of one octet counts.
const size1 = len("a/b") + 1 + messageOverhead

// wake sends the PINGREQ of a sleeper.
func (r *rig) wake() {
	r.t.Helper()
	r.send(sn12.PingReq{ClientID: []byte("dev")})
}

func TestQueueDropsOldestQoS0First_Case135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 4
	r, id := subscriber(t, cfg, true, "a/b")
	r.sleep(60)
	for _, m := range []struct {
		data string
		qos  uint8
	}{{"1", 0}, {"2", 1}, {"3", 0}, {"4", 0}} {
		r.event(fromBroker("a/b", m.data, m.qos, 2))
	}
	r.event(fromBroker("a/b", "5", 0, 0))
	r.wantDrop("1 makes room", ReasonBufferFull)
	r.event(fromBroker("a/b", "6", 1, 6))
	r.wantDrop("3 makes room, not 2: it is QoS 1", ReasonBufferFull)
	r.wantHeld("at the bound", 4, 4*size1)
	r.wake()
	r.want("2", pub(1, id, 1, "2"))
	r.wantAction("no more until it has taken some: it is awake", Action{Kind: ActionPause})
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("2", 2)
	r.wantAction("half is gone", Action{Kind: ActionResume})
	r.want("4", pub(0, id, 0, "4"))
	r.want("5", pub(0, id, 0, "5"))
	r.want("6", pub(1, id, 2, "6"))
}

func TestQueueCountsEveryDroppedMessage_Case135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 10
	r, id := subscriber(t, cfg, true, "a/b")
	r.sleep(60)
	dropped := 0
	for n := range 15 {
		r.event(fromBroker("a/b", string(rune('a'+n)), 0, 0))
		dropped += len(r.drops)
	}
	if dropped != 5 {
		t.Fatalf("%d drops counted, want 5", dropped)
	}
	r.wake()
	for n := 5; n < 15; n++ {
		r.want("the newest ten, in order", pub(0, id, 0, string(rune('a'+n))))
	}
	r.pong("barrier")
	r.want("last", sn12.PingResp{})
}

func TestQueueOfQoS1And2PausesTheBroker_Case135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 4
	r, id := subscriber(t, cfg, true, "a/b")
	r.sleep(60)
	for n := range uint16(3) {
		r.event(fromBroker("a/b", "x", 1+uint8(n%2), n+1))
	}
	r.wantQuiet("below the bound")
	r.event(fromBroker("a/b", "x", 1, 4))
	r.wantAction("nothing is dropped: reading stops", Action{Kind: ActionPause})
	r.event(fromBroker("a/b", "x", 2, 5))
	r.wantDrop("what was on its way is taken")
	r.event(fromBroker("a/b", "x", 0, 0))
	r.wantDrop("but QoS 0 is not", ReasonBufferFull)
	r.wantHeld("five", 5, 5*size1)

	r.wake()
	r.want("1", pub(1, id, 1, "x"))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("1", 1)
	r.want("2", pub(2, id, 2, "x"))
	r.send(sn12.PubRec{MsgID: 2})
	r.wantAck("2", 2)
	r.want("2", sn12.PubRel{MsgID: 2})
	r.send(sn12.PubComp{MsgID: 2})
	r.want("3", pub(1, id, 3, "x"))
	r.send(sn12.PubAck{MsgID: 3})
	r.wantAck("3", 3)
	r.want("4", pub(1, id, 4, "x"))
	r.wantAction("half empty: go on reading", Action{Kind: ActionResume})
	r.send(sn12.PubAck{MsgID: 4})
	r.wantAck("4", 4)
	r.want("5", pub(2, id, 5, "x"))
	r.send(sn12.PubRec{MsgID: 5})
	r.wantAck("5", 5)
	r.want("5", sn12.PubRel{MsgID: 5})
}

func TestQueueDropsHeldQoS0BeforePausing_Case135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 3
	r, _ := subscriber(t, cfg, true, "a/b")
	r.sleep(60)
	r.event(fromBroker("a/b", "x", 0, 0))
	r.event(fromBroker("a/b", "x", 1, 1))
	r.event(fromBroker("a/b", "x", 1, 2))
	r.wantQuiet("full, but with QoS 0 that can go")
	r.event(fromBroker("a/b", "x", 1, 3))
	r.wantDrop("it goes", ReasonBufferFull)
	r.wantAction("QoS 1 alone reaches the bound", Action{Kind: ActionPause})
}

func TestQueueBoundOfOctets_Case135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBytes = 3 * size1
	r, id := subscriber(t, cfg, true, "a/b")
	r.sleep(60)
	for n := range 3 {
		r.event(fromBroker("a/b", fmt.Sprint(n), 0, 0))
	}
	r.wantDrop("exactly full")
	r.event(fromBroker("a/b", "34", 0, 0))
	r.wantDrop("one octet more takes two of them", ReasonBufferFull, ReasonBufferFull)
	r.wantHeld("rest", 2, 2*size1+1)
	r.event(fromBroker("a/b", string(make([]byte, cfg.MaxBytes)), 0, 0))
	r.wantDrop("what can never be held does not empty the buffer", ReasonBufferFull)
	r.event(fromBroker("a/b", string(make([]byte, cfg.MaxBytes)), 1, 1))
	r.wantDrop("QoS 1 does", ReasonBufferFull, ReasonBufferFull)
	r.wantAction("and stops the reading", Action{Kind: ActionPause})
	r.wake()
	r.want("it is delivered", pub(1, id, 1, string(make([]byte, cfg.MaxBytes))))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("x", 1)
	r.wantAction("barrier", Action{Kind: ActionPing})
	r.wantAction("empty", Action{Kind: ActionResume})
}

func TestQueueMessageInDeliveryCounts(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 2
	r, id := subscriber(t, cfg, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("x", pub(1, id, 1, "x"))
	r.wantHeld("held until it is acknowledged", 1, size1)
	r.event(fromBroker("a/b", "y", 1, 2))
	r.wantAction("two", Action{Kind: ActionPause})
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("x", 1)
	r.want("y", pub(1, id, 2, "y"))
	r.wantAction("one", Action{Kind: ActionResume})
}

func TestQueuePauseEndsWithTheSession(t *testing.T) {
	for _, clean := range []bool{true, false} {
		cfg := testConfig()
		cfg.MaxMessages = 1
		r, _ := subscriber(t, cfg, clean, "a/b")
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.wantAction("full", Action{Kind: ActionPause})
		r.send(sn12.Disconnect{})
		r.want("bye", sn12.Disconnect{})
		r.wantAction("the next connection must not begin paused", Action{Kind: ActionResume})
		r.wantAction("bye", Action{Kind: ActionCloseClean})
		r.wantHeld("nothing", 0, 0)
		if clean {
			r.wantDrop("gone with the broker's session", ReasonSessionEnded)
		} else {
			r.wantDrop("the broker sends it again")
		}
	}
}

func TestQueueKeepsOrderUnderAnyUse(t *testing.T) {
	// A model: a slice. The queue must agree after every operation, compaction included.
	var q queue
	var model []uint16
	next := uint16(1)
	var last outgoing
	canUnpop := false
	for step := range 20000 {
		switch op := (step*7919 + step/13) % 11; {
		case op < 5 || len(model) == 0:
			q.push(outgoing{msgID: next, qos: uint8(next % 3), topic: "t"})
			model = append(model, next)
			next++
			canUnpop = false
		case op < 8:
			last = q.pop()
			if last.msgID != model[0] {
				t.Fatalf("step %d: pop %d, want %d", step, last.msgID, model[0])
			}
			model, canUnpop = model[1:], true
		case op == 8 && canUnpop:
			q.unpop(last)
			model, canUnpop = append([]uint16{last.msgID}, model...), false
		default:
			i := 0
			for i < len(model) && model[i]%3 != 0 {
				i++
			}
			if got := q.dropOldestQoS0(); got != (i < len(model)) {
				t.Fatalf("step %d: dropOldestQoS0 %v", step, got)
			}
			if i < len(model) {
				model = append(append([]uint16(nil), model[:i]...), model[i+1:]...)
			}
			canUnpop = false
		}
		if step%3 == 0 { // as holdDurably does, but for a third of them
			if m := q.unnumbered(); m != nil {
				m.number = uint32(m.msgID)
			}
		}
		if m := q.numberedAs(uint32(next) - 2); m != nil && step%17 == 0 {
			q.clearNumber(m)
		}
		qos0, numbered := 0, true
		for i, want := range model {
			m := q.at(i)
			if found := q.numberedAs(uint32(want)); m.number != 0 && found != m || m.number == 0 && found != nil {
				t.Fatalf("step %d: message %d is not found by its number", step, want)
			}
			if numbered && m.qos > 0 && m.number == 0 {
				if numbered = false; q.unnumbered() != m {
					t.Fatalf("step %d: message %d is the oldest without a number and is not found", step, want)
				}
			}
			if got := m.msgID; got != want {
				t.Fatalf("step %d: place %d holds %d, want %d", step, i, got, want)
			}
			if want%3 == 0 {
				qos0++
			}
		}
		if numbered && q.unnumbered() != nil {
			t.Fatalf("step %d: all messages have a number, and one is found without", step)
		}
		if q.len() != len(model) || int(q.qos0) != qos0 || q.bytes != len(model)*(1+messageOverhead) {
			t.Fatalf("step %d: len %d, qos0 %d, bytes %d; want %d, %d", step, q.len(), q.qos0, q.bytes, len(model), qos0)
		}
	}
}

// capacity is for how many messages there is room.
func (q *queue) capacity() (n int) {
	for _, c := range q.chunks {
		n += cap(c)
	}
	return n
}

func TestQueueLetsGoOfItsMemory(t *testing.T) {
	var q queue
	for range 100 {
		q.push(outgoing{topic: "t", payload: make([]byte, 100)})
	}
	for range 100 {
		q.pop()
	}
	if room := q.capacity(); room > 0 {
		t.Errorf("an emptied queue keeps room for %d messages", room)
	}
	for range 1000 { // never empty, never more than two
		q.push(outgoing{})
		q.push(outgoing{})
		q.pop()
		q.dropOldestQoS0()
		if room := q.capacity(); room > 8 {
			t.Fatalf("two messages take room for %d", room)
		}
	}
}

func TestQueueActiveDeviceInCongestionIsBounded_Case94_135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 3
	r, id := subscriber(t, cfg, true, "a/b")
	r.event(fromBroker("a/b", "0", 1, 1))
	r.want("0", pub(1, id, 1, "0"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.event(fromBroker("a/b", "1", 0, 0))
	r.event(fromBroker("a/b", "2", 0, 0))
	r.event(fromBroker("a/b", "3", 0, 0))
	r.wantDrop("1 goes", ReasonBufferFull)
	r.advance(cfg.CongestionWait)
	r.want("0", dup(pub(1, id, 1, "0")))
	r.wantAction("it takes messages again", Action{Kind: ActionPause})
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("0", 1)
	r.wantAction("they are gone", Action{Kind: ActionResume})
	r.want("2", pub(0, id, 0, "2"))
	r.want("3", pub(0, id, 0, "3"))
	r.advance(time.Minute)
	r.wantQuiet("nothing waits")
}

func TestQueueResumesAtPubRec_Case135(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages, cfg.MaxBytes = 100, 1000
	r, id := subscriber(t, cfg, true, "a/b")
	big := string(make([]byte, 1000))
	r.event(fromBroker("a/b", big, 2, 1))
	r.want("PUBLISH", pub(2, id, 1, big))
	r.wantAction("full", Action{Kind: ActionPause})
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	r.wantAction("the message is gone, only the exchange is left", Action{Kind: ActionResume})
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
}
