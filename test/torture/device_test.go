package torture

import (
	"fmt"
	"net/netip"
	"time"

	"sngate/gateway/gatewaytest"
	"sngate/snpacket/sn12"
)

const (
	keepAlive     = 3600  // seconds
	sleepDuration = 36000 // seconds; announced, devices wake far earlier
	retryAfter    = 400 * time.Millisecond
	// A sleeper is off the air for so long at least, in which late answers to its DISCONNECT pass.
	sleepMin = 200 * time.Millisecond
	// A CONNECT with another CleanSession comes so long after the last one at least.
	connectChange = 12 * time.Second
)

// device is a device that keeps the rules of MQTT-SN 1.2. It has at most one request under way and
// repeats it until it is answered; but it may say goodbye at any time, and go on where it was when
// it returns.
type device struct {
	w     *world
	id    string
	conn  *gatewaytest.Conn
	moved int // addresses it has had before

	up, down [][]byte      // datagrams on their way, from and to it
	late     time.Duration // for how long there have been some

	state      deviceState
	since      time.Time // the beginning of its sleep
	connectAt  time.Time // its last CONNECT
	clean      bool      // of the session it has
	names      map[uint16]string
	ids        map[string]uint16
	opened     map[uint16]string // QoS 2 messages from the gateway between PUBLISH and PUBREL
	subscribed map[string]bool
	msgID      uint16

	req        *request
	unfinished *request // a PUBLISH or PUBREL that goodbye has interrupted
	wake       *wake
	asked      map[uint16]string // names of its REGISTERs and SUBSCRIBEs, by MsgId
	untold     bool              // one of them was interrupted

	pings, pongs int  // PINGREQs of the last wake, and PINGRESPs
	misled       bool // the gateway may take it for active though it sleeps
	dozes        bool // the gateway may take it for asleep though it is off: its CONNECT would end the sleep only
}

type deviceState uint8

const (
	off deviceState = iota
	active
	asleep
)

func (s deviceState) String() string { return [...]string{"off", "active", "asleep"}[s] }

// request is something that the gateway has to answer.
type request struct {
	what    string
	message func(again bool) sn12.Message
	// answered reports whether m is the answer, and does what follows from it.
	answered func(m sn12.Message) bool
	sentAt   time.Time
	sent     int
	m        *message // of a PUBLISH
	lasting  bool     // it outlives a goodbye
	anew     bool     // of CONNECT: nothing of the session is left
}

// wake is one wake of a sleeper.
type wake struct {
	owed      []*message // by broker and gateway when it began
	disturbed bool
}

func newDevice(w *world, n int) *device {
	d := &device{w: w, id: fmt.Sprintf("dev%d", n)}
	d.forget()
	d.listen()
	return d
}

func (d *device) addr() netip.AddrPort { return d.conn.LocalAddr() }

// listen opens a socket at an address of its own. What is on its way to the old one is lost.
func (d *device) listen() {
	if d.conn != nil {
		_ = d.conn.Close()
	}
	d.moved++
	host := netip.AddrFrom4([4]byte{10, 0, 1, d.id[3] - '0'})
	var err error
	if d.conn, err = d.w.net.Listen(netip.AddrPortFrom(host, uint16(5000+d.moved))); err != nil {
		d.w.t.Fatal(err)
	}
	d.down = nil
}

// forget is what CleanSession means to the device.
func (d *device) forget() {
	d.names, d.ids = make(map[uint16]string), make(map[string]uint16)
	d.opened, d.subscribed = make(map[uint16]string), make(map[string]bool)
	d.asked, d.untold = make(map[uint16]string), false
}

func (d *device) note(format string, args ...any) { d.w.note(d.id, format, args...) }

func (d *device) newMsgID() uint16 {
	d.msgID = d.msgID%0xFFFF + 1
	return d.msgID
}

// disturb says that something has happened after which a wake may end early.
func (d *device) disturb() {
	if d.wake != nil {
		d.wake.disturbed = true
	}
}

// linger notes that what is on its way to or from the device has been there for so long. Where
// answers are late for a repetition, a wake may end early: there are devices that do not answer.
func (d *device) linger(n time.Duration) {
	if len(d.up)+len(d.down) == 0 {
		d.late = 0
		return
	}
	if d.late += n; d.late >= retryInterval {
		d.disturb()
	}
}

func (d *device) send(m sn12.Message) {
	b, err := m.Append(nil)
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.note("-> %s", describe(m))
	if m.Type() == sn12.TypePingReq {
		d.pings++
	}
	d.up = append(d.up, b)
}

// begin sends a request.
func (d *device) begin(r *request) {
	d.req = r
	d.repeat()
}

// repeat sends the request again.
func (d *device) repeat() {
	r := d.req
	r.sentAt = time.Now()
	if r.what == connecting {
		d.connectAt = r.sentAt
	}
	r.sent++
	d.send(r.message(r.sent > 1))
}

// due reports whether the request has waited long enough to be sent again.
func (d *device) due() bool { return d.req != nil && time.Since(d.req.sentAt) >= retryAfter }

// receive takes a datagram.
func (d *device) receive(b []byte) {
	m, err := sn12.Parse(b)
	if err != nil {
		d.w.ledger.offend("malformed", "%s receives % x: %v", d.id, b, err)
		return
	}
	if d.state == asleep && d.req == nil || d.state == off && d.req == nil {
		d.note("   radio off: %s", describe(m))
		return
	}
	d.note("<- %s", describe(m))
	if r := d.req; r != nil {
		if d.req = nil; r.answered(m) {
			return
		}
		d.req = r
	}
	if d.state != off || d.connectsKept() {
		d.handle(m)
	}
}

// handle takes what the gateway begins.
func (d *device) handle(m sn12.Message) {
	switch m := m.(type) {
	case sn12.Register:
		d.learn(m.TopicID, string(m.TopicName), "REGISTER")
		d.send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case sn12.Publish:
		d.published(m)
	case sn12.PubRel:
		delete(d.opened, m.MsgID)
		d.send(sn12.PubComp{MsgID: m.MsgID})
	case sn12.PingReq:
		d.send(sn12.PingResp{})
	case sn12.Disconnect:
		d.lost()
	case sn12.RegAck: // late, as the next
		d.told(m.MsgID, m.TopicID, m.ReturnCode)
	case sn12.SubAck:
		d.told(m.MsgID, m.TopicID, m.ReturnCode)
	}
	// Anything else is an answer that has come twice.
}

// lost takes a DISCONNECT that the device has not asked for.
func (d *device) lost() {
	if d.req != nil && d.req.what == "CONNECT" {
		return // it was meant for the session before
	}
	d.interrupt()
	d.dozes = d.state == asleep
	d.state = off
}

// sleepy reports whether the device has just fallen asleep.
func (d *device) sleepy() bool { return d.state == asleep && time.Since(d.since) < sleepMin }

// interrupt leaves the request under way for later, or for good.
func (d *device) interrupt() {
	if d.req != nil && d.req.lasting {
		d.unfinished = d.req
	}
	d.untold = d.unsure()
	d.req, d.wake = nil, nil
}

// unsure reports whether the device may have missed the answer that told it a topic id.
func (d *device) unsure() bool {
	return d.untold || d.req != nil && (d.req.what == "REGISTER" || d.req.what == "SUBSCRIBE")
}

// learn takes a topic id. It must never have meant anything else in this session.
func (d *device) learn(id uint16, name, by string) {
	if old, ok := d.names[id]; ok && old != name {
		d.w.ledger.offend("topic id", "%s: %s gives id %d to %q, it was %q", d.id, by, id, name, old)
	}
	d.names[id], d.ids[name] = name, id
}

// told takes a topic id that answers a request which was interrupted.
func (d *device) told(msgID, id uint16, code sn12.ReturnCode) {
	if name, ok := d.asked[msgID]; ok && code == sn12.Accepted && id != 0 {
		d.learn(id, name, "a late answer")
	}
}

// published takes a PUBLISH. A QoS 2 message counts when it comes; its MsgId is remembered until PUBREL.
func (d *device) published(m sn12.Publish) {
	name, known := d.names[m.TopicID]
	if !known && (d.unsure() || d.connectsKept()) {
		// The answer that told it was lost, and will come again when the request does; or the
		// gateway does not know yet that the device connects anew.
		if m.QoS > 0 {
			d.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: sn12.RejectedInvalidTopicID})
		}
		return
	}
	if !known {
		d.w.ledger.offend("topic id", "%s: PUBLISH of %q with id %d, which it was never told", d.id, m.Data, m.TopicID)
		return
	}
	payload := string(m.Data)
	if m.QoS < 2 {
		d.w.ledger.arrived(false, d, name, m.QoS, payload)
		if m.QoS == 1 {
			d.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
		}
		return
	}
	old, open := d.opened[m.MsgID]
	if open && old != name+" "+payload {
		d.w.ledger.offend("MsgId", "%s: MsgId %d means %q before PUBREL for %q has come", d.id, m.MsgID, payload, old)
	}
	if !open {
		d.opened[m.MsgID] = name + " " + payload
		d.w.ledger.arrived(false, d, name, 2, payload)
	}
	d.send(sn12.PubRec{MsgID: m.MsgID})
}

func describe(m sn12.Message) string {
	switch m := m.(type) {
	case sn12.Publish:
		return fmt.Sprintf("PUBLISH DUP %v QoS %d id %d MsgId %d %q", m.DUP, m.QoS, m.TopicID, m.MsgID, m.Data)
	case sn12.Register:
		return fmt.Sprintf("REGISTER id %d MsgId %d %q", m.TopicID, m.MsgID, m.TopicName)
	case sn12.Subscribe:
		return fmt.Sprintf("SUBSCRIBE DUP %v QoS %d MsgId %d %q", m.DUP, m.QoS, m.MsgID, m.TopicName)
	case sn12.PingReq:
		return fmt.Sprintf("PINGREQ %q", m.ClientID)
	case sn12.Connect:
		return fmt.Sprintf("CONNECT %q CleanSession %v", m.ClientID, m.CleanSession)
	}
	return fmt.Sprintf("%v %+v", m.Type(), m)
}
