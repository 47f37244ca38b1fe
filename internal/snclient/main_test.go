package snclient

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"sngate/snpacket/sn12"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tretry = 10 * time.Second

// gateway is the scripted peer of a client under test. All of it runs in a synctest
// bubble, so that waiting takes no time and durations are exact.
type gateway struct {
	t    *testing.T
	conn net.Conn
	c    *Client
}

// script runs f in a bubble, with a client made from o and the gateway it talks to.
func script(t *testing.T, o Options, f func(g *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		if o.ClientID == "" {
			o.ClientID = "dev"
		}
		c, err := New(near, o)
		if err != nil {
			t.Fatal(err)
		}
		g := &gateway{t: t, conn: far, c: c}
		t.Cleanup(func() { // also after a failure: no goroutine may outlive the bubble
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			far.Close()
		})
		f(g)
		g.quiet("when the script is over", 0)
	})
}

// connected is script with a client that has connected.
func connected(t *testing.T, o Options, f func(g *gateway)) {
	t.Helper()
	script(t, o, func(g *gateway) {
		g.connect()
		f(g)
	})
}

func (g *gateway) connect() {
	g.t.Helper()
	done := g.call(g.c.Connect)
	m := g.receive("CONNECT", time.Second)
	if _, ok := m.(sn12.Connect); !ok {
		g.t.Fatalf("got %#v, want CONNECT", m)
	}
	g.send(sn12.ConnAck{})
	done.want("Connect", nil)
}

func (g *gateway) send(m sn12.Message) {
	g.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		g.t.Fatalf("%#v: %v", m, err)
	}
	g.sendBytes(b)
}

func (g *gateway) sendBytes(b []byte) {
	g.t.Helper()
	if _, err := g.conn.Write(b); err != nil {
		g.t.Fatalf("send % x: %v", b, err)
	}
}

func (g *gateway) receive(why string, within time.Duration) sn12.Message {
	g.t.Helper()
	g.conn.SetReadDeadline(time.Now().Add(within))
	buf := make([]byte, 65535)
	n, err := g.conn.Read(buf)
	if err != nil {
		g.t.Fatalf("%s: nothing came within %v: %v", why, within, err)
	}
	m, err := sn12.Parse(buf[:n])
	if err != nil {
		g.t.Fatalf("%s: % x: %v", why, buf[:n], err)
	}
	return m
}

// want is the next message, without time passing.
func (g *gateway) want(why string, want sn12.Message) {
	g.t.Helper()
	g.wantAfter(why, 0, want)
}

// wantAfter is the next message, exactly after d.
func (g *gateway) wantAfter(why string, d time.Duration, want sn12.Message) {
	g.t.Helper()
	start := time.Now()
	got := g.receive(why, d+time.Nanosecond)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		g.t.Fatalf("%s: (-want +got)\n%s", why, diff)
	}
	if since := time.Since(start); since != d {
		g.t.Fatalf("%s: came after %v, want %v", why, since, d)
	}
}

// quiet checks that nothing comes for d.
func (g *gateway) quiet(why string, d time.Duration) {
	g.t.Helper()
	g.conn.SetReadDeadline(time.Now().Add(d + time.Nanosecond))
	buf := make([]byte, 65535)
	n, err := g.conn.Read(buf)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Fatalf("%s: want quiet, got % x, %v", why, buf[:n], err)
	}
}

// result is a call of the client that runs beside the script.
type result struct {
	g   *gateway
	err chan error
}

func (g *gateway) call(f func(context.Context) error) result {
	r := result{g, make(chan error, 1)}
	go func() { r.err <- f(g.t.Context()) }()
	return r
}

// want is the end of the call, without time passing, with an error that Is want.
func (r result) want(why string, want error) {
	r.g.t.Helper()
	if err := r.get(why); !errors.Is(err, want) {
		r.g.t.Fatalf("%s: got %v, want %v", why, err, want)
	}
}

func (r result) get(why string) error {
	r.g.t.Helper()
	start := time.Now()
	select {
	case err := <-r.err:
		if since := time.Since(start); since != 0 {
			r.g.t.Fatalf("%s: returned after %v, want at once", why, since)
		}
		return err
	case <-time.After(time.Hour):
		r.g.t.Fatalf("%s: does not return", why)
		return nil
	}
}

func (r result) waits(why string) {
	r.g.t.Helper()
	synctest.Wait()
	select {
	case err := <-r.err:
		r.g.t.Fatalf("%s: returned %v, want it to wait", why, err)
	default:
	}
}

// message is the next received message, without time passing.
func (g *gateway) message(why string) Message {
	g.t.Helper()
	synctest.Wait()
	select {
	case m := <-g.c.Messages():
		return m
	default:
		g.t.Fatalf("%s: no message was delivered", why)
		return Message{}
	}
}

func (g *gateway) noMessage(why string) {
	g.t.Helper()
	synctest.Wait()
	select {
	case m := <-g.c.Messages():
		g.t.Fatalf("%s: %+v was delivered", why, m)
	default:
	}
}

func (g *gateway) wantState(why string, want State) {
	g.t.Helper()
	synctest.Wait()
	if s := g.c.State(); s != want {
		g.t.Fatalf("%s: state %v, want %v", why, s, want)
	}
}

func (g *gateway) wantLost(why string, want error) {
	g.t.Helper()
	synctest.Wait()
	select {
	case err := <-g.c.Lost():
		if !errors.Is(err, want) {
			g.t.Fatalf("%s: lost with %v, want %v", why, err, want)
		}
	default:
		g.t.Fatalf("%s: the loss is not reported", why)
	}
}

func wantCode(t *testing.T, err error, request sn12.Type, code sn12.ReturnCode) {
	t.Helper()
	var e *ReturnCodeError
	if !errors.As(err, &e) || *e != (ReturnCodeError{request, code}) {
		t.Fatalf("got %v, want %v %v", err, request, code)
	}
}

// rewire replaces a transport that is gone, so that the end of the script finds a
// quiet one.
func (g *gateway) rewire() {
	near, far := net.Pipe()
	g.t.Cleanup(func() { near.Close() })
	g.conn = far
}

// closedPort returns a loopback address nothing listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.LocalAddr().String()
}
