package session

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"sngate/gateway/session/dialogue"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// driver turns a script of octets into inputs, feeds them to two sessions that must
// behave alike, and keeps its own account of what it has seen.
type driver struct {
	t      *testing.T
	script []byte
	trace  []string

	cfg     *Config
	s, twin *Session
	out     Out
	twinOut Out
	now     Time
	env     Env // but for its Now

	before   State     // of the step
	listened bool      // before the step
	input    sn12.Type // of the step, if byDevice
	byDevice bool
	ended    bool // by ActionFree

	open     bool             // between ActionConnect and an ActionClose
	pending  []Action         // requests to the link without an answer
	relayed  map[Token]answer // PUBLISHes of the device: what may be answered
	safe     map[answer]bool  // with the broker
	unacked  map[Handle]bool  // messages of the broker
	handles  Handle
	request  sn12.Message // last of the gateway's requests
	inFlight uint16       // MsgId of the PUBLISH on its way to the device; 0: none
}

// answer names a PUBLISH of the device.
type answer struct {
	msgID uint16
	qos   uint8
}

func runScript(t *testing.T, script []byte) {
	cfg := testConfig()
	cfg.MaxInFlight, cfg.MaxTopics, cfg.MaxSubscriptions = 3, 5, 3
	cfg.MaxMessages, cfg.MaxBytes, cfg.MaxPacketSize = 4, 600, 300
	cfg.RetryCount = 2
	cfg.PublishesWills = len(script)%2 == 1
	cfg.ProveAddress = len(script)%4 > 1
	cfg.Predefined = predefined(t, 3, "p")
	d := &driver{
		t: t, script: script, cfg: cfg, s: newSession(cfg, "dev"), twin: newSession(cfg, "dev"), now: epoch, env: envAt(epoch),
		relayed: map[Token]answer{}, safe: map[answer]bool{}, unacked: map[Handle]bool{},
	}
	defer func() {
		if p := recover(); p != nil {
			d.fail("panic: %v", p)
			panic(p)
		}
	}()
	for len(d.script) > 0 && !d.ended && !t.Failed() {
		d.next()
	}
}

// at is the environment of the next step.
func (d *driver) at() Env {
	d.env.Now = d.now
	return d.env
}

func (d *driver) fail(format string, args ...any) {
	d.t.Helper()
	for _, line := range d.trace[max(0, len(d.trace)-40):] {
		d.t.Log(line)
	}
	d.t.Errorf(format, args...)
}

// octet takes one octet of the script, below n.
func (d *driver) octet(n int) int {
	if len(d.script) == 0 {
		return 0
	}
	b := d.script[0]
	d.script = d.script[1:]
	return int(b) % n
}

func (d *driver) next() {
	switch op := d.octet(32); {
	case op < 6:
		d.datagram(d.message())
	case op < 8:
		b := d.message()
		for range 1 + d.octet(3) {
			switch i := d.octet(len(b)); d.octet(3) {
			case 0:
				b[i] = byte(d.octet(256))
			case 1:
				b = append(b, byte(d.octet(256)))
			default:
				b = b[:max(1, i)]
				b[0] = byte(len(b))
			}
		}
		d.datagram(b)
	case op < 9:
		b := make([]byte, d.octet(12))
		for i := range b {
			b[i] = byte(d.octet(256))
		}
		d.datagram(b)
	case op < 15:
		d.reply()
	case op < 21:
		d.serve()
	case op < 25:
		d.fromBroker()
	case op < 27:
		d.event(Event{
			Kind: [...]EventKind{
				0, EventConnected, EventRefused, EventDown, EventUp, EventParked, EventPublished, EventPublishFailed, EventSubscribed,
				EventUnsubscribed, EventMessage, EventPong, EventClosed, EventRenewed,
			}[d.octet(14)], Refused: Refusal(d.octet(256) % 3), SessionPresent: d.octet(2) == 0, Failed: d.octet(2) == 0,
			Token: Token(d.octet(24)),
		})
	case op < 29:
		if at := d.s.Deadline(); at != Never {
			d.now = max(d.now, at)
		}
		d.advance()
	case op < 30:
		d.now += time.Duration(d.octet(200)) * 100 * time.Millisecond
		d.advance()
	case op < 31:
		d.now += time.Duration(d.octet(50)) * time.Second // the shell is late
	default:
		switch d.octet(8) {
		case 0:
			d.step("stop", func(s *Session, out *Out) { s.Stop(d.at(), out) })
		case 1:
			d.step("address taken", func(s *Session, out *Out) { s.AddressReused(d.at(), out) })
		case 4:
			octets := d.octet(16) * 50
			d.env.Allowance = octets
			d.step(fmt.Sprintf("yield to %d", octets), func(s *Session, out *Out) { s.Yield(d.at(), out) })
		case 3:
			d.step("give way", func(s *Session, out *Out) { s.GiveWay(d.at(), out) })
		case 2:
			d.step("expire", func(s *Session, out *Out) { s.Expire(d.at(), out) })
		case 5:
			d.step("contested", func(s *Session, out *Out) { s.Contested(d.at(), out) })
		case 6:
			d.step("unreachable", func(s *Session, out *Out) { s.Unreachable(d.at(), out) })
		default:
			d.step("address changed", func(s *Session, _ *Out) { s.AddressChanged() })
		}
	}
}

var scriptTopics = []string{"a", "ab", "p", "t/long/topic/name", "w/1", "w/2", "w/3", "w/4"}

// message is a valid message of a device, with values that are likely to mean something.
func (d *driver) message() []byte {
	topic := []byte(scriptTopics[d.octet(len(scriptTopics))])
	msgID, topicID := uint16(d.octet(6)), uint16(d.octet(7))
	idType := sn12.TopicIDType(d.octet(4))
	qos, flag, data := uint8(d.octet(4)), d.octet(2) == 0, bytes.Repeat([]byte{7}, d.octet(4))
	if idType == sn12.TopicIDShort {
		topicID = sn12.ShortID("ab")
	}
	var m sn12.Message
	kind := d.octet(20)
	if kind == 12 || kind == 13 { // either a name or an id
		if idType == sn12.TopicIDReserved {
			idType = sn12.TopicIDNormal
		}
		if idType == sn12.TopicIDNormal {
			topicID = 0
		} else {
			topic = nil
		}
	}
	switch kind {
	case 0:
		m = sn12.Connect{CleanSession: flag, Will: topicID == 0, ProtocolID: 1, Duration: uint16(d.octet(3)) * 40, ClientID: []byte("dev")}
	case 1:
		m = sn12.WillTopic{QoS: qos, Retain: flag, Topic: topic}
	case 2:
		m = sn12.WillMsg{Message: data}
	case 3:
		m = sn12.Register{MsgID: msgID, TopicName: topic}
	case 4:
		m = sn12.RegAck{TopicID: topicID, MsgID: msgID, ReturnCode: sn12.ReturnCode(qos)}
	case 5, 6, 7:
		m = sn12.Publish{DUP: flag, QoS: qos, TopicIDType: idType, TopicID: topicID, MsgID: msgID, Data: data}
	case 8:
		m = sn12.PubAck{TopicID: topicID, MsgID: msgID, ReturnCode: sn12.ReturnCode(qos)}
	case 9:
		m = sn12.PubRec{MsgID: msgID}
	case 10:
		m = sn12.PubRel{MsgID: msgID}
	case 11:
		m = sn12.PubComp{MsgID: msgID}
	case 12:
		m = sn12.Subscribe{DUP: flag, QoS: qos, TopicIDType: idType, MsgID: msgID, TopicName: topic, TopicID: topicID}
	case 13:
		m = sn12.Unsubscribe{TopicIDType: idType, MsgID: msgID, TopicName: topic, TopicID: topicID}
	case 14, 15:
		m = sn12.PingReq{ClientID: []byte("dev")[:3*int(msgID&1)]}
	case 16:
		m = sn12.Disconnect{HasDuration: msgID > 0, Duration: msgID * 10}
	case 17:
		m = sn12.WillTopicUpd{QoS: qos, Topic: topic}
	case 18:
		m = sn12.WillMsgUpd{Message: data}
	default:
		m = sn12.Disconnect{HasDuration: true, Duration: 60}
	}
	b, err := m.Append(nil)
	if err != nil {
		d.t.Fatalf("append %+v: %v", m, err)
	}
	return b
}

// reply answers the last request of the gateway as a device would.
func (d *driver) reply() {
	code := sn12.Accepted
	if d.octet(8) == 0 {
		code = sn12.ReturnCode(d.octet(4))
	}
	var m sn12.Message
	switch r := d.request.(type) {
	case sn12.Register:
		m = sn12.RegAck{TopicID: r.TopicID, MsgID: r.MsgID, ReturnCode: code}
	case sn12.Publish:
		m = sn12.PubAck{TopicID: r.TopicID, MsgID: r.MsgID, ReturnCode: code}
		if r.QoS == 2 && code == sn12.Accepted {
			m = sn12.PubRec{MsgID: r.MsgID}
		}
	case sn12.PubRel:
		m = sn12.PubComp{MsgID: r.MsgID}
	case sn12.PubRec:
		m = sn12.PubRel{MsgID: r.MsgID}
	case sn12.WillTopicReq:
		m = sn12.WillTopic{QoS: uint8(d.octet(3)), Topic: []byte("will")}
	case sn12.WillMsgReq:
		m = sn12.WillMsg{Message: []byte("m")}
	case sn12.PingReq:
		m = sn12.PingResp{}
	case sn12.Disconnect:
		m = sn12.Connect{CleanSession: d.octet(2) == 0, Will: d.octet(3) == 0, ProtocolID: 1, Duration: 40, ClientID: []byte("dev")}
	default:
		m = sn12.PingReq{ClientID: []byte("dev")}
	}
	b, err := m.Append(nil)
	if err != nil {
		d.t.Fatalf("append %+v: %v", m, err)
	}
	d.datagram(b)
}

// serve answers the oldest request to the link as the link would.
func (d *driver) serve() {
	if len(d.pending) == 0 {
		return
	}
	a := d.pending[0]
	d.pending = d.pending[1:]
	ev := Event{Token: a.Token, SessionPresent: d.octet(2) == 0}
	bad := d.octet(8) == 0
	switch a.Kind {
	case ActionConnect:
		ev.Kind = EventConnected
		if bad {
			ev.Kind, ev.Refused = EventRefused, Refusal(d.octet(6)%4)
		}
	case ActionPublish:
		ev.Kind = EventPublished
		if bad {
			ev.Kind = EventPublishFailed
		}
	case ActionSubscribe:
		ev.Kind, ev.Granted, ev.Failed = EventSubscribed, uint8(d.octet(3)), bad
	case ActionUnsubscribe:
		ev.Kind, ev.Failed = EventUnsubscribed, bad
	case ActionPing:
		ev.Kind, ev.Failed = EventPong, bad
	default:
		ev.Kind = EventClosed
	}
	d.event(ev)
}

func (d *driver) fromBroker() {
	ev := Event{Kind: EventMessage, Topic: scriptTopics[d.octet(len(scriptTopics))], QoS: uint8(d.octet(3)), Retain: d.octet(2) == 0}
	ev.Payload = make([]byte, d.octet(100)*(1+d.octet(4)))
	ev.Oversize = d.octet(32) == 0
	if ev.QoS > 0 {
		d.handles++
		n := uint16(1 + d.octet(3))
		if ev.QoS == 2 {
			ev.Identity = identityOf(n, ev.Topic, string(ev.Payload))
		}
		ev.Handle, ev.Dup = d.handles, d.octet(3) == 0
		d.unacked[ev.Handle] = true
	}
	d.event(ev)
}

func (d *driver) event(ev Event) {
	if a, ok := d.relayed[ev.Token]; ok && ev.Kind == EventPublished {
		d.safe[a] = true
	}
	d.step(fmt.Sprintf("event %+v", ev), func(s *Session, out *Out) {
		own := ev
		s.Upstream(d.at(), &own, out)
	})
}

func (d *driver) datagram(b []byte) {
	f, err := snpacket.ParseFrame(b)
	if err == nil && sn12.Type(f.Type) == sn12.TypeConnect {
		c := parsed(d.t, b)
		if c.Fault != dialogue.Malformed && len(c.Name) > 0 {
			if code, _ := CheckConnect(d.cfg, &c); code != dialogue.Accepted {
				return // never reaches a session
			}
		}
	}
	d.byDevice, d.input = true, sn12.Type(f.Type)
	d.step("datagram "+describe(b), func(s *Session, out *Out) {
		own := bytes.Clone(b)
		s.Datagram(d.at(), own, out)
		// Payloads alias the datagram until the step is carried out.
		for i := range out.Actions {
			out.Actions[i].Payload = bytes.Clone(out.Actions[i].Payload)
		}
		for i := range own {
			own[i] = 0xA5
		}
	})
	d.byDevice = false
}

func (d *driver) advance() {
	d.step(fmt.Sprintf("advance to %v", d.now-epoch), func(s *Session, out *Out) { s.Advance(d.at(), out) })
	if at := d.s.Deadline(); at <= d.now {
		d.fail("deadline %v is not after now %v", at-epoch, d.now-epoch)
	}
}
