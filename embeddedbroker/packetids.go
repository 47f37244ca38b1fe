package embeddedbroker

import (
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const maxPacketID = 65535

// packetIDs keeps the packet identifiers a client assigns apart from those the
// broker assigns. They are independent (MQTT 3.1.1 section 2.3.1), but the
// broker files both in one table: a SUBSCRIBE whose identifier equals that of a
// message the client has yet to acknowledge would be refused, and a PUBLISH
// would make the broker forget that message. Devices that sleep have messages
// outstanding for hours, so this happens in earnest.
//
// Where a client's identifier is taken in that table, the exchange gets
// another one inside the broker, and its own again in the answers.
type packetIDs struct {
	mqtt.HookBase
	mu       sync.Mutex // the hook is called by every connection's goroutine
	sessions map[string]translation
}

// translation maps identifiers on the wire to those inside the broker, for
// exchanges the client began and where the two differ. It holds at most as many
// as the client may have open (ReceiveMaximum), one at a time for SUBSCRIBE.
type translation map[uint16]uint16

func newPacketIDs() *packetIDs { return &packetIDs{sessions: make(map[string]translation)} }

func (p *packetIDs) ID() string { return "packet-ids" }

func (p *packetIDs) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnSessionEstablish, mqtt.OnDisconnect, mqtt.OnClientExpired:
		return true
	}
	return false
}

// OnPacketRead translates the identifier of a packet of an exchange that the
// client began.
func (p *packetIDs) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Publish, packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
	default:
		return pk, nil
	}
	if pk.PacketID == 0 {
		return pk, nil // QoS 0, or a fault the broker will refuse
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.sessions[cl.ID][pk.PacketID]; ok {
		pk.PacketID = id
	} else if p.taken(cl, pk.PacketID) {
		id, ok := p.free(cl)
		if !ok {
			return pk, packets.ErrRejectPacket // ends the connection
		}
		if p.sessions[cl.ID] == nil {
			p.sessions[cl.ID] = make(translation)
		}
		p.sessions[cl.ID][pk.PacketID] = id
		pk.PacketID = id
	}
	return pk, nil
}

// OnPacketEncode translates back in the answers.
func (p *packetIDs) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	last := true // of the exchange
	switch pk.FixedHeader.Type {
	case packets.Pubrec:
		last = false
	case packets.Puback, packets.Pubcomp, packets.Suback, packets.Unsuback:
	default:
		return pk
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for wire, id := range p.sessions[cl.ID] {
		if id == pk.PacketID {
			pk.PacketID = wire
			if last {
				p.end(cl.ID, wire)
			}
			break
		}
	}
	return pk
}

// end removes one exchange, and the session's map with its last one.
func (p *packetIDs) end(client string, wire uint16) {
	delete(p.sessions[client], wire)
	if len(p.sessions[client]) == 0 {
		delete(p.sessions, client)
	}
}

// taken reports whether id cannot serve a new exchange of the client inside
// the broker: a message of the broker's has it, or another exchange was given it.
// The client's own QoS 2 exchange under id is no obstacle; the packet belongs to it.
func (p *packetIDs) taken(cl *mqtt.Client, id uint16) bool {
	if own, ok := cl.State.Inflight.Get(id); ok {
		if own.FixedHeader.Type == packets.Publish || own.FixedHeader.Type == packets.Pubrel {
			return true
		}
	}
	for _, used := range p.sessions[cl.ID] {
		if used == id {
			return true
		}
	}
	return false
}

// free finds an identifier nobody uses, from the top: the broker counts up.
func (p *packetIDs) free(cl *mqtt.Client) (uint16, bool) {
	for id := uint16(maxPacketID); id > 0; id-- {
		if _, used := cl.State.Inflight.Get(id); !used && !p.taken(cl, id) {
			return id, true
		}
	}
	return 0, false
}

// OnSessionEstablish forgets the exchanges of a session that begins anew.
func (p *packetIDs) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	if pk.Connect.Clean {
		p.forget(cl.ID)
	}
}

// OnDisconnect forgets a session that ends with its connection. A connection
// that another has replaced leaves the session to that one.
func (p *packetIDs) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	if expire && !cl.IsTakenOver() {
		p.forget(cl.ID)
	}
}

// OnClientExpired forgets a session that was kept too long.
func (p *packetIDs) OnClientExpired(cl *mqtt.Client) { p.forget(cl.ID) }

func (p *packetIDs) forget(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, client)
}
