package session

// Messages of the spool that have waited for too long.

// spoolDeadline is when the spool next wants attention.
func (ul *uplink) spoolDeadline() Time {
	at := ul.spool.retryAt
	for i := range ul.spool.msgs {
		if m := &ul.spool.msgs[i]; ul.mayExpire(m) {
			return min(at, m.at+ul.s.cfg.SpoolAge)
		}
	}
	return at
}

// mayExpire reports whether a message waits for the broker: also one that the link has,
// while there is no connection, or while connections end of it. An exchange of QoS 2 is
// finished once PUBREC has come, however long that takes: the broker has the message.
func (ul *uplink) mayExpire(m *spooled) bool {
	return m.stage == upWaiting || m.stage == upSent && (m.qos < 2 && ul.s.broker.link != linkUp || m.doubted)
}

// advanceSpool drops what has waited for too long, and asks the link again.
func (ul *uplink) advanceSpool(st *step) {
	if st.Now < ul.spoolDeadline() {
		return
	}
	p := &ul.spool
	for i := 0; i < len(p.msgs); i++ {
		m := &p.msgs[i]
		if !ul.mayExpire(m) || st.Now < m.at+ul.s.cfg.SpoolAge {
			continue
		}
		if m.stage > upWaiting {
			st.do(Action{Kind: ActionRetract, Token: m.token})
		}
		st.dropOf(ReasonSpoolExpired, m.topic, len(m.payload))
		ul.unspool(st, i)
		i--
	}
	if st.Now >= p.retryAt {
		p.retryAt = Never
	}
	ul.drain(st)
}
