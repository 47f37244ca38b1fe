package gateway

import (
	"encoding/hex"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/internal/explain"
	"sngate/topicreg"
)

// tracer logs every datagram and every MQTT packet of the devices of interest, at trace
// level. A nil tracer traces nothing, and costs a comparison.
type tracer struct {
	log     zerolog.Logger
	clients []string // client ids and patterns; empty: all, with those that have none
}

// The messages of traced datagrams.
const (
	fromDevice = "datagram from a device"
	toDevice   = "datagram to a device"
)

// tracedOctets is how much of a datagram is shown in hexadecimal, for "sngate decode".
const tracedOctets = 256

func newTracer(o *Options) *tracer {
	if !o.Trace {
		return nil
	}
	return &tracer{log: o.Log, clients: o.TraceClients}
}

func (t *tracer) wants(clientID string) bool {
	for _, pattern := range t.clients {
		if topicreg.Match(pattern, clientID) {
			return true
		}
	}
	return len(t.clients) == 0
}

// traceDatagram traces a datagram from or to a device; what is inside where a forwarder has
// encapsulated it.
func (g *Gateway) traceDatagram(message string, p listen.Peer, datagram []byte) {
	clientID := g.tracedID(p, datagram)
	if !g.tracer.wants(clientID) {
		return
	}
	ev := g.tracer.log.Trace()
	if clientID != "" {
		ev.Str("client_id", printable(clientID, loggedTopicLimit))
	}
	ev.Str("addr", p.String()).Str("packet", explain.Line(datagram)).
		Str("hex", hex.EncodeToString(datagram[:min(len(datagram), tracedOctets)])).Msg(message)
}

// tracedID finds the client id that a datagram belongs to: the one it names, or the one
// whose address it is.
func (g *Gateway) tracedID(p listen.Peer, datagram []byte) string {
	if id := claimedID(datagram); id != "" {
		return id
	}
	if e := g.directory.find(p); e != nil {
		return e.session.ClientID()
	}
	return ""
}

// tracePacket is upstream.Options.Trace.
func (g *Gateway) tracePacket(owner any, sent bool) func(packet string) {
	clientID := g.opts.ClientID
	if e := owner.(*entry); e.session != nil {
		clientID = e.session.ClientID()
	}
	if !g.tracer.wants(clientID) {
		return nil
	}
	return func(packet string) {
		message := "packet from the broker"
		if sent {
			message = "packet to the broker"
		}
		g.tracer.log.Trace().Str("client_id", printable(clientID, loggedTopicLimit)).Str("packet", packet).Msg(message)
	}
}
