package session

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// lend has the device take a QoS 1 message of a topic that it is told by REGISTER, and
// returns the id.
func (r *rig) lend(topic string) uint16 {
	r.t.Helper()
	r.event(fromBroker(topic, "m", 1, 1))
	if len(r.sent) == 0 && r.store != nil {
		durableRig{r}.stored()
	}
	if len(r.sent) == 0 {
		r.t.Fatalf("no REGISTER for %s", topic)
	}
	m, err := sn12.Parse(r.sent[0])
	ask, ok := m.(sn12.Register)
	if err != nil || !ok || string(ask.TopicName) != topic {
		r.t.Fatalf("want REGISTER for %s, got %s", topic, describe(r.sent[0]))
	}
	r.sent = r.sent[1:]
	r.send(sn12.RegAck{TopicID: ask.TopicID, MsgID: ask.MsgID})
	r.want("then the message", pub(1, ask.TopicID, r.s.down.delivery.msgID, "m"))
	r.send(sn12.PubAck{TopicID: ask.TopicID, MsgID: r.s.down.delivery.msgID})
	r.wantAck("m", 1)
	return ask.TopicID
}

// smallTable is a configuration with so many topic ids of a device.
func smallTable(cfg *Config, topics int) *Config {
	cfg.MaxTopics = topics
	return cfg
}

func TestLentIDsNeverRunOut(t *testing.T) {
	for _, durable := range []bool{false, true} {
		r := newRig(t, smallTable(testConfig(), 10))
		if durable {
			r = newDurableRig(t, smallTable(durableConfig(), 10)).rig
		}
		r.connect(false, 0)
		for n := range 40 {
			if id := r.lend(fmt.Sprint("resp/", n)); id > 10 {
				t.Errorf("resp/%d has id %d: the device has room for 10", n, id)
			}
			r.later()
		}
		if own := r.s.ids.topics.Owned(); own != 0 {
			t.Errorf("the device has %d ids of its own", own)
		}
	}
}

func TestLentIDUsedLeastRecentlyGoesFirst(t *testing.T) {
	r := newRig(t, smallTable(testConfig(), 6))
	r.connect(false, 600)
	for n := range 6 {
		r.lend(fmt.Sprint("w/", n))
	}
	r.later()
	r.event(fromBroker("w/0", "again", 0, 0))
	r.want("used again", pub(0, 1, 0, "again"))
	r.advance(2 * lateWindow)
	for n, want := range []uint16{2, 3, 4, 5, 6, 1} {
		if id := r.lend(fmt.Sprint("v/", n)); id != want {
			t.Errorf("v/%d has id %d, want that of w/%d", n, id, want-1)
		}
	}
}

func TestLentIDWaitsForWhatIsUnderWay(t *testing.T) {
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r := newRig(t, smallTable(testConfig(), 4))
			r.connect(true, 600)
			for n := range 4 {
				r.lend(fmt.Sprint("w/", n))
			}
			r.event(fromBroker("v/0", "x", qos, 1))
			r.wantDrop("what was sent with the ids may still be under way")
			r.wantQuiet("what was sent with the ids may still be under way")
			r.event(fromBroker("w/3", "y", 0, 0))
			r.want("what needs none is not held", pub(0, 4, 0, "y"))
			r.advance(2 * lateWindow)
			r.want("then", reg(1, 9, "v/0"))
		})
	}
}

// TestWakeDoesNotWaitForAnIDToLend: a message that there is no id for, because no more may
// be kept for the device, waits for a later wake. What needs none is delivered.
func TestWakeDoesNotWaitForAnIDToLend(t *testing.T) {
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, id := subscriber(t, nil, true, "a/b")
			r.sleep(600)
			r.event(fromBroker("v/0", "x", qos, 1))
			r.event(fromBroker("a/b", "y", 0, 0))
			r.env.FootprintLimit = 1
			r.wake()
			r.want("what needs none is not held", pub(0, id, 0, "y"))
			r.wantQuiet("an id may become free")
			r.advance(2 * lateWindow)
			r.pong("none has")
			r.want("last", sn12.PingResp{})
			r.wantState("asleep", StateAsleep)
			r.wantHeld("nothing is lost", 1, len("v/0")+1+messageOverhead)
			r.advance(time.Minute)
			r.wantQuiet("asleep")
			r.env.FootprintLimit = math.MaxInt
			r.wake()
			r.want("now it can have one", reg(2, 1, "v/0"))
		})
	}
}

// TestWakeWaitsForALentIDToBecomeFree: more topics than ids are no reason to leave some of
// them for the next wake.
func TestWakeWaitsForALentIDToBecomeFree(t *testing.T) {
	r := newRig(t, smallTable(testConfig(), 4))
	r.connect(true, 600)
	r.sleep(600)
	for n := range uint16(10) {
		r.event(fromBroker(fmt.Sprint("w/", n), "x", 0, 0))
	}
	r.wake()
	for n := range 10 {
		if len(r.sent) == 0 {
			r.advance(2 * lateWindow)
		}
		m, _ := sn12.Parse(r.sent[0])
		ask, _ := m.(sn12.Register)
		r.sent = r.sent[1:]
		r.send(sn12.RegAck{TopicID: ask.TopicID, MsgID: ask.MsgID})
		r.want(fmt.Sprint("message ", n), pub(0, ask.TopicID, 0, "x"))
	}
	r.want("last", sn12.PingResp{})
}

func TestOwnIDIsNeverGivenAway(t *testing.T) {
	for _, durable := range []bool{false, true} {
		for _, how := range []string{"registered", "subscribed", "used", "registered later", "subscribed later"} {
			t.Run(fmt.Sprintf("%s/store=%v", how, durable), func(t *testing.T) {
				r := newRig(t, smallTable(testConfig(), 6))
				cfg := smallTable(durableConfig(), 6)
				if durable {
					r = newDurableRig(t, cfg).rig
				}
				r.connect(false, 0)
				if strings.HasSuffix(how, "later") || how == "used" {
					r.lend("own")
				}
				switch strings.Fields(how)[0] {
				case "registered":
					r.send(sn12.Register{MsgID: 7, TopicName: []byte("own")})
				case "subscribed":
					r.send(sn12.Subscribe{MsgID: 7, TopicName: []byte("own")})
					a := r.wantAction("SUBSCRIBE", Action{Kind: ActionSubscribe, Topic: "own"})
					r.event(Event{Kind: EventSubscribed, Token: a.Token})
				case "used":
					r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
					r.wantAction("used", Action{Kind: ActionPublish, Topic: "own", Payload: []byte("u")})
				}
				if durable {
					durableRig{r}.stored()
				}
				r.sent = nil // REGACK, SUBACK
				for n := range 20 {
					if id := r.lend(fmt.Sprint("w/", n)); id == 1 {
						t.Fatalf("w/%d has the device's own id", n)
					}
					r.later()
				}
				if durable {
					durableRig{r}.restart()
					r.acts = nil
					if name, _ := r.s.ids.topics.Name(1); name != "own" || !r.s.ids.topics.State(1).Own {
						t.Errorf("after a restart the id is %q", name)
					}
				}
				r.send(sn12.Publish{QoS: 0, TopicID: 1, Data: []byte("u")})
				if durable {
					r.acts = nil
					r.wantDrop("relayed, or spooled")
					return
				}
				r.wantAction("its own", Action{Kind: ActionPublish, Topic: "own", Payload: []byte("u")})
			})
		}
	}
}

func TestOwnIDsAreRefusedOnlyWhenTheDeviceHasThemAll(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r := newRig(t, smallTable(testConfig(), 5))
		r.connect(clean, 0)
		for n := range 12 {
			r.lend(fmt.Sprint("w/", n))
			r.later()
		}
		for n := range 5 {
			if id := r.register(fmt.Sprint("own/", n)); id <= 5 {
				t.Errorf("own/%d has id %d, which the device may know by another name when REGACK is lost", n, id)
			}
		}
		r.send(sn12.Register{MsgID: 1, TopicName: []byte("one/more")})
		r.want("full of what it has asked for", sn12.RegAck{MsgID: 1, ReturnCode: sn12.RejectedCongestion})
		r.wantDrop("full", ReasonTopicsFull)
		r.send(sn12.Subscribe{MsgID: 2, TopicName: []byte("one/more")})
		r.want("full", sn12.SubAck{MsgID: 2, ReturnCode: sn12.RejectedCongestion})
		for n := range 12 {
			r.lend(fmt.Sprint("v/", n)) // messages of QoS 1 come all the same
			r.later()
		}
		r.send(sn12.Register{MsgID: 3, TopicName: []byte("v/11")})
		r.want("nor by the way of a message", sn12.RegAck{MsgID: 3, ReturnCode: sn12.RejectedCongestion})
		r.register("own/0")
	}
}

func TestLentNamesMakeRoomInOctets(t *testing.T) {
	r := newRig(t, smallTable(testConfig(), 4)) // 1024 octets of names
	r.connect(true, 0)
	for n := range 20 {
		r.lend(fmt.Sprint("w/", n, "/", strings.Repeat("n", 1500)))
		r.later()
	}
	r.register("own/" + strings.Repeat("n", 1000))
	r.send(sn12.Register{MsgID: 1, TopicName: []byte("own/2/" + strings.Repeat("n", 1000))})
	r.want("its own names are too long together", sn12.RegAck{MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.lend("w/again/" + strings.Repeat("n", 1500))
	if n := r.s.ids.topics.Octets(); n > 1024+65535 {
		t.Errorf("%d octets of names", n)
	}
}

// moved is a device that has been told id 1 for w/0, and then for v/0; the REGISTER for
// that is on its way.
func moved(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, smallTable(testConfig(), 4))
	r.connect(false, 600)
	for n := range 4 {
		r.lend(fmt.Sprint("w/", n))
	}
	r.advance(2 * lateWindow)
	r.event(fromBroker("v/0", "x", 1, 1))
	r.want("moved", reg(1, 9, "v/0"))
	return r
}

func TestMovedIDMeansNothingBeforeRegAck(t *testing.T) {
	for qos := range uint8(3) {
		r := moved(t)
		msgID := uint16(qos)
		r.send(sn12.Publish{QoS: qos, TopicID: 1, MsgID: msgID, Data: []byte("for w/0, or v/0?")})
		r.want("nobody can tell", sn12.PubAck{TopicID: 1, MsgID: msgID, ReturnCode: sn12.RejectedInvalidTopicID})
		r.wantDrop("nobody can tell", ReasonUnknownTopicID)
		r.send(sn12.RegAck{TopicID: 1, MsgID: 9})
		r.want("the device knows", pub(1, 1, 10, "x"))
		r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
		r.wantAction("now it is v/0", Action{Kind: ActionPublish, Topic: "v/0", Payload: []byte("u")})
	}
}

func TestMovedIDIsNotTriedWithoutRegAck(t *testing.T) {
	r := moved(t)
	r.send(sn12.RegAck{TopicID: 1, MsgID: 9})
	r.want("the device knows", pub(1, 1, 10, "x"))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 10})
	r.wantAck("x", 1)
	r.send(sn12.Disconnect{})
	r.want("bye", sn12.Disconnect{})
	r.wantAction("bye", Action{Kind: ActionCloseClean})
	r.comeBack(false)
	r.event(fromBroker("v/0", "y", 1, 2))
	r.want("told again", reg(1, 11, "v/0"))
	r.advance(10 * time.Second)
	r.want("and only that: the device may be as it was before", reg(1, 11, "v/0"))
}

func TestMovedIDIsConfirmedByItsOwnRegAckOnly(t *testing.T) {
	r := moved(t)
	r.send(sn12.RegAck{TopicID: 3, MsgID: 9})
	r.wantDrop("of another id", ReasonUnexpectedMessage)
	r.send(sn12.RegAck{TopicID: 1, MsgID: 8})
	r.wantDrop("of another REGISTER", ReasonUnexpectedMessage)
	r.send(sn12.RegAck{TopicID: 1, MsgID: 9})
	r.want("now", pub(1, 1, 10, "x"))
}

func TestMovedIDWhoseRegAckWasLostIsToldAgain(t *testing.T) {
	for _, how := range []string{"asleep", "goodbye"} {
		t.Run(how, func(t *testing.T) {
			r := moved(t)
			if how == "asleep" {
				r.sleep(60)
				r.wake()
			} else {
				r.send(sn12.Disconnect{})
				r.want("bye", sn12.Disconnect{})
				r.wantAction("bye", Action{Kind: ActionCloseClean})
				r.comeBack(false)
				r.event(fromBroker("v/0", "x", 1, 2))
			}
			r.want("REGISTER before PUBLISH", reg(1, 10, "v/0"))
			r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
			r.want("still nobody can tell", sn12.PubAck{TopicID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		})
	}
}

// The device asks for the name itself while it may still know the id by another.
func TestMovedIDIsNoAnswerToTheDevice(t *testing.T) {
	t.Run("REGISTER", func(t *testing.T) {
		r := moved(t)
		r.send(sn12.Register{MsgID: 5, TopicName: []byte("v/0")})
		r.want("an id that was never used", sn12.RegAck{TopicID: 5, MsgID: 5})
		r.want("known by that", pub(1, 5, 10, "x"))
		r.send(sn12.RegAck{TopicID: 1, MsgID: 9})
		r.wantDrop("too late", ReasonUnexpectedMessage)
		r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
		r.want("1 means nothing any more", sn12.PubAck{TopicID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
	})
	t.Run("SUBSCRIBE", func(t *testing.T) {
		r := moved(t)
		if id := r.subscribe2("v/0"); id != 5 {
			t.Errorf("SUBACK has id %d, want one that was never used", id)
		}
		r.want("known by that", pub(1, 5, 10, "x"))
	})
}

// subscribe2 is subscribe for a step that sends more than SUBACK.
func (r *rig) subscribe2(filter string) uint16 {
	r.t.Helper()
	r.send(sn12.Subscribe{QoS: 1, MsgID: 0x7002, TopicName: []byte(filter)})
	a := r.wantAction("SUBSCRIBE goes up", Action{Kind: ActionSubscribe, Topic: filter, QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	m, _ := sn12.Parse(r.sent[0])
	r.sent = r.sent[1:]
	return m.(sn12.SubAck).TopicID
}

// movedDurably is moved with a store; the new meaning is not in the store yet.
func movedDurably(t *testing.T) durableRig {
	t.Helper()
	r := newDurableRig(t, smallTable(durableConfig(), 4))
	r.connect(false, 600)
	for n := range 4 {
		r.lend(fmt.Sprint("w/", n))
	}
	r.advance(2 * lateWindow)
	r.stored()
	r.records = nil
	r.event(fromBroker("v/0", "x", 1, 1))
	r.wantQuiet("REGISTER waits for the store")
	r.wantRecords("the id", "+topic")
	return r
}

func TestMovedIDAfterACrash(t *testing.T) {
	for _, tc := range []struct {
		name string
		upTo int // what the crash comes after
		want string
	}{
		{"before the store has it", 0, "w/0"},
		{"before REGISTER", 1, "v/0"},
		{"before REGACK", 2, "v/0"},
		{"before the store has REGACK", 3, "v/0"},
		{"after the store has REGACK", 4, "v/0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := movedDurably(t)
			if tc.upTo > 0 {
				for r.store.commit(true) {
				}
			}
			if tc.upTo > 1 {
				r.answerAll(true)
				for {
					ev, ok := r.store.answer()
					if !ok {
						break
					}
					r.event(ev)
				}
				r.want("stored", reg(1, 9, "v/0"))
			}
			if tc.upTo > 2 {
				r.send(sn12.RegAck{TopicID: 1, MsgID: 9})
				r.want("x", pub(1, 1, 10, "x"))
			}
			if tc.upTo > 3 {
				for r.store.commit(true) {
				}
			}
			r.crash()
			r.up()
			if name, _ := r.s.ids.topics.Name(1); name != tc.want {
				t.Errorf("1 is %q, want %q", name, tc.want)
			}
			// The device may know it by either name, and is asked.
			r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
			r.want("nobody can tell", sn12.PubAck{TopicID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
			r.event(fromBroker(tc.want, "y", 0, 0))
			if len(r.sent) == 0 {
				t.Fatal("no REGISTER")
			}
			m, _ := sn12.Parse(r.sent[0])
			if ask, ok := m.(sn12.Register); !ok || ask.TopicID != 1 || string(ask.TopicName) != tc.want {
				t.Errorf("want REGISTER of 1, got %s", describe(r.sent[0]))
			}
			r.sent = nil
		})
	}
}

func TestMovedIDThatTheStoreDoesNotTake(t *testing.T) {
	r := movedDurably(t)
	r.storeFailed()
	r.wantQuiet("not told")
	r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
	r.want("the device knows it by a name that the gateway does not", sn12.PubAck{TopicID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
	r.advance(10 * time.Second)
	r.stored()
	r.want("later, by another id", reg(5, 9, "v/0"))
}

// Ids of a table that was never full mean after a restart what they meant before.
func TestLentIDsOfATableWithRoomAreTrustedAfterARestart(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	id := r.lend("w/1")
	r.restart()
	r.up()
	r.event(fromBroker("w/1", "x", 0, 0))
	r.want("known", pub(0, id, 0, "x"))
}

func TestLentIDsKeepAwayFromPredefinedNumbers(t *testing.T) {
	cfg := smallTable(testConfig(), 4)
	var err error
	cfg.Predefined, err = topicreg.NewPredefined([]topicreg.Entry{{ID: 2, Name: "p/2"}, {ID: 6, Name: "p/6"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, cfg)
	r.connect(true, 0)
	for n := range 20 {
		if id := r.lend(fmt.Sprint("w/", n)); id == 2 || id == 6 {
			t.Errorf("w/%d has the predefined number %d", n, id)
		}
		r.later()
	}
	if id := r.register("p/6"); id != 6 {
		t.Errorf("p/6 has id %d", id)
	}
}
