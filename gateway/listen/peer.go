package listen

import (
	"net/netip"
	"strconv"

	"sngate/snpacket/sn12"
)

// Peer is where a device is: the listener it talks to and its address there, and the
// wireless node id it has behind a forwarder. It is only where to send the next
// datagram; a device is known by its client id.
type Peer struct {
	Listener int
	Addr     netip.AddrPort
	Node     string // as the forwarder wrote it; "" for a device without forwarder
}

// String is the peer as logs name it.
func (p Peer) String() string {
	if p.Node == "" {
		return p.Addr.String()
	}
	return p.Addr.String() + "/" + strconv.QuoteToASCII(p.Node)
}

// Overhead is how many octets Wrap adds.
func (p Peer) Overhead() int {
	if p.Node == "" {
		return 0
	}
	return sn12.Encapsulated{NodeID: []byte(p.Node)}.Len()
}

// Wrap returns datagram as it goes to the peer, in a buffer of its own when it has to
// be encapsulated (MQTT-SN 1.2 section 5.5). buf is reused.
func (p Peer) Wrap(buf, datagram []byte) ([]byte, error) {
	if p.Node == "" {
		return datagram, nil
	}
	return sn12.Encapsulated{NodeID: []byte(p.Node), Inner: datagram}.Append(buf[:0])
}
