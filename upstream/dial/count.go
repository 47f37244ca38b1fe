package dial

import (
	"errors"

	"sngate/upstream/mqtt"
)

// This file counts and traces what goes over connections.

func (d *Dialer) countIn(owner any, p *mqtt.Packet, size int) {
	d.stats.PacketsIn[p.Kind].Add(1)
	d.stats.BytesIn.Add(uint64(size))
	d.traceIn(owner, p)
	if p.Oversize {
		d.stats.Oversize.Add(1)
	}
	if p.Fault != mqtt.FaultNone {
		d.stats.BadPackets.Add(1)
	}
}

func (d *Dialer) countFault(err error) {
	var fault mqtt.ProtocolError
	if errors.As(err, &fault) {
		d.stats.ProtocolErrors.Add(1)
	}
}

// traceIn shows a packet of the broker.
func (d *Dialer) traceIn(owner any, p *mqtt.Packet) {
	if d.opt.Trace == nil {
		return
	}
	if show := d.opt.Trace(owner, false); show != nil {
		show(p.String())
	}
}

// traceOut shows packets for the broker: whole ones, one behind the other.
func (d *Dialer) traceOut(owner any, b []byte) {
	if d.opt.Trace == nil {
		return
	}
	if show := d.opt.Trace(owner, true); show != nil {
		mqtt.DescribeSent(b, show)
	}
}
