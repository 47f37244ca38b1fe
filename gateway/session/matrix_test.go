package session

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var update = flag.Bool("update", false, "rewrite testdata/matrix.golden")

// TestMatrix compares what every state does with every message type with
// testdata/matrix.golden, which is meant to be read: a change of it is a change of
// behaviour, to be judged line by line.
func TestMatrix_Case8(t *testing.T) {
	var b strings.Builder
	b.WriteString("Every state x every message of a device: what is sent to the device, what is asked\n" +
		"of the link, what is counted as dropped, and the state afterwards. \"-\": nothing.\n")
	for state, situation := range matrixSituations {
		fmt.Fprintf(&b, "\n== %v: %s\n\n", State(state), situation.is)
		rows := [][]string{{"message", "sent to the device", "link", "dropped", "state"}}
		for _, in := range matrixInputs() {
			rows = append(rows, matrixRow(t, State(state), situation.reach, in))
		}
		writeAligned(&b, rows)
	}
	const file = "testdata/matrix.golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Errorf("line %d:\n got %s\nwant %s", i+1, gotLines[i], wantLines[i])
			}
		}
		t.Errorf("%s differs; if every line of the change is right: go test -run Matrix -update", file)
	}
}

// matrixSituations is how each state is reached, indexed by State.
var matrixSituations = [numStates]struct {
	is    string
	reach func(r *rig)
}{
	StateNew:       {"nothing has come yet", func(*rig) {}},
	StateWillTopic: {"CONNECT with Will=1 has come, CleanSession=0", matrixWillTopic},
	StateWillMsg: {"and WILLTOPIC", func(r *rig) {
		matrixWillTopic(r)
		r.send(sn12.WillTopic{Topic: []byte("will")})
		r.sent = nil
	}},
	StateConnecting: {"the broker has not answered", func(r *rig) {
		r.send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.acts = nil
	}},
	StateActive: {"CleanSession=0, topic id 1 is a/b, subscribed, will set; QoS 2 MsgId 2 from the device awaits PUBREL; CONNACK is 30 s old", matrixActive},
	StateAsleep: {"the same, and one QoS 1 message is held", func(r *rig) {
		matrixActive(r)
		r.sleep(60)
		r.event(fromBroker("a/b", "held", 1, 1))
	}},
	StateAwake: {"the same, and the held message is sent with MsgId 1", func(r *rig) {
		matrixActive(r)
		r.sleep(60)
		r.event(fromBroker("a/b", "held", 1, 1))
		r.wake()
		r.sent = nil
	}},
	StateDisconnected: {"DISCONNECT has come, CleanSession=0, the link is closed", func(r *rig) {
		matrixActive(r)
		r.send(sn12.Disconnect{})
		r.sent, r.acts = nil, nil
		r.event(Event{Kind: EventClosed})
	}},
	StateLost: {"the keep-alive has expired, CleanSession=0, the link is closed", func(r *rig) {
		matrixActive(r)
		r.advance(90*time.Second - lateWindow)
		r.sent, r.acts = nil, nil
		r.event(Event{Kind: EventClosed})
	}},
}

func matrixWillTopic(r *rig) {
	r.send(sn12.Connect{Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.sent = nil
}

func matrixActive(r *rig) {
	r.connectWill(false, &Will{Topic: "will", Message: []byte("w")})
	r.subscribe("a/b", 1)
	r.send(sn12.Publish{QoS: 2, TopicID: 1, MsgID: 2, Data: []byte("x")})
	a := r.wantAction("QoS 2", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: 2})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("PUBREC", sn12.PubRec{MsgID: 2})
	r.advance(30 * time.Second) // a CONNECT is no late repeat any more
	r.later()
}

type matrixInput struct {
	name string
	raw  []byte
}

// matrixInputs has every type of 1.2 in the order of its number, with the variants that
// differ in kind; then types that do not exist and frames that are none.
func matrixInputs() (list []matrixInput) {
	m := func(name string, m sn12.Message) {
		b, err := m.Append(nil)
		if err != nil {
			panic(err)
		}
		list = append(list, matrixInput{name, b})
	}
	raw := func(name string, b ...byte) { list = append(list, matrixInput{name, b}) }
	id := []byte("dev")
	m("00 ADVERTISE", sn12.Advertise{GwID: 1, Duration: 900})
	m("01 SEARCHGW", sn12.SearchGW{})
	m("02 GWINFO", sn12.GWInfo{GwID: 1})
	raw("03 reserved", 2, 0x03)
	m("04 CONNECT clean=0", sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: id})
	m("04 CONNECT clean=1", sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: id})
	m("04 CONNECT clean=0 will=1", sn12.Connect{Will: true, ProtocolID: 1, Duration: 60, ClientID: id})
	m("05 CONNACK", sn12.ConnAck{})
	m("06 WILLTOPICREQ", sn12.WillTopicReq{})
	m("07 WILLTOPIC", sn12.WillTopic{Topic: []byte("will")})
	m("07 WILLTOPIC empty", sn12.WillTopic{Empty: true})
	m("08 WILLMSGREQ", sn12.WillMsgReq{})
	m("09 WILLMSG", sn12.WillMsg{Message: []byte("m")})
	m("0A REGISTER", sn12.Register{MsgID: 9, TopicName: []byte("c/d")})
	m("0B REGACK", sn12.RegAck{TopicID: 1, MsgID: 1})
	m("0C PUBLISH QoS -1 short", sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab")})
	m("0C PUBLISH QoS 0", sn12.Publish{TopicID: 1})
	m("0C PUBLISH QoS 1", sn12.Publish{QoS: 1, TopicID: 1, MsgID: 9})
	m("0C PUBLISH QoS 2", sn12.Publish{QoS: 2, TopicID: 1, MsgID: 9})
	m("0C PUBLISH QoS 1 unknown id", sn12.Publish{QoS: 1, TopicID: 77, MsgID: 9})
	m("0D PUBACK", sn12.PubAck{TopicID: 1, MsgID: 1})
	m("0D PUBACK rc=02", sn12.PubAck{TopicID: 1, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
	m("0E PUBCOMP", sn12.PubComp{MsgID: 1})
	m("0F PUBREC", sn12.PubRec{MsgID: 1})
	m("10 PUBREL MsgId 2", sn12.PubRel{MsgID: 2})
	m("10 PUBREL unknown", sn12.PubRel{MsgID: 9})
	raw("11 reserved", 2, 0x11)
	m("12 SUBSCRIBE", sn12.Subscribe{QoS: 1, MsgID: 9, TopicName: []byte("c/#")})
	m("13 SUBACK", sn12.SubAck{MsgID: 1})
	m("14 UNSUBSCRIBE", sn12.Unsubscribe{MsgID: 9, TopicName: []byte("a/b")})
	m("15 UNSUBACK", sn12.UnsubAck{MsgID: 1})
	m("16 PINGREQ", sn12.PingReq{})
	m("16 PINGREQ with client id", sn12.PingReq{ClientID: id})
	m("17 PINGRESP", sn12.PingResp{})
	m("18 DISCONNECT", sn12.Disconnect{})
	m("18 DISCONNECT duration", sn12.Disconnect{HasDuration: true, Duration: 60})
	raw("19 reserved", 2, 0x19)
	m("1A WILLTOPICUPD", sn12.WillTopicUpd{Topic: []byte("v")})
	m("1A WILLTOPICUPD empty", sn12.WillTopicUpd{Empty: true})
	m("1B WILLTOPICRESP", sn12.WillTopicResp{})
	m("1C WILLMSGUPD", sn12.WillMsgUpd{Message: []byte("n")})
	m("1D WILLMSGRESP", sn12.WillMsgResp{})
	raw("1E reserved", 2, 0x1E)
	raw("FD reserved", 2, 0xFD)
	raw("FE encapsulated", 4, 0xFE, 0, 7, 2, 0x16)
	raw("FF reserved", 2, 0xFF)
	raw("length too large", 3, 0x16)
	raw("length too small", 2, 0x16, 0)
	raw("01 alone", 1)
	return list
}

func matrixRow(t *testing.T, state State, reach func(*rig), in matrixInput) []string {
	r := newRig(t, nil)
	reach(r)
	r.wantState(in.name, state)
	r.step(in.name, func() { r.s.Datagram(r.at(), bytes.Clone(in.raw), &r.out) })
	row := []string{in.name, "", "", "", r.s.State().String()}
	for _, b := range r.sent {
		row[1] = list(row[1], show(b))
	}
	for _, a := range r.acts {
		row[2] = list(row[2], showAction(a))
	}
	for _, reason := range r.drops {
		row[3] = list(row[3], reason.String())
	}
	if r.freed {
		row[4] += " (freed)"
	}
	r.sent, r.acts = nil, nil
	return row
}

func list(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// writeAligned writes rows as columns.
func writeAligned(b *strings.Builder, rows [][]string) {
	var width []int
	for _, row := range rows {
		for i := range row {
			if row[i] == "" {
				row[i] = "-"
			}
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			if i < len(row)-1 {
				cell += strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
			}
			b.WriteString(cell)
		}
		b.WriteByte('\n')
	}
}

// show writes a datagram of the gateway as text.
func show(b []byte) string {
	m, err := sn12.Parse(b)
	if err != nil {
		return fmt.Sprintf("%x (%v)", b, err)
	}
	switch m := m.(type) {
	case sn12.ConnAck:
		return fmt.Sprintf("CONNACK rc=%02X", uint8(m.ReturnCode))
	case sn12.Register:
		return fmt.Sprintf("REGISTER id=%d mid=%d %s", m.TopicID, m.MsgID, m.TopicName)
	case sn12.RegAck:
		return fmt.Sprintf("REGACK id=%d mid=%d rc=%02X", m.TopicID, m.MsgID, uint8(m.ReturnCode))
	case sn12.Publish:
		dup := ""
		if m.DUP {
			dup = " DUP"
		}
		return fmt.Sprintf("PUBLISH QoS %d%s id=%d mid=%d", m.QoS, dup, m.TopicID, m.MsgID)
	case sn12.PubAck:
		return fmt.Sprintf("PUBACK id=%d mid=%d rc=%02X", m.TopicID, m.MsgID, uint8(m.ReturnCode))
	case sn12.PubRec:
		return fmt.Sprintf("PUBREC mid=%d", m.MsgID)
	case sn12.PubRel:
		return fmt.Sprintf("PUBREL mid=%d", m.MsgID)
	case sn12.PubComp:
		return fmt.Sprintf("PUBCOMP mid=%d", m.MsgID)
	case sn12.SubAck:
		return fmt.Sprintf("SUBACK QoS %d id=%d mid=%d rc=%02X", m.QoS, m.TopicID, m.MsgID, uint8(m.ReturnCode))
	case sn12.UnsubAck:
		return fmt.Sprintf("UNSUBACK mid=%d", m.MsgID)
	case sn12.WillTopicResp:
		return fmt.Sprintf("WILLTOPICRESP rc=%02X", uint8(m.ReturnCode))
	case sn12.WillMsgResp:
		return fmt.Sprintf("WILLMSGRESP rc=%02X", uint8(m.ReturnCode))
	}
	return m.Type().String()
}

var actionNames = map[ActionKind]string{
	ActionConnect: "connect", ActionSetWill: "set will", ActionPublish: "publish", ActionAwait: "await",
	ActionSubscribe: "subscribe", ActionUnsubscribe: "unsubscribe", ActionAck: "ack", ActionPing: "ping",
	ActionCloseClean: "close clean", ActionCloseDrain: "close drain", ActionCloseAbort: "close abort",
	ActionPause: "pause", ActionResume: "resume", ActionState: "state", ActionFree: "free", ActionGivenUp: "given up",
}

// showAction writes an action as text, without its token.
func showAction(a Action) string {
	s := actionNames[a.Kind]
	switch a.Kind {
	case ActionConnect, ActionSetWill:
		if a.Kind == ActionConnect {
			s += fmt.Sprintf(" clean=%v", a.Clean)
		}
		if a.Will == nil {
			return s + " no will"
		}
		return s + fmt.Sprintf(" will %s=%s", a.Will.Topic, a.Will.Message)
	case ActionPublish, ActionSubscribe:
		return s + fmt.Sprintf(" QoS %d %s", a.QoS, a.Topic)
	case ActionUnsubscribe:
		return s + " " + a.Topic
	case ActionAck:
		return s + fmt.Sprint(" ", a.Handle)
	case ActionState:
		return s + fmt.Sprintf(" %v (%v)", a.State, a.Reason)
	}
	return s
}

// TestMatrixAllTypesAllLengths feeds every type with bodies of 0 to 8 octets to every
// state; a connected device is still answered afterwards, unless that ended it.
func TestMatrixAllTypesAllLengths_Case1_8(t *testing.T) {
	for state, situation := range matrixSituations {
		for msgType := range 256 {
			for size := range 9 {
				r := newRig(t, nil)
				situation.reach(r)
				b, err := snpacket.AppendHeader(nil, byte(msgType), size)
				if err != nil {
					t.Fatal(err)
				}
				r.sendRaw(append(b, bytes.Repeat([]byte{byte(size)}, size)...))
				r.sent, r.acts = nil, nil
				if before := r.s.State(); before == StateActive {
					r.send(sn12.PingReq{})
					r.want(fmt.Sprintf("in state %v after type %02X with %d octets", State(state), msgType, size), sn12.PingResp{})
				}
				r.sent, r.acts = nil, nil
			}
		}
	}
}
