package dial_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"sngate/upstream/dial"
)

// Two of the many addresses of the loopback interface, and one that the machine does not have.
func TestConnectionsComeFromTheAddressesGiven(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialFrom := dial.Net(addrs("127.0.0.2", "192.0.2.1", "127.0.0.3", "::1"))
	for i, want := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.2", "127.0.0.2"} {
		nc, err := dialFrom(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got := nc.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); got != netip.MustParseAddr(want) {
			t.Errorf("connection %d comes from %v, want %s", i, got, want)
		}
		for option, want := range map[[2]int]int{
			{syscall.IPPROTO_IP, 24}:                   1, // IP_BIND_ADDRESS_NO_PORT
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}: 0,
			{syscall.IPPROTO_TCP, syscall.TCP_NODELAY}: 1,
		} {
			if got := sockopt(t, nc, option[0], option[1]); got != want {
				t.Errorf("connection %d: option %v is %d, want %d", i, option, got, want)
			}
		}
		nc.Close()
	}
}

func sockopt(t *testing.T, nc net.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) { value, optErr = syscall.GetsockoptInt(int(fd), level, name) }); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
	return value
}
