package eventloop

import "time"

// batch is how many descriptors one Wait serves at the most.
const batch = 64

// Loop waits for descriptors. All methods but Wake and Descriptor belong to one goroutine.
type Loop struct {
	// Found, if not nil, is called when a Wait has found something, before handlers are.
	Found func()

	poller  Poller
	watched []watched // by descriptor
	soon    []Handler // see Soon
	spare   []Handler // its memory for the next time
	serial  uint32    // of the last Add: tells a descriptor from the one with its number before
	events  [batch]Event
	closed  bool
}

// watched is a descriptor that is waited for.
type watched struct {
	handler Handler // nil: none
	serial  uint32
	want    Interest
}

// With returns a Loop without descriptors that asks p, which it closes.
func With(p Poller) *Loop { return &Loop{poller: p} }

// Close ends the Loop. Descriptors that were added stay open.
func (l *Loop) Close() error {
	l.closed = true
	return l.poller.Close()
}

// Descriptor is what conn is waited for by; false: it cannot be. Any goroutine may ask.
func (l *Loop) Descriptor(conn any) (fd int, ok bool) { return l.poller.Descriptor(conn) }

// Add begins to wait for a descriptor to become readable. It must not be closed before
// Remove.
func (l *Loop) Add(fd int, h Handler) error {
	for len(l.watched) <= fd {
		l.watched = append(l.watched, make([]watched, fd+1-len(l.watched))...)
	}
	l.serial++
	w := &l.watched[fd]
	*w = watched{handler: h, serial: l.serial}
	return l.set(fd, Interest{Read: true})
}

// Want says what of a descriptor is waited for. With neither, an error or the end of the
// connection is not told either.
func (l *Loop) Want(fd int, read, write bool) error {
	want := Interest{read, write}
	if l.watched[fd].want == want {
		return nil
	}
	return l.set(fd, want)
}

func (l *Loop) set(fd int, want Interest) error {
	w := &l.watched[fd]
	had := w.want
	w.want = want
	return l.poller.Set(fd, w.serial, had, want)
}

// Soon has the next Wait, which does not wait then, tell h that it may read.
func (l *Loop) Soon(h Handler) { l.soon = append(l.soon, h) }

// Remove ends the wait for a descriptor. Its handler is not called any more, but for Soon. It
// does nothing after Close.
func (l *Loop) Remove(fd int) {
	if l.closed {
		return
	}
	if l.watched[fd].want != (Interest{}) {
		_ = l.set(fd, Interest{}) // it fails for one that is not in the set only
	}
	l.watched[fd] = watched{}
}

// Wake has the Wait in progress, or the next one, return. Any goroutine may call it. Between
// two Waits it costs a system call once.
func (l *Loop) Wake() { l.poller.Wake() }

// Wait waits for descriptors until an instant at the latest, and tells the handlers of those
// that are ready. It returns when it has told any, after Wake, and when the time has come; it may
// return earlier. If that is now, or before, it does not wait. The caller says what time it is,
// because it knows: no clock is read.
func (l *Loop) Wait(now, until time.Duration) error {
	var n int
	var err error
	soon := l.soon
	if until <= now || len(soon) > 0 {
		n, err = l.poller.Poll(l.events[:])
	} else {
		n, err = l.poller.Wait(l.events[:], until)
	}
	if err != nil {
		return err
	}
	if l.Found != nil && n+len(soon) > 0 {
		l.Found()
	}
	for i := range n {
		l.serve(&l.events[i])
	}
	if len(soon) == 0 {
		return nil
	}
	l.soon = append(l.spare[:0], l.soon[len(soon):]...) // what the handlers have asked for
	for _, h := range soon {
		h.Ready(true, false)
	}
	clear(soon)
	l.spare = soon[:0]
	return nil
}

// serve tells the handler of a descriptor, unless that has been removed, or is another one
// by now, because of one that was told before.
func (l *Loop) serve(ev *Event) {
	w := &l.watched[ev.FD]
	if w.handler == nil || w.serial != ev.Serial {
		return
	}
	read, write := w.want.Read && ev.Read, w.want.Write && ev.Write
	if read || write {
		w.handler.Ready(read, write)
	}
}
