package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/rate"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// discoveryOptions is what newDiscoverer needs. Every field must be set unless it
// says otherwise.
type discoveryOptions struct {
	gwID uint8
	// advertiseEvery is in whole seconds, 1 s to 65,535 s; 0 switches ADVERTISE off.
	advertiseEvery time.Duration
	// advertiseRadius is the hop limit of ADVERTISE; 0 is the whole network.
	advertiseRadius uint8
	// answers limits the GWINFOs of the whole gateway; the zero Limit: 100 per second, 200
	// at once.
	answers rate.Limit
	// listeners, in the order of the indexes that searches use.
	listeners []listen.Listener
	pool      *listen.Pool
	counters  *counters // messages and octets; may be shared with others

	brokerReady func() bool          // whether a broker is connected
	now         func() time.Duration // monotonic time since the process started
	// malformed is told of each message that cannot be parsed, with its type if that could
	// be read; nil: nobody is. Like drop, it is called from any goroutine.
	malformed func(p listen.Peer, msgType sn12.Type, err error)
	// trace is told every datagram that does not come through a listener, received or sent;
	// nil: nobody is.
	trace func(sent bool, p listen.Peer, datagram []byte)
	// drop is called once for each datagram that discovery does nothing with, or fails to
	// receive or send, from any goroutine; err may be nil.
	drop func(reason session.Reason, err error)
}

// Limits of GWINFOs sent by the whole gateway.
const (
	answersPerSecond = 100
	answerBurst      = 200
)

// unknownType is a message type that does not exist.
const unknownType = 0xFF

// searchQueue is how many searches may wait for the discoverer. They take a fraction
// of a millisecond each, and answers are limited anyway.
const searchQueue = 64

// discoverer runs discovery: one goroutine that owns it, its only timer and all
// sending, and one reader for each group.
type discoverer struct {
	opts     discoveryOptions
	core     discovery // owned by run
	searches chan search
	done     chan struct{}
	wg       sync.WaitGroup
}

func newDiscoverer(opts discoveryOptions) (*discoverer, error) {
	every := opts.advertiseEvery
	if every < 0 || every > 65535*time.Second || every%time.Second != 0 {
		return nil, fmt.Errorf("advertise interval %s: want whole seconds up to 65535s, or 0 for none", every)
	}
	groups := make(map[netip.AddrPort]int)
	for i, l := range opts.listeners {
		if l.Group == nil {
			continue
		}
		// Two members would both answer a SEARCHGW.
		if first, twice := groups[l.Group.Group()]; twice {
			return nil, fmt.Errorf("listeners %d and %d have the same group %s", first, i, l.Group.Group())
		}
		groups[l.Group.Group()] = i
	}
	if every > 0 && len(groups) == 0 {
		return nil, errors.New("advertising needs a listener with a group")
	}
	if opts.answers == (rate.Limit{}) {
		opts.answers = rate.PerSecond(answersPerSecond, answerBurst)
	}
	return &discoverer{
		opts:     opts,
		core:     newDiscovery(opts.gwID, every, rate.NewLimiter(opts.answers)),
		searches: make(chan search, searchQueue),
		done:     make(chan struct{}),
	}, nil
}

// start starts the goroutines. close ends them.
func (d *discoverer) start() {
	d.wg.Go(d.run)
	for i, l := range d.opts.listeners {
		if l.Group == nil {
			continue
		}
		loop := &listen.Loop{
			Conn:     l.Group,
			Listener: i,
			Pool:     d.opts.pool,
			Handle:   d.groupDatagram,
			NoMemory: func(int) { d.opts.drop(session.ReasonShardFull, nil) },
			Failed:   func(err error) { d.opts.drop(session.ReasonReceiveFailed, err) },
			Done:     d.done,
		}
		d.wg.Go(loop.Run)
	}
}

// close leaves the groups and waits for the goroutines. It is called once. The
// listeners stay open.
func (d *discoverer) close() error {
	close(d.done)
	var errs []error
	for _, l := range d.opts.listeners {
		if l.Group != nil {
			errs = append(errs, l.Group.Close())
		}
	}
	d.wg.Wait()
	return errors.Join(errs...)
}

// message takes a message that a gateway gets only for discovery, from whichever
// goroutine has received it, and reports whether it was one: SEARCHGW, which will be
// answered, and other gateways' ADVERTISE and GWINFO, which are counted. It makes no
// session and never blocks. node is the Wireless Node Id for viaForwarder; nothing of
// it or of body is kept. Counting it as received is the caller's business.
func (d *discoverer) message(via place, listener int, from netip.AddrPort, node []byte, msgType byte, body []byte) bool {
	switch sn12.Type(msgType) {
	case sn12.TypeSearchGW:
		var m sn12.SearchGW
		if err := m.Parse(body); err != nil {
			d.unreadable(listener, from, msgType, err)
			return true
		}
		d.enqueue(search{via: via, listener: listener, from: from, node: node, radius: m.Radius})
	case sn12.TypeAdvertise:
		var m sn12.Advertise
		if err := m.Parse(body); err != nil {
			d.unreadable(listener, from, msgType, err)
			return true
		}
		d.gatewaySeen(m.GwID)
	case sn12.TypeGWInfo:
		var m sn12.GWInfo
		if err := m.Parse(body); err != nil {
			d.unreadable(listener, from, msgType, err)
			return true
		}
		d.gatewaySeen(m.GwID)
	default:
		return false
	}
	return true
}

// gatewaySeen counts what another gateway has sent. Our own messages come back from
// the group, and are known by their GwId.
func (d *discoverer) gatewaySeen(gwID uint8) {
	if gwID != d.opts.gwID {
		d.opts.drop(session.ReasonOtherGateway, nil)
	}
}

// unreadable counts a message that cannot be parsed.
func (d *discoverer) unreadable(listener int, from netip.AddrPort, msgType byte, err error) {
	d.opts.drop(session.ReasonMalformed, err)
	if d.opts.malformed != nil {
		d.opts.malformed(listen.Peer{Listener: listener, Addr: from}, sn12.Type(msgType), err)
	}
}

func (d *discoverer) enqueue(s search) {
	if len(d.searches) == cap(d.searches) { // before the copy, so that a flood makes no garbage
		d.opts.drop(session.ReasonShardFull, nil)
		return
	}
	s.node = bytes.Clone(s.node)
	select {
	case d.searches <- s:
	default:
		d.opts.drop(session.ReasonShardFull, nil)
	}
}

// groupDatagram takes what was sent to a group. Only discovery belongs there; a
// client's session messages go to the listener's own address.
func (d *discoverer) groupDatagram(dg *listen.Datagram) {
	defer dg.Recycle()
	if d.opts.trace != nil {
		d.opts.trace(false, listen.Peer{Listener: dg.Listener, Addr: dg.From}, dg.Bytes())
	}
	msgType, body, err := snpacket.Split(dg.Bytes())
	if err != nil {
		d.unreadable(dg.Listener, dg.From, unknownType, err)
		return
	}
	d.opts.counters.in(msgType, len(dg.Bytes()))
	if !d.message(viaGroup, dg.Listener, dg.From, nil, msgType, body) {
		d.opts.drop(session.ReasonUnexpectedMessage, nil)
	}
}

// run owns d.core.
func (d *discoverer) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.done:
			return
		case s := <-d.searches:
			d.answer(s)
		case <-timer.C:
			d.advertise()
			if at := d.core.deadline(); at != never {
				timer.Reset(at - d.opts.now())
			}
		}
	}
}

func (d *discoverer) advertise() {
	now := d.opts.now()
	payload, ok := d.core.advance(now, d.opts.brokerReady())
	if !ok {
		return
	}
	a := announcement{msgType: sn12.TypeAdvertise, toGroup: true, hops: d.opts.advertiseRadius, payload: payload}
	if a.hops == 0 {
		a.hops = wholeNetwork
	}
	sent := false
	for i, l := range d.opts.listeners {
		if l.Group != nil {
			a.listener = i
			sent = d.send(a) || sent
		}
	}
	if !sent {
		d.core.unsent(now)
	}
}

func (d *discoverer) answer(s search) {
	a, ok := d.core.answer(d.opts.now(), s)
	if !ok {
		d.opts.drop(session.ReasonRateLimited, nil)
		return
	}
	d.send(a)
}

// send reports whether the datagram was sent.
func (d *discoverer) send(a announcement) bool {
	l := d.opts.listeners[a.listener]
	var err error
	if a.toGroup {
		err = l.Group.WriteGroup(a.payload, a.hops)
	} else {
		_, err = l.Conn.WriteTo(a.payload, a.to)
	}
	if err != nil {
		d.opts.drop(session.ReasonSendFailed, err)
		return false
	}
	if d.opts.trace != nil {
		to := a.to
		if a.toGroup {
			to = l.Group.Group()
		}
		d.opts.trace(true, listen.Peer{Listener: a.listener, Addr: to}, a.payload)
	}
	d.opts.counters.out(byte(a.msgType), len(a.payload))
	return true
}
