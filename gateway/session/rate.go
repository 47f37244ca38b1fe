package session

import "sngate/snpacket/sn12"

// overRate tells why a PUBLISH is beyond what the device may send. A repeat of an
// exchange in progress is not asked about: it is no new message.
func (s *Session) overRate(now Time, m *sn12.Publish) Reason {
	switch {
	case !s.messages.Take(s.cfg.MessageRate, now, 1):
		return ReasonMessageRate
	case !s.octets.Take(s.cfg.ByteRate, now, len(m.Data)):
		return ReasonByteRate
	}
	return ReasonNone
}
