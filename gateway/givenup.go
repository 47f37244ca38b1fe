package gateway

import (
	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
)

// logGivenUp logs a message for a device that has been given up. The operator can tell by
// its size whether session.max_packet_size is too large for the device.
func (g *Gateway) logGivenUp(e *entry, a *session.Action) {
	g.deviceLine(oplog.Devices, zerolog.WarnLevel, e, a.Topic).Stringer("reason", a.Reason).
		Str("topic", a.Topic).Int("octets", len(a.Payload)).Uint8("qos", a.QoS).Msg("message for a device given up")
}
