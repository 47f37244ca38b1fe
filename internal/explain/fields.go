package explain

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// maxClientID is the longest ClientId in characters (MQTT-SN 1.2 section 5.3.1).
const maxClientID = 23

// The Flags octet (MQTT-SN 1.2 section 5.3.4).
const (
	bitDUP          = 0b1000_0000
	bitsQoS         = 0b0110_0000
	bitRetain       = 0b0001_0000
	bitWill         = 0b0000_1000
	bitCleanSession = 0b0000_0100
	bitsTopicIDType = 0b0000_0011
)

// flags explains the bits of a Flags octet that the message uses.
func (p *printer) flags(t sn12.Type, used byte) byte {
	if !p.need(1, "Flags") {
		return 0
	}
	v := p.d[p.pos]
	p.row(1, "Flags", "0b%04b_%04b", v>>4, v&0x0F)
	for _, f := range []struct {
		bits  byte
		where string
		name  string
		shift int
	}{
		{bitDUP, "bit 7", "DUP", 7},
		{bitsQoS, "bits 6-5", "QoS", 5},
		{bitRetain, "bit 4", "Retain", 4},
		{bitWill, "bit 3", "Will", 3},
		{bitCleanSession, "bit 2", "CleanSession", 2},
		{bitsTopicIDType, "bits 1-0", "TopicIdType", 0},
	} {
		if used&f.bits == 0 {
			continue
		}
		n := v & f.bits >> f.shift
		value := fmt.Sprint(n)
		switch {
		case f.bits == bitsTopicIDType:
			value = fmt.Sprintf("0b%02b (%s)", n, topicIDTypeText(t, sn12.TopicIDType(n)))
		case f.bits == bitsQoS && n == sn12.QoSMinusOne:
			value = "-1 (0b11)"
		}
		p.line("", "", "  "+f.where, f.name+" = "+value)
	}
	if unused := v &^ used; unused != 0 {
		p.note("Flags: bits 0b%04b_%04b are set but not used in %s; a receiver ignores them (section 5.3.4)",
			unused>>4, unused&0x0F, t)
	}
	return v
}

func topicIDTypeText(t sn12.Type, typ sn12.TopicIDType) string {
	switch {
	case typ == sn12.TopicIDShort:
		return "short topic name"
	case typ == sn12.TopicIDPredefined:
		return "pre-defined topic id"
	case typ == sn12.TopicIDReserved:
		return "reserved"
	case t == sn12.TypePublish:
		return "normal topic id"
	}
	return "topic name"
}

func (p *printer) octet(name, format string) (byte, bool) {
	if !p.need(1, name) {
		return 0, false
	}
	v := p.d[p.pos]
	p.row(1, name, format, v)
	return v, true
}

// duration explains a Duration in seconds and what it is for.
func (p *printer) duration(name, meaning string) (uint16, bool) {
	if !p.need(2, name) {
		return 0, false
	}
	v := p.peek16()
	value := fmt.Sprintf("%d s", v)
	if v >= 60 {
		value += fmt.Sprintf(" (%v)", time.Duration(v)*time.Second)
	}
	p.row(2, name, "%s, %s", value, meaning)
	return v, true
}

func (p *printer) returnCode() (sn12.ReturnCode, bool) {
	if !p.need(1, "ReturnCode") {
		return 0, false
	}
	c := sn12.ReturnCode(p.d[p.pos])
	name := c.String()
	if c > sn12.RejectedNotSupported {
		name = "(reserved)"
		p.warn("ReturnCode 0x%02X is reserved; take it for a rejection (section 5.3.10)", byte(c))
	}
	p.row(1, "ReturnCode", "0x%02X %s", byte(c), name)
	return c, true
}

// msgID explains a MsgId. needed says that 0x0000 cannot be right.
func (p *printer) msgID(needed bool) uint16 {
	if !p.need(2, "MsgId") {
		return 0
	}
	v := p.peek16()
	p.row(2, "MsgId", "0x%04X (%d)", v, v)
	if needed && v == 0 {
		p.warn("MsgId 0x0000 cannot tell which request and answer belong together (section 5.3.7)")
	}
	return v
}

// topicID explains two octets that are an id or a short name. used says that they
// have to stand for a topic.
func (p *printer) topicID(typ sn12.TopicIDType, used bool) uint16 {
	if !p.need(2, "TopicId") {
		return 0
	}
	v := p.peek16()
	if typ == sn12.TopicIDShort {
		name := sn12.ShortName(v)
		p.row(2, "TopicId", "short topic name %q", name[:])
		if err := topicreg.ValidShort(name); err != nil {
			p.warn("the short topic name %v (section 6.7)", err)
		}
		return v
	}
	p.row(2, "TopicId", "0x%04X (%d)", v, v)
	if used && typ != sn12.TopicIDReserved && (v == 0 || v == 0xFFFF) {
		p.warn("TopicId 0x%04X is reserved and stands for no topic (section 5.3.11)", v)
	}
	return v
}

// name explains the octets that are left as a topic name.
func (p *printer) name(field string) {
	if b := p.textRow(field); p.err == nil {
		if err := topicreg.ValidName(b); err != nil {
			p.warnText(field, b, err)
		}
	}
}

// filter explains the octets that are left as a topic name with or without wildcards.
func (p *printer) filter(field string) {
	if b := p.textRow(field); p.err == nil {
		if err := topicreg.ValidFilter(b); err != nil {
			p.warnText(field, b, err)
		}
	}
}

func (p *printer) clientID() {
	b := p.textRow("ClientId")
	if p.err != nil {
		return
	}
	if n := utf8.RuneCount(b); n > maxClientID {
		p.warn("ClientId has %d characters, the specification allows 1 to %d (section 5.3.1)", n, maxClientID)
	}
	// A ClientId may have any characters, '+' and '#' too: what is left of the rules for
	// names is well-formed text without U+0000.
	if err := topicreg.ValidName(b); err != nil && !errors.Is(err, topicreg.ErrWildcard) {
		p.warnText("ClientId", b, err)
	}
}

// warnText adds to a fault of a text where in the datagram the text stops being UTF-8.
// The text is the last field, so it ends where the walk stands.
func (p *printer) warnText(field string, b []byte, err error) {
	if !errors.Is(err, topicreg.ErrNotUTF8) {
		p.warn("%s %v", field, err)
		return
	}
	i := 0
	for i < len(b) {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	p.warn("%s %v, at offset 0x%04x", field, err, p.base+p.pos-len(b)+i)
}
