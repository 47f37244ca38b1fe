package eventloop

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// end is one end of a socket pair as a handler: it notes what it is told.
type end struct {
	fd          int
	read, write int
	then        func()
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

func newLoop(t testing.TB) *Loop {
	t.Helper()
	l, err := New(started)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// pair returns a handler for one end, which is closed with the test, and the other end.
func pair(t testing.TB) (*end, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return &end{fd: fds[0]}, fds[1]
}

func (e *end) drain() {
	var b [64]byte
	for n, err := unix.Read(e.fd, b[:]); err == nil && n > 0; n, err = unix.Read(e.fd, b[:]) {
	}
}

func write(t testing.TB, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte{1}); err != nil {
		t.Fatal(err)
	}
}

// started is where the clock of the tests begins, which is after 0.
var started = time.Now()

func wait(t testing.TB, l *Loop, atMost time.Duration) {
	t.Helper()
	now := time.Since(started)
	if err := l.Wait(now, now+atMost); err != nil {
		t.Fatal(err)
	}
}

func TestReadableDescriptorIsToldUntilItIsRead(t *testing.T) {
	l := newLoop(t)
	e, peer := pair(t)
	if err := l.Add(e.fd, e); err != nil {
		t.Fatal(err)
	}
	wait(t, l, 0)
	if e.read != 0 {
		t.Fatal("nothing has come")
	}
	write(t, peer)
	wait(t, l, time.Minute)
	wait(t, l, time.Minute)
	if e.read != 2 {
		t.Errorf("told %d times, want 2: it has not been read", e.read)
	}
	e.drain()
	if wait(t, l, 0); e.read != 2 || e.write != 0 {
		t.Errorf("told %d and %d times, want no more", e.read, e.write)
	}
}

func TestDescriptorThatIsNotWantedIsNotTold(t *testing.T) {
	l := newLoop(t)
	e, peer := pair(t)
	if err := l.Add(e.fd, e); err != nil {
		t.Fatal(err)
	}
	write(t, peer)
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
}

func TestEndOfAConnectionIsTold(t *testing.T) {
	l := newLoop(t)
	e, peer := pair(t)
	if err := l.Add(e.fd, e); err != nil {
		t.Fatal(err)
	}
	if err := unix.Shutdown(peer, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if wait(t, l, time.Minute); e.read != 1 {
		t.Errorf("told %d times", e.read)
	}
	if err := l.Want(e.fd, false, false); err != nil {
		t.Fatal(err)
	}
	if wait(t, l, 0); e.read != 1 {
		t.Error("told though nothing is wanted")
	}
}

// A handler may remove others, whose events are in the same batch; their numbers may be used
// again at once.
func TestRemovedDescriptorIsNotTold(t *testing.T) {
	l := newLoop(t)
	a, peerA := pair(t)
	b, peerB := pair(t)
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
		if err := l.Add(e.fd, e); err != nil {
			t.Fatal(err)
		}
	}
	write(t, peerA)
	write(t, peerB)
	wait(t, l, time.Minute)
	if a.read+b.read != 1 || fresh.read != 0 {
		t.Errorf("told %d times, and the new one %d times; want once, and not", a.read+b.read, fresh.read)
	}
	if wait(t, l, 0); fresh.read != 1 {
		t.Error("the new one is not told")
	}
}

func TestManyDescriptorsAreAllTold(t *testing.T) {
	const n = 3 * batch
	l := newLoop(t)
	var ends []*end
	for range n {
		e, peer := pair(t)
		e.then = e.drain
		if err := l.Add(e.fd, e); err != nil {
			t.Fatal(err)
		}
		write(t, peer)
		ends = append(ends, e)
	}
	for range 3 {
		wait(t, l, 0)
	}
	for i, e := range ends {
		if e.read != 1 {
			t.Fatalf("descriptor %d told %d times", i, e.read)
		}
	}
}

// Who asks for another turn has it in the next Wait, which does not wait for anything else,
// and may ask again.
func TestSoonIsToldInTheNextWait(t *testing.T) {
	l := newLoop(t)
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
}

func TestWaitEndsInTime(t *testing.T) {
	l := newLoop(t)
	for _, atMost := range []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		begin := time.Now()
		for time.Since(begin) < atMost { // it may return earlier
			wait(t, l, atMost-time.Since(begin))
		}
		if took := time.Since(begin); took > atMost+5*time.Second {
			t.Errorf("Wait(%v) took %v", atMost, took)
		}
	}
}

// A turn may take longer than until what is due next, time and again: what is ready is told all
// the same.
func TestReadyIsToldWhenTheTimeHasPassed(t *testing.T) {
	l := newLoop(t)
	e, peer := pair(t)
	if err := l.Add(e.fd, e); err != nil {
		t.Fatal(err)
	}
	write(t, peer)
	past := time.Since(started)
	for i := range 3 {
		if err := l.Wait(past-2, past-1); err != nil {
			t.Fatal(err)
		}
		if e.read != i+1 {
			t.Fatalf("told %d times in %d waits", e.read, i+1)
		}
	}
}

// What a turn takes between the look at the clock and the wait does not put the wait off, nor
// does a wake on the way.
func TestWaitEndsInTimeBehindALongTurn(t *testing.T) {
	l := newLoop(t)
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
}

// Whoever leaves something to be found and calls Wake afterwards has it found.
func TestWakeIsNeverLost(t *testing.T) {
	const each, wakers = 2000, 4
	l := newLoop(t)
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
}

func TestWaitDoesNotAllocate(t *testing.T) {
	l := newLoop(t)
	e, peer := pair(t)
	e.then = e.drain
	if err := l.Add(e.fd, e); err != nil {
		t.Fatal(err)
	}
	octet := []byte{1}
	e.then = func() { _, _ = unix.Read(e.fd, octet) }
	if n := testing.AllocsPerRun(100, func() {
		_, _ = unix.Write(peer, octet)
		wait(t, l, time.Minute)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWait(b *testing.B) {
	l := newLoop(b)
	e, peer := pair(b)
	e.then = e.drain
	if err := l.Add(e.fd, e); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		write(b, peer)
		wait(b, l, time.Minute)
	}
}
