package dial

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is the socket option TCP_USER_TIMEOUT, in milliseconds.
const tcpUserTimeout = 18

// limitUnacked makes the system end nc when TCP gets no acknowledgement for what was
// written, for d; 0: when the system finds it proper, which is after many minutes. A
// failure to set it leaves it at that.
func limitUnacked(nc net.Conn, d time.Duration) {
	if raw := rawConn(nc); raw != nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
		})
	}
}
