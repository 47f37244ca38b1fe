package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket/sn12"
)

func TestPubSendsWhatTheOptionsSay(t *testing.T) {
	file := write(t, "message", "from a file")
	const connect = "CONNECT clean=true will=false keepalive=60"
	for _, tc := range []struct {
		stdin string
		args  []string
		want  []string // what the gateway is asked
	}{
		{"", []string{"-t", "a/b", "-m", "hello"},
			[]string{connect, "REGISTER a/b", "PUBLISH hello qos=0 retain=false type=normal id=1", "DISCONNECT 0"}},
		{"", []string{"-t", "a/b", "-n", "-r", "-q", "1", "-k", "0"},
			[]string{"CONNECT clean=true will=false keepalive=0", "REGISTER a/b", "PUBLISH  qos=1 retain=true type=normal id=1", "DISCONNECT 0"}},
		{"", []string{"--predefined", "9", "-f", file, "-q", "2", "-c", "-i", "me"},
			[]string{"CONNECT clean=false will=false keepalive=60", "PUBLISH from a file qos=2 retain=false type=pre-defined id=9", "DISCONNECT 0"}},
		{"all\nof it\n", []string{"-t", "ab", "--short", "-s"},
			[]string{connect, "PUBLISH all\nof it\n qos=0 retain=false type=short id=24930", "DISCONNECT 0"}},
		{"one\r\n\nlast", []string{"-t", "t", "-l", "-q", "1"},
			[]string{connect, "REGISTER t", "PUBLISH one qos=1 retain=false type=normal id=1",
				"PUBLISH  qos=1 retain=false type=normal id=1", "PUBLISH last qos=1 retain=false type=normal id=1", "DISCONNECT 0"}},
		{"", []string{"-t", "t", "-m", "-5", "--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain"},
			[]string{"CONNECT clean=true will=true keepalive=60", "WILLTOPIC w qos=1 retain=true", "WILLMSG gone",
				"REGISTER t", "PUBLISH -5 qos=0 retain=false type=normal id=1", "DISCONNECT 0"}},
	} {
		g := startGateway(t, &testGateway{})
		code, stdout, stderr := call(t, tc.stdin, g.args(append([]string{"pub"}, tc.args...)...)...)
		if code != exitOK || stdout != "" || stderr != "" {
			t.Errorf("%q: code %d, %q, %q", tc.args, code, stdout, stderr)
		}
		if diff := cmp.Diff(tc.want, g.notes()); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", tc.args, diff)
		}
	}
}

func TestPubQoSMinusOneIsOneDatagram_Case79(t *testing.T) {
	for want, args := range map[string][]string{
		"09 0c 62 61 62 00 00 68 69": {"-t", "ab", "-q", "-1", "-m", "hi"},
		"07 0c 71 00 03 00 00":       {"--predefined", "3", "-q", "-1", "-n", "-r"},
	} {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
		if code, _, stderr := call(t, "", append([]string{"pub", "-p", port}, args...)...); code != exitOK {
			t.Fatalf("%q: code %d, %q", args, code, stderr)
		}
		buf := make([]byte, 100)
		n, _, err := conn.ReadFrom(buf)
		if got := hexDump(buf[:n]); err != nil || got != want {
			t.Errorf("%q: sent %s (%v), want %s", args, got, err, want)
		}
	}
}

func hexDump(b []byte) string {
	var s []string
	for _, x := range b {
		s = append(s, strconv.FormatUint(uint64(x)+0x100, 16)[1:])
	}
	return strings.Join(s, " ")
}

func TestPubFailures(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, silentPort, _ := net.SplitHostPort(silent.LocalAddr().String())
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closedPort, _ := net.SplitHostPort(closed.LocalAddr().String())
	closed.Close()
	long := write(t, "long", strings.Repeat("x", maxPayload+1))

	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-p", closedPort, "-m", "x"}, "cannot connect to the gateway at 127.0.0.1 port " + closedPort},
		{[]string{"-p", silentPort, "-m", "x", "--timeout", "0.05"}, "not done after 50ms (--timeout)"},
		{[]string{"-p", silentPort, "-m", "x", "--retry-interval", "0.01", "--retry-count", "0"}, "no answer from the gateway after 1 transmissions"},
		{[]string{"-f", filepath.Join(t.TempDir(), "none")}, "none: no such file"},
		{[]string{"-f", long}, "65499 octets is too long"},
	} {
		code, stdout, stderr := call(t, "", append([]string{"pub", "-t", "t"}, tc.args...)...)
		if code != exitFailure || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: code %d, %q, %q, want %q", tc.args, code, stdout, stderr, tc.want)
		}
	}
}

func TestPubLongLineIsAFailure(t *testing.T) {
	g := startGateway(t, &testGateway{})
	stdin := "ok\n" + strings.Repeat("x", maxPayload+1) + "\n"
	code, _, stderr := call(t, stdin, g.args("pub", "-t", "t", "-l")...)
	if code != exitFailure || !strings.Contains(stderr, "longer than 65498 octets") {
		t.Errorf("code %d, %q", code, stderr)
	}
}

func TestPubInterrupted(t *testing.T) {
	g := startGateway(t, &testGateway{})
	ctx, cancel := context.WithCancel(t.Context())
	var errs bytes.Buffer
	stdin, feed := io.Pipe()
	defer feed.Close()
	go func() {
		io.WriteString(feed, "first\n")
		io.WriteString(feed, "second\n") // read after the first is published
		cancel()
	}()
	code := run(ctx, g.args("pub", "-t", "t", "-l"), stdin, io.Discard, &errs)
	if code != exitFailure || errs.String() != "sngate pub: interrupted\n" {
		t.Errorf("code %d, %q", code, errs.String())
	}
	if notes := g.notes(); notes[len(notes)-1] != "DISCONNECT 0" {
		t.Errorf("no clean end: %q", notes)
	}
}

func TestPubDisconnectedIsAFailureButNotWithLines(t *testing.T) {
	g := startGateway(t, &testGateway{hangUp: 1})
	code, _, stderr := call(t, "", g.args("pub", "-t", "t", "-q", "1", "-m", "x")...)
	if code != exitFailure || !strings.Contains(stderr, "in doubt: disconnected by the gateway") {
		t.Errorf("code %d, %q", code, stderr)
	}

	g = startGateway(t, &testGateway{hangUp: 1})
	code, _, stderr = call(t, "x\n", g.args("pub", "-t", "t", "-q", "1", "-l", "-c", "-i", "me")...)
	if code != exitOK || !strings.Contains(stderr, "connected again") {
		t.Errorf("code %d, %q", code, stderr)
	}
	published := slices.DeleteFunc(g.notes(), func(s string) bool { return !strings.HasPrefix(s, "PUBLISH x ") })
	if len(published) != 2 {
		t.Errorf("the line was not sent on after the reconnect: %q", g.notes())
	}
}

func TestDebugExplainsEveryDatagram(t *testing.T) {
	g := startGateway(t, &testGateway{})
	code, _, stderr := call(t, "", g.args("pub", "-t", "t", "-m", "x", "-d")...)
	if code != exitOK {
		t.Fatalf("code %d, %q", code, stderr)
	}
	for _, want := range []string{"sent, ", "received, 3 octets", "CONNECT", "CONNACK", "REGISTER", "PUBLISH", "DISCONNECT"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("want %q in:\n%s", want, stderr)
		}
	}
}

func named(payload string, qos uint8, id uint16) sn12.Publish {
	return sn12.Publish{QoS: qos, TopicID: 7, MsgID: id, Data: []byte(payload)}
}

func TestSubPrintsAndCounts(t *testing.T) {
	retained := named("old", 0, 0)
	retained.Retain = true
	predefined := sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 3, Data: []byte("p")}
	short := sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, Data: []byte("s")}
	for _, tc := range []struct {
		args    []string
		deliver []sn12.Publish
		want    string
	}{
		{[]string{"-C", "2", "-t", "end"}, []sn12.Publish{named("a", 0, 0), named("b\x00\xff", 1, 5)}, "a\nb\x00\xff\n"},
		{[]string{"-C", "1", "-t", "end", "-N"}, []sn12.Publish{named("a", 0, 0)}, "a"},
		{[]string{"-C", "3", "-t", "end", "-v"}, []sn12.Publish{retained, predefined, short}, "end old\n#3 p\nab s\n"},
		{[]string{"-C", "1", "-t", "end", "-R"}, []sn12.Publish{retained, named("new", 2, 9)}, "new\n"},
	} {
		g := startGateway(t, &testGateway{deliver: tc.deliver})
		code, stdout, stderr := call(t, "", g.args(append([]string{"sub"}, tc.args...)...)...)
		if code != exitOK || stdout != tc.want || stderr != "" {
			t.Errorf("%q: code %d, %q, %q, want %q", tc.args, code, stdout, stderr, tc.want)
		}
		if notes := g.notes(); notes[len(notes)-1] != "DISCONNECT 0" {
			t.Errorf("%q: no clean end: %q", tc.args, notes)
		}
	}
}

func TestSubSubscribesToEverythingNamed(t *testing.T) {
	g := startGateway(t, &testGateway{deliver: []sn12.Publish{named("x", 0, 0)}})
	code, _, stderr := call(t, "", g.args("sub", "--predefined", "3", "-t", "a/#", "--predefined", "4", "-t", "b", "-q", "2", "-i", "me", "--sleep", "1", "-C", "1")...)
	if code != exitOK {
		t.Fatalf("code %d, %q", code, stderr)
	}
	want := []string{
		"SUBSCRIBE a/# qos=2 type=normal id=0",
		"SUBSCRIBE b qos=2 type=normal id=0",
		"SUBSCRIBE  qos=2 type=pre-defined id=3",
		"SUBSCRIBE  qos=2 type=pre-defined id=4",
	}
	for _, w := range want {
		if !slices.Contains(g.notes(), w) {
			t.Errorf("%q is missing in %q", w, g.notes())
		}
	}
}

func TestSubLeavesWhatIsBeyondTheCountUnacknowledged(t *testing.T) {
	g := startGateway(t, &testGateway{deliver: []sn12.Publish{named("a", 1, 1), named("b", 1, 2)}})
	code, stdout, _ := call(t, "", g.args("sub", "-t", "end", "-q", "1", "-C", "1", "-c", "-i", "me")...)
	if code != exitOK || stdout != "a\n" {
		t.Errorf("code %d, %q", code, stdout)
	}
	notes := g.notes()
	if !slices.Contains(notes, "PUBACK 1") || slices.Contains(notes, "PUBACK 2") {
		t.Errorf("got %q", notes)
	}
}

func TestSubTimesOutWithCode27(t *testing.T) {
	g := startGateway(t, &testGateway{deliver: []sn12.Publish{named("a", 0, 0)}})
	code, stdout, stderr := call(t, "", g.args("sub", "-t", "end", "-W", "1", "-C", "2")...)
	if code != exitTimeout || stdout != "a\n" || stderr != "Timed out\n" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
}

func TestSubRefusedEverywhereIsAFailure(t *testing.T) {
	g := startGateway(t, &testGateway{refuse: sn12.RejectedNotSupported})
	code, _, stderr := call(t, "", g.args("sub", "-t", "a", "--predefined", "3")...)
	if code != exitFailure || !strings.Contains(stderr, "subscription to a: SUBSCRIBE rejected: not supported\n") ||
		!strings.Contains(stderr, "subscription to #3: ") || !strings.Contains(stderr, "all subscriptions were refused") {
		t.Errorf("code %d, %q", code, stderr)
	}
}

func TestSubSleepsAndFetches_Case127(t *testing.T) {
	g := startGateway(t, &testGateway{deliver: []sn12.Publish{named("held", 1, 4)}})
	code, stdout, stderr := call(t, "", g.args("sub", "-t", "a", "-i", "me", "--sleep", "1", "-C", "1")...)
	if code != exitOK || stdout != "held\n" || stderr != "" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	notes := g.notes()
	for _, want := range []string{"DISCONNECT 1", "PINGREQ me", "PUBACK 4", "DISCONNECT 0"} {
		if !slices.Contains(notes, want) {
			t.Errorf("%q is missing in %q", want, notes)
		}
	}
}

func TestSubComesBackAfterDisconnect_Case148(t *testing.T) {
	g := startGateway(t, &testGateway{hangUp: 1, deliver: []sn12.Publish{named("held", 1, 4)}})
	code, stdout, stderr := call(t, "", g.args("sub", "-t", "a", "-i", "me", "--sleep", "1", "-C", "1")...)
	if code != exitOK || stdout != "held\n" || !strings.Contains(stderr, "connected again") {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	if n := strings.Count(strings.Join(g.notes(), "\n"), "SUBSCRIBE a"); n != 2 {
		t.Errorf("subscribed %d times, want again after the reconnect: %q", n, g.notes())
	}
}

// cancelOnWrite stands for a user who presses ^C on seeing the first message.
type cancelOnWrite struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (c *cancelOnWrite) Write(b []byte) (int, error) {
	c.cancel()
	return c.Buffer.Write(b)
}

func TestSubSignalIsACleanEnd(t *testing.T) {
	g := startGateway(t, &testGateway{deliver: []sn12.Publish{named("a", 0, 0)}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &cancelOnWrite{cancel: cancel}
	var errs bytes.Buffer
	code := run(ctx, g.args("sub", "-t", "end"), strings.NewReader(""), out, &errs)
	if code != exitOK || out.String() != "a\n" || errs.String() != "" {
		t.Errorf("code %d, %q, %q", code, out.String(), errs.String())
	}
	if notes := g.notes(); notes[len(notes)-1] != "DISCONNECT 0" {
		t.Errorf("no DISCONNECT: %q", notes)
	}
}

func TestSubEndsWhenItsOutputIsGone(t *testing.T) {
	g := startGateway(t, &testGateway{deliver: []sn12.Publish{named("a", 0, 0)}})
	r, w := io.Pipe()
	r.CloseWithError(errors.New("reader is gone"))
	var errs bytes.Buffer
	code := run(t.Context(), g.args("sub", "-t", "end"), strings.NewReader(""), w, &errs)
	if code != exitFailure || !strings.Contains(errs.String(), "reader is gone") {
		t.Errorf("code %d, %q", code, errs.String())
	}
}
