package oplog

import (
	"encoding/hex"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/internal/explain"
	"sngate/topicreg"
)

// Tracer logs every datagram and every MQTT packet of the devices of interest, at trace
// level. A nil tracer traces nothing, and costs a comparison.
type Tracer struct {
	log     zerolog.Logger
	clients []string // client ids and patterns; empty: all, with those that have none
	// idOf returns the client id of the session that has an address; "": there is none.
	idOf func(listen.Peer) string
}

// The messages of traced datagrams.
const (
	fromDevice = "datagram from a device"
	toDevice   = "datagram to a device"
)

// tracedOctets is how much of a datagram is shown in hexadecimal, for "sngate decode".
const tracedOctets = 256

// NewTracer returns a tracer. idOf tells the client id of the session that has an address.
func NewTracer(log zerolog.Logger, clients []string, idOf func(listen.Peer) string) *Tracer {
	return &Tracer{log: log, clients: clients, idOf: idOf}
}

func (t *Tracer) wants(clientID string) bool {
	for _, pattern := range t.clients {
		if topicreg.Match(pattern, clientID) {
			return true
		}
	}
	return len(t.clients) == 0
}

// Datagram traces a datagram that was received from a device or sent to it; what is inside
// where a forwarder has encapsulated it. It belongs to the client id that it names, or to the
// session that has the address.
func (t *Tracer) Datagram(sent bool, p listen.Peer, datagram []byte) {
	if t == nil {
		return
	}
	clientID := claimedID(datagram)
	if clientID == "" {
		clientID = t.idOf(p)
	}
	if !t.wants(clientID) {
		return
	}
	message := fromDevice
	if sent {
		message = toDevice
	}
	ev := t.log.Trace()
	if clientID != "" {
		ev.Str("client_id", printable(clientID, loggedTopicLimit))
	}
	ev.Str("addr", p.String()).Str("packet", explain.Line(datagram)).
		Str("hex", hex.EncodeToString(datagram[:min(len(datagram), tracedOctets)])).Msg(message)
}

// Packet returns what traces a packet of the connection of a client id to the broker; nil if
// that is not of interest.
func (t *Tracer) Packet(clientID string, sent bool) func(packet string) {
	if !t.wants(clientID) {
		return nil
	}
	return func(packet string) {
		message := "packet from the broker"
		if sent {
			message = "packet to the broker"
		}
		t.log.Trace().Str("client_id", printable(clientID, loggedTopicLimit)).Str("packet", packet).Msg(message)
	}
}
