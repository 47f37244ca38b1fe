package upstream_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

var update = flag.Bool("update", false, "rewrite testdata/states.golden")

// TestStates compares what every state of a Link does with every input with
// testdata/states.golden, which is meant to be read: a change of it is a change of
// behaviour, to be judged line by line. The transitions seen are those that state.go says are
// legal, and all of them.
func TestStates(t *testing.T) {
	seen := make(map[string]bool)
	var b strings.Builder
	b.WriteString("Every state of a link x every input: the state afterwards, what is reported, what is\n" +
		"done at the broker, and the next deadline. \"-\": nothing. \"draining\": a CloseDrain waits.\n")
	for _, s := range situations() {
		fmt.Fprintf(&b, "\n== %s\n\n", s.is)
		rows := [][]string{{"input", "state", "events", "at the broker", "deadline"}}
		for _, in := range stateInputs() {
			if (!in.peer || s.peer) && (!in.moved || s.state == "up" && s.opt.FailBack > 0) {
				row := stateRow(t, s, in)
				rows = append(rows, row)
				to, _, _ := strings.Cut(row[1], ",")
				seen[s.state+" -> "+to] = true
			}
		}
		writeAligned(&b, rows)
	}
	compareGolden(t, "testdata/states.golden", b.String())
	if diff := cmp.Diff(legalTransitions(t), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("state.go says other transitions than there are (-legal +seen):\n%s", diff)
	}
}

// legalTransitions reads the table in the comment of linkState.
func legalTransitions(t *testing.T) (list []string) {
	src, err := os.ReadFile("state.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile(`(?m)^//\t(\w+) +(.+)$`).FindAllStringSubmatch(string(src), -1) {
		for to := range strings.SplitSeq(row[2], ", ") {
			if to == "=" {
				to = row[1]
			}
			list = append(list, row[1]+" -> "+to)
		}
	}
	slices.Sort(list)
	return list
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
		s.runUntilIdle()
		if got := upstream.StateOf(s.o.Link); got != at.state {
			t.Fatalf("%s: the state is %s", at.is, got)
		}
		s.o.past, s.o.events = s.o.events, nil
		s.octets()
		in.do(s)
		s.runUntilIdle()
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
		s.runUntilIdle()
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
	if s.next != nil {
		for s.next.Conn.Buffered() > 0 {
			list = append(list, "over the new one: "+packetText(s.next.Read()))
		}
		if s.next.Conn.Ended() {
			list = append(list, "end of the new one")
		}
	}
	for range s.lis.Dialled() {
		p := s.lis.Accept(s.t)
		if p.Conn.Buffered() == 0 {
			list = append(list, "a new connection: silent")
			continue
		}
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
		upstream.EventClosed: "closed", upstream.EventReceived: "received", upstream.EventReleased: "released", upstream.EventForgotten: "forgotten",
		upstream.EventParked: "parked", upstream.EventDoubted: "doubted", upstream.EventRepeated: "repeated", upstream.EventRenewed: "renewed", upstream.EventBadPacket: "bad packet",
	}
	refusals := [...]string{upstream.RefusedForNow: "for now", upstream.RefusedClientID: "for the client id",
		upstream.RefusedForGood: "for good", upstream.RefusedByClosing: "by closing", upstream.RefusedWithoutCredentials: "without credentials"}
	for _, e := range events {
		text := names[e.Kind]
		if e.Token != 0 {
			text += fmt.Sprintf(" %d", e.Token)
		}
		if e.SessionPresent {
			text += " (session present)"
		}
		if e.Granted != 0 {
			text += fmt.Sprintf(" QoS %d", e.Granted)
		}
		if e.Refusal.Kind != upstream.NotRefused {
			text += fmt.Sprintf(" %s (%s)", refusals[e.Refusal.Kind], e.Refusal.Text)
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
