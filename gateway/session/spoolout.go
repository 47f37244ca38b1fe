package session

// The way out of the spool: to the link, in which order, and the broker's answers.

import "slices"

const (
	spoolAtOnce      = 16       // messages with the link
	spoolAtOnceBytes = 64 << 10 // and their octets
	spoolRetry       = Time(1e9)
)

// sendSpooled gives the link as many messages of the spool as it may have.
func (ul *uplink) sendSpooled(st *step) {
	p := &ul.spool
	if p.len() == 0 || ul.s.broker.link != linkUp || p.retryAt != Never {
		return
	}
	n, octets := 0, 0
	var before order
	for i := 0; i < len(p.msgs) && n < spoolAtOnce && octets < spoolAtOnceBytes; i++ {
		m := &p.msgs[i]
		if m.stage == upSaving {
			return // the ones behind it have to wait as well
		}
		if m.stage == upWaiting && ul.dropForbidden(st, i) {
			i--
			continue
		}
		if m.stage == upWaiting && before.blocks(m) {
			if before.all {
				return
			}
			before.skip(m)
			continue
		}
		if counts := before.pass(m); counts {
			n, octets = n+1, octets+m.size()
		}
		if m.stage != upWaiting {
			continue
		}
		if n > 1 && octets > spoolAtOnceBytes {
			return
		}
		m.stage, m.token = upSent, ul.s.broker.token()
		ul.hand(st, m)
		if m.qos == 0 && m.number == 0 {
			ul.unspool(st, i)
			i--
		}
	}
}

// conform makes of a message in the spool one that the broker takes, if it was taken in under
// other limits. An exchange of QoS 2 with a broker that had it begins anew: a message may come
// twice then, and is not lost. It reports why that cannot be done.
func (ul *uplink) conform(st *step, m *spooled) Reason {
	l := ul.s.cfg.Limits
	m.retain = l.Retain(m.retain)
	if qos := l.QoS(m.qos); qos < m.qos {
		if m.qos == 2 {
			ul.s.journal.remove(st, RecordReleased, key32(m.number))
			delete(ul.spool.exchanges, m.exchange)
		}
		m.qos, m.exchange, m.released = qos, 0, false
	}
	return l.refusesContent(ul.s.clientID, m.topic, len(m.payload))
}

// dropForbidden drops a message that the broker does not take, and that no other QoS or RETAIN
// makes right: it was stored under other limits. It reports whether it has.
func (ul *uplink) dropForbidden(st *step, i int) bool {
	m := &ul.spool.msgs[i]
	why := ul.conform(st, m)
	if why != ReasonNone {
		st.dropOf(why, m.topic, len(m.payload))
		ul.unspool(st, i)
	}
	return why != ReasonNone
}

func (ul *uplink) hand(st *step, m *spooled) {
	st.do(Action{
		Kind: ActionPublish, Token: m.token, Topic: m.topic, Payload: m.payload, QoS: m.qos, Retain: m.retain,
		Exchange: m.exchange, Again: m.again, Released: m.released,
	})
	m.again = true
}

// order says which messages have to wait for those before them that are on their way: the
// broker passes QoS 2 on at its PUBREL only, so what is not of QoS 2 would overtake. Behind
// a message that connections have ended of only those to its topic wait, all but one: the
// link may have to try it first. They may wait for long, so they take no room from others.
type order struct {
	all     bool
	topics  []string // of QoS 2 on its way
	doubted []string // of what connections have ended of
	behind  []string // of those with one behind it
	skipped []string // topics of those that wait: nothing goes past them
}

// pass goes by a message. It reports whether it counts towards what is with the link.
func (o *order) pass(m *spooled) (counts bool) {
	behind := slices.Contains(o.doubted, m.topic)
	switch {
	case m.doubted:
		o.doubted = append(o.doubted, m.topic)
	case behind:
		o.behind = append(o.behind, m.topic)
	}
	switch {
	case !m.beforeRelease():
	case m.doubted || behind:
		o.topics = append(o.topics, m.topic)
	default:
		o.all = true
	}
	return !m.doubted && !behind
}

func (o *order) skip(m *spooled) {
	if !slices.Contains(o.skipped, m.topic) {
		o.skipped = append(o.skipped, m.topic)
	}
}

func (o *order) blocks(m *spooled) bool {
	return m.qos < 2 && (o.all || slices.Contains(o.topics, m.topic)) ||
		slices.Contains(o.behind, m.topic) || slices.Contains(o.skipped, m.topic)
}

// onDoubted lets others go before a spooled message.
func (ul *uplink) onDoubted(st *step, t Token) {
	if i := ul.spooledAs(t); i >= 0 {
		ul.spool.msgs[i].doubted = true
		ul.sendSpooled(st)
	}
}

// onSpoolPublished takes the broker's acknowledgement of a spooled message.
func (ul *uplink) onSpoolPublished(st *step, t Token) bool {
	i := ul.spooledAs(t)
	if i < 0 {
		return false
	}
	ul.unspool(st, i)
	ul.spool.retryAt = Never
	ul.sendSpooled(st)
	return true
}

// onSpoolFailed takes a spooled message back from the link, or gives it up because
// connections end of it.
func (ul *uplink) onSpoolFailed(st *step, ev *Event) bool {
	i := ul.spooledAs(ev.Token)
	if i < 0 {
		return false
	}
	m := &ul.spool.msgs[i]
	m.stage, m.token = upWaiting, 0
	switch {
	case ev.Congested:
		ul.spool.retryAt = st.Now + spoolRetry
	case ul.s.broker.link != linkUp && ul.s.broker.link != linkDown: // a connect with CleanSession=1 has taken all back
	default:
		if ev.Rejected {
			st.dropOf(ReasonSpoolRejected, m.topic, len(m.payload))
			ul.unspool(st, i)
		}
		ul.sendSpooled(st)
	}
	return true
}

func (ul *uplink) spooledAs(t Token) int {
	return ul.spool.byToken(t)
}

// onReceived takes the broker's PUBREC for a spooled message. Once PUBREL is sent the
// message must not be published again, which a restarted gateway has to know.
func (ul *uplink) onReceived(st *step, t Token) {
	i := ul.spooledAs(t)
	if i < 0 {
		return
	}
	m := &ul.spool.msgs[i]
	if m.released {
		st.do(Action{Kind: ActionRelease, Token: t})
		return
	}
	m.stage = upReceived
	ul.putReleased(st, m)
}

func (ul *uplink) onReleasedStored(st *step, number uint32) {
	p := &ul.spool
	i := p.find(number)
	if i < 0 || p.msgs[i].stage != upReceived {
		return // the link has given it back, or begins it anew
	}
	m := &p.msgs[i]
	m.released, m.stage = true, upReleased
	st.do(Action{Kind: ActionRelease, Token: m.token})
	ul.sendSpooled(st)
}

// forgetReleased begins the QoS 2 exchanges anew with a broker that has forgotten them.
func (ul *uplink) forgetReleased(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.released || m.stage == upReceived {
			m.released = false
			ul.s.journal.remove(st, RecordReleased, key32(m.number))
		}
		m.stage = min(m.stage, upSent)
	}
}

// advanceSpool drops what has waited for too long, and asks the link again.
func (ul *uplink) advanceSpool(st *step) {
	if st.Now < ul.spoolDeadline() {
		return
	}
	ul.expireSpooled(st)
	if p := &ul.spool; st.Now >= p.retryAt {
		p.retryAt = Never
	}
	ul.sendSpooled(st)
}
