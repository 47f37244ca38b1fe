package explain

import (
	"bytes"
	"strings"

	"sngate/snpacket/sn12"
)

// maxLayers bounds the encapsulated messages that Line shows.
const maxLayers = 3

// Line explains datagram in one line, for a log: the names of the messages, and each field
// with its value, without offsets and octets. Flags that are 0 are left out, and payloads
// are shortened as in Datagram. A datagram that cannot be decoded ends with its fault.
func Line(datagram []byte) string {
	var text bytes.Buffer
	d := datagram
	for layer := 0; ; layer++ {
		if layer == maxLayers {
			text.WriteString("; ...")
			break
		}
		p := &printer{text: &text, d: d, base: len(datagram) - len(d), oneLine: true}
		inner := 0
		if sn12.IsEncapsulated(d) {
			inner = p.encapsulation()
		} else if t, ok := p.header(); ok {
			p.body(t)
			p.nothingLeft(t)
		}
		for _, r := range p.remarks {
			if strings.HasPrefix(r, "warning: ") {
				text.WriteString("; " + r)
			}
		}
		if p.err != nil {
			text.WriteString("; error " + p.err.Error())
		}
		if p.err != nil || inner == 0 {
			break
		}
		text.WriteString("; ")
		d = d[inner:]
	}
	return strings.TrimPrefix(text.String(), "; ")
}

// short appends a row to a line.
func (p *printer) short(name, value string) {
	bit := strings.HasPrefix(name, "  bit")
	switch {
	case name == "" || name == "Length" || name == "Flags" || name == "(undecoded)":
		return // a row that goes on, or is told otherwise
	case bit && (strings.HasSuffix(value, " = 0") || strings.HasPrefix(value, "TopicIdType = 0b00")):
		return
	case name == "MsgType":
		_, value, _ = strings.Cut(value, " ")
		p.text.WriteString(value)
		return
	}
	separator := ", "
	if !p.fields {
		separator, p.fields = " ", true
	}
	p.text.WriteString(separator)
	if bit {
		p.text.WriteString(value)
		return
	}
	p.text.WriteString(name + " " + value)
}
