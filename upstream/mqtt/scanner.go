package mqtt

import (
	"bufio"
	"io"
)

// Scanner cuts a byte stream into packets without copying or allocating: for tools that read
// very much from a broker they trust. [Decoder] is for a gateway, which checks everything and
// lets packets outlive the next one.
type Scanner struct {
	r    *bufio.Reader
	body []byte
}

// View is one packet. Topic and Payload are the Scanner's and good until its next call.
type View struct {
	Kind, QoS, Code uint8 // Code: of CONNACK and of SUBACK
	ID              uint16
	Topic, Payload  []byte // of PUBLISH
}

// NewScanner returns a Scanner for the packets in r whose body has at most maxBody bytes.
func NewScanner(r io.Reader, maxBody int) *Scanner {
	return &Scanner{r: bufio.NewReaderSize(r, 64<<10), body: make([]byte, maxBody)}
}

// Next reads one packet. It fails with an error of the stream, or with a [ProtocolError] where
// the packet is too long or too short.
func (s *Scanner) Next(v *View) error {
	first, err := s.r.ReadByte()
	if err != nil {
		return err
	}
	n := 0
	for shift := 0; ; shift += 7 {
		b, err := s.r.ReadByte()
		if err != nil {
			return err
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return ProtocolError("the remaining length has more than four bytes")
		}
	}
	if n > len(s.body) {
		return ProtocolError("a packet that is too long")
	}
	body := s.body[:n]
	if _, err := io.ReadFull(s.r, body); err != nil {
		return err
	}
	*v = View{Kind: first >> 4}
	return v.read(first, body)
}

// read takes a body apart (MQTT 3.1.1 sections 3.2 to 3.9).
func (v *View) read(first byte, b []byte) error {
	short := ProtocolError("a packet that is too short")
	switch v.Kind {
	case TypeConnack:
		if len(b) < 2 {
			return short
		}
		v.Code = b[1]
	case TypePublish:
		v.QoS = first >> 1 & 3
		fixed := 2
		if v.QoS > 0 {
			fixed = 4
		}
		if len(b) < fixed {
			return short
		}
		topic := int(b[0])<<8 | int(b[1])
		if len(b) < fixed+topic {
			return short
		}
		v.Topic, b = b[2:2+topic], b[2+topic:]
		if v.QoS > 0 {
			v.ID, b = uint16(b[0])<<8|uint16(b[1]), b[2:]
		}
		v.Payload = b
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp, TypeSuback:
		if len(b) < 2 || v.Kind == TypeSuback && len(b) < 3 {
			return short
		}
		v.ID = uint16(b[0])<<8 | uint16(b[1])
		if v.Kind == TypeSuback {
			v.Code = b[2]
		}
	}
	return nil
}
