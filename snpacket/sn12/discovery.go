package sn12

import "sngate/snpacket"

// Advertise announces a gateway to the whole network (MQTT-SN 1.2 section 5.4.1).
type Advertise struct {
	GwID     uint8
	Duration uint16 // seconds until the next ADVERTISE
}

// Type returns TypeAdvertise.
func (Advertise) Type() Type { return TypeAdvertise }

// Len returns the size of the message in octets.
func (Advertise) Len() int { return 5 }

// Parse reads the body of an ADVERTISE.
func (m *Advertise) Parse(body []byte) error {
	if len(body) != 3 {
		return snpacket.ErrLayout
	}
	*m = Advertise{GwID: body[0], Duration: u16(body[1:])}
	return nil
}

// Append appends the message.
func (m Advertise) Append(b []byte) ([]byte, error) {
	return append(b, 5, byte(TypeAdvertise), m.GwID, byte(m.Duration>>8), byte(m.Duration)), nil
}

// SearchGW asks for a gateway (MQTT-SN 1.2 section 5.4.2).
type SearchGW struct {
	Radius uint8 // broadcast radius in hops, 0 for the whole network
}

// Type returns TypeSearchGW.
func (SearchGW) Type() Type { return TypeSearchGW }

// Len returns the size of the message in octets.
func (SearchGW) Len() int { return 3 }

// Parse reads the body of a SEARCHGW.
func (m *SearchGW) Parse(body []byte) error {
	if len(body) != 1 {
		return snpacket.ErrLayout
	}
	m.Radius = body[0]
	return nil
}

// Append appends the message.
func (m SearchGW) Append(b []byte) ([]byte, error) {
	return append(b, 3, byte(TypeSearchGW), m.Radius), nil
}

// GWInfo answers a SEARCHGW (MQTT-SN 1.2 section 5.4.3).
type GWInfo struct {
	GwID uint8
	// GwAdd is the gateway's address in a form the network defines, opaque here.
	// Only a client that answers for a gateway sends it; empty otherwise.
	GwAdd []byte
}

// Type returns TypeGWInfo.
func (GWInfo) Type() Type { return TypeGWInfo }

// Len returns the size of the message in octets.
func (m GWInfo) Len() int { return total(1 + len(m.GwAdd)) }

// Parse reads the body of a GWINFO.
func (m *GWInfo) Parse(body []byte) error {
	if len(body) < 1 {
		return snpacket.ErrLayout
	}
	*m = GWInfo{GwID: body[0], GwAdd: body[1:]}
	return nil
}

// Append appends the message.
func (m GWInfo) Append(b []byte) ([]byte, error) {
	b, err := appendHeader(b, TypeGWInfo, 1+len(m.GwAdd))
	if err != nil {
		return b, err
	}
	return append(append(b, m.GwID), m.GwAdd...), nil
}
