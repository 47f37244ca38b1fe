package gateway

import "sngate/gateway/session"

// logGivenUp logs a message for a device that has been given up. The operator can tell by
// its size whether session.max_packet_size is too large for the device.
func (g *Gateway) logGivenUp(e *entry, a *session.Action) {
	line := g.deviceLog(e).Warn()
	if !line.Enabled() {
		return
	}
	line.Str("client_id", e.session.ClientID()).Str("addr", e.peer.String()).Stringer("reason", a.Reason).
		Str("topic", a.Topic).Int("octets", len(a.Payload)).Uint8("qos", a.QoS).Msg("message for a device given up")
}
