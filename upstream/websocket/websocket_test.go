package websocket_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sngate/upstream/upstreamtest"
	"sngate/upstream/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	address = "broker.example:443"
	secret  = "hunter2-horse"
)

// site is a broker that is reached by WebSocket, as a script.
type site struct {
	t     *testing.T
	opt   websocket.Options
	stats websocket.Stats
	web   *websocket.WebSocket
}

// bubble runs f with a site, where time is simulated.
func bubble(t *testing.T, brokerURL string, f func(s *site)) {
	synctest.Test(t, func(t *testing.T) {
		u, err := url.Parse(brokerURL)
		if err != nil {
			t.Fatal(err)
		}
		s := &site{t: t} // this t, which ends the bubble
		s.opt = websocket.Options{Brokers: map[string]*url.URL{address: u}, Headers: http.Header{"Authorization": {secret}}}
		f(s)
	})
}

func (s *site) start() {
	s.t.Helper()
	if s.web != nil {
		return
	}
	var err error
	if s.web, err = websocket.New(s.opt, &s.stats); err != nil {
		s.t.Fatal(err)
	}
}

// peer is the broker's end of a connection.
type peer struct {
	*upstreamtest.Conn
	r *bufio.Reader
}

func newPeer(nc *upstreamtest.Conn) *peer { return &peer{nc, bufio.NewReader(nc)} }

// request reads the request for an upgrade, and returns the answer that accepts it.
func (p *peer) request(t *testing.T) (req *http.Request, accept string) {
	req, err := http.ReadRequest(p.r)
	if err != nil {
		t.Errorf("the broker has no request: %v", err)
		return nil, ""
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return req, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
}

const mqttChosen = "Sec-WebSocket-Protocol: mqtt\r\n"

// frame reads a frame of the client: its first octet, and what is in it without the mask.
func (p *peer) frame() (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err = io.ReadFull(p.r, b[:2]); err != nil {
		return 0, nil, err
	}
	head = b[0]
	n := uint64(b[1] & 0x7f)
	if b[1]&0x80 == 0 {
		return 0, nil, errors.New("a client's frame without a mask")
	}
	switch n {
	case 126:
		_, err = io.ReadFull(p.r, b[:2])
		n = uint64(binary.BigEndian.Uint16(b[:2]))
	case 127:
		_, err = io.ReadFull(p.r, b[:8])
		n = binary.BigEndian.Uint64(b[:8])
	}
	if err != nil {
		return 0, nil, err
	}
	var mask [4]byte
	if _, err = io.ReadFull(p.r, mask[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.r, payload)
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head, payload, err
}

// say makes a frame of a broker.
func say(head byte, payload string) string {
	switch n := len(payload); {
	case n < 126:
		return string([]byte{head, byte(n)}) + payload
	case n < 1<<16:
		return string(binary.BigEndian.AppendUint16([]byte{head, 126}, uint16(n))) + payload
	default:
		return string(binary.BigEndian.AppendUint64([]byte{head, 127}, uint64(n))) + payload
	}
}

func closing(code uint16, text string) string {
	return say(0x88, string(binary.BigEndian.AppendUint16(nil, code))+text)
}

// upgrade has the client upgrade a connection, to which the broker says what answer makes of the
// accepting one, and then reads on.
func (s *site) upgrade(answer func(p *peer, accept string) string) (net.Conn, *peer, error) {
	s.t.Helper()
	s.start()
	a, b := upstreamtest.Pipe(256 << 10)
	p := newPeer(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, accept := p.request(s.t); accept != "" {
			_, _ = io.WriteString(b, answer(p, accept))
		}
	}()
	nc, err := s.web.For(address)(s.t.Context(), a)
	<-done
	if err != nil && !b.Ended() {
		s.t.Error("a connection that has failed is not closed")
	}
	return nc, p, err
}

func accepted(_ *peer, accept string) string { return accept + mqttChosen + "\r\n" }

// open returns a connection that has been upgraded.
func (s *site) open() (net.Conn, *peer) {
	s.t.Helper()
	nc, p, err := s.upgrade(accepted)
	if err != nil {
		s.t.Fatal(err)
	}
	return nc, p
}

func TestTheUpgradeAsksForMQTTAtThePath(t *testing.T) {
	for brokerURL, want := range map[string][2]string{
		"ws://broker.example:80/mqtt":                   {"broker.example", "/mqtt"},
		"wss://broker.example:443/mqtt":                 {"broker.example", "/mqtt"},
		"wss://broker.example/$iothub/websocket?a=b%20": {"broker.example", "/$iothub/websocket?a=b%20"},
		"ws://broker.example:443/a%2Fb/":                {"broker.example:443", "/a%2Fb/"},
		"wss://[2001:db8::7]/":                          {"[2001:db8::7]", "/"},
		"wss://[fe80::7%25eth0]:8084/x":                 {"[fe80::7]:8084", "/x"},
	} {
		bubble(t, brokerURL, func(s *site) {
			s.start()
			a, b := upstreamtest.Pipe(4 << 10)
			p := newPeer(b)
			go func() {
				req, accept := p.request(t)
				if req.Host != want[0] || req.RequestURI != want[1] || req.Header.Get("Sec-WebSocket-Protocol") != "mqtt" || req.Header.Get("Authorization") != secret {
					t.Errorf("%s: host %q, path %q, headers %v", brokerURL, req.Host, req.RequestURI, req.Header)
				}
				if req.Header.Get("Sec-WebSocket-Extensions") != "" || req.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("headers %v", req.Header)
				}
				_, _ = io.WriteString(b, accept+mqttChosen+"\r\n")
			}()
			nc, err := s.web.For(address)(s.t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
			if n := s.stats.Upgrades.Load(); n != 1 {
				t.Errorf("%d upgrades are counted", n)
			}
		})
	}
	bubble(t, "ws://broker.example/", func(s *site) {
		s.start()
		if s.web.For("other.example:443") != nil {
			t.Error("a broker without WebSocket is upgraded")
		}
	})
}

func TestARefusedUpgradeSaysWhy(t *testing.T) {
	status := func(line string) func(*peer, string) string {
		return func(*peer, string) string {
			return "HTTP/1.1 " + line + "\r\nContent-Length: 2\r\nWWW-Authenticate: x\r\n\r\nno"
		}
	}
	for _, c := range []struct {
		name   string
		answer func(p *peer, accept string) string
		reason websocket.Reason
		want   string
	}{
		{"401", status("401 Who are you"), websocket.Unauthorized, `the broker refuses the upgrade of "/mqtt": 401 Unauthorized`},
		{"403", status("403 No"), websocket.Unauthorized, `the broker refuses the upgrade of "/mqtt": 403 Forbidden`},
		{"404", status("404 \x1b[31mgone"), websocket.NotFound, `the broker has nothing at the path "/mqtt": 404 Not Found`},
		{"503", status("503 Full"), websocket.Refused, `the broker does not upgrade "/mqtt": 503 Service Unavailable`},
		{"200", status("200 OK"), websocket.Refused, `the broker does not upgrade "/mqtt": 200 OK`},
		{"302", status("302 Found\r\nLocation: http://elsewhere/"), websocket.Refused, `sends the upgrade of "/mqtt" elsewhere, which is not followed: 302 Found`},
		{"unknown", status("799 x"), websocket.Refused, `the broker does not upgrade "/mqtt": 799`},
		{"another answer's key", func(_ *peer, accept string) string {
			return strings.Replace(accept, "Accept: ", "Accept: A", 1) + mqttChosen + "\r\n"
		}, websocket.NotWebSocket, "without the headers that belong to it"},
		{"no subprotocol", func(_ *peer, accept string) string { return accept + "\r\n" }, websocket.Subprotocol, `the broker does not choose the subprotocol "mqtt"; does it speak MQTT at this path?`},
		{"another", func(_ *peer, accept string) string {
			return accept + "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n"
		}, websocket.Subprotocol, `the broker chooses the subprotocol "mqttv3.1", not "mqtt"`},
		{"an extension", func(_ *peer, accept string) string {
			return accept + mqttChosen + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n"
		}, websocket.NotWebSocket, "an extension that was not offered"},
		{"MQTT", func(*peer, string) string { return "\x20\x02\x00\x00\r\n\r\n" }, websocket.NotWebSocket, "is no HTTP; does it speak WebSocket on this port?"},
		{"endless headers", func(_ *peer, accept string) string { return accept + strings.Repeat("A: b\r\n", 8<<10) }, websocket.NotWebSocket, "longer than 16384 octets"},
		{"endless line", func(*peer, string) string { return strings.Repeat("A", 64<<10) }, websocket.NotWebSocket, "longer than 16384 octets"},
		{"endless body", func(*peer, string) string { return "HTTP/1.1 403 No\r\n\r\n" + strings.Repeat("A", 64<<10) }, websocket.Unauthorized, "403 Forbidden"},
		{"closes", func(p *peer, _ string) string { p.Close(); return "" }, websocket.Unfinished, "closed the connection instead of answering the upgrade"},
		{"closes in the answer", func(p *peer, accept string) string {
			_, _ = io.WriteString(p, accept)
			p.Close()
			return ""
		}, websocket.Unfinished, "closed the connection instead of answering the upgrade"},
	} {
		bubble(t, "wss://broker.example/mqtt?token=x", func(s *site) {
			_, _, err := s.upgrade(c.answer)
			var f *websocket.Fault
			if !errors.As(err, &f) || f.Reason != c.reason || !strings.HasPrefix(err.Error(), "WebSocket: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.name, err)
			} else if n := s.stats.Failures[c.reason].Load(); n != 1 {
				t.Errorf("%s: %s is counted %d times", c.name, f.Reason, n)
			}
			if strings.Contains(fmt.Sprint(err), secret) || strings.Contains(fmt.Sprint(err), "token") || strings.Contains(fmt.Sprint(err), "\x1b") {
				t.Errorf("%s: shown is %q", c.name, err)
			}
		})
	}
}

// Who waits no longer ends an upgrade that hangs, and nothing is counted for it.
func TestAnUpgradeEndsWithItsContext(t *testing.T) {
	bubble(t, "ws://broker.example/", func(s *site) {
		s.start()
		for _, said := range []string{"", "HTTP/1.1 101 Switching"} {
			a, b := upstreamtest.Pipe(4 << 10)
			_, _ = io.WriteString(b, said)
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
			begin := time.Now()
			nc, err := s.web.For(address)(ctx, a)
			cancel()
			if took := time.Since(begin); err == nil || nc != nil || took != time.Second || !b.Ended() {
				t.Errorf("%q: %v after %v", said, err, took)
			}
		}
		for i := range s.stats.Failures {
			if n := s.stats.Failures[i].Load(); n != 0 {
				t.Errorf("%s is counted %d times", websocket.Reason(i), n)
			}
		}
	})
}

// errBelow is an error that explains itself, as one of TLS does.
var errBelow = errors.New("TLS: no")

type failing struct{ net.Conn }

func (failing) Read([]byte) (int, error) { return 0, errBelow }

func TestWhatFailsBelowIsToldAsItIs(t *testing.T) {
	bubble(t, "wss://broker.example/", func(s *site) {
		s.start()
		a, _ := upstreamtest.Pipe(4 << 10)
		if _, err := s.web.For(address)(s.t.Context(), failing{a}); err != errBelow {
			t.Errorf("%v", err)
		}
	})
}
