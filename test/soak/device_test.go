package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
)

// device is the model of one device: what its firmware does, forever, with the bad luck
// that devices have. It is one goroutine, run; its client has another, which calls
// handle and trace.
//
// What a device may have to go through without a fault of anyone, it takes as a real one
// would: it is refused with "congestion" and tries again later, it is given up by the
// gateway or gives the gateway up after all repetitions, and connects again.
type device struct {
	w       *world
	id      string
	rng     *rand.Rand
	history history

	// Traits.
	sleeper, roams, crashes, switches, will bool
	keepAlive                               time.Duration
	subs                                    []subscription
	up                                      []*stream

	// Of run.
	client  *snclient.Client
	radio   *radio
	addr    netip.AddrPort
	online  bool // as far as the device knows
	pending []incomplete
	lostAt  int // times lost before the last CONNECT

	// Of the client's goroutine; of run while there is no client.
	inRNG  *rand.Rand
	opened map[uint16][]byte // QoS 2 exchanges from PUBLISH to PUBREL, by MsgId
	// counts: the gateway has seen a message of this connection, so the next MsgId shows
	// that the device counts. Before, a QoS 2 message that the network delivers twice may
	// be taken for two: see docs/PROTOCOL.md.
	counts bool

	// Of the ledger. clean is written by run alone.
	clean      bool
	sleepFor   time.Duration
	flows      map[uint16]*flow
	there      bool // connected, as far as the device knows
	subscribed bool
	missing    time.Duration // since when messages were not queued; 0: none are missing
	lost       int
	losses     []loss
	wills      []uint32 // the will in force, and those that may have come into force since
	lastWill   uint32
	bootWill   uint32 // what every CONNECT of this client carries
}

type subscription struct {
	topic snclient.Topic
	qos   uint8
}

// incomplete is a PUBLISH to be resumed.
type incomplete struct {
	err *snclient.IncompleteError
	s   *stream
	seq uint32
}

// copiesLiveFor is longer than any datagram is on its way. A device is slower than that
// to connect again: an old PUBLISH would be a new one to it.
const copiesLiveFor = 2 * time.Second

func (d *device) willTopic() string { return "will/" + d.id }

func (d *device) note(format string, args ...any) { d.history.note(d.w.now(), format, args...) }

func (d *device) chance(p float64) bool { return d.rng.Float64() < p }

// between returns a random time.
func (d *device) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.rng.Float64()*float64(hi-lo))
}

// run is the life of the device.
func (d *device) run() {
	d.wait(d.between(0, time.Minute))
	for d.w.running() {
		switch {
		case !d.online:
			d.connect()
		case d.w.mustering():
			d.w.answer(d)
		default:
			d.act()
		}
	}
	d.powerOff()
}

// wait lets time pass, whatever happens but the end of the run.
func (d *device) wait(t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.w.ctx.Done():
	}
}

// pause lets time pass until the device is wanted for a muster, or loses its connection.
// It reports whether it was long enough.
func (d *device) pause(t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	var lost <-chan error
	if d.client != nil {
		lost = d.client.Lost()
	}
	select {
	case <-timer.C:
		return true
	case err := <-lost:
		d.note("connection lost: %v", err)
		d.online = false
	case <-d.w.musterCall():
	case <-d.w.ctx.Done():
	}
	return false
}

// act is one thing the device does while it is connected.
func (d *device) act() {
	if !d.pause(time.Duration(d.rng.ExpFloat64() * float64(d.w.pace))) {
		return
	}
	switch p := d.rng.Float64(); {
	case d.sleeper && p < 0.4:
		d.sleep()
	case d.crashes && p < 0.43:
		d.crash(d.between(3*time.Second, 40*time.Second))
	case d.crashes && p < 0.44:
		d.vanish()
	case p < 0.46:
		d.restart()
	case d.will && p < 0.48:
		d.updateWill()
	case p < 0.49:
		d.done("PINGREQ", d.client.Ping(d.w.ctx))
	default:
		d.publish(uint8(d.rng.IntN(5)+1) / 2) // 0 once, 1 and 2 twice in five
	}
}

// powerOn makes a client that remembers nothing.
func (d *device) powerOn() {
	var err error
	if d.radio, err = listenRadio(d.w.network, d.addr, d.w.gatewayAddr); err != nil {
		d.w.fail(d, "%v", err)
		return
	}
	o := snclient.Options{
		ClientID:     d.id,
		CleanSession: d.clean,
		KeepAlive:    d.keepAlive,

		MaxPacketSize: maxDatagram,
		Handler:       d.handle,
		Predefined:    map[uint16]string{alarmID: alarmTopic},
		Trace:         d.trace,
	}
	if d.will {
		d.w.ledger.bootWill(d)
		o.Will = &snclient.Will{Topic: d.willTopic(), Message: encode(tagWill, 0, d.bootWill, 1, 0), QoS: 1}
	}
	d.opened = make(map[uint16][]byte)
	if d.client, err = snclient.New(d.radio, o); err != nil {
		d.w.fail(d, "%v", err)
	}
}

// powerOff ends the client without a word to the gateway.
func (d *device) powerOff() {
	d.online, d.pending = false, nil
	if d.client == nil {
		return
	}
	d.w.ledger.away(d)
	d.note("power off")
	if err := d.client.Close(); err != nil {
		d.w.fail(d, "Close: %v", err)
	}
	d.client = nil
	for _, payload := range d.opened {
		d.w.ledger.forgetful(d, payload)
	}
}

// connect tries once to connect, to subscribe, and to finish what was begun before.
func (d *device) connect() {
	d.w.ledger.away(d)
	if d.client == nil {
		d.powerOn()
	}
	d.wait(copiesLiveFor + d.between(0, 8*time.Second))
	if d.roams && d.chance(0.3) {
		d.move()
	}
	if !d.w.running() {
		return
	}
	if d.clean {
		d.pending = nil
	}
	d.counts = false
	d.note("connects, CleanSession %v", d.clean)
	d.lostAt = d.w.ledger.timesLost(d)
	d.w.ledger.offerWill(d, d.bootWill)
	if !d.done("CONNECT", d.client.Connect(d.w.ctx)) {
		d.online = false
		return
	}
	d.online = true
	d.w.ledger.connected(d)
	if !d.subscribed && !d.subscribe() {
		return
	}
	for len(d.pending) > 0 && d.online {
		p := d.pending[0]
		d.pending = d.pending[1:]
		d.published(p.s, p.seq, d.client.Continue(d.w.ctx, p.err))
	}
}

func (d *device) subscribe() bool {
	for _, s := range d.subs {
		granted, err := d.client.Subscribe(d.w.ctx, s.topic, s.qos)
		if !d.done("SUBSCRIBE", err) {
			d.online = false // begin again with CONNECT
			return false
		}
		if granted != s.qos {
			d.w.fail(d, "SUBACK for %v grants QoS %d", s.topic, granted)
		}
	}
	d.w.ledger.hasSubscribed(d)
	d.note("subscribed")
	return true
}

// done takes the result of a request. It reports whether the request succeeded, and
// has d.online say whether the connection is still there.
func (d *device) done(what string, err error) bool {
	if err == nil {
		return true
	}
	d.note("%s: %v", what, err)
	var refused *snclient.ReturnCodeError
	switch {
	case d.w.ctx.Err() != nil:
		d.online = false
	case errors.As(err, &refused) && refused.Code == sn12.RejectedCongestion:
		d.w.ledger.count(func(c *counts) { c.congestions++ })
		d.pause(d.between(20*time.Second, 4*time.Minute))
	case errors.Is(err, snclient.ErrTimeout), errors.Is(err, snclient.ErrDisconnected), errors.Is(err, snclient.ErrNotConnected),
		errors.Is(err, context.DeadlineExceeded):
		d.online = false
	default:
		d.w.fail(d, "%s: %v", what, err)
		d.online = false
	}
	return false
}

// publish publishes one message; sometimes the device crashes while it does.
func (d *device) publish(qos uint8) {
	if !d.counts {
		qos = min(qos, 1)
	}
	s := d.up[d.rng.IntN(len(d.up))]
	seq, payload := d.w.ledger.send(s, qos, d.padding())
	ctx, crash := d.w.ctx, d.crashes && d.chance(0.2)
	if crash {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.between(0, 300*time.Millisecond))
		defer cancel()
	}
	err := d.client.Publish(ctx, snclient.Name(s.topic), payload, qos, false)
	d.published(s, seq, err)
	if crash {
		d.crash(d.between(3*time.Second, 40*time.Second))
	}
}

// published takes the result of a Publish or Continue.
func (d *device) published(s *stream, seq uint32, err error) {
	if seq == 0 {
		d.done("PUBLISH", err)
		return
	}
	if err == nil {
		d.counts = true
		d.note("message %d to %s is acknowledged", seq, s.topic)
		d.w.ledger.acknowledged(s, seq)
		return
	}
	d.w.ledger.count(func(c *counts) { c.doubt++ })
	var in *snclient.IncompleteError
	if errors.As(err, &in) && !d.clean {
		d.pending = append(d.pending, incomplete{in, s, seq})
	}
	d.done(fmt.Sprintf("PUBLISH %d to %s", seq, s.topic), err)
}

// padding is mostly little, sometimes up to a large datagram.
func (d *device) padding() int {
	if d.chance(0.02) {
		return d.rng.IntN(1400)
	}
	return d.rng.IntN(60)
}

// handle takes a message. Now and then the application is too busy to.
func (d *device) handle(m snclient.Message) bool {
	if m.QoS > 0 && d.inRNG.Float64() < 0.01 {
		return false
	}
	if m.QoS == 2 {
		d.opened[m.MsgID] = m.Payload
	}
	d.w.ledger.received(d, &m)
	return true
}

func (d *device) trace(sent bool, b []byte) {
	d.history.datagram(d.w.now(), sent, b)
	if !sent && len(b) == 4 && sn12.Type(b[1]) == sn12.TypePubRel {
		delete(d.opened, uint16(b[2])<<8|uint16(b[3]))
	}
}
