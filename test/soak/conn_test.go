package soak

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"sngate/gateway/gatewaytest"
)

// maxDatagram is more than any datagram of the soak.
const maxDatagram = 4096

// radio is the transport of one device: a simulated socket as the net.Conn of a client.
// Its address can be changed under the client's feet, as a NAT box does.
type radio struct {
	network *gatewaytest.Network
	gateway netip.AddrPort

	in     chan []byte
	closed chan struct{}

	deadline time.Time // of Read; one goroutine reads and sets it

	mu   sync.Mutex // guards what follows
	sock *gatewaytest.Conn
	down bool
}

// listenRadio opens a radio at addr.
func listenRadio(n *gatewaytest.Network, addr, gateway netip.AddrPort) (*radio, error) {
	r := &radio{network: n, gateway: gateway, in: make(chan []byte, 64), closed: make(chan struct{})}
	return r, r.move(addr)
}

// move gives the radio another address. What is on its way to the old one is lost.
func (r *radio) move(addr netip.AddrPort) error {
	sock, err := r.network.Listen(addr)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sock != nil {
		_ = r.sock.Close() // its receiver ends
	}
	r.sock = sock
	go r.receive(sock)
	return nil
}

// receive passes on what arrives at sock until it is closed.
func (r *radio) receive(sock *gatewaytest.Conn) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := sock.ReadFrom(buf)
		if err != nil {
			return
		}
		if from != r.gateway {
			continue // a connected socket does not show it
		}
		select {
		case r.in <- slices.Clone(buf[:n]):
		case <-r.closed:
			return
		}
	}
}

// Read implements net.Conn.
func (r *radio) Read(b []byte) (int, error) {
	var expired <-chan time.Time
	if !r.deadline.IsZero() {
		timer := time.NewTimer(time.Until(r.deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-r.closed:
		return 0, net.ErrClosed
	case d := <-r.in:
		return copy(b, d), nil
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	}
}

// Write implements net.Conn.
func (r *radio) Write(b []byte) (int, error) {
	r.mu.Lock()
	sock := r.sock
	r.mu.Unlock()
	return sock.WriteTo(b, r.gateway)
}

// Close implements net.Conn.
func (r *radio) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return net.ErrClosed
	}
	r.down = true
	close(r.closed)
	return r.sock.Close()
}

// LocalAddr implements net.Conn.
func (r *radio) LocalAddr() net.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return net.UDPAddrFromAddrPort(r.sock.LocalAddr())
}

// RemoteAddr implements net.Conn.
func (r *radio) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(r.gateway) }

// SetDeadline implements net.Conn.
func (r *radio) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn. It is for the goroutine that reads.
func (r *radio) SetReadDeadline(t time.Time) error {
	r.deadline = t
	return nil
}

// SetWriteDeadline implements net.Conn: a datagram never waits.
func (r *radio) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*radio)(nil)
