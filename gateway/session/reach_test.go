package session

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// proofConfig is testConfig with the proof of addresses. MsgIds of the rig begin at 1
// again, which a test says where it matters.
func proofConfig() *Config {
	cfg := testConfig()
	cfg.ProveAddress = true
	return cfg
}

// scales weighs what an address has sent and been sent.
type scales struct {
	*rig
	in, inDatagrams   int
	out, outDatagrams int
}

func (s *scales) send(m sn12.Message) {
	s.t.Helper()
	s.in += m.Len()
	s.inDatagrams++
	s.rig.send(m)
	s.weigh()
}

func (s *scales) weigh() {
	for _, b := range s.sent {
		s.out += len(b)
		s.outDatagrams++
	}
	s.sent, s.acts = nil, nil
}

// subscribed is a session that was begun, and subscribed, by datagrams alone: nobody has
// answered anything.
func subscribed(t *testing.T, cfg *Config, filter string, qos uint8) *rig {
	t.Helper()
	r := newRig(t, cfg)
	r.connect(true, 65535)
	r.subscribe(filter, qos)
	return r
}

// TestForgedSubscriberGetsLittle: whoever forges an address gets a bounded amount sent
// there, whatever is published, at any QoS, however long it lasts.
func TestForgedSubscriberGetsLittle(t *testing.T) {
	for _, filter := range []string{"a/b", "#", "ab"} {
		for qos := range uint8(3) {
			t.Run(fmt.Sprintf("%s_qos%d", filter, qos), func(t *testing.T) {
				s := &scales{rig: newRig(t, proofConfig())}
				s.send(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 65535, ClientID: []byte("dev")})
				s.event(Event{Kind: EventConnected})
				s.weigh()
				s.rig.send(sn12.Subscribe{QoS: qos, MsgID: 7, TopicName: []byte(filter)})
				s.in += sn12.Subscribe{TopicName: []byte(filter)}.Len()
				s.inDatagrams++
				a := s.wantAction("SUBSCRIBE goes up", Action{Kind: ActionSubscribe, Topic: filter, QoS: qos})
				s.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: qos})
				s.weigh()
				topic := map[string]string{"a/b": "a/b", "#": "any/topic", "ab": "ab"}[filter]
				for i := range 200 {
					s.event(fromBroker(topic, strings.Repeat("x", i%90), qos, uint16(i+1)))
					s.weigh()
					s.advance(time.Second)
					s.weigh()
				}
				s.advance(10 * time.Hour)
				s.weigh()
				if s.out > 3*s.in+2+proofLimit || s.outDatagrams > 3*s.inDatagrams+2 {
					t.Errorf("%d octets in %d datagrams for %d in %d", s.out, s.outDatagrams, s.in, s.inDatagrams)
				}
			})
		}
	}
}

func TestOnePingRespKeepsAQoS0StreamGoing(t *testing.T) {
	r := subscribed(t, proofConfig(), "a/b", 0)
	r.event(fromBroker("a/b", "1", 0, 0))
	r.want("the account has room", pub(0, 1, 0, "1"))
	r.want("the address is to prove itself", sn12.PingReq{})
	for i := range 20 {
		r.event(fromBroker("a/b", strings.Repeat("x", 50), 0, 0))
		if i == 0 {
			r.wantQuiet("no room is left, so it waits")
		}
		r.sent = nil
	}
	r.send(sn12.PingResp{})
	for range 20 {
		r.want("nothing is lost", pub(0, 1, 0, strings.Repeat("x", 50)))
	}
	for range 50 {
		r.event(fromBroker("a/b", "steady", 0, 0))
		r.want("at once", pub(0, 1, 0, "steady"))
	}
}

// TestPingRespIsWorthAnAmount: PINGRESP can be forged, so it opens the way for a while. A
// device that answers PINGREQ and REGISTER is asked for both once more, and then never.
func TestPingRespIsWorthAnAmount(t *testing.T) {
	for name, registers := range map[string]bool{"with REGACK": true, "without REGISTER": false} {
		t.Run(name, func(t *testing.T) {
			r := subscribed(t, proofConfig(), "a/b", 0)
			published, pings, told := 0, 0, 0
			take := func() {
				for len(r.sent) > 0 {
					sent := r.sent
					r.sent = nil
					for _, b := range sent {
						switch m, _ := sn12.Parse(b); m := m.(type) {
						case sn12.Publish:
							published++
						case sn12.PingReq:
							pings++
							r.sent = nil
							r.send(sn12.PingResp{})
						case sn12.Register:
							told++
							if registers {
								r.send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
								r.wantDrop("the answer is expected")
							}
						}
					}
				}
			}
			const n = 2000
			for range n {
				r.event(fromBroker("a/b", strings.Repeat("x", 93), 0, 0))
				take()
			}
			if published != n || told != 1 {
				t.Errorf("%d of %d messages, REGISTER %d times", published, n, told)
			}
			if want := map[bool]int{true: 2, false: 1 + n*100/pingWorth}[registers]; pings < want || pings > 4*want {
				t.Errorf("%d PINGREQs, want about %d", pings, want)
			}
		})
	}
}

// TestStreamOutlivesAnOutage: the network is away when the PINGREQ that renews the account
// comes, for longer than its repeats. The stream goes on with the first answer after it.
func TestStreamOutlivesAnOutage(t *testing.T) {
	r := newRig(t, proofConfig())
	r.connect(true, 65535)
	r.subscribe("ab", 0) // a short name: there is nothing to REGISTER
	away, got := true, 0
	take := func() {
		for len(r.sent) > 0 {
			sent := r.sent
			r.sent, r.acts = nil, nil
			for _, b := range sent {
				switch m, _ := sn12.Parse(b); m.(type) {
				case sn12.Publish:
					got++
				case sn12.PingReq:
					if !away {
						r.send(sn12.PingResp{})
					}
				}
			}
		}
		r.acts = nil
	}
	for second := range 600 {
		away = second >= 100 && second < 400
		r.event(fromBroker("ab", strings.Repeat("x", 200), 0, 0))
		take()
		r.advance(time.Second)
		take()
		if second == 99 || second == 420 {
			got = 0
		}
	}
	if got < 170 {
		t.Errorf("%d of 180 messages after the outage", got)
	}
}

// TestUnaskedPingRespIsWorthNothing: it may come before the PINGREQ, or more often.
func TestUnaskedPingRespIsWorthNothing(t *testing.T) {
	r := subscribed(t, proofConfig(), "a/b", 0)
	for range 10 {
		r.send(sn12.PingResp{})
	}
	before := r.s.addr.reach.octets
	r.event(fromBroker("a/b", "x", 0, 0))
	r.want("there is room", pub(0, 1, 0, "x"))
	r.want("the address is asked", sn12.PingReq{})
	r.send(sn12.PingResp{})
	r.send(sn12.PingResp{})
	if got := r.s.addr.reach.octets; got > before+pingWorth+100 || got < pingWorth {
		t.Errorf("the account has %d octets after %d", got, before)
	}
}

func TestAnswerWithOurMsgIDProvesTheAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		filter string
		qos    uint8
		prove  func(r *rig)
	}{
		"PUBACK": {"a/b", 1, func(r *rig) {
			r.event(fromBroker("a/b", "x", 1, 1))
			r.want("QoS 1", pub(1, 1, 1, "x"))
			r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
			r.wantAck("it has it", 1)
		}},
		"PUBREC": {"a/b", 2, func(r *rig) {
			r.event(fromBroker("a/b", "x", 2, 1))
			r.want("QoS 2", pub(2, 1, 1, "x"))
			r.send(sn12.PubRec{MsgID: 1})
			r.wantAck("it has it", 1)
			r.want("goes on", sn12.PubRel{MsgID: 1})
			r.send(sn12.PubComp{MsgID: 1})
		}},
		"REGACK": {"a/#", 0, func(r *rig) {
			r.event(fromBroker("a/b", "x", 0, 0))
			r.want("the topic first", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("a/b")})
			r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
			r.want("then the message", pub(0, 1, 0, "x"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := subscribed(t, proofConfig(), tt.filter, tt.qos)
			tt.prove(r)
			for range 1000 {
				r.event(fromBroker("a/b", strings.Repeat("x", 1000), 0, 0))
				r.want("no bound, and no PINGREQ", pub(0, 1, 0, strings.Repeat("x", 1000)))
			}
		})
	}
}

// TestGuessedMsgIDs: sixteen wrong ones, and the right one proves nothing any more.
func TestGuessedMsgIDs(t *testing.T) {
	for _, wrong := range []int{1, maxGuesses - 1, maxGuesses, 1000} {
		r := subscribed(t, proofConfig(), "a/b", 1)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want("QoS 1", pub(1, 1, 1, "x"))
		for i := range wrong {
			r.send(sn12.PubAck{TopicID: 1, MsgID: uint16(0x8000 + i)})
		}
		r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		r.wantAck("it has it", 1)
		if proven := r.s.addr.reach == nil; proven != (wrong < maxGuesses) {
			t.Errorf("%d wrong ones: proven is %v", wrong, proven)
		}
	}
}

// TestAnotherAddressIsUnproven: a MsgId from before the change proves nothing either,
// because it was sent to where the session was.
func TestAnotherAddressIsUnproven(t *testing.T) {
	r := subscribed(t, proofConfig(), "a/b", 1)
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("QoS 1", pub(1, 1, 1, "x"))
	r.s.AddressChanged()
	r.s.RestartMsgIDs(0x4000)
	r.send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.sent, r.acts = nil, nil
	r.s.state = StateActive // as CleanSession=0 would keep it
	r.s.handshake.pending = nil
	r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
	r.sent, r.acts = nil, nil
	if r.s.addr.reach == nil {
		t.Error("an old MsgId has proven the address")
	}
}

func TestSleeperAtANewAddressGetsItsMessages(t *testing.T) {
	cfg := proofConfig()
	r := newRig(t, cfg)
	r.connect(false, 60)
	r.subscribe("a/b", 1)
	r.sleep(600)
	long := strings.Repeat("x", 300)
	r.event(fromBroker("a/b", "short", 1, 1))
	r.event(fromBroker("a/b", long, 1, 2))
	r.event(fromBroker("a/b", long, 0, 0))
	r.s.AddressChanged()
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("the account has room for it", pub(1, 1, 1, "short"))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
	r.wantAck("it has it", 1)
	r.want("the address is proven", pub(1, 1, 2, long))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 2})
	r.wantAck("it has it", 2)
	r.want("in order", pub(0, 1, 0, long))
	a := r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(Event{Kind: EventPong, Token: a.Token})
	r.want("PINGRESP last", sn12.PingResp{})
}

// TestSleeperThatCannotBeReachedSleepsOn: a message too large for the account has the
// sleeper asked; without an answer its wake ends, and the message is still there.
func TestSleeperThatCannotBeReachedSleepsOn(t *testing.T) {
	r := newRig(t, proofConfig())
	r.connect(false, 60)
	r.subscribe("a/b", 1)
	r.sleep(600)
	long := strings.Repeat("x", 300)
	r.event(fromBroker("a/b", long, 1, 1))
	r.s.AddressChanged()
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("is anybody there?", sn12.PingReq{})
	r.advance(10 * time.Second)
	r.want("with a MsgId", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("a/b")})
	r.advance(30 * time.Second)
	r.want("or not", sn12.PingReq{})
	r.want("or not", sn12.PingReq{})
	barrier := r.wantAction("the wake is over when the broker has answered", Action{Kind: ActionPing})
	r.event(Event{Kind: EventPong, Token: barrier.Token})
	r.want("the wake is over", sn12.PingResp{})
	r.wantState("asleep", StateAsleep)
	r.wantHeld("nothing is lost", 1, len("a/b")+300+messageOverhead)
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("the next wake", sn12.PingReq{})
	r.send(sn12.PingResp{})
	r.want("delivers it", pub(1, 1, 2, long))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 2})
	r.wantAck("it has it", 1)
	a := r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(Event{Kind: EventPong, Token: a.Token})
	r.want("PINGRESP last", sn12.PingResp{})
}

// TestListenerThatAnswersRegisterOnly: common clients ignore PINGREQ, and know REGISTER.
func TestListenerThatAnswersRegisterOnly(t *testing.T) {
	r := subscribed(t, proofConfig(), "a/b", 0)
	long := strings.Repeat("x", 100)
	r.event(fromBroker("a/b", long, 0, 0))
	r.want("which it ignores", sn12.PingReq{})
	r.advance(10 * time.Second)
	r.want("the id it knows", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("a/b")})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.want("what has waited", pub(0, 1, 0, long))
	for range 500 {
		r.event(fromBroker("a/b", long, 0, 0))
		r.want("no bound any more", pub(0, 1, 0, long))
	}
}

// TestDeviceThatAnswersNoPingReqIsNotLost: it is sent what the account allows, which its
// own messages add to.
func TestDeviceThatAnswersNoPingReqIsNotLost(t *testing.T) {
	r := newRig(t, proofConfig())
	r.connect(true, 60)
	r.subscribe("ab", 0) // a short name: there is nothing to REGISTER
	got := 0
	for range 30 {
		r.event(fromBroker("ab", "12345", 0, 0))
		r.sent = nil
		r.advance(50 * time.Second)
		r.sent = nil
		r.send(sn12.PingReq{})
		for _, b := range r.sent {
			if m, _ := sn12.Parse(b); m.Type() == sn12.TypePublish {
				got++
			}
		}
		r.sent = nil
	}
	r.wantState("it speaks", StateActive)
	if got == 0 {
		t.Error("nothing gets through any more")
	}
}

// TestWithheldMessagesStayWithTheBroker: QoS 1 and 2 are not dropped, the connection is
// not read.
func TestWithheldMessagesStayWithTheBroker(t *testing.T) {
	cfg := proofConfig()
	cfg.MaxMessages = 4
	r := subscribed(t, cfg, "a/b", 1)
	long := strings.Repeat("x", 300)
	r.event(fromBroker("a/b", long, 1, 1))
	r.want("the address is to prove itself", sn12.PingReq{})
	r.event(fromBroker("a/b", long, 1, 2))
	r.event(fromBroker("a/b", long, 1, 3))
	r.wantAction("enough", Action{Kind: ActionPause})
	r.event(fromBroker("a/b", long, 1, 4)) // was on its way
	r.wantDrop("nothing")
	r.send(sn12.PingResp{})
	r.want("it answers", pub(1, 1, 1, long))
	for i := range uint16(4) {
		r.send(sn12.PubAck{TopicID: 1, MsgID: i + 1})
		r.wantAck("it has it", Handle(i+1))
		if i == 1 {
			r.wantAction("half of it is gone", Action{Kind: ActionResume})
		}
		if i < 3 {
			r.want("the next", pub(1, 1, i+2, long))
		}
	}
}

// TestSubAckIsReadWhileTheAddressIsAsked: the broker's answer to SUBSCRIBE, behind messages
// that wait for the proof, does not wait for it as well.
func TestSubAckIsReadWhileTheAddressIsAsked(t *testing.T) {
	for qos := range uint8(2) {
		t.Run(fmt.Sprintf("qos%d", qos), func(t *testing.T) {
			cfg := proofConfig()
			cfg.MaxMessages = 4
			r := subscribed(t, cfg, "a/b", 1)
			r.event(fromBroker("a/b", strings.Repeat("x", 300), 1, 1))
			r.want("the address is to prove itself", sn12.PingReq{})
			a := r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 9, TopicName: []byte("r/#")}, "r/#")
			for n := range uint16(6) {
				r.event(fromBroker("r/x", "x", qos, n+2))
			}
			r.wantDrop("nothing")
			r.wantQuiet("the connection is read on")
			r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
			r.want("nothing of it needs a proof", sn12.SubAck{QoS: 1, MsgID: 9})
			r.wantAction("now the rest can wait", Action{Kind: ActionPause})
		})
	}
}

// TestUnprovenDeviceThatTakesItsMessages: QoS 0 behind a message on its way waits with the
// broker, as for a device whose address is proven.
func TestUnprovenDeviceThatTakesItsMessages(t *testing.T) {
	cfg := proofConfig()
	cfg.MaxMessages = 4
	r := subscribed(t, cfg, "a/b", 1)
	r.event(fromBroker("a/b", "m", 1, 1))
	r.want("it fits in", pub(1, 1, 1, "m"))
	for range 3 {
		r.event(fromBroker("a/b", "m", 0, 0))
	}
	r.wantAction("the rest waits", Action{Kind: ActionPause})
	r.event(fromBroker("a/b", "m", 0, 0)) // was on its way
	r.wantDrop("nothing")
}

func TestUnreachable(t *testing.T) {
	t.Run("of an address that is not proven ends the deliveries", func(t *testing.T) {
		r := subscribed(t, proofConfig(), "a/b", 1)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want("QoS 1", pub(1, 1, 1, "x"))
		r.step("unreachable", func() { r.s.Unreachable(r.at(), &r.out) })
		r.wantDrop("counted", ReasonUnreachable)
		r.event(fromBroker("a/b", "y", 1, 2))
		r.advance(time.Hour)
		r.wantQuiet("nothing is sent there")
		r.wantState("what silence means is another matter", StateActive)
		r.send(sn12.PingReq{})
		r.want("somebody is there after all", sn12.PingResp{})
		r.want("and is asked", sn12.PingReq{})
		r.send(sn12.PingResp{})
		r.want("and gets it", dup(pub(1, 1, 1, "x")))
		r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		r.wantAck("it has it", 1)
		r.want("and what has waited", pub(1, 1, 2, "y"))
		r.send(sn12.PubAck{TopicID: 1, MsgID: 2})
		r.wantAck("it has it", 2)
	})
	t.Run("of a proven one can be forged and is ignored", func(t *testing.T) {
		r := subscribed(t, proofConfig(), "a/b", 1)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want("QoS 1", pub(1, 1, 1, "x"))
		r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		r.wantAck("it has it", 1)
		r.event(fromBroker("a/b", "y", 1, 2))
		r.want("QoS 1", pub(1, 1, 2, "y"))
		r.step("unreachable", func() { r.s.Unreachable(r.at(), &r.out) })
		r.wantDrop("nothing")
		r.advance(10 * time.Second)
		r.want("goes on", dup(pub(1, 1, 2, "y")))
	})
}

// TestProofSurvivesARestart: it is stored with the rest, and an address that was not
// proven is not afterwards.
func TestProofSurvivesARestart(t *testing.T) {
	for _, proven := range []bool{false, true} {
		s := newSession(proofConfig(), "dev")
		s.state, s.kept = StateActive, true
		if proven {
			s.addr.reach = nil
		}
		cfg := proofConfig()
		cfg.Durable = true
		again := newSession(cfg, "dev")
		if err := again.Load(RecordSession, nil, s.appendSession()); err != nil {
			t.Fatal(err)
		}
		if got := again.addr.reach == nil; got != proven {
			t.Errorf("proven is %v after %v", got, proven)
		}
	}
}

// TestEndOfASessionForgetsTheProof: the address may be somebody else's when it begins
// again.
func TestEndOfASessionForgetsTheProof(t *testing.T) {
	r := subscribed(t, proofConfig(), "a/b", 1)
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("QoS 1", pub(1, 1, 1, "x"))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
	r.wantAck("it has it", 1)
	if r.s.addr.reach != nil {
		t.Fatal("not proven")
	}
	r.send(sn12.Disconnect{})
	r.sent, r.acts = nil, nil
	if r.s.addr.reach == nil {
		t.Error("still proven")
	}
}

// TestWithoutTheProofNothingIsBounded: session.prove_address = false.
func TestWithoutTheProofNothingIsBounded(t *testing.T) {
	r := subscribed(t, testConfig(), "a/b", 0)
	var want [][]byte
	for range 100 {
		r.event(fromBroker("a/b", strings.Repeat("x", 100), 0, 0))
		want = append(want, slices.Clone(r.sent)...)
		r.sent = nil
	}
	if len(want) != 100 || bytes.Contains(want[0], []byte{2, byte(sn12.TypePingReq)}) {
		t.Errorf("%d datagrams", len(want))
	}
}

// TestBurstBeforeTheProof: retained messages come at once after SUBSCRIBE. They wait
// with the broker for the answer to PINGREQ; without one, QoS 0 is dropped as for a sleeper.
func TestBurstBeforeTheProof(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "unanswered": false} {
		t.Run(name, func(t *testing.T) {
			r := subscribed(t, proofConfig(), "a/b", 0)
			long := strings.Repeat("x", 200)
			r.event(fromBroker("a/b", long, 0, 0))
			r.want("is anybody there?", sn12.PingReq{})
			n := 1
			for ; len(r.acts) == 0 && n < 100; n++ {
				r.event(fromBroker("a/b", long, 0, 0))
				r.wantDrop("nothing")
			}
			r.wantAction("the rest waits with the broker", Action{Kind: ActionPause})
			for range 40 { // what was on its way
				n++
				r.event(fromBroker("a/b", long, 0, 0))
				r.wantDrop("nothing")
			}
			if answers {
				r.send(sn12.PingResp{})
				got := 0
				for _, b := range r.sent {
					if m, _ := sn12.Parse(b); m.Type() == sn12.TypePublish {
						got++
					}
				}
				if r.sent = nil; got < pingWorth/len(long)-3 {
					t.Errorf("%d of %d messages after the answer", got, n)
				}
			} else {
				r.advance(time.Minute)
				r.sent = nil
			}
			r.wantAction("reading goes on", Action{Kind: ActionResume})
		})
	}
}
