//go:build unix

package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindGroup opens a socket bound to the group's own address. The net package cannot
// do it: it binds a multicast address as a wildcard, which would take the listener's
// unicast datagrams away.
func bindGroup(group netip.AddrPort, ifi *net.Interface) (*net.UDPConn, error) {
	family := unix.AF_INET
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(group.Port()), Addr: [4]byte(group.Addr().AsSlice()[:4])}
	if group.Addr().Is6() {
		family = unix.AF_INET6
		sa6 := &unix.SockaddrInet6{Port: int(group.Port()), Addr: group.Addr().As16()}
		if ifi != nil {
			sa6.ZoneId = uint32(ifi.Index)
		}
		sa = sa6
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "multicast group")
	defer f.Close() // the connection below has a descriptor of its own
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// allowReuse lets sockets of groups bind the port of a socket that is bound already.
// That is not the same as setting it before: this socket's own bind has made sure
// that it is alone.
func allowReuse(c *net.UDPConn) error {
	return control(c, func(fd uintptr) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	})
}

// reuseControl sets SO_REUSEADDR before a socket is bound.
func reuseControl(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}

func isAddressInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
