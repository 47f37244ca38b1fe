package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// CheckConnect decides what can be decided about a CONNECT before there is a session.
// The code is Accepted, or what the CONNACK has to say, with the reason.
func CheckConnect(cfg *Config, c *dialogue.Message) (dialogue.Code, Reason) {
	switch {
	case c.Fault == dialogue.WrongProtocol:
		return dialogue.NotSupported, ReasonProtocolID
	case len(c.Name) > cfg.MaxClientID || topicreg.ValidText(c.Name) != nil:
		return dialogue.NotSupported, ReasonClientID
	case !allowed(cfg.Allow, string(c.Name)):
		return dialogue.NotSupported, ReasonClientNotAllowed
	case c.Will && cfg.refusesWills():
		return dialogue.NotSupported, ReasonLimitsWill
	}
	return dialogue.Accepted, ReasonNone
}

// CheckAssigned is CheckConnect for a CONNECT without a client id, to which the shell
// assigns one. A session that could not be found again is not kept (CleanSession=0).
func CheckAssigned(cfg *Config, c *dialogue.Message, clientID string) (dialogue.Code, Reason) {
	switch {
	case c.Fault == dialogue.WrongProtocol:
		return dialogue.NotSupported, ReasonProtocolID
	case clientID == "" || !c.Clean:
		return dialogue.NotSupported, ReasonClientID
	case !allowed(cfg.Allow, clientID):
		return dialogue.NotSupported, ReasonClientNotAllowed
	case c.Will && cfg.refusesWills():
		return dialogue.NotSupported, ReasonLimitsWill
	}
	return dialogue.Accepted, ReasonNone
}

func (c *Config) refusesWills() bool { return c.Limits != nil && c.Limits.RefuseWills }

func allowed(patterns []string, clientID string) bool {
	for _, p := range patterns {
		if topicreg.Match(p, clientID) {
			return true
		}
	}
	return len(patterns) == 0
}
