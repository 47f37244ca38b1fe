// Package discovery tells clients where the gateway is (MQTT-SN 1.2 section 6.1): it
// advertises itself to multicast groups and answers SEARCHGW. It knows no session.
package discovery

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

// Counters counts messages and their octets. It is used by several goroutines.
type Counters interface {
	Received(msgType byte, n int)
	Sent(msgType byte, n int)
}

// Options is what New needs. Every field must be set unless it
// says otherwise.
type Options struct {
	GwID uint8
	// AdvertiseEvery is in whole seconds, 1 s to 65,535 s; 0 switches ADVERTISE off.
	AdvertiseEvery time.Duration
	// advertiseRadius is the hop limit of ADVERTISE; 0 is the whole network.
	advertiseRadius uint8
	// answers limits the GWINFOs of the whole gateway; the zero Limit: 100 per second, 200
	// at once.
	answers rate.Limit
	// Listeners, in the order of the indexes that searches use.
	Listeners []listen.Listener
	Pool      *listen.Pool
	Counters  Counters

	BrokerReady func() bool          // whether a broker is connected
	Now         func() time.Duration // monotonic time since the process started
	// Malformed is told of each message that cannot be parsed, with its type if that could
	// be read; nil: nobody is. Like drop, it is called from any goroutine.
	Malformed func(p listen.Peer, msgType sn12.Type, err error)
	// Trace is told every datagram that does not come through a listener, received or sent;
	// nil: nobody is.
	Trace func(sent bool, p listen.Peer, datagram []byte)
	// Drop is called once for each datagram that discovery does nothing with, or fails to
	// receive or send, from any goroutine; err may be nil.
	Drop func(reason session.Reason, err error)
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

// Discoverer runs discovery: one goroutine that owns it, its only timer and all
// sending, and one reader for each group.
type Discoverer struct {
	opts     Options
	core     core // owned by run
	searches chan search
	done     chan struct{}
	wg       sync.WaitGroup
}

func New(opts Options) (*Discoverer, error) {
	every := opts.AdvertiseEvery
	if every < 0 || every > 65535*time.Second || every%time.Second != 0 {
		return nil, fmt.Errorf("advertise interval %s: want whole seconds up to 65535s, or 0 for none", every)
	}
	groups := make(map[netip.AddrPort]int)
	for i, l := range opts.Listeners {
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
	return &Discoverer{
		opts:     opts,
		core:     newCore(opts.GwID, every, rate.NewLimiter(opts.answers)),
		searches: make(chan search, searchQueue),
		done:     make(chan struct{}),
	}, nil
}

// Start starts the goroutines. close ends them.
func (d *Discoverer) Start() {
	d.wg.Go(d.run)
	for i, l := range d.opts.Listeners {
		if l.Group == nil {
			continue
		}
		loop := &listen.Loop{
			Conn:     l.Group,
			Listener: i,
			Pool:     d.opts.Pool,
			Handle:   d.groupDatagram,
			NoMemory: func(int) { d.opts.Drop(session.ReasonShardFull, nil) },
			Failed:   func(err error) { d.opts.Drop(session.ReasonReceiveFailed, err) },
			Done:     d.done,
		}
		d.wg.Go(loop.Run)
	}
}

// Close leaves the groups and waits for the goroutines. It is called once. The
// listeners stay open.
func (d *Discoverer) Close() error {
	close(d.done)
	var errs []error
	for _, l := range d.opts.Listeners {
		if l.Group != nil {
			errs = append(errs, l.Group.Close())
		}
	}
	d.wg.Wait()
	return errors.Join(errs...)
}

// Message takes a message that a gateway gets only for discovery, from whichever
// goroutine has received it, and reports whether it was one: SEARCHGW, which will be
// answered, and other gateways' ADVERTISE and GWINFO, which are counted. It makes no
// session and noDeadline blocks. node is the Wireless Node Id for ViaForwarder; nothing of
// it or of body is kept. Counting it as received is the caller's business.
func (d *Discoverer) Message(via place, listener int, from netip.AddrPort, node []byte, msgType byte, body []byte) bool {
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
func (d *Discoverer) gatewaySeen(gwID uint8) {
	if gwID != d.opts.GwID {
		d.opts.Drop(session.ReasonOtherGateway, nil)
	}
}

// unreadable counts a message that cannot be parsed.
func (d *Discoverer) unreadable(listener int, from netip.AddrPort, msgType byte, err error) {
	d.opts.Drop(session.ReasonMalformed, err)
	if d.opts.Malformed != nil {
		d.opts.Malformed(listen.Peer{Listener: listener, Addr: from}, sn12.Type(msgType), err)
	}
}

func (d *Discoverer) enqueue(s search) {
	if len(d.searches) == cap(d.searches) { // before the copy, so that a flood makes no garbage
		d.opts.Drop(session.ReasonShardFull, nil)
		return
	}
	s.node = bytes.Clone(s.node)
	select {
	case d.searches <- s:
	default:
		d.opts.Drop(session.ReasonShardFull, nil)
	}
}

// groupDatagram takes what was sent to a group. Only discovery belongs there; a
// client's session messages go to the listener's own address.
func (d *Discoverer) groupDatagram(dg *listen.Datagram) {
	defer dg.Recycle()
	if d.opts.Trace != nil {
		d.opts.Trace(false, listen.Peer{Listener: dg.Listener, Addr: dg.From}, dg.Bytes())
	}
	msgType, body, err := snpacket.Split(dg.Bytes())
	if err != nil {
		d.unreadable(dg.Listener, dg.From, unknownType, err)
		return
	}
	d.opts.Counters.Received(msgType, len(dg.Bytes()))
	if !d.Message(viaGroup, dg.Listener, dg.From, nil, msgType, body) {
		d.opts.Drop(session.ReasonUnexpectedMessage, nil)
	}
}

// run owns d.core.
func (d *Discoverer) run() {
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
			if at := d.core.deadline(); at != noDeadline {
				timer.Reset(at - d.opts.Now())
			}
		}
	}
}

func (d *Discoverer) advertise() {
	now := d.opts.Now()
	payload, ok := d.core.advance(now, d.opts.BrokerReady())
	if !ok {
		return
	}
	a := announcement{msgType: sn12.TypeAdvertise, toGroup: true, hops: d.opts.advertiseRadius, payload: payload}
	if a.hops == 0 {
		a.hops = wholeNetwork
	}
	sent := false
	for i, l := range d.opts.Listeners {
		if l.Group != nil {
			a.listener = i
			sent = d.send(a) || sent
		}
	}
	if !sent {
		d.core.unsent(now)
	}
}

func (d *Discoverer) answer(s search) {
	a, ok := d.core.answer(d.opts.Now(), s)
	if !ok {
		d.opts.Drop(session.ReasonRateLimited, nil)
		return
	}
	d.send(a)
}

// send reports whether the datagram was sent.
func (d *Discoverer) send(a announcement) bool {
	l := d.opts.Listeners[a.listener]
	var err error
	if a.toGroup {
		err = l.Group.WriteGroup(a.payload, a.hops)
	} else {
		_, err = l.Conn.WriteTo(a.payload, a.to)
	}
	if err != nil {
		d.opts.Drop(session.ReasonSendFailed, err)
		return false
	}
	if d.opts.Trace != nil {
		to := a.to
		if a.toGroup {
			to = l.Group.Group()
		}
		d.opts.Trace(true, listen.Peer{Listener: a.listener, Addr: to}, a.payload)
	}
	d.opts.Counters.Sent(byte(a.msgType), len(a.payload))
	return true
}
