package crash

import (
	"math/rand/v2"
	"net"
	"time"

	"sngate/snpacket/sn12"
)

// Devices repeat what is not answered within retryMin to retryMax, as often as it takes.
const (
	retryMin = 300 * time.Millisecond
	retryMax = 500 * time.Millisecond

	keepAlive     = 600 // seconds; a device that is not sleeping
	sleepDuration = 300 // seconds; announced, they wake far earlier
)

// device is a device that does not notice that the gateway was away, apart from the delay. It
// is never switched off: what it has been told, by a REGACK or of a QoS 2 exchange, it knows
// for ever. It has one goroutine, which also reads its socket.
type device struct {
	w    *world
	id   string
	conn *net.UDPConn // not connected: a gateway that is down is silence to a radio
	rng  *rand.Rand
	in   [2048]byte
	out  []byte

	names  map[uint16]string // of topic ids, told by either side
	ids    map[string]uint16
	opened map[uint16]string // payloads of QoS 2 exchanges between PUBLISH and PUBREL, by MsgId
	msgID  uint16
	lost   bool // the gateway has sent DISCONNECT
	asleep bool // it has told the gateway so

	leaving  bool // it says goodbye, and returns
	restless bool // it has a QoS 2 message that it has not acknowledged, and is going to leave
}

func newDevice(w *world, id string, seed uint64) (*device, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &device{
		w: w, id: id, conn: conn, rng: rand.New(rand.NewPCG(w.seed, seed)),
		names: make(map[uint16]string), ids: make(map[string]uint16), opened: make(map[uint16]string),
	}, nil
}

func (d *device) running() bool { return d.w.ctx.Err() == nil }

// between returns a random time.
func (d *device) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.rng.Int64N(int64(hi-lo)))
}

func (d *device) newMsgID() uint16 {
	d.msgID = d.msgID%0xFFFF + 1
	return d.msgID
}

func (d *device) send(m sn12.Message) {
	b, err := m.Append(d.out[:0])
	if err == nil {
		_, err = d.conn.WriteToUDP(b, d.w.gateway.addr)
	}
	if err != nil && d.running() {
		d.w.fault("%s: send %v: %v", d.id, m.Type(), err)
	}
	d.out = b
	d.w.trace.datagram(d.id, "->", m)
}

// read returns the next message that comes before the given time, or nil. Its octets are those of
// the device's buffer. Callers look for the end of the run between reads of at most a second.
func (d *device) read(until time.Time) sn12.Message {
	if d.conn.SetReadDeadline(until) != nil {
		return nil
	}
	n, _, err := d.conn.ReadFromUDPAddrPort(d.in[:])
	if err != nil {
		return nil // too late
	}
	m, err := sn12.Parse(d.in[:n])
	if err != nil {
		d.w.ledger.offend("malformed", d.id, "receives % x: %v", d.in[:n], err)
		return nil
	}
	d.w.trace.datagram(d.id, "<-", m)
	return m
}

// exchange sends a message and repeats it until an answer matches. make is asked for each copy. It
// reports whether there was an answer before the end of the run.
func (d *device) exchange(message func(again bool) sn12.Message, matches func(sn12.Message) bool) bool {
	for again := false; d.running(); again = true {
		d.send(message(again))
		until := time.Now().Add(d.between(retryMin, retryMax))
		for time.Now().Before(until) && d.running() && !d.lost {
			m := d.read(until)
			if m == nil {
				continue
			}
			if matches(m) {
				return true
			}
			d.handle(m)
		}
		if d.lost {
			d.connect()
		}
	}
	return false
}

// listen serves the gateway for so long.
func (d *device) listen(length time.Duration) {
	until := time.Now().Add(length)
	d.listenUntil(func() bool { return !time.Now().Before(until) })
}

// listenUntil serves the gateway until done reports true, which is asked often.
func (d *device) listenUntil(done func() bool) {
	for d.running() && !done() {
		if m := d.read(time.Now().Add(10 * time.Millisecond)); m != nil {
			d.handle(m)
			d.perhapsLeave()
		}
		if d.lost {
			d.connect()
		}
	}
}

// connect connects with CleanSession=0. The device believes that the session is what it was.
func (d *device) connect() {
	again := d.lost
	d.lost = false
	var code sn12.ReturnCode
	for d.running() {
		d.exchange(func(bool) sn12.Message {
			d.lost = false // not meant for this attempt
			return sn12.Connect{ProtocolID: sn12.ProtocolID, Duration: keepAlive, ClientID: []byte(d.id)}
		}, func(m sn12.Message) bool {
			ack, ok := m.(sn12.ConnAck)
			code = ack.ReturnCode
			return ok
		})
		if code == sn12.Accepted {
			break
		}
		d.refusedWith("CONNECT", code)
	}
	d.lost, d.asleep = false, false
	if again {
		d.w.ledger.count(func(c *counts) { c.connects++ })
	}
}

// refusedWith takes note of a return code and waits before the next attempt.
func (d *device) refusedWith(what string, code sn12.ReturnCode) {
	if code == sn12.RejectedCongestion {
		d.w.ledger.count(func(c *counts) { c.congested++ })
	} else {
		d.w.ledger.count(func(c *counts) { c.refused++ })
		d.w.ledger.offend("refused", d.id, "%s is answered by %v", what, code)
	}
	d.listen(d.between(50*time.Millisecond, 150*time.Millisecond))
}

// handle takes what the gateway begins.
func (d *device) handle(m sn12.Message) {
	switch m := m.(type) {
	case sn12.Register:
		d.learn(m.TopicID, string(m.TopicName), "REGISTER")
		d.send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case sn12.Publish:
		d.receive(m)
	case sn12.PubRel:
		delete(d.opened, m.MsgID)
		d.send(sn12.PubComp{MsgID: m.MsgID})
	case sn12.PingReq:
		d.send(sn12.PingResp{})
	case sn12.Disconnect:
		d.disconnected()
	case sn12.PubAck:
		if m.ReturnCode == sn12.RejectedInvalidTopicID {
			d.forget(m.TopicID)
		}
	}
	// Anything else is an answer that has come twice.
}

// disconnected takes a DISCONNECT that the device has not asked for: the gateway has forgotten
// its session.
func (d *device) disconnected() {
	d.lost = true
	d.w.ledger.count(func(c *counts) { c.disconnects++ })
	d.w.ledger.offend("session", d.id, "DISCONNECT, asleep %v", d.asleep)
}

// learn takes a topic id. It must never have meant anything else.
func (d *device) learn(id uint16, name, by string) {
	if old, ok := d.names[id]; ok && old != name {
		d.w.ledger.offend("topic id", d.id, "%s gives id %d to %q, it was %q", by, id, name, old)
	}
	if old, ok := d.ids[name]; ok && old != id {
		d.w.ledger.offend("topic id", d.id, "%s gives %q the id %d, it had %d", by, name, id, old)
	}
	d.names[id], d.ids[name] = name, id
}

// forget is for a topic id that the gateway says it does not know: it has to be registered again.
func (d *device) forget(id uint16) {
	d.w.ledger.count(func(c *counts) { c.forgotten++ })
	d.w.ledger.offend("topic id", d.id, "the gateway has forgotten id %d of %q", id, d.names[id])
	delete(d.ids, d.names[id])
	delete(d.names, id)
}

// receive takes a PUBLISH. A QoS 2 message counts when it comes; its MsgId is remembered until
// PUBREL, so that a copy is known.
func (d *device) receive(m sn12.Publish) {
	name, known := d.names[m.TopicID]
	if m.TopicIDType != sn12.TopicIDNormal {
		known = false // none is predefined
	}
	if !known {
		d.w.ledger.count(func(c *counts) { c.unknown++ })
		d.w.ledger.offend("topic id", d.id, "PUBLISH with id %d (%v), which it was never told", m.TopicID, m.TopicIDType)
		d.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: sn12.RejectedInvalidTopicID})
		return
	}
	if m.QoS < 2 {
		d.w.ledger.arrived(d.id, name, m.QoS, m.Data)
		if m.QoS == 1 {
			d.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
		}
		return
	}
	old, open := d.opened[m.MsgID]
	if open && old != string(m.Data) {
		d.w.ledger.offend("MsgId", d.id, "MsgId %d of QoS 2 means %q before PUBREL for %q has come", m.MsgID, m.Data, old)
		open = false
	}
	if !open {
		d.opened[m.MsgID] = string(m.Data)
		d.w.ledger.arrived(d.id, name, 2, m.Data)
		if d.leaves(leaveBusy) {
			d.restless = true // its PUBREC is as good as lost
			return
		}
	}
	d.send(sn12.PubRec{MsgID: m.MsgID})
}
