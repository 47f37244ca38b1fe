package looptest

import (
	"testing"
	"time"

	"sngate/internal/eventloop"
)

// thingy is a Pollable that is always ready, until it is closed.
type thingy struct {
	Bell
	closed bool
}

func (p *thingy) Ready() (read, write, open bool) { return true, true, !p.closed }

type handler struct{ told int }

func (h *handler) Ready(bool, bool) { h.told++ }

func open(t *testing.T) *eventloop.Loop {
	t.Helper()
	l, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A real descriptor may be another's by then, so a test has to fail.
func TestWhatIsClosedWhileItIsWaitedForIsAFault(t *testing.T) {
	l, p := open(t), new(thingy)
	fd, ok := l.Descriptor(p)
	if !ok {
		t.Fatal("it cannot be waited for")
	}
	if err := l.Add(fd, new(handler)); err != nil {
		t.Fatal(err)
	}
	p.closed = true
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = l.Wait(0, 0)
}

func TestNumberOfWhatIsClosedIsUsedAgain(t *testing.T) {
	l, p := open(t), new(thingy)
	first, _ := l.Descriptor(p)
	other, _ := l.Descriptor(new(thingy))
	if again, _ := l.Descriptor(p); again != first || other == first {
		t.Errorf("%d, then %d; another one has %d", first, again, other)
	}
	p.closed = true
	if _, ok := l.Descriptor(p); ok {
		t.Error("it is closed")
	}
	next, h := new(thingy), new(handler)
	if fd, _ := l.Descriptor(next); fd != first {
		t.Errorf("the number %d is not used again, but %d", first, fd)
	}
	if err := l.Add(first, h); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(0, 0); err != nil || h.told != 1 {
		t.Errorf("told %d times, %v", h.told, err)
	}
}

func TestWhatIsNoPollableCannotBeWaitedFor(t *testing.T) {
	if _, ok := open(t).Descriptor(t); ok {
		t.Error("it can")
	}
}
