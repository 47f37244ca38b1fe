package session

// Sheddable reports whether Yield would find anything to drop.
func (s *Session) Sheddable() bool { return s.queue.qos0 > 0 }

// Yield drops QoS 0 messages, oldest first, until what is held fits in Env.Allowance.
// Messages of QoS 1 and 2 stay: if they alone are too many, the connection to the broker is
// not read until fewer are left.
func (s *Session) Yield(env Env, out *Out) {
	st := &step{env, out}
	for {
		if _, b := s.Held(); b <= st.Allowance || !s.queue.dropOldestQoS0() {
			break
		}
		st.drop(ReasonMemoryLimit)
	}
	s.finish(st) // what is held may not wait for a SUBACK any more
}
