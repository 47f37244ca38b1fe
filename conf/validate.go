package conf

import (
	"errors"
	"net/netip"
	"time"

	"sngate/topicreg"
)

// maxMQTTID bounds gateway.client_id, in octets.
const maxMQTTID = 1024

// validate applies the rules that a type and a range cannot say. A key that has a fault
// already is not looked at again.
func (d *decoder) validate(cfg *Config) {
	if len(cfg.Gateway.ClientID) > maxMQTTID {
		d.fault("gateway.client_id", "is longer than %d octets", maxMQTTID)
	}
	if n := cfg.Gateway.MemoryLimit; n > 0 && n < MinMemoryLimit && !d.bad["gateway.memory_limit"] {
		d.fault("gateway.memory_limit", "%d is too small; want 0, or %d and more", n, MinMemoryLimit)
	}
	if topic := cfg.Gateway.StatusTopic; topic != "" {
		if err := topicreg.ValidName(topic); err != nil {
			d.fault("gateway.status_topic", "%v", err)
		}
	}
	d.listeners(cfg.Listener)
	d.discovery(cfg)
	d.broker(&cfg.Broker)
	checkLimits(d, cfg)
	checkTopicMap(d, &cfg.Broker.TopicMap)
	d.tcpServers(cfg)
	d.store(cfg)
	d.spool(cfg)
	if e := cfg.Session.Expiry; e > 0 && e < time.Minute && !d.bad["session.expiry"] {
		d.fault("session.expiry", "%v is too short; want 0s, or 1m and more", e)
	}
	d.patterns("session.allow", cfg.Session.Allow)
	d.patterns("log.trace_clients", cfg.Log.TraceClients)
	d.packetSizes(cfg.Session.MaxPacketSizes)
	d.predefined(cfg.Topics.Predefined)
}

// patterns looks at a list of client ids and patterns.
func (d *decoder) patterns(key string, list []string) {
	for i, pattern := range list {
		if path := index(key, i); pattern == "" && !d.bad[path] {
			d.fault(path, "is empty; want a client id or a pattern")
		}
	}
}

func (d *decoder) packetSizes(list []PacketSize) {
	for i, p := range list {
		at := index("session.max_packet_sizes", i)
		if d.bad[at] {
			continue
		}
		if client := join(at, "client"); p.Client == "" && !d.bad[client] {
			d.fault(client, "is empty; want a client id or a pattern")
		}
		if octets := join(at, "octets"); !d.given[octets] {
			d.fault(octets, "is missing")
		}
	}
}

func (d *decoder) listeners(list []Listener) {
	if len(list) == 0 && !d.bad["listener"] {
		d.fault("listener", "is empty; want at least one listener")
	}
	used := make(map[string]int)
	for i, l := range list {
		path := index("listener", i)
		at := join(path, "address")
		host, ok := d.address(at, l.Address)
		if ok {
			where := host.String()
			if k, taken := used[where]; taken && host.port != 0 {
				d.fault(at, "%s is the address of %s too", quote(l.Address), index("listener", k))
			} else {
				used[where] = i
			}
		}
		d.multicast(path, l, host)
	}
}

func (d *decoder) multicast(path string, l Listener, host hostPort) {
	at, via := join(path, "multicast"), join(path, "multicast_interface")
	if l.Multicast == "" {
		if l.MulticastInterface != "" && !d.bad[at] && !d.bad[via] {
			d.fault(via, "is set without %s", at)
		}
		return
	}
	group, err := netip.ParseAddr(l.Multicast)
	own, ownErr := netip.ParseAddr(host.name)
	switch {
	case err != nil || !group.IsMulticast():
		d.fault(at, "%s is not a multicast address; want one such as \"225.1.1.1\" or \"ff02::1234\", without a port", quote(l.Multicast))
	case group.Zone() != "":
		d.fault(at, "%s has a zone; want the interface in %s", quote(l.Multicast), via)
	case host.port == 0:
		d.fault(at, "%s needs a listener with a port of its own; want one in %s", quote(l.Multicast), join(path, "address"))
	case ownErr == nil && own.Is4() != group.Is4():
		d.fault(at, "%s and the listener's address %s are not of the same IP version", quote(l.Multicast), quote(l.Address))
	}
}

func (d *decoder) discovery(cfg *Config) {
	const at = "discovery.advertise_interval"
	interval := cfg.Discovery.AdvertiseInterval
	if interval == 0 || d.bad[at] {
		return
	}
	if interval%time.Second != 0 {
		d.fault(at, "%q is out of range; want whole seconds", interval)
		return
	}
	for i, l := range cfg.Listener {
		if l.Multicast != "" || d.bad[join(index("listener", i), "multicast")] {
			return
		}
	}
	d.fault(at, "needs a listener with a multicast group; set multicast in [[listener]]")
}

// tcpServers checks the addresses of the built-in broker and of the operator's pages.
func (d *decoder) tcpServers(cfg *Config) {
	const embedded, ops = "embedded_broker.address", "ops.address"
	broker, ok := d.address(embedded, cfg.EmbeddedBroker.Address)
	if cfg.Ops.Address == "" {
		return
	}
	page, pageOK := d.address(ops, cfg.Ops.Address)
	if ok && pageOK && cfg.Broker.Embedded() && page.port != 0 && page.String() == broker.String() {
		d.fault(ops, "%s is the address of embedded_broker too", quote(cfg.Ops.Address))
	}
}

// address checks a "host:port" to listen on.
func (d *decoder) address(path, text string) (hostPort, bool) {
	if d.bad[path] {
		return hostPort{}, false
	}
	h, err := parseAddress(text)
	if err != nil {
		d.fault(path, "%s is not an address; want host:port, such as \":1883\", \"192.0.2.1:1883\" or \"[::1]:1883\"", quote(text))
	}
	return h, err == nil
}

// predefined checks the predefined topics. Entries with a fault in a type or range are
// checked one by one, without that key, so that they do not seem to clash with others.
func (d *decoder) predefined(entries []topicreg.Entry) {
	const at = "topics.predefined"
	var whole []topicreg.Entry
	var place []int
	for i, e := range entries {
		if d.bad[index(at, i)] {
			continue
		}
		fields := []struct {
			key      string
			optional bool
			clear    func()
		}{
			{"id", false, func() { e.ID = 1 }},
			{"name", false, func() { e.Name = "x" }},
			{"client", true, func() { e.Client = "" }},
		}
		readable := true
		for _, f := range fields {
			path := join(index(at, i), f.key)
			if !d.given[path] && !f.optional {
				d.fault(path, "is missing")
			}
			if d.bad[path] {
				readable = false
				f.clear()
			}
		}
		if readable {
			whole, place = append(whole, e), append(place, i)
		} else {
			d.entryFaults([]topicreg.Entry{e}, []int{i})
		}
	}
	d.entryFaults(whole, place)
}

// entryFaults reports what is wrong with entries; place has their numbers in the file.
func (d *decoder) entryFaults(entries []topicreg.Entry, place []int) {
	const at = "topics.predefined"
	_, err := topicreg.NewPredefined(entries)
	if err == nil {
		return
	}
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var e *topicreg.EntryError
		if errors.As(err, &e) {
			msg := e.Msg
			if e.Other >= 0 {
				msg += " (" + index(at, place[e.Other]) + ")"
			}
			d.fault(join(index(at, place[e.Index]), e.Field), "%s", msg)
		}
	}
}
