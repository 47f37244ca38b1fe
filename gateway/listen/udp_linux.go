package listen

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setReceiveBuffer asks for a receive buffer of want octets and returns what was
// granted. SO_RCVBUFFORCE goes beyond net.core.rmem_max and needs CAP_NET_ADMIN.
func setReceiveBuffer(c *net.UDPConn, want int) (granted int, err error) {
	err = control(c, func(fd uintptr) error {
		s := int(fd)
		if unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
			if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, want); err != nil {
				return err
			}
		}
		// The kernel doubles what it is asked for, to pay for its bookkeeping, and
		// tells the doubled figure (socket(7)).
		doubled, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF)
		granted = doubled / 2
		return err
	})
	return granted, err
}

// refuseGroups makes a socket receive only from groups it has joined itself. By
// default a wildcard socket receives from all groups that the host is a member of.
func refuseGroups(c *net.UDPConn, v6 bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_MULTICAST_ALL
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL
	}
	return control(c, func(fd uintptr) error {
		return unix.SetsockoptInt(int(fd), level, option, 0)
	})
}

// The answer to SO_MEMINFO is an array of 32-bit numbers (linux/sock_diag.h).
const (
	skMemInfoVars  = 9
	skMemInfoDrops = 8
)

func kernelDropsOf(c *net.UDPConn) (drops uint64, ok bool) {
	err := control(c, func(fd uintptr) error {
		var info [skMemInfoVars]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		if int(size) < int(unsafe.Sizeof(info)) {
			return unix.ENOPROTOOPT // a kernel that does not count yet
		}
		drops = uint64(info[skMemInfoDrops])
		return nil
	})
	return drops, err == nil
}
