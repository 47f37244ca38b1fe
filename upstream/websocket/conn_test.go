package websocket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/upstreamtest"
	"sngate/upstream/websocket"
)

const binaryFrame, firstFrame, moreFrame, lastFrame = 0x82, 0x02, 0x00, 0x80

// MQTT packets are split and joined by messages and frames as the broker likes.
func TestMessagesAreAStream(t *testing.T) {
	long := strings.Repeat("0123456789", 20_000)
	for _, frames := range [][]string{
		{say(binaryFrame, "abc"+long)},
		{say(binaryFrame, "a"), say(binaryFrame, ""), say(binaryFrame, "bc"+long)},
		{say(firstFrame, "a"), say(moreFrame, ""), say(0x89, "ping in between"), say(moreFrame, "bc"), say(lastFrame, long)},
		{say(firstFrame, "ab"), say(0x8a, "pong nobody asked for"), say(lastFrame, ""), say(binaryFrame, "c"), say(binaryFrame, long[:100]), say(binaryFrame, long[100:])},
	} {
		bubble(t, "ws://broker.example/", func(s *site) {
			nc, p := s.open()
			go func() {
				_, _ = io.WriteString(p, strings.Join(frames, ""))
				p.Close()
			}()
			got, err := io.ReadAll(nc)
			if err != nil || string(got) != "abc"+long {
				t.Errorf("%d octets, %v", len(got), err)
			}
			nc.Close()
		})
	}
}

func TestWhatIsWrittenIsBinary(t *testing.T) {
	bubble(t, "ws://broker.example/", func(s *site) {
		nc, p := s.open()
		var want []byte
		for i, n := range []int{1, 2, 125, 126, 16 << 10, 60_000} {
			data := bytes.Repeat([]byte{byte(i)}, n)
			if k, err := nc.Write(data); k != n || err != nil {
				t.Fatalf("%d octets: %d, %v", n, k, err)
			}
			want = append(want, data...)
		}
		var got []byte
		for len(got) < len(want) {
			head, payload, err := p.frame()
			if err != nil || head&0xf > 2 || len(payload) > 16<<10 {
				t.Fatalf("frame %#x with %d octets: %v", head, len(payload), err)
			}
			if whole := len(got) < 16<<10; whole && head != binaryFrame {
				t.Errorf("what fits into a frame is a frame %#x", head)
			}
			got = append(got, payload...)
		}
		if !bytes.Equal(got, want) {
			t.Error("something else has arrived")
		}
		nc.Close()
		p.Close()
	})
}

func TestPingsAreAnswered(t *testing.T) {
	bubble(t, "ws://broker.example/", func(s *site) {
		nc, p := s.open()
		_, _ = io.WriteString(p, say(0x89, "one")+say(0x89, strings.Repeat("x", 125))+say(binaryFrame, "data"))
		b := make([]byte, 10)
		if n, err := nc.Read(b); string(b[:n]) != "data" || err != nil {
			t.Fatalf("%q, %v", b[:n], err)
		}
		for _, want := range []string{"one", strings.Repeat("x", 125)} {
			if head, payload, err := p.frame(); head != 0x8a || string(payload) != want || err != nil {
				t.Errorf("frame %#x %q, %v", head, payload, err)
			}
		}
		nc.Close()
		p.Close()
	})
}

// How a connection ends, and what the broker is told.
func TestTheEndOfAConnectionSaysWhy(t *testing.T) {
	const protocol = "the broker does not keep to the protocol: "
	for _, c := range []struct {
		name, said, want string
		eof              bool
		told             string // of the close frame of this side; "": there is none
	}{
		{"close frame", closing(1000, ""), "the broker has closed the connection with status 1000", true, "\x03\xe8"},
		{"with a text", closing(1008, "no \x1b[31m"), `the broker has closed the connection with status 1008: "no \x1b[31m"`, true, "\x03\xf0"},
		{"empty close frame", say(0x88, ""), "with status 1005", true, ""},
		{"close frame within a message", say(firstFrame, "ab") + closing(1001, "bye"), "with status 1001", true, "\x03\xe9"},
		{"text", say(0x81, "hello"), "the broker has sent a text message", false, "\x03\xebMQTT is binary"},
		{"masked", "\x82\x81aaaab", protocol + "bad MASK", false, "\x03\xeabad MASK"},
		{"reserved bits", say(0xf2, "a"), protocol + "RSV1 set, RSV2 set, RSV3 set", false, "\x03\xeaRSV1 set, RSV2 set, RSV3 set"},
		{"unknown frame", say(0x83, "a"), protocol + "bad opcode 3", false, "\x03\xeabad opcode 3"},
		{"long ping", say(0x89, strings.Repeat("a", 126)), protocol + "len > 125 for control", false, "\x03\xealen > 125 for control"},
		{"part of a ping", say(0x09, "a"), protocol + "FIN not set on control", false, "\x03\xeaFIN not set on control"},
		{"continued nothing", say(lastFrame, "a"), protocol + "continuation after FIN", false, "\x03\xeacontinuation after FIN"},
		{"message within a message", say(firstFrame, "") + say(binaryFrame, "a"), protocol + "data before FIN", false, "\x03\xeadata before FIN"},
		{"negative length", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", protocol + "read limit exceeded", false, ""},
		{"endless message", say(firstFrame, "a") + "\x00\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", protocol + "read limit exceeded", false, ""},
		{"bad status", closing(1005, ""), protocol + "bad close code 1005", false, "\x03\xeabad close code 1005"},
		{"status cut off", say(0x88, "\x03"), "with status 1005", true, ""},
	} {
		bubble(t, "ws://broker.example/", func(s *site) {
			nc, p := s.open()
			_, _ = io.WriteString(p, c.said)
			begin := time.Now()
			_, err := io.Copy(io.Discard, nc)
			if err == nil || !strings.HasPrefix(err.Error(), "WebSocket: ") || !strings.Contains(err.Error(), c.want) || errors.Is(err, io.EOF) != c.eof {
				t.Errorf("%s: %v", c.name, err)
			}
			want := uint64(1)
			if c.eof {
				want = 0
			}
			if n := s.stats.Failures[websocket.Protocol].Load(); n != want || time.Since(begin) != 0 {
				t.Errorf("%s: counted %d times, after %v", c.name, n, time.Since(begin))
			}
			if c.eof {
				if _, err := nc.Write([]byte("a")); !errors.Is(err, io.EOF) {
					t.Errorf("%s: a write after it: %v", c.name, err)
				}
			}
			nc.Close()
			if head, told, err := p.frame(); c.told != "" && (head != 0x88 || string(told) != c.told || err != nil) {
				t.Errorf("%s: the broker is told %#x %q, %v", c.name, head, told, err)
			}
		})
	}
}

// A frame that says it is huge costs nothing before it comes, and as little then.
func TestAHugeFrameIsReadPieceByPiece(t *testing.T) {
	bubble(t, "ws://broker.example/", func(s *site) {
		nc, p := s.open()
		_, _ = io.WriteString(p, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffabc")
		b := make([]byte, 64)
		n, err := nc.Read(b)
		if string(b[:n]) != "abc" || err != nil {
			t.Fatalf("%q, %v", b[:n], err)
		}
		piece := make([]byte, 64)
		allocs := func(from, to net.Conn) float64 {
			return testing.AllocsPerRun(1000, func() {
				_, _ = from.Write(piece)
				if n, err := io.ReadFull(to, b); n != 64 || err != nil {
					t.Fatal(n, err)
				}
			})
		}
		if bare, over := allocs(upstreamtest.Pipe(4<<10)), allocs(p, nc); over > bare {
			t.Errorf("%v allocations for 64 octets of it, and %v without WebSocket", over, bare)
		}
		nc.Close()
		p.Close()
	})
}

// A broker that reads nothing holds up who writes until the deadline, who reads for as long as an
// answer to a ping may take, and who closes not at all.
func TestABrokerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	bubble(t, "ws://broker.example/", func(s *site) {
		nc, p := s.open()
		begin := time.Now()
		if err := nc.SetWriteDeadline(begin.Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = nc.Write(make([]byte, 16<<10))
		}
		var timeout net.Error
		if took := time.Since(begin); !errors.As(err, &timeout) || !timeout.Timeout() || took != 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		nc.Close()
		p.Close()

		nc, p = s.open()
		blocked := make(chan error, 1)
		go func() {
			for {
				if _, err := nc.Write(make([]byte, 16<<10)); err != nil {
					blocked <- err
					return
				}
			}
		}()
		synctest.Wait()
		_, _ = io.WriteString(p, say(0x89, "a")+say(binaryFrame, "data"))
		begin = time.Now()
		b := make([]byte, 10)
		if n, err := nc.Read(b); string(b[:n]) != "data" || err != nil || time.Since(begin) > 10*time.Second {
			t.Errorf("%q, %v after %v", b[:n], err, time.Since(begin))
		}
		begin = time.Now()
		nc.Close()
		if err := <-blocked; err == nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		p.Close()
	})
}

func TestWhatBreaksBelowIsTheEnd(t *testing.T) {
	bubble(t, "ws://broker.example/", func(s *site) {
		nc, p := s.open()
		_, _ = io.WriteString(p, say(binaryFrame, "abc")[:3])
		p.Close()
		b := make([]byte, 10)
		if n, err := nc.Read(b); string(b[:n]) != "a" || err != nil {
			t.Fatalf("%q, %v", b[:n], err)
		}
		for range 2000 { // the library ends the program at 1000
			if _, err := nc.Read(b); err == nil {
				t.Fatal("it goes on")
			}
		}
		nc.Close()
	})
}
