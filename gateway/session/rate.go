package session

import "sngate/gateway/session/dialogue"

// overRate tells why a PUBLISH is beyond what the device may send. A repeat of an
// exchange in progress is not asked about: it is no new message.
func (ul *uplink) overRate(now Time, m *dialogue.Message) Reason {
	switch {
	case !ul.messages.Take(ul.s.cfg.MessageRate, now, 1):
		return ReasonMessageRate
	case !ul.octets.Take(ul.s.cfg.ByteRate, now, len(m.Data)):
		return ReasonByteRate
	}
	return ReasonNone
}
