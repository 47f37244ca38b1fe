package gateway

import (
	"sngate/gateway/session/dialogue"
	"sngate/gateway/session/sn12"
)

// spoken is the dialogue that devices are spoken to in. There is one: MQTT-SN 1.2. Where there are
// more, the reader knows by the CONNECT which one a device speaks, a session keeps it, and its
// record says it.
func spoken() dialogue.Dialogue { return sn12.Dialogue{} }

// message reads what has come, for the shard itself: a session parses its frames.
func (a *arrival) message() (m dialogue.Message) {
	spoken().Parse(a.frame, &m)
	return m
}
