package upstream_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"sngate/upstream"
)

// userTimeout returns TCP_USER_TIMEOUT of nc.
func userTimeout(t *testing.T, nc net.Conn) time.Duration {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	if ctl := raw.Control(func(fd uintptr) { ms, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	return time.Duration(ms) * time.Millisecond
}

// A connection that is paused hears nothing, so the system is told when to give it up.
func TestTCPPausedConnectionIsLeftToTheSystem(t *testing.T) {
	dialled := make(chan net.Conn, 2)
	opt := upstream.Options{
		Address: accepting(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			dialled <- c
			return c, err
		},
	}
	s := newShard(t, opt)
	o := s.connect(&upstream.Connect{ClientID: "dev", KeepAlive: 10})
	nc := <-dialled
	check := func(want time.Duration, why string) {
		t.Helper()
		if got := userTimeout(t, nc); got != want {
			t.Errorf("%s: %v, want %v", why, got, want)
		}
	}
	check(0, "what reads notices silence itself")
	o.Pause()
	check(5625*time.Millisecond, "three quarters of what is left of 15 s after 7.5 s")
	o.Resume()
	check(0, "reading again")
	o.Pause()
	o.Connect(s.now(), &upstream.Connect{ClientID: "dev", KeepAlive: 10})
	o.connected = false
	s.until("connected", func() bool { return o.connected })
	nc = <-dialled
	check(5625*time.Millisecond, "a connection that begins paused")
}
