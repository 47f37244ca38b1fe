package soak

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sngate/internal/snclient"
	"sngate/upstream/upstreamtest"
)

const (
	siteSize   = 20 // devices of a site
	siteTopics = 30 // topics of a site
)

// populate makes the devices, their traits, and the streams of messages.
func (w *world) populate(n int) {
	rng := w.random(partTraits)
	for i := range n {
		d := &device{
			w: w, id: fmt.Sprintf("dev%03d", i), rng: w.random(partDevices + 2*uint64(i)), inRNG: w.random(partDevices + 2*uint64(i) + 1),
			flows: make(map[uint16]*flow),
		}
		w.devices = append(w.devices, d)
		w.byID[d.id] = d
		w.giveTraits(d, i, rng)
	}
	for i, d := range w.devices {
		w.giveTopics(d, i, rng)
	}
	w.giveSites()
	for _, d := range w.devices { // whose subscriptions they match
		for _, s := range w.ledger.streams {
			if s.owner == nil && d.wants(s.topic) {
				s.listeners = append(s.listeners, d)
			}
		}
	}
}

func (w *world) giveTraits(d *device, i int, rng *rand.Rand) {
	chance := func(p float64) bool { return rng.Float64() < p }
	d.clean, d.sleeper, d.will = chance(0.4), chance(0.4), chance(0.5)
	d.roams, d.crashes, d.switches = chance(0.15), chance(0.25), chance(0.05)
	switch p := rng.IntN(20); {
	case p < 2:
		d.keepAlive = time.Minute
	case p < 8:
		d.keepAlive = 3 * time.Minute
	case p < 14:
		d.keepAlive = 5 * time.Minute
	case p < 19:
		d.keepAlive = 10 * time.Minute
	}
	if d.roams {
		d.addr = w.addresses.take(0, rng)
	} else {
		d.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 2000)
	}
}

// giveTopics gives a device its own topics, and some the predefined one, the short one,
// or those of another device.
func (w *world) giveTopics(d *device, i int, rng *rand.Rand) {
	command := w.ledger.newStream("cmd/"+d.id, nil)
	d.subs = append(d.subs, subscription{snclient.Name(command.topic), 2})
	d.up = []*stream{w.ledger.newStream("up/"+d.id+"/a", d), w.ledger.newStream("up/"+d.id+"/b", d)}
	switch rng.IntN(10) {
	case 0:
		d.subs = append(d.subs, subscription{snclient.Predefined(alarmID), 1})
	case 1:
		d.subs = append(d.subs, subscription{snclient.Short(shortTopic), 2})
	case 2:
		other := w.devices[rng.IntN(len(w.devices))]
		d.subs = append(d.subs, subscription{snclient.Name("up/" + other.id + "/#"), 2})
	case 3, 4:
		d.subs = append(d.subs, subscription{snclient.Name(fmt.Sprintf("site/%d/+", i/siteSize)), uint8(1 + rng.IntN(2))})
	}
}

func (w *world) giveSites() {
	w.ledger.newStream(alarmTopic, nil)
	w.ledger.newStream(shortTopic, nil)
	for site := range (len(w.devices) + siteSize - 1) / siteSize {
		for topic := range siteTopics {
			w.ledger.newStream(fmt.Sprintf("site/%d/t%d", site, topic), nil)
		}
	}
}

// wants reports whether the device subscribes to the topic.
func (d *device) wants(topic string) bool {
	return slices.ContainsFunc(d.subs, func(s subscription) bool {
		filter := s.topic.Name
		if filter == "" {
			filter = alarmTopic
		}
		return upstreamtest.Match(filter, topic)
	})
}

func (d *device) describe() string {
	s := "keep-alive=" + d.keepAlive.String()
	for _, trait := range []struct {
		has  bool
		name string
	}{{d.sleeper, "sleeper"}, {d.roams, "roams"}, {d.crashes, "crashes"}, {d.switches, "switches"}, {d.will, "will"}} {
		if trait.has {
			s += " " + trait.name
		}
	}
	return s
}

// publisher publishes at the broker: mostly commands for one device, sometimes something
// for all of a site or for everybody.
func (w *world) publisher() {
	rng := w.random(partPublisher)
	var commands, others []*stream
	for _, s := range w.ledger.streams {
		switch {
		case s.owner != nil:
		case len(s.listeners) == 1 && s.topic == "cmd/"+s.listeners[0].id:
			commands = append(commands, s)
		default:
			others = append(others, s)
		}
	}
	every := w.pace / time.Duration(len(w.devices))
	for w.running() {
		timer := time.NewTimer(time.Duration(rng.ExpFloat64() * float64(every)))
		select {
		case <-timer.C:
		case <-w.ctx.Done():
			timer.Stop()
			return
		}
		from := commands
		if rng.IntN(8) == 0 {
			from = others
		}
		s, qos, padding := from[rng.IntN(len(from))], uint8(rng.IntN(5)+1)/2, rng.IntN(60)
		if rng.IntN(50) == 0 {
			padding = rng.IntN(1400)
		}
		if !w.mustering() && w.trunk.up() {
			w.ledger.publish(s, qos, padding)
		}
	}
}

// addressPool hands out the addresses of devices that move. One given back rests for
// longer than the gateway repeats what it sent there, so that nobody gets what was
// meant for another; then it may be another device's.
type addressPool struct {
	mu   sync.Mutex
	free []pooled
}

type pooled struct {
	addr netip.AddrPort
	from time.Duration // free from then on
}

const addressRests = 2 * time.Minute

func newAddressPool(n int) *addressPool {
	p := new(addressPool)
	for i := range n {
		p.free = append(p.free, pooled{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), uint16(3000+i))})
	}
	return p
}

func (p *addressPool) take(now time.Duration, rng *rand.Rand) netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := rng.IntN(len(p.free)); ; i = (i + 1) % len(p.free) {
		if f := p.free[i]; f.from <= now {
			p.free = slices.Delete(p.free, i, i+1)
			return f.addr
		}
	}
}

func (p *addressPool) give(now time.Duration, addr netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, pooled{addr, now + addressRests})
}
