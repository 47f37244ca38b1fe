package outage

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

// limitFileSize keeps the gateway from letting its store grow, which looks to it like a full
// disk, until lift is called.
func (s *scene) limitFileSize() (lift func()) {
	s.t.Helper()
	info, err := os.Stat(s.storeFile())
	if err != nil {
		s.t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, nil, &before); err != nil {
		s.t.Fatal(err)
	}
	limit := func(n uint64) {
		s.t.Helper()
		if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: before.Max}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	limit(uint64(info.Size()))
	return func() { limit(before.Cur) }
}

func (s *scene) wantLogged(level, text string) {
	s.t.Helper()
	testgateway.Eventually(s.t, "the log says "+text, func() bool {
		return slices.ContainsFunc(s.LogLines(), func(l testgateway.LogLine) bool {
			return l.Level == level && strings.Contains(l.Message, text)
		})
	})
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := standard(t, testgateway.Settings{"sleep.max_messages": "10000", "sleep.max_bytes": "100000000"})
	c := s.cast()
	lift := s.limitFileSize()
	var want []string
	text := strings.Repeat("x", 16000)
	for i := 0; s.Value("sngate_store_healthy") == 1; i++ {
		if i == 1000 {
			t.Fatal("the store takes 16 MB in a file that cannot grow")
		}
		want = append(want, fmt.Sprint(i, text))
		s.observer.Send("down/sleeper", []byte(want[i]), 1, false)
	}
	if status, body := s.Get("/readyz"); status != 200 || !strings.Contains(body, "degraded: store: ") {
		t.Errorf("/readyz answers %d %q", status, body)
	}
	s.wantLogged("warn", "store failed")

	// What needs no disk goes on, the rest is refused for now.
	c.keeper.publish(1, "relayed")
	s.wantUp("up/keeper", false, "relayed")
	c.keeper.publish(2, "relayed as well")
	s.wantUp("up/keeper", false, "relayed as well")
	c.keeper.Send(sn12.Register{MsgID: 4, TopicName: []byte("up/new")})
	if ack := testgateway.Want[sn12.RegAck](c.keeper.Node); ack.ReturnCode != sn12.RejectedCongestion {
		t.Errorf("REGISTER is answered by %+v", ack)
	}
	c.keeper.Send(sn12.Subscribe{QoS: 1, MsgID: 5, TopicName: []byte("down/new")})
	if ack := testgateway.Want[sn12.SubAck](c.keeper.Node); ack.ReturnCode != sn12.RejectedCongestion {
		t.Errorf("SUBSCRIBE is answered by %+v", ack)
	}
	s.observer.Send("down/keeper", []byte("delivered"), 1, false)
	if got := c.keeper.receive("down/keeper"); got != "delivered" {
		t.Errorf("received %q", got)
	}

	lift()
	s.Await("sngate_store_healthy", 1)
	s.wantLogged("info", "store works again")
	if c.keeper.Register("up/new") == 0 {
		t.Error("topic id 0")
	}
	s.wantBothWays(c.keeper, "again")
	c.sleeper.wakeFor(append([]string{"before"}, want...)...)
	s.Crash()
	s.Restart()
	if lines := s.storeErrors(); len(lines) != 0 {
		t.Errorf("after the restart: %+v", lines)
	}
	s.wantBothWays(c.keeper, "restarted")
}
