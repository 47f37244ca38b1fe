package gateway

import (
	"net/netip"
	"strconv"

	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
)

// What the options say of who may do what: one question for each decision.

// checkConnect decides what can be decided about a CONNECT before there is a session.
func (o *Options) checkConnect(c *dialogue.Message) (dialogue.Code, session.Reason) {
	if string(c.Name) == o.ClientID { // the broker would end our own connection
		return dialogue.NotSupported, session.ReasonClientNotAllowed
	}
	return session.CheckConnect(o.Session, c)
}

// drawClientID returns a client id for a device that has none.
func (o *Options) drawClientID() string {
	return o.ClientID + "-" + strconv.FormatUint(o.NewClientID(), 36)
}

// checkAssigned tells why a session with an assigned client id is not to be had any more.
func (o *Options) checkAssigned(e *entry) session.Reason {
	if !o.AssignClientIDs {
		return session.ReasonClientID
	}
	_, why := session.CheckAssigned(o.Session, &dialogue.Message{Kind: dialogue.Connect, Clean: true}, e.session.ClientID())
	return why
}

// forwarderAllowed applies the list of forwarders; without one, any is.
func (o *Options) forwarderAllowed(addr netip.Addr) bool {
	if !o.Forwarders {
		return false
	}
	for _, p := range o.AllowForwarders {
		if p.Contains(addr.WithZone("")) {
			return true
		}
	}
	return len(o.AllowForwarders) == 0
}
