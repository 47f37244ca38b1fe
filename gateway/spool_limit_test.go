package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
)

// The bounds of what the spools of all devices hold together.

// fillSpool publishes 40 messages of 20,000 octets while the broker is away, all of which
// wait for the shard when it begins its turn.
func (r *rig) fillSpool() {
	r.t.Helper()
	d := r.device("10.0.1.1:5000")
	d.connectWith(false, 6000, "dev")
	r.broker.Kill(true)
	synctest.Wait()
	release := make(chan struct{})
	r.gateway.shards[0].queues.post(func() { <-release })
	time.Sleep(time.Millisecond) // Wait would not see the reader's work while the shard is stopped
	for i := range uint16(40) {
		m := sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: i + 1, Data: make([]byte, 20_000)}
		b, err := m.Append(nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err = d.conn.WriteTo(b, r.addr); err != nil {
			r.t.Fatal(err)
		}
	}
	time.Sleep(time.Millisecond)
	close(release)
	synctest.Wait()
}

func (r *rig) wantSpoolOctets(least, most int64) {
	r.t.Helper()
	if n := r.gateway.limits.spooled.Load(); n < least || n > most {
		r.t.Fatalf("%d octets in the spools, want %d to %d", n, least, most)
	}
}

func TestSpoolLimitOfAllHoldsWithinATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 64 << 10
		r := newDurableRig(t, func(o *Options) { o.SpoolTotalBytes, o.Session.MaxInFlight = limit, 100 })
		r.fillSpool()
		r.wantSpoolOctets(limit, limit+21_000)
	})
}

// What is in the spools is in memory too: the limit of that leaves them half.
func TestSpoolsTakeHalfOfTheMemoryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 200_000
		r := newDurableRig(t, func(o *Options) { o.MemoryLimit, o.Session.MaxInFlight = limit, 100 })
		r.fillSpool()
		r.wantSpoolOctets(limit/2, limit/2+21_000)
		if free := r.gateway.limits.memory.free(); free < limit/3 {
			t.Errorf("%d octets are left of %d", free, limit)
		}
		if !strings.Contains(r.log.String(), `"spool_total_bytes":67108864,"memory_limit_bytes":200000,"spool_bytes":100000`) {
			t.Error("the log does not tell")
		}
	})
}
