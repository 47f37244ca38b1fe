package gateway

import (
	"strconv"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// Client ids for devices that have none. Such a device is known by its address: it keeps
// its id for as long as it has a session there.

// assign returns the client id for a CONNECT without one; "" if it gets none. sender is
// whose address it comes from, behind a CONNECT from there that is not handled yet.
func (r *receiver) assign(body []byte, sender *entry, behind *connecting) string {
	var c sn12.Connect
	_ = c.Parse(body) // it has no client id, and may be shorter still
	switch {
	case !r.gw.opts.AssignClientIDs || !c.CleanSession:
		return ""
	case behind != nil && behind.id != "":
		return behind.id
	case behind == nil && sender != nil && sender.session.Assigned():
		return sender.session.ClientID()
	}
	return r.gw.drawClientID()
}

func (g *Gateway) drawClientID() string {
	return g.opts.ClientID + "-" + strconv.FormatUint(g.opts.NewClientID(), 36)
}

// checkAssigned tells why a session with an assigned client id is not to be had any more.
func (g *Gateway) checkAssigned(e *entry) session.Reason {
	if !g.opts.AssignClientIDs {
		return session.ReasonClientID
	}
	_, why := session.CheckAssigned(g.opts.Session, &sn12.Connect{ProtocolID: sn12.ProtocolID, CleanSession: true}, e.session.ClientID())
	return why
}

// drawTries is how often a shard draws for a client id of its own: more often than there
// are shards, many times over.
const drawTries = 4096

// free returns id, or another one if some other device has it; "" if there is none to be had.
func (s *shard) free(id string, p listen.Peer) string {
	for range drawTries {
		e := s.roster.find(id)
		if s.gw.shardOf([]byte(id)) == s && (e == nil || e.session.Assigned() && e.bound && e.peer == p) {
			return id
		}
		id = s.gw.drawClientID()
	}
	return ""
}

// arriveNameless handles a CONNECT without a client id. c is what could be read of it.
func (s *shard) arriveNameless(a *arrival, c *sn12.Connect) {
	if code, why := session.CheckAssigned(s.gw.opts.Session, c, a.assigned); why != session.ReasonNone {
		s.refuse(a, code, why)
		return
	}
	id := s.free(a.assigned, a.peer)
	e := s.roster.find(id)
	if e == nil {
		why := session.ReasonClientID
		if id != "" {
			e, why = s.admit(a.peer, id)
		}
		if e == nil {
			s.refuse(a, sn12.RejectedCongestion, why)
			return
		}
		e.session.SetAssigned()
		s.report.assigned(e, a)
	}
	s.connect(e, a)
}
