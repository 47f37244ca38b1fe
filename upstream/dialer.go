package upstream

import (
	"hash/maphash"

	"sngate/upstream/dial"
)

// Dialer makes Links to one broker, or to whichever of several is in use, and bounds what
// their connecting costs; see [Options]. It is safe for concurrent use.
type Dialer struct{ shared }

// NewDialer returns a Dialer, or an error when o is not usable.
func NewDialer(o Options) (*Dialer, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	d := &Dialer{shared{opt: o, keys: keys{maphash.MakeSeed()}, rate: o.publishLimit()}}
	var err error
	if d.layers, err = newLayers(&o, &d.stats); err != nil {
		return nil, err
	}
	d.dial = dial.New(o.dial(d.probe, d.layers.web.Dial(o.Dial)), &d.stats.Stats)
	return d, nil
}

// NewLink returns an idle Link. What its connections report is left in inbox, with
// owner in it for routing. The Link holds nothing that has to be freed while it is
// closed.
func (d *Dialer) NewLink(inbox Inbox, owner any) Link {
	return newDedicated(&d.shared, inbox, owner)
}

// Stats returns the counters.
func (d *Dialer) Stats() *Stats { return &d.stats }

// StartAt takes the broker with this address into use, as the one that was in use when an
// earlier process ended. An address that is none of the brokers' changes nothing. It is
// for the time before the first connect.
func (d *Dialer) StartAt(address string) { d.dial.StartAt(address) }

// InUse returns the broker in use: its place among Options.Address and Options.Fallbacks,
// and its address.
func (d *Dialer) InUse() (index int, address string) { return d.dial.InUse() }

// Close drops every connection without DISCONNECT and returns when the goroutines of
// the Dialer have ended. Links report nothing of it; owners close them before.
func (d *Dialer) Close() { d.dial.Close() }
