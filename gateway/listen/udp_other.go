//go:build !linux

package listen

import "net"

// minReceiveBuffer is where setReceiveBuffer stops asking for less.
const minReceiveBuffer = 64 << 10

// setReceiveBuffer asks for a receive buffer of want octets, then for half as much
// until the system, which refuses what is beyond its limit, grants it.
func setReceiveBuffer(c *net.UDPConn, want int) (granted int, err error) {
	for {
		if err = c.SetReadBuffer(want); err == nil {
			return want, nil
		}
		if want /= 2; want < minReceiveBuffer {
			return 0, err
		}
	}
}

// refuseGroups has nothing to do: these systems hand a group's datagrams to the
// sockets that have joined it.
func refuseGroups(*net.UDPConn, bool) error { return nil }

// kernelDropsOf: these systems do not tell per socket.
func kernelDropsOf(*net.UDPConn) (uint64, bool) { return 0, false }
