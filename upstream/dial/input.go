package dial

// Done gives back the credit that in has with its Conn. The owner calls it for each Input, before
// all else.
func (in *Input) Done() {
	c := in.Conn
	switch {
	case in.Kind == Accepted && c.looped != nil:
		c.attach()
	case in.Kind == Ended && c.looped != nil:
		c.release()
	}
	if in.size == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed.inputs--
	c.owed.bytes -= in.size
	c.readable.Signal()
}
