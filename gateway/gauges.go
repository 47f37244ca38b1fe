package gateway

import (
	"sngate/gateway/session"
)

// state counts an entry in another state.
func (g *gauges) state(c *counted, state session.State) {
	g.noState(c)
	g.byState[state].Add(1)
	c.state, c.inState = state, true
}

func (g *gauges) noState(c *counted) {
	if c.inState {
		g.byState[c.state].Add(-1)
	}
	c.inState = false
}

// count brings what is counted of an entry up to date: what is held for its device, what
// waits for the broker, and its footprint, to which a node id belongs. Most steps change none of
// it, and shards share some of it.
func (g *gauges) count(c *counted, s *session.Session, node int) {
	g.footprint(c, s.Footprint()+node)
	messages, octets := s.Held()
	g.held(c, messages, octets)
	messages, octets = s.Spooled()
	g.spooled(c, messages, octets)
}

// drop stops counting an entry.
func (g *gauges) drop(c *counted) {
	g.noState(c)
	g.footprint(c, 0)
	g.held(c, 0, 0)
	g.spooled(c, 0, 0)
}

func (g *gauges) footprint(c *counted, octets int) {
	if delta := octets - c.footprint; delta != 0 {
		g.limits.memory.add(delta)
		g.limits.footprints.add(delta)
		c.footprint = octets
	}
}

func (g *gauges) held(c *counted, messages, octets int) {
	if messages == c.heldMessages && octets == c.heldOctets {
		return
	}
	g.heldMessages.Add(int64(messages - c.heldMessages))
	g.heldOctets.Add(int64(octets - c.heldOctets))
	g.limits.memory.add(octets - c.heldOctets)
	g.limits.held.add(octets - c.heldOctets)
	c.heldMessages, c.heldOctets = messages, octets
}

func (g *gauges) spooled(c *counted, messages, octets int) {
	if messages == c.spoolMessages && octets == c.spoolOctets {
		return
	}
	g.spoolMessages.Add(int64(messages - c.spoolMessages))
	g.limits.spooled.Add(int64(octets - c.spoolOctets))
	g.limits.memory.add(octets - c.spoolOctets)
	c.spoolMessages, c.spoolOctets = messages, octets
}
