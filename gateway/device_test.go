package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/eventloop/looptest"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// More of the rig: devices that answer by themselves, a network of sources without
// sockets, and what tests look at.

// parse decodes a datagram of the gateway.
func parse(t testing.TB, b []byte) sn12.Message {
	t.Helper()
	m, err := sn12.Parse(b)
	if err != nil {
		t.Fatalf("the gateway has sent %x: %v", b, err)
	}
	return m
}

// next waits up to limit for the next datagram; nil when there is none.
func (d *device) next(limit time.Duration) sn12.Message {
	d.r.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case b := <-d.in:
		return parse(d.r.t, b)
	case <-timer.C:
		return nil
	}
}

// discard throws away what has come.
func (d *device) discard() {
	synctest.Wait()
	for len(d.in) > 0 {
		<-d.in
	}
}

// answer answers a REGISTER or PUBLISH of the gateway as a device does. It returns the
// PUBLISH, once: at its PUBLISH for QoS 0 and 1, at its PUBREL for QoS 2.
func (d *device) answer(m sn12.Message, released map[uint16]sn12.Publish) (got sn12.Publish, ok bool) {
	d.r.t.Helper()
	switch m := m.(type) {
	case sn12.Register:
		d.sendMessage(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case sn12.Publish:
		switch m.QoS {
		case 1:
			d.sendMessage(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
		case 2:
			m.Data = bytes.Clone(m.Data)
			released[m.MsgID] = m
			d.sendMessage(sn12.PubRec{MsgID: m.MsgID})
			return m, false
		}
		return m, true
	case sn12.PubRel:
		d.sendMessage(sn12.PubComp{MsgID: m.MsgID})
		got, ok = released[m.MsgID]
		delete(released, m.MsgID)
	}
	return got, ok
}

// receive answers for as long as something comes within pause, and returns the payloads.
func (d *device) receive(pause time.Duration) (payloads []string) {
	d.r.t.Helper()
	released := make(map[uint16]sn12.Publish)
	for m := d.next(pause); m != nil; m = d.next(pause) {
		if p, ok := d.answer(m, released); ok {
			payloads = append(payloads, string(p.Data))
		}
	}
	return payloads
}

// wake sends PINGREQ with the client id and answers until PINGRESP, which has to come.
func (d *device) wake(clientID string) (payloads []string) {
	d.r.t.Helper()
	d.sendMessage(sn12.PingReq{ClientID: []byte(clientID)})
	released := make(map[uint16]sn12.Publish)
	for {
		m := d.next(9 * time.Second)
		switch m.(type) {
		case nil:
			d.r.t.Fatalf("%s: no PINGRESP", clientID)
		case sn12.PingResp:
			return payloads
		case sn12.Disconnect:
			d.r.t.Fatalf("%s: DISCONNECT in answer to a waking PINGREQ", clientID)
		}
		if p, ok := d.answer(m, released); ok {
			payloads = append(payloads, string(p.Data))
		}
	}
}

func (d *device) connectWith(clean bool, keepAlive uint16, clientID string) {
	d.r.t.Helper()
	d.sendMessage(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: keepAlive, ClientID: []byte(clientID)})
	d.wantMessage("CONNECT is accepted", sn12.ConnAck{})
}

// connectWill connects with CleanSession=1 and a will, QoS 1 and retained.
func (d *device) connectWill(clientID, topic, message string) {
	d.r.t.Helper()
	d.sendMessage(sn12.Connect{Will: true, CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte(clientID)})
	d.wantMessage("will topic", sn12.WillTopicReq{})
	d.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte(topic)})
	d.wantMessage("will message", sn12.WillMsgReq{})
	d.sendMessage(sn12.WillMsg{Message: []byte(message)})
	d.wantMessage("CONNECT is accepted", sn12.ConnAck{})
}

// register registers a topic and returns its id.
func (d *device) register(topic string) uint16 {
	d.r.t.Helper()
	d.sendMessage(sn12.Register{MsgID: 0x7001, TopicName: []byte(topic)})
	ack, ok := d.next(time.Second).(sn12.RegAck)
	if !ok || ack.ReturnCode != sn12.Accepted || ack.MsgID != 0x7001 {
		d.r.t.Fatalf("REGISTER %s: %+v", topic, ack)
	}
	return ack.TopicID
}

// subscribe subscribes by name and returns the topic id.
func (d *device) subscribe(filter string, qos uint8) uint16 {
	d.r.t.Helper()
	d.sendMessage(sn12.Subscribe{QoS: qos, MsgID: 0x7002, TopicName: []byte(filter)})
	ack, ok := d.next(time.Second).(sn12.SubAck)
	if !ok || ack.ReturnCode != sn12.Accepted || ack.MsgID != 0x7002 || ack.QoS != qos {
		d.r.t.Fatalf("SUBSCRIBE %s: %+v", filter, ack)
	}
	return ack.TopicID
}

// sleep puts the device to sleep.
func (d *device) sleep(seconds uint16) {
	d.r.t.Helper()
	d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: seconds})
	d.wantMessage("going to sleep", sn12.Disconnect{})
}

// ping wants an answer to PINGREQ at once.
func (d *device) ping(why string) {
	d.r.t.Helper()
	d.send("02 16")
	d.want(why, "02 17")
}

// state returns the number of sessions in a state as the gauges have it.
func (r *rig) state(st session.State) int64 {
	synctest.Wait()
	byState := make([]int64, len(session.StateNames()))
	r.gateway.shards.count(byState)
	return byState[st]
}

// wantSessions checks the number of sessions, and that all ways of counting agree.
// The shards must be idle.
func (r *rig) wantSessions(why string, n int) {
	r.t.Helper()
	synctest.Wait()
	byState := make([]int64, len(session.StateNames()))
	r.gateway.shards.count(byState)
	var gauge int64
	for _, v := range byState {
		gauge += v
	}
	entries, bound := 0, 0
	for _, s := range r.gateway.shards {
		entries += len(s.roster.byID)
		s.queues.post(func() {}) // what the shard does next is after this
	}
	for i := range r.gateway.directory.stripes {
		stripe := &r.gateway.directory.stripes[i]
		stripe.mu.RLock()
		bound += len(stripe.byKey) + len(stripe.byPeer)
		stripe.mu.RUnlock()
	}
	r.handBack()
	if entries != n || gauge != int64(n) || r.gateway.limits.sessions.Load() != int64(n) || bound > n {
		r.t.Fatalf("%s: %d entries, gauges %v, %d counted, %d addresses; want %d", why, entries, byState, r.gateway.limits.sessions.Load(), bound, n)
	}
}

// handBack lets the shards go on after the test has looked at what is theirs: a timer may
// wake them next, which is after the look, but not by any order of memory.
func (r *rig) handBack() {
	for _, s := range r.gateway.shards {
		s.queues.post(func() {})
	}
}

// connects returns how many CONNECTs the broker has accepted.
func (r *rig) connects() int {
	synctest.Wait()
	total, _ := r.broker.Connects()
	return total
}

// publish publishes at the broker and lets it arrive.
func (r *rig) publish(topic, payload string, qos byte) {
	r.broker.Publish(upstreamtest.Message{Topic: topic, Payload: []byte(payload), QoS: qos})
	synctest.Wait()
}

// wantWill checks the will that has been published at the broker; "" is none.
func (r *rig) wantWill(why, topic, message string) {
	r.t.Helper()
	synctest.Wait()
	m, ok := r.broker.Retained(topic)
	if string(m.Payload) != message || ok != (message != "") || ok && m.QoS != 1 {
		r.t.Fatalf("%s: will %q QoS %d at the broker, want %q", why, m.Payload, m.QoS, message)
	}
}

// published collects what clients publish at the broker.
type published struct {
	mu   sync.Mutex
	list []string
}

// observe makes the broker record what is published, as "client topic payload qos".
func (r *rig) observe() *published {
	p := &published{}
	r.broker.Observe = func(id string, m upstreamtest.Message) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.list = append(p.list, fmt.Sprintf("%s %s %s %d", id, m.Topic, m.Payload, m.QoS))
	}
	return p
}

func (p *published) take() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.list
	p.list = nil
	return list
}

func (p *published) want(t testing.TB, why string, want ...string) {
	t.Helper()
	if got := p.take(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%s: the broker got %q, want %q", why, got, want)
	}
}

// crowd is a network of any number of sources without sockets. It is the gateway's
// PacketConn.
type crowd struct {
	local  netip.AddrPort
	in     chan crowdPacket
	closed chan struct{}
	// sent is called for each datagram of the gateway, by many goroutines. It may send.
	sent func(b []byte, to netip.AddrPort)
	looptest.Bell
}

type crowdPacket struct {
	from netip.AddrPort
	b    []byte
}

func newCrowd() *crowd {
	return &crowd{
		local: netip.MustParseAddrPort("10.0.0.1:1883"), in: make(chan crowdPacket, 100_000),
		closed: make(chan struct{}), sent: func([]byte, netip.AddrPort) {},
	}
}

// listen is for Options.Listen.
func (c *crowd) listen(listen.Options) (listen.Listener, error) {
	return listen.Listener{Conn: c, ReceiveBuffer: 1}, nil
}

func (c *crowd) send(from netip.AddrPort, b []byte) {
	c.in <- crowdPacket{from, b}
	c.Ring()
}

func (c *crowd) sendMessage(t testing.TB, from netip.AddrPort, m sn12.Message) {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.send(from, b)
}

func (c *crowd) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-c.in:
		return copy(b, p.b), p.from, nil
	case <-c.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// TryReadFrom implements listen.Polled.
func (c *crowd) TryReadFrom(b []byte) (n int, from netip.AddrPort, ok bool) {
	select {
	case p := <-c.in:
		return copy(b, p.b), p.from, true
	default:
		return 0, netip.AddrPort{}, false
	}
}

// TryWriteTo implements listen.Polled.
func (c *crowd) TryWriteTo(b []byte, to netip.AddrPort) error {
	c.sent(b, to)
	return nil
}

// Ready implements looptest.Pollable.
func (c *crowd) Ready() (read, write, open bool) { return len(c.in) > 0, true, true }

func (c *crowd) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	c.sent(b, to)
	return len(b), nil
}

func (c *crowd) LocalAddr() netip.AddrPort { return c.local }

func (c *crowd) Close() error {
	close(c.closed)
	return nil
}

// source is the address of the i-th source of a crowd.
func source(i int) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0x0B000000+uint32(i))
	return netip.AddrPortFrom(netip.AddrFrom4(a), 5000)
}

// raced reports whether the race detector is on: it is slow and allows no more than
// 8,128 goroutines.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// scale returns n, and less of it under the race detector.
func scale(n, less int) int {
	if raced() {
		return less
	}
	return n
}
