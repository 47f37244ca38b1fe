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

// epoll implements Poller.
type epoll struct {
	file    *os.File        // its descriptor is readable when one of those in it is
	raw     syscall.RawConn // of file
	start   time.Time       // of the clock of the Loop
	fd      int             // of file
	wakeFD  int             // an eventfd
	woken   atomic.Bool     // wakeFD has been written to, and not read
	closing sync.RWMutex    // Wake writes to wakeFD while it is open
	closed  bool            // of closing

	events [batch]unix.EpollEvent
	n      int                // how many of them were found
	poll   func(uintptr) bool // pollOnce, made once
	fault  error              // of pollOnce
	armed  time.Duration      // when the runtime ends a wait; 0: never
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
	e := &epoll{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, start: start}
	e.poll = e.pollOnce
	if e.raw, err = e.file.SyscallConn(); err == nil {
		e.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	}
	if err != nil {
		e.file.Close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := e.file.SetReadDeadline(time.Time{}); err != nil { // the runtime's poller has not taken it
		return nil, errors.Join(err, e.Close())
	}
	if err := e.Set(e.wakeFD, 0, Interest{}, Interest{Read: true}); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return With(e), nil
}

// Close implements Poller.
func (e *epoll) Close() error {
	e.closing.Lock()
	defer e.closing.Unlock()
	e.closed = true
	return errors.Join(e.file.Close(), os.NewSyscallError("close", unix.Close(e.wakeFD)))
}

// Descriptor implements Poller.
func (e *epoll) Descriptor(conn any) (fd int, ok bool) {
	if own, ok := conn.(interface{ FD() int }); ok {
		return own.FD(), true
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(f uintptr) { fd = int(f) })
	return fd, err == nil
}

// Set implements Poller. What is not waited for is not left in the set: that would go on to
// tell of errors.
func (e *epoll) Set(fd int, serial uint32, had, want Interest) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case had == Interest{}:
		op = unix.EPOLL_CTL_ADD
	case want == Interest{}:
		op = unix.EPOLL_CTL_DEL
	}
	ev := unix.EpollEvent{Fd: int32(fd), Pad: int32(serial)}
	if want.Read {
		ev.Events |= unix.EPOLLIN
	}
	if want.Write {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, op, fd, &ev))
}

// Wake implements Poller.
func (e *epoll) Wake() {
	if e.woken.Swap(true) {
		return
	}
	e.closing.RLock()
	defer e.closing.RUnlock()
	if e.closed {
		return
	}
	one := uint64(1)
	// It can only fail if the counter is full, and then there is something to read as well.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(e.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
}

// awake takes note of Wake.
func (e *epoll) awake() {
	var count uint64
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(e.wakeFD), uintptr(unsafe.Pointer(&count)), 8)
	e.woken.Store(false) // after the read: a Wake in between finds it true, and what it tells of is looked at now
}

// Poll implements Poller.
func (e *epoll) Poll(found []Event) (int, error) {
	e.n, e.fault = 0, nil
	e.pollOnce(0)
	return e.take(found)
}

// Wait implements Poller. The instant may have passed, as may one that an earlier wait was to
// end at: what is ready is found all the same.
func (e *epoll) Wait(found []Event, until time.Duration) (int, error) {
	e.n, e.fault = 0, nil
	if err := e.arm(until); err != nil {
		return 0, err
	}
	err := e.raw.Read(e.poll)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.armed = 0
		err = e.disarm()
		e.pollOnce(0)
	}
	if err != nil {
		return 0, err
	}
	return e.take(found)
}

// take fills found with what the system has told.
func (e *epoll) take(found []Event) (n int, err error) {
	for i := range e.n {
		ev := &e.events[i]
		if int(ev.Fd) == e.wakeFD {
			e.awake()
			continue
		}
		over := ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
		found[n] = Event{
			FD: int(ev.Fd), Serial: uint32(ev.Pad),
			Read: over || ev.Events&unix.EPOLLIN != 0, Write: over || ev.Events&unix.EPOLLOUT != 0,
		}
		n++
	}
	return n, e.fault
}

// arm has the runtime end a wait at an instant, or before.
func (e *epoll) arm(until time.Duration) error {
	if e.armed != 0 && until >= e.armed {
		return nil
	}
	e.armed = until
	return e.file.SetReadDeadline(e.start.Add(until))
}

// disarm makes the next wait possible: it would end at once.
func (e *epoll) disarm() error { return e.file.SetReadDeadline(time.Time{}) }

// pollOnce asks what is ready, without waiting. It reports false if nothing is, which makes
// the runtime call it again when something may be. The system call does not block, so the
// scheduler is not told of it.
func (e *epoll) pollOnce(uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd), uintptr(unsafe.Pointer(&e.events[0])), batch, 0, 0, 0)
	switch {
	case errno == unix.EINTR:
		return e.pollOnce(0)
	case errno != 0:
		e.fault = os.NewSyscallError("epoll_pwait", errno)
		return true
	}
	e.n = int(n)
	return n > 0
}
