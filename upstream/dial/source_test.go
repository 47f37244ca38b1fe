package dial_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/dial"
)

func addrs(list ...string) (a []netip.Addr) {
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

// Addresses are used in turn. One whose ports are used up, or that the machine does not have,
// is passed over for a second; one of the other IP version at each dial.
func TestSourcesAreUsedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := make(map[string]error)
		var tried []string
		dialFrom := dial.DialFrom(addrs("192.0.2.1", "192.0.2.2", "192.0.2.3"), func(_ context.Context, from netip.Addr, network, address string) (net.Conn, error) {
			if network != "tcp" || address != "broker:1883" {
				t.Errorf("dials %s %s", network, address)
			}
			tried = append(tried, from.String()[len("192.0.2."):])
			return nil, broken[from.String()]
		})
		want := func(dials int, want string) error {
			t.Helper()
			tried = nil
			var err error
			for range dials {
				_, err = dialFrom(t.Context(), "tcp", "broker:1883")
			}
			if got := strings.Join(tried, " "); got != want {
				t.Errorf("dials from %s, want %s", got, want)
			}
			return err
		}
		want(4, "1 2 3 1")
		broken["192.0.2.2"] = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
		want(3, "2 3 3 1") // the second is found to be full, and the next one takes its turn
		want(3, "3 3 1")
		<-time.After(time.Second)
		want(1, "2 3")
		delete(broken, "192.0.2.2")
		<-time.After(time.Second)
		want(2, "3 1")
		want(2, "2 3")

		for _, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
			broken[a] = os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
		}
		if err := want(1, "1 2 3"); !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "no free port at 192.0.2.3") {
			t.Errorf("all are full: %v", err)
		}
		if err := want(1, "1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("while all are passed over: %v", err)
		}

		clear(broken)
		<-time.After(time.Second)
		broken["192.0.2.1"] = &net.OpError{Op: "dial", Err: &net.AddrError{Err: "no suitable address found", Addr: "2001:db8::1"}}
		want(3, "3 1 2 2")
		refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
		broken["192.0.2.3"] = refused
		if err := want(1, "3"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the broker's port is closed: %v; another address cannot help", err)
		}
	})
}
