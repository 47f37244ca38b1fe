package gateway

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"sngate/internal/rate"
)

// ConnectRates bounds the CONNECTs of client ids that have no session. A rate is per
// second, with a burst that passes at once; a rate of 0 is no limit.
type ConnectRates struct {
	Rate, Burst             int // of all together
	SourceRate, SourceBurst int // of one source: an IPv4 address, or an IPv6 network of 64 bits
}

// admission decides whether a CONNECT of a client id without a session may make one. It
// is there for floods: devices that come up together after a power cut, all behind one
// NAT address or forwarder, fit in the burst of a source, and the broker has the dial
// limit to protect it.
//
// Sources share a fixed table of buckets: nothing grows with the number of forged
// addresses, and nothing has to be evicted. Each source has two buckets, chosen by a
// keyed hash, and passes while either has a token; so who shares one with a flood still
// passes.
type admission struct {
	mu      sync.Mutex // shards share it; the CONNECTs of known client ids do not come here
	seed    maphash.Seed
	total   rate.Limiter
	source  rate.Limit // of each of sources
	sources []rate.Bucket
}

// sourceBuckets is the length of the table of sources.
const sourceBuckets = 4096

func newAdmission(rates ConnectRates) *admission {
	return &admission{
		seed:    maphash.MakeSeed(),
		total:   rate.NewLimiter(rate.PerSecond(rates.Rate, rates.Burst)),
		source:  rate.PerSecond(rates.SourceRate, rates.SourceBurst),
		sources: make([]rate.Bucket, sourceBuckets),
	}
}

// allow reports whether a CONNECT from addr is within the rates, and takes its tokens. What a
// source has too many of is not charged to the total, which is for all.
func (a *admission) allow(now time.Duration, addr netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := maphash.Comparable(a.seed, sourceOf(addr))
	first, second := &a.sources[sum%sourceBuckets], &a.sources[(sum>>32)%sourceBuckets]
	passes := first.Take(a.source, now, 1)
	if second != first {
		passes = second.Take(a.source, now, 1) || passes
	}
	return passes && a.total.Allow(now)
}

// sourceOf is what counts as one source: who has an IPv6 address has a whole network of
// them.
func sourceOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return network.Addr()
}
