package loadgen

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// openWire opens one socket for all devices if the gateway is on this machine, and otherwise
// one for each, which one goroutine reads.
func openWire(gateway netip.AddrPort, devices int) (wire, error) {
	if gateway.Addr().Is4() && gateway.Addr().IsLoopback() {
		return openShared(gateway, devices)
	}
	return openPolled(gateway, devices)
}

// shared is one socket for all devices of a gateway at 127.0.0.0/8. All addresses there are
// this machine's, and each device has one: a datagram says which (IP_PKTINFO, ip(7)).
type shared struct {
	conn    *net.UDPConn
	gateway netip.AddrPort
	from    [][]byte // by device: the control message with its address
}

// firstAddress is the address of device 0, away from those that something may listen on.
const firstAddress = 127<<24 | 1<<16

func openShared(gateway netip.AddrPort, devices int) (wire, error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1) })
		if err == nil {
			err = failed
		}
	}
	if err == nil {
		err = conn.SetReadBuffer(socketBuffer)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &shared{conn: conn, gateway: gateway, from: make([][]byte, devices)}
	for i := range s.from {
		var info unix.Inet4Pktinfo
		binary.BigEndian.PutUint32(info.Spec_dst[:], uint32(firstAddress+i))
		s.from[i] = unix.PktInfo4(&info)
	}
	return s, nil
}

func (s *shared) send(device int, datagram []byte) {
	_, _, _ = s.conn.WriteMsgUDPAddrPort(datagram, s.from[device], s.gateway)
}

func (s *shared) serve(take func(int, []byte)) error {
	buf, control := make([]byte, maxDatagram), make([]byte, 128)
	for {
		n, size, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, control)
		if isClosed(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if device, ok := s.device(control[:size]); ok && from == s.gateway {
			take(device, buf[:n])
		}
	}
}

// device finds the device that a datagram is for, by the address it was sent to.
func (s *shared) device(control []byte) (int, bool) {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0, false
		}
		if header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo {
			i := int64(binary.BigEndian.Uint32(data[8:])) - firstAddress // ipi_addr
			return int(i), i >= 0 && i < int64(len(s.from))
		}
		control = rest
	}
	return 0, false
}

func (s *shared) close() { s.conn.Close() }

// polled is a socket for each device, all of which one goroutine reads: it waits for an epoll
// set of its own through the poller of the runtime.
type polled struct {
	set     *os.File
	sockets []int
}

func openPolled(gateway netip.AddrPort, devices int) (_ wire, err error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &polled{set: os.NewFile(uintptr(epoll), "epoll")}
	for i := range devices {
		fd, err := dialNonblock(gateway)
		if err != nil {
			p.close()
			p.closeSockets()
			return nil, fmt.Errorf("socket %d of %d: %w", i+1, devices, err)
		}
		p.sockets = append(p.sockets, fd)
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)} // not the descriptor: the device
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			p.close()
			p.closeSockets()
			return nil, os.NewSyscallError("epoll_ctl", err)
		}
	}
	return p, nil
}

// dialNonblock opens a UDP socket that is connected to a gateway.
func dialNonblock(gateway netip.AddrPort) (int, error) {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(gateway.Port())})
	if addr := gateway.Addr(); addr.Is4() {
		to.(*unix.SockaddrInet4).Addr = addr.As4()
	} else {
		six := &unix.SockaddrInet6{Port: int(gateway.Port()), Addr: addr.As16()}
		if i, err := net.InterfaceByName(addr.Zone()); err == nil {
			six.ZoneId = uint32(i.Index)
		}
		family, to = unix.AF_INET6, six
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return 0, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

func (p *polled) send(device int, datagram []byte) { _, _ = unix.Write(p.sockets[device], datagram) }

func (p *polled) serve(take func(int, []byte)) error {
	defer p.closeSockets() // here, where nobody reads them any more
	raw, err := p.set.SyscallConn()
	if err != nil {
		return err
	}
	buf, events, n := make([]byte, maxDatagram), make([]unix.EpollEvent, 128), 0
	ready := func(fd uintptr) bool {
		n, err = unix.EpollWait(int(fd), events, 0)
		return n != 0 || err == unix.EINTR
	}
	for {
		if failed := raw.Read(ready); failed != nil {
			return nil // closed
		}
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:max(n, 0)] {
			// One datagram of each: what is left keeps the socket ready. An error is that of
			// an ICMP message, which is gone with it.
			if size, err := unix.Read(p.sockets[e.Fd], buf); err == nil {
				take(int(e.Fd), buf[:size])
			}
		}
	}
}

func (p *polled) close() { p.set.Close() }

func (p *polled) closeSockets() {
	for _, fd := range p.sockets {
		unix.Close(fd)
	}
}
