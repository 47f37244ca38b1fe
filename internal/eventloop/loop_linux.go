package eventloop

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many descriptors one Wait serves at the most.
const batch = 64

// Loop waits for descriptors. All methods but Wake belong to one goroutine.
type Loop struct {
	epoll   *os.File        // its descriptor is readable when one of those in it is
	raw     syscall.RawConn // of epoll
	start   time.Time       // of the clock of its caller
	fd      int             // of epoll
	wakeFD  int             // an eventfd
	woken   atomic.Bool     // wakeFD has been written to, and not read
	closing sync.RWMutex    // Wake writes to wakeFD while it is open
	closed  bool            // of closing

	// Found, if not nil, is called when a Wait has found something, before handlers are.
	Found func()

	watched []watched // by descriptor
	soon    []Handler // see Soon
	spare   []Handler // its memory for the next time
	serial  uint32    // of the last Add: tells a descriptor from the one with its number before
	events  [batch]unix.EpollEvent
	n       int                // how many of them are to be served
	poll    func(uintptr) bool // pollOnce, made once
	fault   error              // of pollOnce
	armed   time.Duration      // when the runtime ends a Wait; 0: never
}

// watched is a descriptor that is waited for.
type watched struct {
	handler     Handler // nil: none
	serial      uint32
	read, write bool
}

// New returns a Loop without descriptors. Its times are counted from start, which has to have
// a monotonic reading.
func New(start time.Time) (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime takes it into its own
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &Loop{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, start: start}
	l.poll = l.pollOnce
	if l.raw, err = l.epoll.SyscallConn(); err == nil {
		l.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	}
	if err != nil {
		l.epoll.Close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := l.epoll.SetReadDeadline(time.Time{}); err != nil { // the runtime's poller has not taken it
		return nil, errors.Join(err, l.Close())
	}
	if err := l.Add(l.wakeFD, (*waker)(l)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends the Loop. Descriptors that were added stay open.
func (l *Loop) Close() error {
	l.closing.Lock()
	defer l.closing.Unlock()
	l.closed = true
	return errors.Join(l.epoll.Close(), os.NewSyscallError("close", unix.Close(l.wakeFD)))
}

// Add begins to wait for a descriptor to become readable. It must not be closed before
// Remove.
func (l *Loop) Add(fd int, h Handler) error {
	for len(l.watched) <= fd {
		l.watched = append(l.watched, make([]watched, fd+1-len(l.watched))...)
	}
	l.serial++
	l.watched[fd] = watched{handler: h, serial: l.serial, read: true}
	return l.control(unix.EPOLL_CTL_ADD, fd)
}

// Want says what of a descriptor is waited for. With neither, an error or the end of the
// connection is not told either.
func (l *Loop) Want(fd int, read, write bool) error {
	w := &l.watched[fd]
	if w.read == read && w.write == write {
		return nil
	}
	had := w.read || w.write
	w.read, w.write = read, write
	switch {
	case !had:
		return l.control(unix.EPOLL_CTL_ADD, fd)
	case !read && !write: // left in the set it would go on to tell of errors
		return l.control(unix.EPOLL_CTL_DEL, fd)
	}
	return l.control(unix.EPOLL_CTL_MOD, fd)
}

// Soon has the next Wait, which does not wait then, tell h that it may read.
func (l *Loop) Soon(h Handler) { l.soon = append(l.soon, h) }

// Remove ends the wait for a descriptor. Its handler is not called any more, but for Soon. It
// does nothing after Close.
func (l *Loop) Remove(fd int) {
	if l.closed {
		return
	}
	if w := &l.watched[fd]; w.read || w.write {
		_ = l.control(unix.EPOLL_CTL_DEL, fd) // it fails for one that is not in the set only
	}
	l.watched[fd] = watched{}
}

func (l *Loop) control(op, fd int) error {
	w := &l.watched[fd]
	ev := unix.EpollEvent{Fd: int32(fd), Pad: int32(w.serial)}
	if w.read {
		ev.Events |= unix.EPOLLIN
	}
	if w.write {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.fd, op, fd, &ev))
}

// Wake has the Wait in progress, or the next one, return. Any goroutine may call it. Between
// two Waits it costs a system call once.
func (l *Loop) Wake() {
	if l.woken.Swap(true) {
		return
	}
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return
	}
	one := uint64(1)
	// It can only fail if the counter is full, and then there is something to read as well.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(l.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
}

// waker is the Loop as the handler of its eventfd.
type waker Loop

// Ready implements Handler.
func (w *waker) Ready(bool, bool) {
	var count uint64
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(w.wakeFD), uintptr(unsafe.Pointer(&count)), 8)
	w.woken.Store(false) // after the read: a Wake in between finds it true, and what it tells of is looked at now
}

// Wait waits for descriptors until an instant at the latest, and tells the handlers of those
// that are ready. It returns when it has told any, after Wake, and when the time has come; it may
// return earlier. If that is now, or before, it does not wait. The caller says what time it is,
// because it knows: no clock is read.
func (l *Loop) Wait(now, until time.Duration) error {
	l.n, l.fault = 0, nil
	soon := l.soon
	if until <= now || len(soon) > 0 {
		l.pollOnce(0)
	} else if err := l.find(until); err != nil {
		return err
	}
	if l.fault != nil {
		return l.fault
	}
	if l.Found != nil && l.n+len(soon) > 0 {
		l.Found()
	}
	for i := range l.n {
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

// find waits until something is ready, or until an instant. That may have passed, as may one
// that an earlier wait was to end at: what is ready is found all the same.
func (l *Loop) find(until time.Duration) error {
	if err := l.arm(until); err != nil {
		return err
	}
	err := l.raw.Read(l.poll)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.armed = 0
		err = l.disarm()
		l.pollOnce(0)
	}
	return err
}

// arm has the runtime end a wait at an instant, or before.
func (l *Loop) arm(until time.Duration) error {
	if l.armed != 0 && until >= l.armed {
		return nil
	}
	l.armed = until
	return l.epoll.SetReadDeadline(l.start.Add(until))
}

// disarm makes the next wait possible: it would end at once.
func (l *Loop) disarm() error { return l.epoll.SetReadDeadline(time.Time{}) }

// pollOnce asks what is ready, without waiting. It reports false if nothing is, which makes
// the runtime call it again when something may be. The system call does not block, so the
// scheduler is not told of it.
func (l *Loop) pollOnce(uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.fd), uintptr(unsafe.Pointer(&l.events[0])), batch, 0, 0, 0)
	switch {
	case errno == unix.EINTR:
		return l.pollOnce(0)
	case errno != 0:
		l.fault = os.NewSyscallError("epoll_pwait", errno)
		return true
	}
	l.n = int(n)
	return n > 0
}

// serve tells the handler of a descriptor, unless that has been removed, or is another one
// by now, because of one that was told before.
func (l *Loop) serve(ev *unix.EpollEvent) {
	w := &l.watched[ev.Fd]
	if w.handler == nil || w.serial != uint32(ev.Pad) {
		return
	}
	over := ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
	read := w.read && (over || ev.Events&unix.EPOLLIN != 0)
	write := w.write && (over || ev.Events&unix.EPOLLOUT != 0)
	if read || write {
		w.handler.Ready(read, write)
	}
}
