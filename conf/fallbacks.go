package conf

import "time"

// Fallbacks are the "host:port" of the brokers behind FallbackURLs.
func (b Broker) Fallbacks() []string {
	var list []string
	for _, text := range b.FallbackURLs {
		address, _ := parseBrokerURL(text)
		list = append(list, address)
	}
	return list
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
		address, err := parseBrokerURL(text)
		switch where := used[address]; {
		case err != nil:
			d.fault(at, "%v", err)
		case address == "":
			d.fault(at, "is the built-in broker; want a URL such as \"tcp://broker.example:1883\"")
		case where != "":
			d.fault(at, "%s is the broker of %s too", quote(text), where)
		default:
			used[address] = at
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
