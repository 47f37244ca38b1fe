package gatewaytest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	addrA = netip.MustParseAddrPort("10.0.0.1:1883")
	addrB = netip.MustParseAddrPort("10.0.0.2:2000")
	group = netip.MustParseAddrPort("239.1.2.3:1883")
)

func listen(t *testing.T, n *Network, addr netip.AddrPort) *Conn {
	t.Helper()
	c, err := n.Listen(addr)
	if err != nil {
		t.Fatalf("Listen(%s): %v", addr, err)
	}
	return c
}

// arrival is one datagram as a reader saw it.
type arrival struct {
	Number uint32
	After  time.Duration
}

// exchange sends count numbered datagrams from A to B, one each step, and returns
// what arrived within a minute after the last.
func exchange(t *testing.T, seed uint64, link Link, count int, step time.Duration) (got []arrival, stats Stats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(seed, func(_, _ netip.AddrPort) Link { return link })
		a, b := listen(t, n, addrA), listen(t, n, addrB)
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			var buf [64]byte
			for {
				size, from, err := b.ReadFrom(buf[:])
				if err != nil {
					return
				}
				if from != addrA || size != 4 {
					t.Errorf("got %d octets from %s", size, from)
				}
				got = append(got, arrival{binary.BigEndian.Uint32(buf[:]), time.Since(start)})
			}
		}()
		for i := range count {
			if _, err := a.WriteTo(binary.BigEndian.AppendUint32(nil, uint32(i)), addrB); err != nil {
				t.Fatal(err)
			}
			if step > 0 {
				time.Sleep(step)
			} else {
				synctest.Wait()
			}
		}
		time.Sleep(time.Minute)
		b.Close()
		<-done
		stats = n.Stats()
	})
	return got, stats
}

func TestPerfectLinkDeliversAllInOrder(t *testing.T) {
	got, stats := exchange(t, 1, Link{Delay: 30 * time.Millisecond}, 500, 0)
	if len(got) != 500 || stats.Delivered != 500 || stats.Sent != 500 {
		t.Fatalf("%d arrived, %+v", len(got), stats)
	}
	for i, a := range got {
		if a.Number != uint32(i) || a.After != 30*time.Millisecond {
			t.Fatalf("arrival %d is %+v", i, a)
		}
	}
}

func TestLossyLinkFollowsItsProbabilities(t *testing.T) {
	link := Link{Loss: 0.2, Duplicate: 0.1, Delay: time.Millisecond}
	got, stats := exchange(t, 2, link, 5000, time.Millisecond)
	if stats.Lost < 850 || stats.Lost > 1150 {
		t.Errorf("lost %d of 5000 at 20 %%", stats.Lost)
	}
	if stats.Duplicated < 300 || stats.Duplicated > 500 {
		t.Errorf("duplicated %d of 5000 at 10 %% of 80 %%", stats.Duplicated)
	}
	if want := 5000 - stats.Lost + stats.Duplicated; uint64(len(got)) != want || stats.Delivered != want {
		t.Errorf("%d arrived, %+v", len(got), stats)
	}
}

func TestReorderingLinkHoldsDatagramsBack(t *testing.T) {
	link := Link{Reorder: 0.1, HoldBack: 50 * time.Millisecond, Delay: time.Millisecond}
	got, _ := exchange(t, 3, link, 1000, time.Millisecond)
	if len(got) != 1000 {
		t.Fatalf("%d arrived", len(got))
	}
	if slices.IsSortedFunc(got, func(a, b arrival) int { return int(a.Number) - int(b.Number) }) {
		t.Error("nothing came out of order")
	}
}

func TestSameSeedSameFate(t *testing.T) {
	link := Link{Loss: 0.1, Duplicate: 0.1, Delay: time.Millisecond, Jitter: 20 * time.Millisecond}
	first, _ := exchange(t, 4, link, 300, time.Millisecond)
	again, _ := exchange(t, 4, link, 300, time.Millisecond)
	other, _ := exchange(t, 5, link, 300, time.Millisecond)
	if d := cmp.Diff(first, again); d != "" {
		t.Errorf("same seed, other result:\n%s", d)
	}
	if cmp.Equal(first, other) {
		t.Error("another seed, same result")
	}
}

func TestReceiveBufferIsBounded(t *testing.T) {
	n := New(1, nil)
	a, b := listen(t, n, addrA), listen(t, n, addrB)
	for range QueueLen + 7 {
		if _, err := a.WriteTo([]byte{1}, addrB); err != nil {
			t.Fatal(err)
		}
	}
	if s := n.Stats(); s.Delivered != QueueLen || s.Overflow != 7 {
		t.Errorf("stats %+v", s)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.ReadFrom(make([]byte, 8)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if err := b.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestGroupReachesEachMemberOnce(t *testing.T) {
	n := New(1, nil)
	a, b := listen(t, n, addrA), listen(t, n, addrB)
	var taps []Sent
	n.Tap(func(s Sent) { s.At = time.Time{}; taps = append(taps, s) })
	ga, err := a.JoinGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	gb, err := b.JoinGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	if err := ga.WriteGroup([]byte{7}, 3); err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]*Group{"sender": ga, "other": gb} {
		buf := make([]byte, 8)
		size, from, err := g.ReadFrom(buf)
		if err != nil || size != 1 || buf[0] != 7 || from != addrA {
			t.Errorf("%s: %d octets from %s, %v", name, size, from, err)
		}
	}
	if s := n.Stats(); s.Delivered != 2 {
		t.Errorf("stats %+v", s)
	}
	want := []Sent{{From: addrA, To: group, Hops: 3, Payload: []byte{7}}}
	if d := cmp.Diff(want, taps, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if err := gb.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteTo([]byte{8}, group); err != nil {
		t.Fatal(err)
	}
	if s := n.Stats(); s.Delivered != 3 {
		t.Errorf("after one has left: %+v", s)
	}
	if err := ga.WriteGroup([]byte{7}, 0); !errors.Is(err, ErrHops) {
		t.Errorf("hop limit 0: %v", err)
	}
}

func TestListenChoosesPortsAndRefusesDoubles(t *testing.T) {
	n := New(1, nil)
	free := netip.AddrPortFrom(addrA.Addr(), 0)
	a, b := listen(t, n, free), listen(t, n, free)
	if a.LocalAddr() == b.LocalAddr() || a.LocalAddr().Port() == 0 {
		t.Errorf("ports %s and %s", a.LocalAddr(), b.LocalAddr())
	}
	if _, err := n.Listen(a.LocalAddr()); !errors.Is(err, ErrInUse) {
		t.Errorf("same address again: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	listen(t, n, a.LocalAddr())
}
