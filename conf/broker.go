package conf

import (
	"net/netip"
	"slices"
	"time"
)

// broker checks what is said of the broker, and reads the password's file.
func (d *decoder) broker(b *Broker) {
	if _, err := parseBrokerURL(b.URL); err != nil && !d.bad["broker.url"] {
		d.fault("broker.url", "%v", err)
	}
	d.fallbacks(b)
	checkDemands(d, b)
	checkTLS(d, b)
	checkWebSocket(d, b)
	d.localAddresses(b)
	d.password(b)
	accountCheck{d, b}.all()
	if len(b.Username) > maxMQTTText {
		d.fault("broker.username", "is longer than %d octets", maxMQTTText)
	}
	if len(b.Password.Reveal()) > maxMQTTText {
		d.fault("broker.password", "is longer than %d octets", maxMQTTText)
	}
	if b.ReconnectMin > b.ReconnectMax && !d.bad["broker.reconnect_min"] && !d.bad["broker.reconnect_max"] {
		at := "broker.reconnect_max"
		if !d.given[at] {
			at = "broker.reconnect_min"
		}
		d.fault(at, "reconnect_min (%v) is above reconnect_max (%v)", b.ReconnectMin, b.ReconnectMax)
	}
}

// minFailBack keeps a preferred broker that comes and goes from moving the devices all the
// time.
const minFailBack = 10 * time.Second

func (d *decoder) fallbacks(b *Broker) {
	const all, back = "broker.fallback_urls", "broker.fail_back"
	if b.Embedded() && len(b.FallbackURLs) > 0 && !d.bad[all] {
		d.fault(all, "is set, and the broker is the built-in one; want the URL of a broker in broker.url")
		return
	}
	used := map[string]string{b.Address(): "broker.url"}
	for i, text := range b.FallbackURLs {
		at := index(all, i)
		if d.bad[at] {
			continue
		}
		u, err := parseBrokerURL(text)
		switch where := used[u.address]; {
		case err != nil:
			d.fault(at, "%v", err)
		case u.address == "":
			d.fault(at, "is the built-in broker; want a URL such as \"tcp://broker.example:1883\"")
		case where != "":
			d.fault(at, "%s is the broker of %s too", quote(text), where)
		default:
			used[u.address] = at
		}
	}
	switch {
	case b.FailBack == 0 || d.bad[back]:
	case b.FailBack < minFailBack:
		d.fault(back, "%q is out of range; want 0s or 10s..24h", b.FailBack)
	case len(b.FallbackURLs) == 0 && !d.bad[all]:
		d.fault(back, "is set without broker.fallback_urls")
	}
}

// localAddresses wants each address once, and for each broker one of its IP version, as far as
// the version shows.
func (d *decoder) localAddresses(b *Broker) {
	const all = "broker.local_addresses"
	own := b.LocalAddresses
	for i, a := range own {
		if at := index(all, i); !d.bad[at] && slices.Index(own, a) < i {
			d.fault(at, "%q is %s too", a, index(all, slices.Index(own, a)))
		}
	}
	if len(own) == 0 || b.Embedded() || d.bad[all] || slices.Contains(own, netip.Addr{}) {
		return // or some are not known
	}
	for _, broker := range append([]string{b.Address()}, b.Fallbacks()...) {
		to, err := netip.ParseAddrPort(broker)
		if err == nil && !slices.ContainsFunc(own, func(a netip.Addr) bool { return a.Is4() == to.Addr().Unmap().Is4() }) {
			d.fault(all, "has no address of the IP version of the broker %q", broker)
			return
		}
	}
}
