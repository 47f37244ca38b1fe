package brokers

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// wire is an MQTT connection on the level of octets, which are written in hex.
type wire struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// What next says instead of a packet.
const (
	nothing = "nothing"
	closed  = "closed"
)

// patience is how long a probe waits for what a broker may send, and quiet for what it
// should not.
const (
	patience = 5 * time.Second
	quiet    = 700 * time.Millisecond
)

func dialWire(t testing.TB, b broker) *wire {
	t.Helper()
	conn, err := b.Dial()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn}
	t.Cleanup(w.close)
	return w
}

// connectWire connects with a client id, and has to be accepted.
func connectWire(t testing.TB, b broker, id string, clean bool) *wire {
	t.Helper()
	w := dialWire(t, b)
	w.send(connectPacket(b, id, clean))
	if got := w.next(patience); !strings.HasPrefix(got, "2002") || !strings.HasSuffix(got, "00") {
		t.Fatalf("CONNECT of %q is answered by %s", id, got)
	}
	return w
}

func (w *wire) close() { w.conn.Close() }

// send writes a packet. That it cannot be written shows in what comes.
func (w *wire) send(p []byte) { _, _ = w.conn.Write(p) }

// next returns the next packet in hex.
func (w *wire) next(limit time.Duration) string {
	if w.in == nil {
		w.in = bufio.NewReader(w.conn)
	}
	w.conn.SetReadDeadline(time.Now().Add(limit))
	first, err := w.in.ReadByte()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nothing
	}
	if err != nil {
		return closed
	}
	packet, size := []byte{first}, 0
	for shift := 0; ; shift += 7 {
		b, err := w.in.ReadByte()
		if err != nil {
			return closed
		}
		packet = append(packet, b)
		if size |= int(b&0x7f) << shift; b < 0x80 {
			break
		}
	}
	for range size {
		b, err := w.in.ReadByte()
		if err != nil {
			return closed
		}
		packet = append(packet, b)
	}
	return hex.EncodeToString(packet)
}

// answer sends a packet and returns what comes.
func (w *wire) answer(p []byte) string {
	w.send(p)
	return w.next(patience)
}

// rest returns all that comes until it is quiet for a while or the connection ends.
func (w *wire) rest() (list []string) {
	for {
		switch p := w.next(quiet); p {
		case nothing:
			return list
		case closed:
			return append(list, closed)
		default:
			list = append(list, p)
		}
	}
}

func packet(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	out := []byte{first}
	for n := len(body); ; n >>= 7 {
		if n < 0x80 {
			return append(append(out, byte(n)), body...)
		}
		out = append(out, byte(n&0x7f)|0x80)
	}
}

// field is a string or binary data with its length.
func field(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

func number(n uint16) []byte { return []byte{byte(n >> 8), byte(n)} }

// connectPacket is a CONNECT with a keep-alive of 60 s.
func connectPacket(b broker, id string, clean bool) []byte {
	return connectWith(b, id, clean, 0)
}

// willPacket is a CONNECT with CleanSession=1 and a will of QoS 1.
func willPacket(b broker, id string, retain bool, topic, message string) []byte {
	flags := byte(0x0c)
	if retain {
		flags |= 0x20
	}
	return connectWith(b, id, true, flags, field(topic), field(message))
}

func connectWith(b broker, id string, clean bool, flags byte, will ...[]byte) []byte {
	if clean {
		flags |= 2
	}
	var login []byte
	if name := b.Login(); name != "" {
		flags |= 0xc0
		login = append(field(name), field(name)...)
	}
	return packet(0x10, field("MQTT"), []byte{4, flags, 0, 60}, field(id), slices.Concat(will...), login)
}

// fresh is a client id that was not used before: some brokers let a client wait that
// connects again and again.
func fresh(name string) string { return name + "-" + rand.Text()[:8] }

func publishPacket(topic, payload string, qos byte, retain bool, id uint16) []byte {
	first := 0x30 | qos<<1
	if retain {
		first |= 1
	}
	var mid []byte
	if qos > 0 {
		mid = number(id)
	}
	return packet(first, field(topic), mid, []byte(payload))
}

func subscribePacket(id uint16, filter string, qos byte) []byte {
	return packet(0x82, number(id), field(filter), []byte{qos})
}

func ackPacket(first byte, id uint16) []byte { return packet(first, number(id)) }

// published takes a PUBLISH apart; ok is false if p is something else.
type published struct {
	topic, payload string
	qos            byte
	dup, retain    bool
	id             uint16
}

func parsePublish(p string) (m published, ok bool) {
	b, err := hex.DecodeString(p)
	if err != nil || b[0]>>4 != 3 {
		return m, false
	}
	m.dup, m.qos, m.retain = b[0]&8 != 0, b[0]>>1&3, b[0]&1 != 0
	i := 1
	for b[i] >= 0x80 {
		i++
	}
	b = b[i+1:]
	n := int(b[0])<<8 | int(b[1])
	m.topic, b = string(b[2:2+n]), b[2+n:]
	if m.qos > 0 {
		m.id, b = uint16(b[0])<<8|uint16(b[1]), b[2:]
	}
	m.payload = string(b)
	return m, true
}
