package gateway

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/discovery"
	"sngate/gateway/listen"
	"sngate/gateway/metrics"
	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/internal/rate"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// receiver is one listener's reader: it looks at the header of each datagram, finds the
// shard it belongs to and leaves it there. It makes nothing and remembers nobody.
type receiver struct {
	gw       *Gateway
	listener int
	counters *metrics.Counters
	rate     rate.Limit    // of each device's datagrams
	own      *shard        // which reads, in its goroutine; nil: a goroutine of the listener does
	socket   listen.Socket // what own reads, and must not wait for when it sends
	// Owned by the reader's goroutine.
	connecting *connectingTable
	seen       *oplog.Seen
	replies    replyLimits
}

func newReceiver(gw *Gateway, listener int) *receiver {
	return &receiver{
		gw:         gw,
		listener:   listener,
		counters:   gw.metrics.NewCounters(),
		rate:       rate.PerSecond(gw.opts.DatagramRate, 2*gw.opts.DatagramRate),
		connecting: newConnectingTable(),
		seen:       oplog.NewSeen(),
		replies:    newReplyLimits(),
	}
}

// handle takes over a datagram.
func (r *receiver) handle(d *listen.Datagram) {
	a := arrival{datagram: d, frame: snpacket.Frame{Message: d.Bytes()}, peer: listen.Peer{Listener: r.listener, Addr: d.From}}
	why := r.unwrap(&a)
	r.gw.tracer.Datagram(false, a.peer, a.frame.Message)
	if why != session.ReasonNone {
		r.drop(&a, nil, why)
		return
	}
	var err error
	if a.frame, err = snpacket.ParseFrame(a.frame.Message); err != nil {
		r.drop(&a, nil, session.ReasonMalformed)
		return
	}
	r.counters.Received(a.frame.Type, len(d.Bytes()))
	if r.discovery(&a) {
		d.Recycle()
		return
	}
	s, sender := r.route(&a)
	switch {
	case s == nil:
		r.unknown(&a, sn12.Type(a.frame.Type))
	case sender != nil && !sender.flow.Take(r.rate, r.now(), 1):
		r.drop(&a, sender, session.ReasonDatagramRate)
	case sender == nil && !r.offerStranger(s, &a):
		r.drop(&a, nil, session.ReasonStrangersFull)
	case sender != nil && s == r.own:
		s.arrive(&a)
	case sender != nil && !s.queues.offer(a):
		r.drop(&a, sender, session.ReasonShardFull)
	}
}

// noMemory counts a datagram that there is no room for, and failed one that could not be read.
func (r *receiver) noMemory(int) { r.counters.Drop(session.ReasonShardFull) }

func (r *receiver) failed(err error) {
	r.counters.Drop(session.ReasonReceiveFailed)
	r.gw.lines.At(oplog.Faults, zerolog.WarnLevel, err.Error()).Err(err).Msg("receiving failed")
}

// now is the time at which what is being read was found.
func (r *receiver) now() time.Duration {
	if r.own != nil {
		return r.own.now
	}
	return r.gw.now()
}

// offerStranger leaves what comes from a stranger, or in another device's name, with s.
func (r *receiver) offerStranger(s *shard, a *arrival) bool {
	if a.kind == byConnect {
		a.connect = r.connecting.add(a, s)
	}
	if s.queues.offerStranger(a) {
		return true
	}
	if a.kind == byConnect {
		a.connect.handled()
	}
	return false
}

// drop lets go of an arrival, of the device of sender where that is not nil.
func (r *receiver) drop(a *arrival, sender *entry, why session.Reason) {
	r.note(a, sender, why)
	a.datagram.Recycle()
}

// note counts a drop, and logs the first of each sender, reason and minute.
func (r *receiver) note(a *arrival, sender *entry, why session.Reason) {
	r.counters.Drop(why)
	if sender == nil {
		r.gw.lines.Stranger(r.seen, r.now(), a.peer, a.frame.Message, why)
		return
	}
	sender.overload.note(r.now(), why)
	r.gw.lines.Sender(r.seen, r.now(), sender.session.ClientID(), a.peer, a.frame.Message, why)
}

// unwrap takes off the encapsulation of a forwarder (MQTT-SN 1.2 section 5.5).
func (r *receiver) unwrap(a *arrival) session.Reason {
	if !sn12.IsEncapsulated(a.frame.Message) {
		return session.ReasonNone
	}
	var m sn12.Encapsulated
	switch err := m.Parse(a.frame.Message); {
	case err != nil:
		return session.ReasonMalformed
	case m.Nested() || len(m.NodeID) == 0:
		return session.ReasonEncapsulation
	case !r.gw.opts.forwarderAllowed(a.peer.Addr.Addr()):
		return session.ReasonForwarderNotAllowed
	}
	r.counters.Received(encapsulated, 0)
	a.frame.Message, a.peer.Node = m.Inner, string(m.NodeID)
	return session.ReasonNone
}

func (r *receiver) discovery(a *arrival) bool {
	via, node := discovery.ViaListener, []byte(nil)
	if a.peer.Node != "" {
		via, node = discovery.ViaForwarder, []byte(a.peer.Node)
	}
	return r.gw.discoverer.Message(via, r.listener, a.peer.Addr, node, a.frame.Type, a.frame.Body())
}

// route finds the shard for an arrival; nil when the sender has no session and the
// message makes none. The entry is that of the device that has sent it, as far as an
// address can tell: nil for a stranger, and for a message in another device's name.
func (r *receiver) route(a *arrival) (*shard, *entry) {
	t, body := sn12.Type(a.frame.Type), a.frame.Body()
	behind := r.connecting.find(a.peer) // before the directory: that is changed first
	sender := r.gw.directory.find(a.peer)
	if behind != nil && sender != nil && len(behind.shard.queues.strangers) > turnSize {
		behind = nil // a crowd of strangers, who may have forged its address, must not hold it up
	}
	id := []byte(nil)
	switch {
	case t == sn12.TypeConnect:
		a.kind, id = byConnect, sn12.ConnectClientID(body)
		if len(id) == 0 {
			a.assigned = r.assign(body, sender, behind)
			id = []byte(a.assigned)
		}
	case behind != nil && !unsolicited(a.frame):
		a.connect = behind
		return behind.shard, nil // kind is byAddress, and there is no entry yet
	case t == sn12.TypePingReq && len(body) > 0:
		a.kind, id = byWake, body
	case sender != nil:
		a.entry = sender
		return sender.shard, sender
	case unsolicited(a.frame):
		a.kind = byTopic
		return r.gw.shards[0], nil
	default:
		return nil, nil
	}
	if sender != nil && sender.session.ClientID() != string(id) {
		sender = nil
	}
	return r.gw.shardOf(id), sender
}

// assign returns the client id for a CONNECT without one; "" if it gets none. A device
// without a client id is known by its address: it keeps its id for as long as it has a
// session there. sender is whose address it comes from, behind a CONNECT from there that is not handled yet.
func (r *receiver) assign(body []byte, sender *entry, behind *connecting) string {
	var c sn12.Connect
	_ = c.Parse(body) // it has no client id, and may be shorter still
	switch {
	case !r.gw.opts.AssignClientIDs || !c.CleanSession:
		return ""
	case behind != nil && behind.id != "":
		return behind.id
	case behind == nil && sender != nil && sender.session.Assigned():
		return sender.session.ClientID()
	}
	return r.gw.opts.drawClientID()
}

// unsolicited reports whether a message is a PUBLISH of QoS -1, which needs no session.
func unsolicited(f snpacket.Frame) bool {
	body := f.Body()
	return sn12.Type(f.Type) == sn12.TypePublish && len(body) > 0 && body[0]>>5&3 == sn12.QoSMinusOne
}

// unknown answers a sender without a session: DISCONNECT says that it has to connect
// (MQTT-SN 1.2 section 5.4.21). What a gateway sends is not answered, or two gateways
// could answer each other for ever.
func (r *receiver) unknown(a *arrival, t sn12.Type) {
	defer a.datagram.Recycle()
	switch {
	case !t.Known():
		r.note(a, nil, session.ReasonMalformed)
		return
	case fromGateway(t):
		r.note(a, nil, session.ReasonUnexpectedMessage)
		return
	}
	r.note(a, nil, session.ReasonUnknownSender)
	answers := &r.replies.all
	if t == sn12.TypeDisconnect {
		answers = &r.replies.farewells
	}
	if !answers.Allow(r.now()) {
		return
	}
	b, err := sn12.Disconnect{}.Append(nil)
	r.gw.tracer.Datagram(true, a.peer, b)
	if err == nil {
		b, err = a.peer.Wrap(nil, b)
	}
	switch {
	case err != nil:
	case r.socket != nil:
		err = r.socket.Send(b, a.peer.Addr)
	default:
		_, err = r.gw.listeners[r.listener].Conn.WriteTo(b, a.peer.Addr)
	}
	if err != nil {
		r.counters.Drop(session.ReasonSendFailed)
		return
	}
	r.counters.Sent(byte(sn12.TypeDisconnect), len(b))
	if a.peer.Node != "" {
		r.counters.Sent(encapsulated, 0)
	}
}

// fromGateway reports whether only a gateway sends messages of type t.
func fromGateway(t sn12.Type) bool {
	switch t {
	case sn12.TypeConnAck, sn12.TypeWillTopicReq, sn12.TypeWillMsgReq, sn12.TypeSubAck, sn12.TypeUnsubAck,
		sn12.TypePingResp, sn12.TypeWillTopicResp, sn12.TypeWillMsgResp:
		return true
	}
	return false
}

// encapsulated is the MsgType of a forwarder's encapsulation, for the counts.
const encapsulated = byte(sn12.TypeEncapsulated)

// messageType returns the MsgType octet of a datagram the gateway has built itself.
func messageType(datagram []byte) byte {
	t, _, err := snpacket.Split(datagram)
	if err != nil {
		return 0xFF
	}
	return t
}

// unreachable passes on that nobody is at an address, to the session that has it. One is
// on the way to a session at a time, so a flood of them costs little. What is behind a
// forwarder has another address, and is not meant.
func (g *Gateway) unreachable(listener int, addr netip.AddrPort) {
	p := listen.Peer{Listener: listener, Addr: addr}
	e := g.directory.find(p)
	if e == nil || !e.unreachable.CompareAndSwap(false, true) {
		return
	}
	e.shard.queues.post(func() {
		e.unreachable.Store(false)
		e.shard.markUnreachable(e, p)
	})
}
