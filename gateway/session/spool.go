package session

import "encoding/binary"

// spool holds messages of the device that are in the store, or on the way there, until
// the broker has them: those of QoS 2, and all while the broker is away or older ones
// wait. It is in the order in which the device sent them.
type spool struct {
	msgs     []spooled
	octets   int
	last     uint32 // number of the newest
	packetID uint16 // last one chosen
	retryAt  Time   // when the link, which had no room, is asked again
}

// spooled is one of them.
type spooled struct {
	number   uint32 // of RecordSpool; 0: QoS 0 that only keeps its place in memory
	token    Token  // with the link
	at       Time   // when it came
	topic    string
	payload  []byte
	packetID uint16 // towards the broker; QoS 2
	qos      uint8
	retain   bool
	stage    spoolStage
	again    bool  // the broker may have seen it
	released bool  // QoS 2: RecordReleased is in the store
	failures uint8 // times the link has given it up
}

type spoolStage uint8

const (
	spoolSaving   spoolStage = iota // on the way to the store
	spoolWaiting                    // for the link
	spoolSent                       // with the link
	spoolReceived                   // QoS 2: PUBREC has come; that is on the way to the store
	spoolReleased                   // QoS 2: the link may send PUBREL
)

const (
	// Packet identifiers of spooled messages; the link's own are below.
	firstPacketID = 0x8000
	lastPacketID  = 0xFFFE

	// maxSpooledQoS2 is from how many messages on the spool takes no more of QoS 2.
	maxSpooledQoS2 = 30_000

	spoolAtOnce      = 16       // messages with the link
	spoolAtOnceBytes = 64 << 10 // and their octets
	spoolMaxFailures = 3        // times the link may give a message up
	spoolRetry       = Time(1e9)
)

func (m *spooled) size() int { return len(m.topic) + len(m.payload) + messageOverhead }

func (p *spool) len() int { return len(p.msgs) }

func (p *spool) push(m spooled) {
	p.msgs = append(p.msgs, m)
	p.octets += m.size()
	p.last = max(p.last, m.number)
}

func (p *spool) remove(i int) {
	p.octets -= p.msgs[i].size()
	if i == 0 { // nearly always: a long spool is not to be moved for each
		p.msgs[0] = spooled{}
		p.msgs = p.msgs[1:]
	} else {
		copy(p.msgs[i:], p.msgs[i+1:])
		p.msgs[len(p.msgs)-1] = spooled{}
		p.msgs = p.msgs[:len(p.msgs)-1]
	}
	if len(p.msgs) == 0 {
		p.msgs = nil
	}
}

func (p *spool) find(number uint32) int {
	for i := range p.msgs {
		if p.msgs[i].number == number {
			return i
		}
	}
	return -1
}

func (p *spool) byToken(t Token) int {
	for i := range p.msgs {
		if t != 0 && p.msgs[i].token == t {
			return i
		}
	}
	return -1
}

// newPacketID returns one that no message in the spool has; maxSpooledQoS2 leaves some.
func (p *spool) newPacketID() uint16 {
	for {
		if p.packetID++; p.packetID < firstPacketID || p.packetID > lastPacketID {
			p.packetID = firstPacketID
		}
		used := false
		for i := range p.msgs {
			used = used || p.msgs[i].packetID == p.packetID
		}
		if !used {
			return p.packetID
		}
	}
}

// backlog reports whether newer messages have to queue up: behind one that the link has
// not got, or one of QoS 2 that the broker passes on at its PUBREL only.
func (p *spool) backlog() bool {
	for i := range p.msgs {
		if m := &p.msgs[i]; m.stage <= spoolWaiting || m.unreleased() {
			return true
		}
	}
	return false
}

func (m *spooled) unreleased() bool { return m.qos == 2 && m.stage < spoolReleased && !m.released }

// Spooled returns how many messages of the device wait for the broker in the store, and
// their size in octets.
func (s *Session) Spooled() (messages, octets int) {
	if s.durable == nil {
		return 0, 0
	}
	return s.durable.spool.len(), s.durable.spool.octets
}

func (s *Session) unspool(i int, out *Out) {
	m := &s.durable.spool.msgs[i]
	if m.number != 0 {
		out.remove(RecordSpool, key32(m.number))
	}
	if m.qos == 2 {
		out.remove(RecordReleased, key32(m.number)) // it may still be on its way there
	}
	s.durable.spool.remove(i)
}

func (m *spooled) put(out *Out) {
	v := binary.BigEndian.AppendUint16(make([]byte, 0, m.size()), m.packetID)
	out.put(RecordSpool, key32(m.number), appendMessage(v, m.qos, m.retain, m.topic, m.payload))
}

func (s *Session) onSpoolStored(now Time, v *saving, ok bool, out *Out) {
	p := &s.durable.spool
	i := p.find(v.number)
	if i < 0 {
		return
	}
	if ok {
		p.msgs[i].stage = spoolWaiting
	} else {
		s.unspool(i, out)
	}
	s.answerSpooled(now, v, ok, out)
	s.drain(now, out)
}

// drain gives the link what it may have of the spool, and ends a connection that was
// kept for it when nothing is left.
func (s *Session) drain(now Time, out *Out) {
	if s.durable == nil {
		return
	}
	s.handOver(out)
	s.closeDrained(out)
}

func (s *Session) handOver(out *Out) {
	p := &s.durable.spool
	if p.len() == 0 || s.link != linkUp || p.retryAt != Never {
		return
	}
	n, octets, unreleased := 0, 0, false
	for i := 0; i < len(p.msgs) && n < spoolAtOnce && octets < spoolAtOnceBytes; i++ {
		m := &p.msgs[i]
		if m.stage == spoolSaving || unreleased && m.qos < 2 {
			return // the ones behind it have to wait as well
		}
		n, octets = n+1, octets+m.size()
		unreleased = unreleased || m.unreleased()
		if m.stage != spoolWaiting {
			continue
		}
		if n > 1 && octets > spoolAtOnceBytes {
			return
		}
		m.stage, m.token = spoolSent, s.token()
		s.hand(m, out)
		if m.qos == 0 {
			s.unspool(i, out)
			i--
		}
	}
}

func (s *Session) hand(m *spooled, out *Out) {
	out.do(Action{
		Kind: ActionPublish, Token: m.token, Topic: m.topic, Payload: m.payload, QoS: m.qos, Retain: m.retain,
		PacketID: m.packetID, Again: m.again, Released: m.released,
	})
	m.again = true
}

// onSpoolPublished takes the broker's acknowledgement of a spooled message.
func (s *Session) onSpoolPublished(now Time, t Token, out *Out) bool {
	i := s.spooledAs(t)
	if i < 0 {
		return false
	}
	s.unspool(i, out)
	s.durable.spool.retryAt = Never
	s.drain(now, out)
	return true
}

// onSpoolFailed takes a spooled message back from the link. One that the link has given
// up time and again, each time after several connections, is what they end of.
func (s *Session) onSpoolFailed(now Time, ev *Event, out *Out) bool {
	i := s.spooledAs(ev.Token)
	if i < 0 {
		return false
	}
	m := &s.durable.spool.msgs[i]
	m.stage, m.token = spoolWaiting, 0
	switch {
	case ev.Congested:
		s.durable.spool.retryAt = now + spoolRetry
	case s.link != linkUp && s.link != linkDown: // a connect with CleanSession=1 has taken all back
	default:
		if m.failures++; m.failures >= spoolMaxFailures {
			out.drop(ReasonSpoolRejected)
			s.unspool(i, out)
		}
		s.drain(now, out)
	}
	return true
}

func (s *Session) spooledAs(t Token) int {
	if s.durable == nil {
		return -1
	}
	return s.durable.spool.byToken(t)
}

// onReceived takes the broker's PUBREC for a spooled message. Once PUBREL is sent the
// message must not be published again, which a restarted gateway has to know.
func (s *Session) onReceived(t Token, out *Out) {
	i := s.spooledAs(t)
	if i < 0 {
		return
	}
	m := &s.durable.spool.msgs[i]
	if m.released {
		out.do(Action{Kind: ActionRelease, Token: t})
		return
	}
	m.stage = spoolReceived
	s.putReleased(m, out)
}

func (s *Session) putReleased(m *spooled, out *Out) {
	out.put(RecordReleased, key32(m.number), nil)
	s.whenStored(saving{kind: savingReleased, number: m.number}, out)
}

func (s *Session) onReleasedStored(now Time, number uint32, out *Out) {
	p := &s.durable.spool
	i := p.find(number)
	if i < 0 || p.msgs[i].stage != spoolReceived {
		return // the link has given it back, or begins it anew
	}
	m := &p.msgs[i]
	m.released, m.stage = true, spoolReleased
	out.do(Action{Kind: ActionRelease, Token: m.token})
	s.drain(now, out)
}

// forgetReleased begins the QoS 2 exchanges anew with a broker that has forgotten them.
func (s *Session) forgetReleased(out *Out) {
	if s.durable == nil {
		return
	}
	p := &s.durable.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.released || m.stage == spoolReceived {
			m.released = false
			out.remove(RecordReleased, key32(m.number))
		}
		m.stage = min(m.stage, spoolSent)
	}
}

func (s *Session) snapshotSpool(out *Out) {
	p := &s.durable.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.number == 0 {
			continue
		}
		m.put(out)
		switch {
		case m.released:
			out.put(RecordReleased, key32(m.number), nil)
		case m.stage == spoolReceived:
			s.putReleased(m, out)
		}
	}
}

// spoolDeadline is when the spool next wants attention.
func (s *Session) spoolDeadline() Time {
	if s.durable == nil {
		return Never
	}
	at := s.durable.spool.retryAt
	for i := range s.durable.spool.msgs {
		if m := &s.durable.spool.msgs[i]; s.mayExpire(m) {
			return min(at, m.at+s.cfg.SpoolAge)
		}
	}
	return at
}

// mayExpire reports whether a message waits for the broker: also one that the link has,
// while there is no connection. An exchange of QoS 2 that has begun is finished, however
// long that takes: the broker remembers its packet identifier.
func (s *Session) mayExpire(m *spooled) bool {
	return m.stage == spoolWaiting || m.stage == spoolSent && m.qos < 2 && s.link != linkUp
}

// advanceSpool drops what has waited for too long, and asks the link again.
func (s *Session) advanceSpool(now Time, out *Out) {
	if now < s.spoolDeadline() {
		return
	}
	p := &s.durable.spool
	for i := 0; i < len(p.msgs); i++ {
		m := &p.msgs[i]
		if !s.mayExpire(m) || now < m.at+s.cfg.SpoolAge {
			continue
		}
		if m.stage > spoolWaiting {
			out.do(Action{Kind: ActionCancel, Token: m.token})
		}
		out.drop(ReasonSpoolExpired)
		s.unspool(i, out)
		i--
	}
	if now >= p.retryAt {
		p.retryAt = Never
	}
	s.drain(now, out)
}

// resumeSpool goes on with what a restart has found in the store.
func (s *Session) resumeSpool(now Time, out *Out) {
	p := &s.durable.spool
	for i := range p.msgs {
		p.msgs[i].at = now
	}
	for _, number := range s.durable.releasedBefore {
		if i := p.find(number); i >= 0 {
			p.msgs[i].released = true
		} else {
			out.remove(RecordReleased, key32(number))
		}
	}
	s.durable.releasedBefore = nil
}
