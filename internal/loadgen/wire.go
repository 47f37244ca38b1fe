package loadgen

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// maxDatagram is the longest datagram from the gateway that is read, in octets.
const maxDatagram = MaxPayload + 64

// socketBuffer is the receive buffer asked for of a socket that many devices share, in octets.
const socketBuffer = 4 << 20

// wire carries datagrams between devices and the gateway. Each device has an address of its
// own. send may be called by several goroutines.
type wire interface {
	// send sends a datagram of a device. What cannot be sent is lost, as UDP has it.
	send(device int, datagram []byte)
	// serve calls take for each datagram that the gateway sends to a device, until close. take
	// does not keep the datagram. It is called once, and does not fail when it is closed.
	serve(take func(device int, datagram []byte)) error
	// close ends serve. Nothing is sent any more.
	close()
}

// dialed is the wire that works everywhere: a socket for each device, and a goroutine that
// reads it.
type dialed struct {
	sockets []*net.UDPConn
}

func openDialed(gateway netip.AddrPort, devices int) (wire, error) {
	d := &dialed{}
	for range devices {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(gateway))
		if err != nil {
			d.close()
			return nil, err
		}
		d.sockets = append(d.sockets, c)
	}
	return d, nil
}

func (d *dialed) send(device int, datagram []byte) { _, _ = d.sockets[device].Write(datagram) }

func (d *dialed) serve(take func(int, []byte)) error {
	var readers sync.WaitGroup
	for i, c := range d.sockets {
		readers.Go(func() {
			buf := make([]byte, maxDatagram)
			for {
				n, err := c.Read(buf)
				if err == nil {
					take(i, buf[:n])
				} else if isClosed(err) {
					return
				} // else ICMP: the gateway is away, and the device will repeat itself
			}
		})
	}
	readers.Wait()
	return nil
}

func (d *dialed) close() {
	for _, c := range d.sockets {
		c.Close()
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
