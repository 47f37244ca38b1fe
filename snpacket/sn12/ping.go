package sn12

// PingReq asks whether the peer is alive; with a ClientID it says that a sleeping
// client is awake to receive (MQTT-SN 1.2 section 5.4.19).
type PingReq struct {
	ClientID []byte // empty, except from a sleeping client
}

// Type returns TypePingReq.
func (PingReq) Type() Type { return TypePingReq }

// Len returns the size of the message in octets.
func (m PingReq) Len() int { return total(len(m.ClientID)) }

// Parse reads the body of a PINGREQ. Every body is one.
func (m *PingReq) Parse(body []byte) error {
	m.ClientID = body
	return nil
}

// Append appends the message.
func (m PingReq) Append(b []byte) ([]byte, error) { return appendOctets(b, TypePingReq, m.ClientID) }

// PingResp answers a PINGREQ and ends the time a sleeping client is awake (MQTT-SN
// 1.2 section 5.4.20).
type PingResp struct{}

// Type returns TypePingResp.
func (PingResp) Type() Type { return TypePingResp }

// Len returns the size of the message in octets.
func (PingResp) Len() int { return 2 }

// Parse accepts an empty body only.
func (*PingResp) Parse(body []byte) error { return parseNothing(body) }

// Append appends the message.
func (PingResp) Append(b []byte) ([]byte, error) { return append(b, 2, byte(TypePingResp)), nil }
