package upstream_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

var update = flag.Bool("update", false, "rewrite testdata/states.golden")

// TestStates compares what every state of a Link does with every input with
// testdata/states.golden, which is meant to be read: a change of it is a change of
// behaviour, to be judged line by line.
func TestStates(t *testing.T) {
	var b strings.Builder
	b.WriteString("Every state of a link x every input: the state afterwards, what is reported, what is\n" +
		"done at the broker, and the next deadline. \"-\": nothing. \"draining\": a CloseDrain waits.\n")
	for _, s := range situations() {
		fmt.Fprintf(&b, "\n== %s\n\n", s.is)
		rows := [][]string{{"input", "state", "events", "at the broker", "deadline"}}
		for _, in := range stateInputs() {
			if !in.peer || s.peer {
				rows = append(rows, stateRow(t, s, in))
			}
		}
		writeAligned(&b, rows)
	}
	compareGolden(t, "testdata/states.golden", b.String())
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, gotLines[i], wantLines[i])
		}
	}
	t.Errorf("%s differs; if every line of the change is right: go test -run States -update", file)
}

// stage is a Link in a situation, and the broker's end of its newest connection, if it
// has one.
type stage struct {
	*rig
	o *owned
	p *upstreamtest.Peer
}

type situation struct {
	is    string
	state string // of upstream.StateOf
	peer  bool   // there is a broker's end
	opt   upstream.Options
	reach func(s *stage)
}

func situations() []situation {
	moved := upstream.Options{Address: "a:1", Fallbacks: []string{"b:1"}, FailBack: 10 * time.Second, PingInterval: time.Hour, AnswerTimeout: time.Hour}
	return []situation{
		{is: "idle: new", state: "idle", reach: func(*stage) {}},
		{is: "idle: closed, and a QoS 1 message of the device is unacknowledged", state: "idle", reach: func(s *stage) {
			s.busy()
			s.o.Close(s.now(), upstream.CloseAbort)
			s.settle()
			s.p = nil
		}},
		{is: "dormant: reopened, until the device speaks", state: "dormant", reach: func(s *stage) {
			s.o.Reopen(s.now(), persistent, upstream.ReopenWhenNudged)
		}},
		{is: "connecting: for the owner; CONNECT is sent", state: "connecting", peer: true, reach: func(s *stage) {
			s.o.Connect(s.now(), persistent)
			s.dialled()
		}},
		{is: "connecting: for the owner; it waits for a slot", state: "connecting", opt: upstream.Options{MaxDials: 1}, reach: func(s *stage) {
			s.takeSlot()
			s.o.Connect(s.now(), persistent)
		}},
		{is: "reconnecting: after a loss; CONNECT is sent, and a QoS 1 message of the device is unacknowledged", state: "reconnecting", peer: true, reach: func(s *stage) {
			s.lose()
			s.pass(2 * time.Second)
			s.dialled()
		}},
		{is: "reconnecting: reopened; it waits for a slot", state: "reconnecting", opt: upstream.Options{MaxDials: 1}, reach: func(s *stage) {
			s.takeSlot()
			s.o.Reopen(s.now(), persistent, upstream.ReopenNow)
		}},
		{is: "up: and nothing under way", state: "up", peer: true, reach: func(s *stage) { s.p = s.o.connect(persistent, false) }},
		{is: "up: QoS 1 message 10 of the device, request 11 and ping 12 are unanswered, and so is QoS 1 message 7 of the broker", state: "up", peer: true, reach: (*stage).busy},
		{is: "up: the same, draining", state: "up", peer: true, reach: func(s *stage) {
			s.busy()
			s.o.Close(s.now(), upstream.CloseDrain)
		}},
		{is: "backoff: lost with the same, before the next try", state: "backoff", reach: func(s *stage) { s.lose() }},
		{is: "backoff: the same, draining", state: "backoff", reach: func(s *stage) {
			s.lose()
			s.o.Close(s.now(), upstream.CloseDrain)
		}},
		{is: "parked: the broker has said that another connection has the session", state: "parked", reach: func(s *stage) {
			s.busy()
			s.p.SendRaw(0xe0, 1, 0x8e)
			s.p.Conn.Close()
			s.pass(3 * time.Second)
			s.p = nil
		}},
		{is: "closing: DISCONNECT is sent, with the same under way", state: "closing", peer: true, reach: func(s *stage) {
			s.busy()
			s.o.Close(s.now(), upstream.CloseGraceful)
		}},
		{is: "closing: before CONNACK", state: "closing", peer: true, reach: func(s *stage) {
			s.o.Connect(s.now(), persistent)
			s.dialled()
			s.o.Close(s.now(), upstream.CloseGraceful)
		}},
		{is: "replacing: DISCONNECT is sent, with the same under way; then a connection for the owner", state: "replacing", peer: true, reach: func(s *stage) {
			s.busy()
			s.o.Connect(s.now(), persistent)
		}},
		{is: "moving: DISCONNECT is sent, with the same under way; then a connection to the broker in use", state: "moving", peer: true, opt: moved, reach: func(s *stage) {
			s.d.StartAt("b:1")
			s.busy()
			s.pass(10 * time.Second)
			s.lis.Accept(s.t).Accept(false) // the trial of the preferred broker
		}},
	}
}

// busy opens the connection and puts one of everything under way.
func (s *stage) busy() {
	s.p = s.o.connect(persistent, false)
	s.o.Publish(s.now(), 10, "up/t", []byte("x"), 1, false)
	s.o.Subscribe(s.now(), 11, "down/#", 1)
	s.o.Ping(s.now(), 12)
	s.p.Publish("down/t", "y", 1, 7, false)
	s.settle()
}

func (s *stage) lose() {
	s.busy()
	s.p.Conn.Close()
	s.settle()
	s.p = nil
}

// dialled takes the broker's end of the connect in progress.
func (s *stage) dialled() {
	s.settle()
	s.p = s.lis.Accept(s.t)
	upstreamtest.Want[*packets.ConnectPacket](s.p, "a connection begins with CONNECT")
}

// takeSlot lets another Link have the only slot.
func (s *stage) takeSlot() {
	other := s.link()
	other.Connect(s.now(), &upstream.Connect{ClientID: "other"})
	s.settle()
	s.lis.Accept(s.t)
}

type stateInput struct {
	name string
	peer bool // the broker does it
	do   func(s *stage)
}

func stateInputs() []stateInput {
	long := strings.Repeat("x", 65536)
	clean := &upstream.Connect{ClientID: "dev", KeepAlive: 600, CleanSession: true}
	publish := func(m upstream.Publish) func(s *stage) {
		m.Topic, m.Payload = "up/n", []byte("n")
		return func(s *stage) { s.o.Link.Publish(s.now(), m) }
	}
	closes := func(mode upstream.CloseMode) func(s *stage) {
		return func(s *stage) { s.o.Close(s.now(), mode) }
	}
	send := func(b ...byte) func(s *stage) { return func(s *stage) { s.p.SendRaw(b...) } }
	return []stateInput{
		{name: "Connect", do: func(s *stage) { s.o.Connect(s.now(), persistent) }},
		{name: "Connect, clean session", do: func(s *stage) { s.o.Connect(s.now(), clean) }},
		{name: "Connect, client id too long", do: func(s *stage) { s.o.Connect(s.now(), &upstream.Connect{ClientID: long}) }},
		{name: "Reopen now", do: func(s *stage) { s.o.Reopen(s.now(), persistent, upstream.ReopenNow) }},
		{name: "Reopen when nudged", do: func(s *stage) { s.o.Reopen(s.now(), persistent, upstream.ReopenWhenNudged) }},
		{name: "Reopen, client id too long", do: func(s *stage) { s.o.Reopen(s.now(), &upstream.Connect{ClientID: long}, upstream.ReopenNow) }},
		{name: "Publish QoS 0", do: publish(upstream.Publish{})},
		{name: "Publish QoS 1", do: publish(upstream.Publish{Token: 20, QoS: 1})},
		{name: "Publish QoS 2", do: publish(upstream.Publish{Token: 20, QoS: 2})},
		{name: "Publish QoS 2, released", do: publish(upstream.Publish{Token: 20, QoS: 2, ID: upstream.MinOwnerID, Released: true})},
		{name: "Cancel", do: func(s *stage) { s.o.Cancel(10) }},
		{name: "Subscribe", do: func(s *stage) { s.o.Subscribe(s.now(), 21, "down/n", 2) }},
		{name: "Unsubscribe", do: func(s *stage) { s.o.Unsubscribe(s.now(), 21, "down/n") }},
		{name: "Ack", do: func(s *stage) { s.o.Ack(s.now(), s.held()) }},
		{name: "Complete", do: func(s *stage) { s.o.Complete(9) }},
		{name: "Ping", do: func(s *stage) { s.o.Ping(s.now(), 22) }},
		{name: "Nudge", do: func(s *stage) { s.o.Nudge(s.now()) }},
		{name: "Want", do: func(s *stage) { s.o.Want(s.now(), true) }},
		{name: "Pause", do: func(s *stage) { s.o.Pause() }},
		{name: "Close, graceful", do: closes(upstream.CloseGraceful)},
		{name: "Close, drain", do: closes(upstream.CloseDrain)},
		{name: "Close, abort", do: closes(upstream.CloseAbort)},
		{name: "the deadline", do: func(s *stage) {
			if at := s.o.Deadline(); at != upstream.Never {
				<-time.After(at - s.now())
				s.o.Advance(s.now())
			}
		}},
		{name: "CONNACK", peer: true, do: send(0x20, 2, 0, 0)},
		{name: "CONNACK, session present", peer: true, do: send(0x20, 2, 1, 0)},
		{name: "CONNACK, server unavailable", peer: true, do: send(0x20, 2, 0, 3)},
		{name: "CONNACK, not authorized", peer: true, do: send(0x20, 2, 0, 5)},
		{name: "PUBLISH QoS 0", peer: true, do: send(0x30, 4, 0, 1, 't', 'z')},
		{name: "PUBLISH QoS 1", peer: true, do: send(0x32, 6, 0, 1, 't', 0, 8, 'z')},
		{name: "PUBLISH QoS 1, repeated", peer: true, do: func(s *stage) { s.p.Publish("down/t", "y", 1, 7, true) }},
		{name: "PUBACK", peer: true, do: send(0x40, 2, 0, 1)},
		{name: "PUBREC", peer: true, do: send(0x50, 2, 0, 1)},
		{name: "PUBREL", peer: true, do: send(0x62, 2, 0, 1)},
		{name: "PUBCOMP", peer: true, do: send(0x70, 2, 0, 1)},
		{name: "SUBACK", peer: true, do: send(0x90, 3, 0, 2, 1)},
		{name: "UNSUBACK", peer: true, do: send(0xb0, 2, 0, 2)},
		{name: "PINGRESP", peer: true, do: send(0xd0, 0)},
		{name: "DISCONNECT", peer: true, do: send(0xe0, 0)},
		{name: "the end of the connection", peer: true, do: func(s *stage) { s.p.Conn.Close() }},
	}
}

// held is the handle of the message of the broker that has been reported.
func (s *stage) held() upstream.Handle {
	for _, e := range s.o.past {
		if e.Kind == upstream.EventMessage {
			return e.Handle
		}
	}
	return 1<<16 | 7
}

func stateRow(t *testing.T, at situation, in stateInput) (row []string) {
	bubble(t, at.opt, func(r *rig) {
		s := &stage{rig: r, o: r.link()}
		at.reach(s)
		s.settle()
		if got := upstream.StateOf(s.o.Link); got != at.state {
			t.Fatalf("%s: the state is %s", at.is, got)
		}
		s.o.past, s.o.events = s.o.events, nil
		s.octets()
		in.do(s)
		s.settle()
		state := upstream.StateOf(s.o.Link)
		if upstream.DrainingOf(s.o.Link) {
			state += ", draining"
		}
		due := "-"
		if at := s.o.Deadline(); at != upstream.Never {
			due = (at - s.now()).String()
		}
		row = []string{in.name, state, orDash(eventTexts(s.o.events)), orDash(s.octets()), due}
		s.o.Close(s.now(), upstream.CloseAbort)
		s.settle()
	})
	return row
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, "; ")
}

// octets takes what has arrived at the broker's end, and new connects.
func (s *stage) octets() (list []string) {
	if s.p != nil {
		for s.p.Conn.Buffered() > 0 {
			list = append(list, packetText(s.p.Read()))
		}
		if s.p.Conn.Ended() {
			list = append(list, "end")
		}
	}
	for range s.lis.Dialled() {
		p := s.lis.Accept(s.t)
		c := upstreamtest.Want[*packets.ConnectPacket](p, "a connection begins with CONNECT")
		list = append(list, fmt.Sprintf("a new connection: CONNECT %s", c.ClientIdentifier))
	}
	return list
}

func packetText(cp packets.ControlPacket) string {
	text := packets.PacketNames[firstOctet(cp)>>4]
	d := cp.Details()
	if p, ok := cp.(*packets.PublishPacket); ok {
		text += fmt.Sprintf(" QoS %d", p.Qos)
		if p.Dup {
			text += " DUP"
		}
	}
	if d.MessageID != 0 {
		text += fmt.Sprintf(" id %d", d.MessageID)
	}
	return text
}

func firstOctet(cp packets.ControlPacket) byte {
	var b bytes.Buffer
	_ = cp.Write(&b) // a bytes.Buffer does not fail
	return b.Bytes()[0]
}

func eventTexts(events []upstream.Event) (list []string) {
	names := [...]string{
		upstream.EventConnected: "connected", upstream.EventRefused: "refused", upstream.EventDown: "down", upstream.EventUp: "up",
		upstream.EventPublished: "published", upstream.EventPublishFailed: "publish failed", upstream.EventSubscribed: "subscribed",
		upstream.EventUnsubscribed: "unsubscribed", upstream.EventMessage: "message", upstream.EventPong: "pong",
		upstream.EventClosed: "closed", upstream.EventReceived: "received", upstream.EventReleased: "released",
		upstream.EventDoubted: "doubted", upstream.EventRepeated: "repeated", upstream.EventBadPacket: "bad packet",
	}
	for _, e := range events {
		text := names[e.Kind]
		if e.Token != 0 {
			text += fmt.Sprintf(" %d", e.Token)
		}
		if e.SessionPresent {
			text += " (session present)"
		}
		if e.Code != 0 {
			text += fmt.Sprintf(" code %d", e.Code)
		}
		for _, err := range []error{upstream.ErrTimeout, upstream.ErrBusy, upstream.ErrCancelled, upstream.ErrCongested, upstream.ErrMoved,
			upstream.ErrLost, upstream.ErrTooLarge, upstream.ErrRejected, upstream.ErrUnanswered, upstream.ErrInvalid} {
			if errors.Is(e.Err, err) {
				text += ": " + strings.TrimPrefix(err.Error(), "upstream: ")
			}
		}
		if e.Err != nil && !strings.Contains(text, ": ") {
			text += ": " + strings.TrimPrefix(e.Err.Error(), "upstream: ")
		}
		list = append(list, text)
	}
	return list
}

// writeAligned writes rows in columns.
func writeAligned(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s  ", width[i], cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
