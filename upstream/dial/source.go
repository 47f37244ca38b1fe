package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// sourceRest is for how long a source address is passed over that has no port left, or that
// the machine does not have: to find that out takes the system long.
const sourceRest = time.Second

// sources dials from several addresses of this machine in turn. A port of one address leads
// to one broker only once, and there are about 28,000 of them. It is safe for concurrent use.
type sources struct {
	list  []source
	began time.Time
	next  atomic.Uint32
	dial  func(ctx context.Context, from netip.Addr, network, address string) (net.Conn, error)
}

type source struct {
	address netip.Addr
	until   atomic.Int64 // it is passed over until then, from sources.began
}

// Net returns the dial function of the system's network: from the given addresses in turn,
// or, if there are none, from the one that the system chooses. An address is passed over that
// has no port left for the broker, that the machine does not have, or whose IP version is not
// the broker's.
func Net(from []netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	if len(from) == 0 {
		return netDialer().DialContext
	}
	return newSources(from, dialFrom).Dial
}

// netDialer returns what dials a broker. MQTT looks after dead connections; TCP need not send
// probes of its own.
func netDialer() *net.Dialer { return &net.Dialer{KeepAlive: -1} }

// dialFrom dials from one address.
func dialFrom(ctx context.Context, from netip.Addr, network, address string) (net.Conn, error) {
	d := netDialer()
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	d.Control = bindLate
	return d.DialContext(ctx, network, address)
}

func newSources(from []netip.Addr, dial func(context.Context, netip.Addr, string, string) (net.Conn, error)) *sources {
	s := &sources{list: make([]source, len(from)), began: time.Now(), dial: dial}
	for i, a := range from {
		s.list[i].address = a
	}
	return s
}

// Dial dials from the address whose turn it is, or from the first after it that works. If
// all are passed over, it tries the last of them all the same.
func (s *sources) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	first := int(s.next.Add(1)-1) % len(s.list)
	var err error
	for i := range s.list {
		from := &s.list[(first+i)%len(s.list)]
		now := time.Since(s.began)
		if now < time.Duration(from.until.Load()) && (err != nil || i < len(s.list)-1) {
			continue
		}
		var nc net.Conn
		if nc, err = s.dial(ctx, from.address, network, address); err == nil {
			return nc, nil
		}
		switch {
		case noPortLeft(err):
			from.until.Store(int64(now + sourceRest))
			err = fmt.Errorf("no free port at %v, or no such address here: %w", from.address, err)
		case !otherVersion(err):
			return nil, err
		}
	}
	return nil, err
}

// otherVersion reports whether a dial has failed because the IP version of the source is not
// that of any address of the broker.
func otherVersion(err error) bool {
	var a *net.AddrError
	return errors.As(err, &a)
}

// noPortLeft reports whether a dial has failed because the source has no port left for the
// broker, or is no address of this machine: the system does not tell the two apart. Where the
// port is chosen before the connect, none is left if all are in use.
func noPortLeft(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
}
