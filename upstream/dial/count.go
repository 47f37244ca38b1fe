package dial

import (
	"errors"

	"sngate/upstream/mqtt"
)

// This file counts and traces what goes over connections.

func (c *Conn) countIn(p *mqtt.Packet, size int) {
	c.d.stats.PacketsIn[p.Kind].Add(1)
	c.d.stats.BytesIn.Add(uint64(size))
	c.d.traceIn(c.req.Owner, p)
	if p.Oversize {
		c.d.stats.Oversize.Add(1)
	}
	if p.Fault != mqtt.FaultNone {
		c.d.stats.BadPackets.Add(1)
	}
}

func (c *Conn) countFault(err error) {
	var fault mqtt.ProtocolError
	if errors.As(err, &fault) {
		c.d.stats.ProtocolErrors.Add(1)
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
