package soak

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"sngate/snpacket/sn12"
)

// historyLen is how many of a device's last events are told when something fails.
const historyLen = 80

// event is one thing that happened to a device. Datagrams are kept as they were, cut
// off, and described only when asked for: there are millions of them.
type event struct {
	at   time.Duration
	note string // "": a datagram
	sent bool
	size int
	head [32]byte
}

// history is the ring of a device's last events. Any goroutine may add to it.
type history struct {
	mu     sync.Mutex
	events [historyLen]event
	n      int
}

func (h *history) add(e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events[h.n%historyLen] = e
	h.n++
}

func (h *history) note(at time.Duration, format string, args ...any) {
	h.add(event{at: at, note: fmt.Sprintf(format, args...)})
}

func (h *history) datagram(at time.Duration, sent bool, b []byte) {
	e := event{at: at, sent: sent, size: len(b)}
	copy(e.head[:], b)
	h.add(e)
}

// String lists the events, oldest first.
func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var s strings.Builder
	for i := max(0, h.n-historyLen); i < h.n; i++ {
		e := &h.events[i%historyLen]
		fmt.Fprintf(&s, "  %s  %s\n", clock(e.at), e)
	}
	return s.String()
}

func (e *event) String() string {
	if e.note != "" {
		return "      " + e.note
	}
	arrow := "  <-  "
	if e.sent {
		arrow = "  ->  "
	}
	b := e.head[:min(e.size, len(e.head))]
	kind := "?"
	switch {
	case e.size > 3 && b[0] == 0x01:
		kind = sn12.Type(b[3]).String()
	case e.size > 1:
		kind = sn12.Type(b[1]).String()
	}
	return fmt.Sprintf("%s%s % x (%d octets)", arrow, kind, b, e.size)
}

// clock writes a simulated time so that it can be searched for.
func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d:%06.3f", int(d.Hours()), int(d.Minutes())%60, (d % time.Minute).Seconds())
}
