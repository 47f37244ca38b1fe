package session

// What the shell tells a session about memory that it shares with others.

// SetAllowance says how many octets the session may hold for its device, as Held counts
// them, if that is less than MaxBytes. It holds from the next message on. Whatever it is,
// one message may be held, or a device could be kept from its messages for ever.
func (s *Session) SetAllowance(octets int) { s.allowance = octets }

// Sheddable reports whether Yield would find anything to drop.
func (s *Session) Sheddable() bool { return s.queue.qos0 > 0 }

// Yield sets the allowance and drops QoS 0 messages, oldest first, until the rest fits
// in it. Messages of QoS 1 and 2 stay: if they alone are too many, the connection to the
// broker is not read until fewer are left.
func (s *Session) Yield(now Time, octets int, out *Out) {
	s.SetAllowance(octets)
	for {
		if _, b := s.Held(); b <= octets || !s.queue.dropOldestQoS0() {
			break
		}
		out.drop(ReasonMemoryLimit)
	}
	s.finish(now, out) // what is held may not wait for a SUBACK any more
}
