package dial

import "syscall"

// ipBindAddressNoPort is the socket option IP_BIND_ADDRESS_NO_PORT, which is for IPv6 as well.
const ipBindAddressNoPort = 24

// bindLate lets the system choose the port of a bound socket when it connects: before, it
// would have to find one that leads to no other broker either. Linux before 4.2 does
// without it.
func bindLate(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
}
