package eventloop_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sngate/internal/eventloop"
	"sngate/internal/eventloop/looptest"
)

// What a Loop promises is the same with epoll and with the simulated poller. These tests run
// for both.

// end is one end of a connection as a handler: it notes what it is told.
type end struct {
	fd          int
	read, write int
	then        func()
	peer
}

// peer is what the test does at either end of it.
type peer interface {
	send()     // makes the end readable
	shutdown() // ends the connection at the other end
	drain()    // reads all at the end
	close()    // closes the end
}

func (e *end) Ready(read, write bool) {
	if read {
		e.read++
	}
	if write {
		e.write++
	}
	if e.then != nil {
		e.then()
	}
}

// loop is a Loop with what it waits for.
type loop struct {
	*eventloop.Loop
	pair func() *end
}

// started is where the clock of the tests begins, which is after 0.
var started = time.Now()

func bothLoops(t *testing.T, f func(t *testing.T, l *loop)) {
	for name, open := range map[string]func(testing.TB) *loop{"epoll": newLoop, "simulated": newSimulated} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func closing(t testing.TB, l *eventloop.Loop, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newLoop(t testing.TB) *loop {
	l, err := eventloop.New(started)
	closing(t, l, err)
	return &loop{l, func() *end {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		p := &socketPair{t: t, near: fds[0], far: fds[1]}
		t.Cleanup(func() { p.close(); unix.Close(p.far) })
		return &end{fd: fds[0], peer: p}
	}}
}

// socketPair implements peer.
type socketPair struct {
	t         testing.TB
	near, far int
}

func (p *socketPair) send() {
	if _, err := unix.Write(p.far, []byte{1}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *socketPair) shutdown() {
	if err := unix.Shutdown(p.far, unix.SHUT_RDWR); err != nil {
		p.t.Fatal(err)
	}
}

func (p *socketPair) drain() {
	var b [64]byte
	for n, err := unix.Read(p.near, b[:]); err == nil && n > 0; n, err = unix.Read(p.near, b[:]) {
	}
}

func (p *socketPair) close() {
	if p.near >= 0 {
		unix.Close(p.near)
	}
	p.near = -1
}

func newSimulated(t testing.TB) *loop {
	l, err := looptest.New(started)
	closing(t, l, err)
	return &loop{l, func() *end {
		p := new(simulated)
		fd, ok := l.Descriptor(p)
		if !ok {
			t.Fatal("it cannot be waited for")
		}
		return &end{fd: fd, peer: p}
	}}
}

// simulated implements peer and looptest.Pollable.
type simulated struct {
	looptest.Bell
	mu                 sync.Mutex
	octet, over, ended bool
}

func (s *simulated) Ready() (read, write, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.octet || s.over, true, !s.ended
}

func (s *simulated) set(field *bool, to bool) {
	s.mu.Lock()
	*field = to
	s.mu.Unlock()
	s.Ring()
}

func (s *simulated) send()     { s.set(&s.octet, true) }
func (s *simulated) shutdown() { s.set(&s.over, true) }
func (s *simulated) drain()    { s.set(&s.octet, false) }
func (s *simulated) close()    { s.set(&s.ended, true) }

func add(t testing.TB, l *loop, e *end) {
	t.Helper()
	if err := l.Add(e.fd, e); err != nil {
		t.Fatal(err)
	}
}

func wait(t testing.TB, l *loop, atMost time.Duration) {
	t.Helper()
	now := time.Since(started)
	if err := l.Wait(now, now+atMost); err != nil {
		t.Fatal(err)
	}
}

func TestReadableDescriptorIsToldUntilItIsRead(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		e := l.pair()
		add(t, l, e)
		wait(t, l, 0)
		if e.read != 0 {
			t.Fatal("nothing has come")
		}
		e.send()
		wait(t, l, time.Minute)
		wait(t, l, time.Minute)
		if e.read != 2 {
			t.Errorf("told %d times, want 2: it has not been read", e.read)
		}
		e.drain()
		if wait(t, l, 0); e.read != 2 || e.write != 0 {
			t.Errorf("told %d and %d times, want no more", e.read, e.write)
		}
	})
}

func TestDescriptorThatIsNotWantedIsNotTold(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		e := l.pair()
		add(t, l, e)
		e.send()
		for _, step := range []struct{ read, write bool }{{false, false}, {false, true}, {true, true}, {true, false}, {false, false}, {true, false}} {
			if err := l.Want(e.fd, step.read, step.write); err != nil {
				t.Fatal(err)
			}
			e.read, e.write = 0, 0
			wait(t, l, 0)
			if e.read > 0 != step.read || e.write > 0 != step.write {
				t.Errorf("wanted %+v, told %d and %d times", step, e.read, e.write)
			}
		}
	})
}

func TestEndOfAConnectionIsTold(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		e := l.pair()
		add(t, l, e)
		e.shutdown()
		if wait(t, l, time.Minute); e.read != 1 {
			t.Errorf("told %d times", e.read)
		}
		if err := l.Want(e.fd, false, false); err != nil {
			t.Fatal(err)
		}
		if wait(t, l, 0); e.read != 1 {
			t.Error("told though nothing is wanted")
		}
	})
}

// A handler may remove others, whose events are in the same batch; their numbers may be used
// again at once.
func TestRemovedDescriptorIsNotTold(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		a := l.pair()
		b := l.pair()
		fresh := &end{}
		replace := func(old *end) func() {
			return func() {
				l.Remove(a.fd)
				l.Remove(b.fd)
				fresh.fd = old.fd
				if err := l.Add(old.fd, fresh); err != nil {
					t.Error(err)
				}
			}
		}
		a.then, b.then = replace(b), replace(a)
		for _, e := range []*end{a, b} {
			add(t, l, e)
		}
		a.send()
		b.send()
		wait(t, l, time.Minute)
		if a.read+b.read != 1 || fresh.read != 0 {
			t.Errorf("told %d times, and the new one %d times; want once, and not", a.read+b.read, fresh.read)
		}
		if wait(t, l, 0); fresh.read != 1 {
			t.Error("the new one is not told")
		}
	})
}

func TestManyDescriptorsAreAllTold(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		const n = 200 // several batches
		var ends []*end
		for range n {
			e := l.pair()
			e.then = e.drain
			add(t, l, e)
			e.send()
			ends = append(ends, e)
		}
		for range 4 {
			wait(t, l, 0)
		}
		for i, e := range ends {
			if e.read != 1 {
				t.Fatalf("descriptor %d told %d times", i, e.read)
			}
		}
	})
}

// Who asks for another turn has it in the next Wait, which does not wait for anything else,
// and may ask again.
func TestSoonIsToldInTheNextWait(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		e := &end{}
		e.then = func() {
			if e.read < 3 {
				l.Soon(e)
			}
		}
		l.Soon(e)
		for i := 1; i <= 3; i++ {
			if wait(t, l, time.Hour); e.read != i {
				t.Fatalf("told %d times after %d waits", e.read, i)
			}
		}
		if wait(t, l, 0); e.read != 3 {
			t.Error("told once more")
		}
	})
}

func TestWaitEndsInTime(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		for _, atMost := range []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
			begin := time.Now()
			for time.Since(begin) < atMost { // it may return earlier
				wait(t, l, atMost-time.Since(begin))
			}
			if took := time.Since(begin); took > atMost+5*time.Second {
				t.Errorf("Wait(%v) took %v", atMost, took)
			}
		}
	})
}

// A turn may take longer than until what is due next, time and again: what is ready is told all
// the same.
func TestReadyIsToldWhenTheTimeHasPassed(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		e := l.pair()
		add(t, l, e)
		e.send()
		past := time.Since(started)
		for i := range 3 {
			if err := l.Wait(past-2, past-1); err != nil {
				t.Fatal(err)
			}
			if e.read != i+1 {
				t.Fatalf("told %d times in %d waits", e.read, i+1)
			}
		}
	})
}

// What a turn takes between the look at the clock and the wait does not put the wait off, nor
// does a wake on the way.
func TestWaitEndsInTimeBehindALongTurn(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		now := time.Since(started)
		until := now + 60*time.Millisecond
		for time.Since(started) < now+40*time.Millisecond { // the turn
			runtime.Gosched()
		}
		l.Wake()
		for at := now; at < until; at = time.Since(started) {
			if err := l.Wait(now, until); err != nil {
				t.Fatal(err)
			}
		}
		if late := time.Since(started) - until; late > 30*time.Millisecond {
			t.Errorf("%v late", late)
		}
	})
}

// Whoever leaves something to be found and calls Wake afterwards has it found.
func TestWakeIsNeverLost(t *testing.T) {
	bothLoops(t, func(t *testing.T, l *loop) {
		const each, wakers = 2000, 4
		var mu sync.Mutex
		left := 0
		var all sync.WaitGroup
		for range wakers {
			all.Go(func() {
				for range each {
					mu.Lock()
					left++
					mu.Unlock()
					l.Wake()
				}
			})
		}
		for found := 0; found < each*wakers; {
			begin := time.Now()
			wait(t, l, 30*time.Second)
			if time.Since(begin) > 20*time.Second {
				t.Fatal("not woken")
			}
			mu.Lock()
			found += left
			left = 0
			mu.Unlock()
		}
		all.Wait()
	})
}

func TestWaitDoesNotAllocate(t *testing.T) {
	l := newLoop(t)
	e := l.pair()
	add(t, l, e)
	octet, far := []byte{1}, e.peer.(*socketPair).far
	e.then = func() { _, _ = unix.Read(e.fd, octet) }
	if n := testing.AllocsPerRun(100, func() {
		_, _ = unix.Write(far, octet)
		wait(t, l, time.Minute)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWait(b *testing.B) {
	l := newLoop(b)
	e := l.pair()
	e.then = e.drain
	add(b, l, e)
	b.ReportAllocs()
	for b.Loop() {
		e.send()
		wait(b, l, time.Minute)
	}
}
