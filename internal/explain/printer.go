package explain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

const (
	perRow     = 8  // octets shown in one row
	maxRows    = 4  // rows of one field; the rest is only counted
	maxPreview = 64 // octets of a field shown as text
)

// printer walks over one message, from its first octet to its last, and prints a row
// for each field. After the first fault the walk goes on without effect.
type printer struct {
	text    *bytes.Buffer
	d       []byte // the message with its header
	base    int    // offset of d[0] in the datagram
	pos     int    // next octet of d to be explained
	remarks []string
	err     *Error

	oneLine bool // see Line
	fields  bool // it has one already
}

func (p *printer) warn(format string, args ...any) { p.remark("warning: ", format, args) }
func (p *printer) note(format string, args ...any) { p.remark("note: ", format, args) }

func (p *printer) remark(kind, format string, args []any) {
	p.remarks = append(p.remarks, kind+fmt.Sprintf(format, args...))
}

// fail records the fault at the next octet, failAt at octet pos of the message. The
// first one counts.
func (p *printer) fail(err error, format string, args ...any) {
	p.failAt(p.pos, err, format, args...)
}

func (p *printer) failAt(pos int, err error, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Offset: p.base + pos, Reason: fmt.Sprintf(format, args...), Err: err}
	}
}

// finish prints what the walk has not reached, the remarks, and the fault if any.
func (p *printer) finish() {
	if p.err != nil && p.left() > 0 {
		p.row(p.left(), "(undecoded)", "%s", octets(p.left()))
	}
	for _, r := range p.remarks {
		fmt.Fprintln(p.text, r)
	}
	if p.err != nil {
		fmt.Fprintf(p.text, "error %s\n", p.err)
	}
}

// row prints the next n octets under a name, and advances.
func (p *printer) row(n int, name, format string, args ...any) {
	shown := p.d[p.pos : p.pos+n]
	value := fmt.Sprintf(format, args...)
	if n == 0 {
		p.line("", "", name, value)
	}
	for i := 0; i < n; i += perRow {
		if i == perRow*maxRows {
			p.line("", "", "", fmt.Sprintf("and %s more", octets(n-i)))
			break
		}
		end := min(i+perRow, n)
		p.line(fmt.Sprintf("%04x", p.base+p.pos+i), fmt.Sprintf("% x", shown[i:end]), name, value)
		name, value = "", ""
	}
	p.pos += n
}

func (p *printer) line(offset, hex, name, value string) {
	if p.oneLine {
		p.short(name, value)
		return
	}
	s := fmt.Sprintf("%4s  %-23s  %-14s  %s", offset, hex, name, value)
	p.text.WriteString(strings.TrimRight(s, " ") + "\n")
}

// need reports whether n more octets are there for the named field; if not, that is
// the fault.
func (p *printer) need(n int, name string) bool {
	if p.err != nil {
		return false
	}
	switch have := p.left(); {
	case have >= n:
		return true
	case have == 0:
		p.fail(snpacket.ErrLayout, "the message ends where %s (%s) should be", name, octets(n))
	default:
		p.fail(snpacket.ErrLayout, "%s takes %s, but the message ends after %d", name, octets(n), have)
	}
	return false
}

// nothingLeft makes octets behind the last field the fault.
func (p *printer) nothingLeft(t sn12.Type) {
	if left := p.left(); p.err == nil && left > 0 {
		p.fail(snpacket.ErrLayout, "%s ends here, but the message has %s more", t, octets(left))
	}
}

// left returns the number of octets behind the last field explained.
func (p *printer) left() int { return len(p.d) - p.pos }

func (p *printer) peek16() uint16 { return binary.BigEndian.Uint16(p.d[p.pos:]) }

// octetsRow prints n opaque octets, and as text too if that is what they are.
func (p *printer) octetsRow(n int, name string) {
	if p.err != nil {
		return
	}
	value := octets(n)
	if b := p.d[p.pos : p.pos+n]; n > 0 && printable(b) {
		value += ", " + preview(b)
	}
	p.row(n, name, "%s", value)
}

// textRow prints the octets that are left as text, valid or not, and returns them.
func (p *printer) textRow(name string) []byte {
	b := p.d[p.pos:]
	if p.err != nil {
		return b
	}
	p.row(len(b), name, "%s", preview(b))
	return b
}

func printable(b []byte) bool {
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return utf8.Valid(b)
}

func preview(b []byte) string {
	if len(b) <= maxPreview {
		return fmt.Sprintf("%q", b)
	}
	cut := b[:maxPreview]
	for i := 1; i < utf8.UTFMax && utf8.Valid(b) && !utf8.Valid(cut); i++ {
		cut = b[:maxPreview-i] // not within a character
	}
	return fmt.Sprintf("%q and %s more", cut, octets(len(b)-len(cut)))
}

func radius(hops byte) string {
	switch hops {
	case 0:
		return "0, the whole network"
	case 1:
		return "1 hop"
	}
	return fmt.Sprintf("%d hops", hops)
}

func octets(n int) string {
	if n == 1 {
		return "1 octet"
	}
	return fmt.Sprintf("%d octets", n)
}
