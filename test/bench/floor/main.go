// Command floor is a yardstick and no gateway: the least work in Go that brings an MQTT-SN
// PUBLISH of QoS 0 or 1 to a broker and its PUBACK back, over one TCP connection per device.
// It has no timers, repeats, checks, limits, subscriptions or metrics, and trusts both sides.
// What a gateway costs beside it is what those cost.
//
// Usage: floor BROKERADDRESS. It prints the address that it listens on, and runs until it is
// killed.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/net/ipv4"
)

// The message types of MQTT-SN 1.2 that there are here (section 5.2.2).
const (
	snConnect    = 0x04
	snConnack    = 0x05
	snRegister   = 0x0a
	snRegack     = 0x0b
	snPublish    = 0x0c
	snPuback     = 0x0d
	snDisconnect = 0x18
)

const (
	receiveBuffer = 4 << 20 // octets
	batch         = 64      // datagrams for each call of the system
)

// relay is everything. Only its reader touches devices.
type relay struct {
	conn    *net.UDPConn
	broker  string
	devices map[netip.AddrPort]*device
}

// device is one device. Only the relay's reader touches topics and out.
type device struct {
	addr   netip.AddrPort
	topics []string
	out    []byte

	mu       sync.Mutex // guards those below
	broker   net.Conn   // nil until it is connected
	topicIDs map[uint16]uint16
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: floor BROKERADDRESS"))
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fail(err)
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		fail(err)
	}
	fmt.Println(conn.LocalAddr())
	r := &relay{conn: conn, broker: os.Args[1], devices: make(map[netip.AddrPort]*device)}
	fail(r.serve())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "floor:", err)
	os.Exit(1)
}

func (r *relay) serve() error {
	in := ipv4.NewPacketConn(r.conn)
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	for {
		n, err := in.ReadBatch(messages, 0)
		if err != nil {
			return err
		}
		for _, m := range messages[:n] {
			r.take(m.Buffers[0][:m.N], m.Addr.(*net.UDPAddr).AddrPort())
		}
	}
}

// take handles a datagram of less than 256 octets.
func (r *relay) take(b []byte, from netip.AddrPort) {
	if len(b) < 2 {
		return
	}
	d := r.devices[from]
	switch {
	case b[1] == snConnect && d == nil:
		d = &device{addr: from, topicIDs: make(map[uint16]uint16)}
		r.devices[from] = d
		go r.connect(d, string(b[6:]))
	case d == nil:
	case b[1] == snRegister:
		d.topics = append(d.topics, string(b[6:]))
		id := len(d.topics)
		r.send([]byte{7, snRegack, byte(id >> 8), byte(id), b[4], b[5], 0}, from)
	case b[1] == snPublish:
		d.publish(b)
	case b[1] == snDisconnect:
		d.mu.Lock()
		if d.broker != nil {
			d.broker.Close()
		}
		d.mu.Unlock()
		delete(r.devices, from)
	}
}

func (r *relay) send(b []byte, to netip.AddrPort) { _, _ = r.conn.WriteToUDPAddrPort(b, to) }

// publish writes a PUBLISH to the broker, with the device's own MsgId.
func (d *device) publish(b []byte) {
	topicID, id := binary.BigEndian.Uint16(b[3:]), binary.BigEndian.Uint16(b[5:])
	topic, data := d.topics[topicID-1], b[7:]
	first, length := byte(0x30), 2+len(topic)+len(data)
	if id != 0 {
		first, length = 0x32, length+2
	}
	d.out = binary.AppendUvarint(append(d.out[:0], first), uint64(length))
	d.out = append(binary.BigEndian.AppendUint16(d.out, uint16(len(topic))), topic...)
	if id != 0 {
		d.out = binary.BigEndian.AppendUint16(d.out, id)
	}
	d.out = append(d.out, data...)
	d.mu.Lock()
	if id != 0 {
		d.topicIDs[id] = topicID
	}
	broker := d.broker
	d.mu.Unlock()
	_, _ = broker.Write(d.out)
}

// connect connects a device to the broker and brings it the broker's PUBACKs.
func (r *relay) connect(d *device, clientID string) {
	conn, err := net.Dial("tcp4", r.broker)
	if err != nil {
		fail(err)
	}
	packet := []byte{0x10, byte(12 + len(clientID)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, byte(len(clientID))}
	_, _ = conn.Write(append(packet, clientID...))
	in := bufio.NewReaderSize(conn, 512)
	var b [4]byte // CONNACK and PUBACK have four octets
	if _, err := io.ReadFull(in, b[:]); err != nil {
		fail(err)
	}
	d.mu.Lock()
	d.broker = conn
	d.mu.Unlock()
	r.send([]byte{3, snConnack, 0}, d.addr)
	for {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return
		}
		id := binary.BigEndian.Uint16(b[2:])
		d.mu.Lock()
		topicID := d.topicIDs[id]
		delete(d.topicIDs, id)
		d.mu.Unlock()
		r.send([]byte{7, snPuback, byte(topicID >> 8), byte(topicID), b[2], b[3], 0}, d.addr)
	}
}
