package listen

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpSocket is the Socket of a UDP socket of the system. The system calls do not block, so the
// scheduler is not told of them.
type udpSocket struct {
	conn     *udpConn
	fd       int // of its own, for the same socket
	family   uint16
	listener int
	pool     *Pool
	zones    zones

	batch *batch // nil: nothing has been read, and perhaps nothing ever is
}

// batch is what one system call reads.
type batch struct {
	messages [socketBatch]message
	vectors  [socketBatch]unix.Iovec
	names    [socketBatch]unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	buffers  [socketBatch * maxDatagram]byte    // what is never written to takes no memory
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.messages {
		b.vectors[i].Base = &b.buffers[i*maxDatagram]
		b.vectors[i].SetLen(maxDatagram)
		h := &b.messages[i].header
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&b.names[i])), &b.vectors[i]
		h.SetIovlen(1)
	}
	return b
}

// message is struct mmsghdr (recvmmsg(2)).
type message struct {
	header unix.Msghdr
	length uint32
}

// systemSocket returns nil for what is no UDP socket.
func systemSocket(conn PacketConn, index int, p *Pool) (Socket, error) {
	c, ok := conn.(*udpConn)
	if !ok {
		return nil, nil
	}
	s, err := newUDPSocket(c, index, p)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func newUDPSocket(c *udpConn, index int, p *Pool) (*udpSocket, error) {
	s := &udpSocket{conn: c, family: unix.AF_INET, listener: index, pool: p}
	if c.local.Addr().Is6() {
		s.family = unix.AF_INET6
	}
	err := control(c.UDPConn, func(fd uintptr) (err error) {
		s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Conn implements Socket.
func (s *udpSocket) Conn() any { return s }

// FD is for the loop.
func (s *udpSocket) FD() int { return s.fd }

// Close implements Socket.
func (s *udpSocket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// Read implements Socket.
func (s *udpSocket) Read(handle func(*Datagram), noMemory func(n int)) (n int, err error) {
	for tries := 0; ; {
		if n, err = s.receive(); err == nil || !s.conn.readAgain(err, &tries) {
			break
		}
	}
	for i := range n {
		octets := s.batch.buffers[i*maxDatagram:][:s.batch.messages[i].length]
		s.pool.deliver(octets, s.from(&s.batch.names[i]), s.listener, handle, noMemory)
	}
	return n, err
}

// receive fills messages; none is no error.
func (s *udpSocket) receive() (int, error) {
	if s.batch == nil {
		s.batch = newBatch()
	}
	for i := range s.batch.messages {
		s.batch.messages[i].header.Namelen = uint32(unsafe.Sizeof(s.batch.names[i]))
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.batch.messages[0])), socketBatch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("recvmmsg", errno)
		}
	}
}

// from is the address of a sender.
func (s *udpSocket) from(name *unix.RawSockaddrInet6) netip.AddrPort {
	if name.Family == unix.AF_INET {
		name4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(name4.Addr), swapped(name4.Port))
	}
	addr := netip.AddrFrom16(name.Addr)
	if name.Scope_id != 0 && !addr.Is4In6() {
		addr = addr.WithZone(s.zones.name(name.Scope_id))
	}
	return canonical(netip.AddrPortFrom(addr, swapped(name.Port)))
}

// Send implements Socket.
func (s *udpSocket) Send(b []byte, to netip.AddrPort) error {
	for tries := 0; ; {
		err := s.send(b, to)
		if err == nil || !s.conn.again(err, &tries) {
			return err
		}
	}
}

func (s *udpSocket) send(b []byte, to netip.AddrPort) error {
	var name unix.RawSockaddrInet6
	size := unsafe.Sizeof(name)
	switch addr := to.Addr(); {
	case s.family == unix.AF_INET6:
		name.Family, name.Port, name.Addr = unix.AF_INET6, swapped(to.Port()), addr.As16()
		if zone := addr.Zone(); zone != "" {
			name.Scope_id = s.zones.index(zone)
		}
	case !addr.Is4():
		return errFamily
	default:
		name4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&name))
		name4.Family, name4.Port, name4.Addr = unix.AF_INET, swapped(to.Port()), addr.As4()
		size = unsafe.Sizeof(*name4)
	}
	data := unsafe.Pointer(&name) // anything: there is no octet to be read
	if len(b) > 0 {
		data = unsafe.Pointer(&b[0])
	}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(data), uintptr(len(b)), unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&name)), size)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return os.NewSyscallError("sendto", errno)
		}
	}
}

var errFamily = errors.New("listen: an IPv6 address, and a socket for IPv4")

// swapped turns a port from the order of the network into that of the machine, or back.
func swapped(port uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
}

// zones remembers the names of interfaces by their numbers.
type zones struct{ names map[uint32]string }

// name returns the zone of an address by the number of its interface.
func (z *zones) name(index uint32) string {
	if name, ok := z.names[index]; ok {
		return name
	}
	ifi, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return ""
	}
	z.note(index, ifi.Name)
	return ifi.Name
}

// index is the reverse; 0: there is none.
func (z *zones) index(zone string) uint32 {
	for index, name := range z.names {
		if name == zone {
			return index
		}
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	z.note(uint32(ifi.Index), zone)
	return uint32(ifi.Index)
}

func (z *zones) note(index uint32, name string) {
	if z.names == nil || len(z.names) >= 64 { // of a host that makes new interfaces all the time
		z.names = make(map[uint32]string)
	}
	z.names[index] = name
}
