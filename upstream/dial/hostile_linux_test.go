package dial_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sngate/upstream/dial"
)

// These tests are about brokers that do with TLS what crypto/tls would not: the loop that serves
// their connection serves others as well.

// scripted returns a connection in a loop whose broker writes the records of a test.
func scripted(t *testing.T, version uint16) (*site, *records) {
	s := newSite(t, true, version)
	s.peer.SessionTicketsDisabled = true                                        // they would be records
	s.peer.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256} // of TLS 1.2
	s.opt.WriteTimeout = time.Minute
	s.connect(nil, false)
	return s, newRecords(s, 1)
}

func TestTLSBrokerMayChangeItsKeys(t *testing.T) {
	s, r := scripted(t, tls.VersionTLS13)
	s.peer = nil
	for i := range 50 {
		s.conn.Write([]byte{0xc0, 0})
		r.send(r.keyUpdate())
		packet := publishPacket("t", bytes.Repeat([]byte{'x'}, i))
		for _, octet := range packet {
			r.send(r.record(recordData, []byte{octet}))
		}
		if p := s.want(dial.Received, "after a key update").Packet; len(p.Payload) != i {
			t.Fatalf("%d octets, want %d", len(p.Payload), i)
		}
	}
	got := make([]byte, 100)
	if _, err := io.ReadFull(s.broker, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{0xc0, 0}, 50)) {
		t.Errorf("the broker reads %x, %v", got, err)
	}
	s.quiet("that is all")
	s.conn.Abandon()
}

// An alert is taken in where it comes, if with nothing else, and between the parts of a packet.
func TestTLSAlertsEndConnectionsOfTheLoop(t *testing.T) {
	for name, c := range map[string]struct {
		version uint16
		alert   []byte
		want    string // "": the connection goes on
	}{
		"internal error":        {tls.VersionTLS13, []byte{2, 80}, "remote error: tls: internal error"},
		"internal error of 1.2": {tls.VersionTLS12, []byte{2, 80}, "remote error: tls: internal error"},
		"close notify":          {tls.VersionTLS13, []byte{1, 0}, "EOF"},
		"close notify of 1.2":   {tls.VersionTLS12, []byte{1, 0}, "EOF"},
		"user cancelled":        {tls.VersionTLS13, []byte{1, 90}, ""},
		"a warning":             {tls.VersionTLS12, []byte{1, 112}, ""},
	} {
		for _, before := range []int{0, 5} {
			t.Run(name, func(t *testing.T) {
				s, r := scripted(t, c.version)
				packet := publishPacket("t", []byte("payload"))
				if before > 0 {
					r.send(r.record(recordData, packet[:before]))
					s.quiet("a part of a packet")
				}
				r.send(r.record(recordAlert, c.alert))
				if c.want == "" {
					s.quiet("a warning")
					r.send(r.record(recordData, packet[before:]))
					s.want(dial.Received, "behind a warning")
					s.conn.Abandon()
				} else if in := s.want(dial.Ended, "an alert"); in.Err == nil || in.Err.Error() != c.want {
					t.Errorf("%v, want %s", in.Err, c.want)
				}
				s.quiet("once")
				if n := s.stats.Open.Load(); n != 0 {
					t.Errorf("%d connections are open", n)
				}
			})
		}
	}
}

func TestTLSFaultsEndConnectionsOfTheLoop(t *testing.T) {
	for name, c := range map[string]struct {
		version uint16
		stream  func(r *records) []byte
		want    string
		alert   string // that the broker is sent
	}{
		"renegotiation": {tls.VersionTLS12, func(r *records) []byte { return r.record(recordHandshake, []byte{0, 0, 0, 0}) },
			"no renegotiation", ""}, // it is a warning
		"not a record":   {tls.VersionTLS13, func(*records) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, "tls: ", "protocol version"},
		"too large":      {tls.VersionTLS13, func(*records) []byte { return []byte{recordData, 3, 3, 0x60, 0} }, "oversized record", "record overflow"},
		"too much in it": {tls.VersionTLS13, func(r *records) []byte { return r.record(recordData, make([]byte, 16<<10+1)) }, "record overflow", "record overflow"},
		"not authentic":  {tls.VersionTLS13, func(r *records) []byte { return append(r.record(recordData, nil)[:20], 0, 0) }, "bad record MAC", "bad record MAC"},
		"a message of impossible length": {tls.VersionTLS13, func(r *records) []byte { return r.record(recordHandshake, []byte{4, 0xff, 0xff, 0xff}) },
			"handshake message of length", "internal error"},
		"nothing, again and again": {tls.VersionTLS13, func(r *records) (b []byte) {
			for range 100 {
				b = append(b, r.record(recordData, nil)...)
			}
			return b
		}, "too many ignored records", "unexpected message"},
		"keys, again and again": {tls.VersionTLS13, func(r *records) (b []byte) {
			for range 100 {
				b = append(b, r.keyUpdate()...)
			}
			return b
		}, "too many non-advancing records", "unexpected message"},
		"data within a message": {tls.VersionTLS13, func(r *records) []byte {
			return append(r.record(recordHandshake, []byte{24, 0}), r.record(recordData, []byte{0xd0, 0})...)
		}, "unexpected message", "unexpected message"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := scripted(t, c.version)
			r.send(c.stream(r))
			if in := s.want(dial.Ended, name); in.Err == nil || !strings.Contains(in.Err.Error(), c.want) {
				t.Errorf("%v, want %s", in.Err, c.want)
			}
			s.quiet("once")
			_, err := io.Copy(io.Discard, s.broker)
			if c.alert != "" && (err == nil || !strings.Contains(err.Error(), c.alert)) {
				t.Errorf("the broker is told %v, want %s", err, c.alert)
			}
		})
	}
}

// However much a broker sends that is no packet, a loop reads a bounded part of it in a turn.
func TestTLSFloodDoesNotHoldUpTheLoop(t *testing.T) {
	for name, flood := range map[string]func(r *records) []byte{
		"octets of a packet":  func(r *records) []byte { return r.record(recordData, []byte{0}) },
		"octets of a message": func(r *records) []byte { return r.record(recordHandshake, []byte{0}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, true, tls.VersionTLS13)
			s.peer.SessionTicketsDisabled = true
			dialTCP := s.opt.Dial
			s.opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				nc, err := dialTCP(ctx, network, address)
				if err == nil {
					err = nc.(*net.TCPConn).SetReadBuffer(1 << 20)
				}
				return nc, err
			}
			s.connect(nil, false)
			r := newRecords(s, 1)
			r.send(r.record(recordData, []byte{0x30, 0xff, 0xff, 3, 0, 1, 't'})) // of 65535 octets
			s.quiet("the beginning of a packet")
			var stream []byte
			if name == "octets of a message" {
				stream = r.record(recordHandshake, []byte{4, 0, 0xff, 0})
			}
			for len(stream) < 200<<10 {
				stream = append(stream, flood(r)...)
			}
			r.send(stream)
			for unread(t, s.client) < len(stream) {
				runtime.Gosched()
			}
			turns := 0
			for left := len(stream); left > 0; turns++ {
				s.turn()
				now := unread(t, s.client)
				if left-now > 32<<10 {
					t.Fatalf("%d octets are read in a turn", left-now)
				}
				left = now
			}
			if turns > 20 {
				t.Errorf("%d turns for %d octets", turns, len(stream))
			}
			s.quiet("no packet")
			s.conn.Abandon()
		})
	}
}

// unread returns how many octets a socket has.
func unread(t *testing.T, nc *net.TCPConn) (n int) {
	t.Helper()
	raw, err := nc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { n, failed = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return n
}

// A broker that has TLS answer, and does not read the answers, is given up before they fill the
// memory.
func TestTLSAnswersAreBounded(t *testing.T) {
	s, r := scripted(t, tls.VersionTLS13)
	if err := errors.Join(s.client.SetWriteBuffer(4096), s.socket.SetWriteDeadline(time.Now().Add(20*time.Second))); err != nil {
		t.Fatal(err)
	}
	r.send(r.record(recordData, []byte{0x30, 0xff, 0xff, 0x3f, 0, 1, 't'}))
	most := 0
	for range 10_000 {
		var stream []byte
		for range 100 {
			stream = append(append(stream, r.keyUpdate()...), r.record(recordData, []byte{'x'})...)
		}
		r.send(stream)
		s.turn()
		if most = max(most, s.conn.Backlog()); len(s.got) > 0 {
			break
		}
	}
	if in := s.want(dial.Ended, "the broker does not read"); in.Err == nil || !strings.Contains(in.Err.Error(), "TLS answers") {
		t.Errorf("%v", in.Err)
	}
	if most < 32<<10 || most > 128<<10 {
		t.Errorf("%d octets have waited", most)
	}
}

// What a device's connection costs while nothing happens is no goroutine.
func TestIdleTLSConnectionsInALoopHaveNoGoroutine(t *testing.T) {
	s := newSite(t, true, tls.VersionTLS13)
	s.connect(nil, false)
	s.quiet("idle")
	before := runtime.NumGoroutine()
	conns := []*dial.Conn{s.conn}
	for range 200 {
		s.connect(nil, false)
		conns = append(conns, s.conn)
	}
	s.quiet("idle")
	if n := runtime.NumGoroutine(); n > before+5 {
		t.Errorf("%d goroutines for 200 devices, %d for one", n, before)
	}
	for _, c := range conns {
		c.Abandon()
	}
	if n := s.stats.Open.Load(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}
