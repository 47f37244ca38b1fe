package listen

import "net/netip"

// socketBatch is how many datagrams one Read takes at the most.
const socketBatch = 32

// Socket reads and sends the datagrams of a listener without waiting, for one goroutine that
// waits for it in an event loop.
type Socket interface {
	// Read reads what has come, a batch at the most. Each datagram is given to handle, as by a
	// Loop, or to noMemory, by its length. It returns how many there were; after an error the
	// socket may still be good.
	Read(handle func(*Datagram), noMemory func(n int)) (n int, err error)
	// Send sends a datagram, as PacketConn.WriteTo does. Where that would wait for room it fails.
	Send(b []byte, to netip.AddrPort) error
	// Conn is what the loop waits for.
	Conn() any
	// Close lets go of the socket. The listener stays open.
	Close() error
}

// Polled is a PacketConn that a loop can wait for though it is no socket of the system: one of
// a simulated network.
type Polled interface {
	PacketConn
	// TryReadFrom is ReadFrom that does not wait: ok is false where nothing has come.
	TryReadFrom(b []byte) (n int, from netip.AddrPort, ok bool)
	// TryWriteTo is WriteTo that fails where it would wait.
	TryWriteTo(b []byte, to netip.AddrPort) error
}

// Socket returns a socket of l, whose datagrams are to come in buffers of p and with the
// index of l. It is nil if no loop can wait for l. It is closed after its last use, beside l.
func (l *Listener) Socket(index int, p *Pool) (Socket, error) {
	if c, ok := l.Conn.(Polled); ok {
		return &polledSocket{conn: c, listener: index, pool: p}, nil
	}
	return systemSocket(l.Conn, index, p)
}

// polledSocket is the Socket of a Polled.
type polledSocket struct {
	conn     Polled
	listener int
	pool     *Pool
	buf      []byte // nil: nothing has been read
}

// Read implements Socket.
func (s *polledSocket) Read(handle func(*Datagram), noMemory func(int)) (n int, err error) {
	if s.buf == nil {
		s.buf = make([]byte, maxDatagram)
	}
	for ; n < socketBatch; n++ {
		size, from, ok := s.conn.TryReadFrom(s.buf)
		if !ok {
			break
		}
		s.pool.deliver(s.buf[:size], from, s.listener, handle, noMemory)
	}
	return n, nil
}

// Send implements Socket.
func (s *polledSocket) Send(b []byte, to netip.AddrPort) error { return s.conn.TryWriteTo(b, to) }

// Conn implements Socket.
func (s *polledSocket) Conn() any { return s.conn }

// Close implements Socket.
func (*polledSocket) Close() error { return nil }
