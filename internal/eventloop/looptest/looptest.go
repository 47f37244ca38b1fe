// Package looptest lets an event loop wait for simulated sockets and connections, which have
// no descriptors of the system, as epoll does for real ones. It uses nothing but channels and
// timers, so it works in a bubble of testing/synctest.
package looptest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"sngate/internal/eventloop"
)

// Pollable is a simulated socket or connection that a loop can wait for. Its methods may be
// called from any goroutine.
type Pollable interface {
	// Ready reports what would not block now. open is false when it has been closed on this
	// side, which must not happen while it is waited for: the number of a real descriptor may
	// be another's by then.
	Ready() (read, write, open bool)
	// Watch has it call changed whenever more may be ready than was; nil: no more.
	Watch(changed func())
}

// Bell is the part of a Pollable that tells of changes.
type Bell struct {
	mu      sync.Mutex
	changed func()
}

// Watch implements Pollable.
func (b *Bell) Watch(changed func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = changed
}

// Ring tells who watches. Locks that Ready takes may be held.
func (b *Bell) Ring() {
	b.mu.Lock()
	changed := b.changed
	b.mu.Unlock()
	if changed != nil {
		changed()
	}
}

// New returns a loop that waits for Pollables. Its times are counted from start.
func New(start time.Time) (*eventloop.Loop, error) {
	return eventloop.With(&poller{start: start, signal: make(chan struct{}, 1), numbers: make(map[Pollable]int)}), nil
}

// poller implements eventloop.Poller.
type poller struct {
	start  time.Time
	signal chan struct{} // something has changed, or Wake; has room for one

	mu      sync.Mutex
	numbers map[Pollable]int
	things  []thing // by number
	queue   []int   // numbers of those that may be ready, each once
}

type thing struct {
	p      Pollable // nil: the number is free
	serial uint32
	want   eventloop.Interest
	queued bool
}

// Descriptor implements eventloop.Poller. As from the system, numbers are the lowest that are
// free, and free when what had them is closed.
func (l *poller) Descriptor(conn any) (int, bool) {
	p, ok := conn.(Pollable)
	if !ok {
		return 0, false
	}
	if _, _, open := p.Ready(); !open {
		return 0, false
	}
	l.reclaim()
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd, known := l.numbers[p]; known {
		return fd, true
	}
	fd := slices.IndexFunc(l.things, func(t thing) bool { return t.p == nil })
	if fd < 0 {
		fd = len(l.things)
		l.things = append(l.things, thing{})
	}
	l.things[fd].p = p
	l.numbers[p] = fd
	return fd, true
}

// reclaim frees the numbers of what is closed, and not waited for.
func (l *poller) reclaim() {
	l.mu.Lock()
	var idle []int
	for fd, t := range l.things {
		if t.p != nil && t.want == (eventloop.Interest{}) {
			idle = append(idle, fd)
		}
	}
	l.mu.Unlock()
	for _, fd := range idle {
		l.mu.Lock()
		p := l.things[fd].p
		l.mu.Unlock()
		if p == nil {
			continue
		}
		if _, _, open := p.Ready(); open { // not with the lock: see Bell.Ring
			continue
		}
		l.mu.Lock()
		if t := &l.things[fd]; t.p == p && t.want == (eventloop.Interest{}) {
			t.p = nil
			delete(l.numbers, p)
		}
		l.mu.Unlock()
	}
}

// Set implements eventloop.Poller.
func (l *poller) Set(fd int, serial uint32, had, want eventloop.Interest) error {
	l.mu.Lock()
	t := &l.things[fd]
	if t.want != had {
		panic(fmt.Sprintf("looptest: descriptor %d is waited for as %+v, not as %+v", fd, t.want, had))
	}
	t.serial, t.want = serial, want
	p := t.p
	l.mu.Unlock()
	switch {
	case want == eventloop.Interest{}:
		p.Watch(nil)
	case had == eventloop.Interest{}:
		p.Watch(func() { l.changed(fd, p) })
	}
	l.changed(fd, p)
	return nil
}

// changed has the next Poll look at a Pollable.
func (l *poller) changed(fd int, p Pollable) {
	l.mu.Lock()
	t := &l.things[fd]
	if t.p == p && t.want != (eventloop.Interest{}) && !t.queued {
		t.queued = true
		l.queue = append(l.queue, fd)
	}
	l.mu.Unlock()
	l.Wake()
}

// Wake implements eventloop.Poller.
func (l *poller) Wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// Poll implements eventloop.Poller.
func (l *poller) Poll(found []eventloop.Event) (int, error) {
	select {
	case <-l.signal: // what it tells of is looked at
	default:
	}
	return l.scan(found), nil
}

// Wait implements eventloop.Poller.
func (l *poller) Wait(found []eventloop.Event, until time.Duration) (int, error) {
	if n := l.scan(found); n > 0 {
		return n, nil
	}
	timer := time.NewTimer(time.Until(l.start.Add(until)))
	defer timer.Stop()
	select {
	case <-l.signal:
	case <-timer.C:
	}
	return l.scan(found), nil
}

// scan finds what is ready among those that may be.
func (l *poller) scan(found []eventloop.Event) (n int) {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for i, fd := range queue {
		if n == len(found) {
			l.mu.Lock()
			l.queue = append(queue[i:], l.queue...)
			l.mu.Unlock()
			break
		}
		if l.look(fd, &found[n]) {
			n++
		}
	}
	return n
}

// look fills ev if a Pollable is ready. It is looked at again in the next Poll then.
func (l *poller) look(fd int, ev *eventloop.Event) bool {
	l.mu.Lock()
	t := &l.things[fd]
	t.queued = false // what changes from here on is another change
	p, want, serial := t.p, t.want, t.serial
	l.mu.Unlock()
	if want == (eventloop.Interest{}) {
		return false
	}
	read, write, open := p.Ready()
	if !open {
		panic(fmt.Sprintf("looptest: descriptor %d was closed while a loop waits for it", fd))
	}
	if !(want.Read && read || want.Write && write) {
		return false
	}
	*ev = eventloop.Event{FD: fd, Serial: serial, Read: read, Write: write}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := &l.things[fd]; !t.queued {
		t.queued = true
		l.queue = append(l.queue, fd)
	}
	return true
}

// Close implements eventloop.Poller.
func (l *poller) Close() error { return nil }
