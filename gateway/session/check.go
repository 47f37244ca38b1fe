package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// CheckConnect decides what can be decided about a CONNECT before there is a session.
// The code is Accepted, or what the CONNACK has to say, with the reason.
func CheckConnect(cfg *Config, c *sn12.Connect) (sn12.ReturnCode, Reason) {
	switch {
	case c.ProtocolID != sn12.ProtocolID:
		return sn12.RejectedNotSupported, ReasonProtocolID
	case len(c.ClientID) > cfg.MaxClientID || topicreg.ValidText(c.ClientID) != nil:
		return sn12.RejectedNotSupported, ReasonClientID
	case !allowed(cfg.Allow, string(c.ClientID)):
		return sn12.RejectedNotSupported, ReasonClientNotAllowed
	}
	return sn12.Accepted, ReasonNone
}

// CheckAssigned is CheckConnect for a CONNECT without a client id, to which the shell
// assigns one. A session that could not be found again is not kept (CleanSession=0).
func CheckAssigned(cfg *Config, c *sn12.Connect, clientID string) (sn12.ReturnCode, Reason) {
	switch {
	case c.ProtocolID != sn12.ProtocolID:
		return sn12.RejectedNotSupported, ReasonProtocolID
	case clientID == "" || !c.CleanSession:
		return sn12.RejectedNotSupported, ReasonClientID
	case !allowed(cfg.Allow, clientID):
		return sn12.RejectedNotSupported, ReasonClientNotAllowed
	}
	return sn12.Accepted, ReasonNone
}

func allowed(patterns []string, clientID string) bool {
	for _, p := range patterns {
		if topicreg.Match(p, clientID) {
			return true
		}
	}
	return len(patterns) == 0
}
