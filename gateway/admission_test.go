package gateway

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// defaultRates are those of conf.
var defaultRates = ConnectRates{Rate: 1000, Burst: 10_000, SourceRate: 200, SourceBurst: 5000}

// allowed counts how many of n CONNECTs pass that come from addr spread over d.
func (a *admission) allowed(addr string, from, d time.Duration, n int) (count int) {
	for i := range n {
		if a.allow(from+d*time.Duration(i)/time.Duration(n), netip.MustParseAddr(addr)) {
			count++
		}
	}
	return count
}

func TestAdmissionLetsAPowerCutBehindOneAddressIn(t *testing.T) {
	a := newAdmission(defaultRates)
	if n := a.allowed("192.0.2.1", time.Hour, time.Second, 5000); n != 5000 {
		t.Fatalf("%d of 5000 devices behind one address are let in", n)
	}
	if n := a.allowed("192.0.2.1", time.Hour+time.Second, 10*time.Second, 20_000); n < 2000 || n > 2300 {
		t.Fatalf("%d CONNECTs let in during the next 10 s, want 200 a second", n)
	}
	if n := a.allowed("192.0.2.2", time.Hour+11*time.Second, time.Second, 5000); n != 5000 {
		t.Fatalf("%d of 5000 devices behind another address are let in", n)
	}
}

func TestAdmissionBoundsTheTotal(t *testing.T) {
	a := newAdmission(ConnectRates{Rate: 100, Burst: 500})
	count := 0
	for i := range 100_000 { // a second of forged addresses
		if a.allow(time.Hour+time.Duration(i)*10*time.Microsecond, source(i).Addr()) {
			count++
		}
	}
	if count < 598 || count > 601 {
		t.Fatalf("%d CONNECTs let in, want the burst of 500 and 100 a second", count)
	}
}

func TestAdmissionCountsAnIPv6NetworkAsOneSource(t *testing.T) {
	a := newAdmission(ConnectRates{SourceRate: 1, SourceBurst: 3})
	for i, want := range []bool{true, true, true, false} {
		if got := a.allow(time.Hour, netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2:%x::1", i))); got != want {
			t.Errorf("address %d of one network: %v, want %v", i, got, want)
		}
	}
	for _, other := range []string{"2001:db8:1:3::1", "fe80::1%eth0", "192.0.2.1", "::ffff:192.0.2.2"} {
		if !a.allow(time.Hour, netip.MustParseAddr(other)) {
			t.Errorf("%s pays for another network", other)
		}
	}
	if a.allowed("192.0.2.1", time.Hour, 0, 5) != 2 || a.allowed("::ffff:192.0.2.1", time.Hour, 0, 5) != 0 {
		t.Error("an IPv4 address is not the same source when it is mapped to IPv6")
	}
}

// With a table of fixed size sources share buckets. A hundred that flood must not keep
// others out.
func TestAdmissionKeepsSourcesApart(t *testing.T) {
	a := newAdmission(ConnectRates{SourceRate: 1, SourceBurst: 10})
	now := time.Hour
	for i := range 100 {
		for range 100 {
			a.allow(now, source(i).Addr())
		}
	}
	kept := 0
	const others = 1000
	for i := range others {
		if !a.allow(now, source(1000+i).Addr()) {
			kept++
		}
	}
	// Both buckets of a source are among the 200 of 4096 with a probability of 0.24 %.
	if kept > others/50 {
		t.Fatalf("%d of %d other sources are kept out", kept, others)
	}
}

func TestAdmissionWithoutRatesAdmitsAll(t *testing.T) {
	a := newAdmission(ConnectRates{})
	if n := a.allowed("192.0.2.1", time.Hour, 0, 1_000_000); n != 1_000_000 {
		t.Fatalf("%d of a million are let in", n)
	}
}

func BenchmarkAdmission(b *testing.B) {
	b.ReportAllocs()
	a := newAdmission(defaultRates)
	addr := netip.MustParseAddr("2001:db8::1")
	now := time.Hour
	for b.Loop() {
		now += time.Microsecond
		a.allow(now, addr)
	}
}

// A flood of CONNECTs from one source is refused at its rate, and makes no sessions.
// Devices that are known connect again meanwhile, also from that source.
func TestConnectRateSparesKnownDevices_Case159(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.ConnectRates = ConnectRates{SourceRate: 10, SourceBurst: 20} })
		known := r.device("10.0.1.1:5000")
		known.connectWith(false, 60, "known")
		flooder := r.device("10.0.1.1:6666")
		for i := range 100 {
			flooder.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: fmt.Appendf(nil, "flood-%d", i)})
		}
		r.wantDropped(session.ReasonConnectRate, 81)
		refused := 0
		for len(flooder.in) > 0 {
			if flooder.next(0) == (sn12.ConnAck{ReturnCode: sn12.RejectedCongestion}) {
				refused++
			}
		}
		if refused != 81 {
			t.Fatalf("%d CONNACKs with 0x01, want 81", refused)
		}
		known.connectWith(false, 600, "known")
		other := r.device("10.0.1.2:5000")
		other.connect("other")
		time.Sleep(time.Second)
		late := r.device("10.0.1.1:7000")
		late.connect("late")
		r.wantDropped(session.ReasonConnectRate, 81)
	})
}

// Forged CONNECTs with Will=1 leave dialogues behind which nobody goes on with. They
// give way to devices, the oldest first, and a device in a dialogue of its own gets
// through in between.
func TestHalfOpenWillDialoguesGiveWay_Case34_159(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, flood = 100, 5000
		c := newCrowd()
		var prompts, accepted, disconnects atomic.Int64
		c.sent = func(b []byte, _ netip.AddrPort) {
			switch m, _ := sn12.Parse(b); m {
			case sn12.WillTopicReq{}:
				prompts.Add(1)
			case sn12.ConnAck{}:
				accepted.Add(1)
			case sn12.Disconnect{}:
				disconnects.Add(1)
			}
		}
		r := newRig(t, func(o *Options) { o.Listen, o.MaxSessions = c.listen, limit })
		id := func(i int) []byte { return fmt.Appendf(nil, "dev-%d", i) }
		connect := sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60}
		for i := range flood {
			forged := connect
			forged.Will, forged.ClientID = true, id(i)
			c.sendMessage(t, source(i), forged)
			if i%100 == 99 {
				synctest.Wait()
			}
		}
		r.wantDropped(session.ReasonMaxSessions, flood-limit)
		if n := prompts.Load(); n != flood {
			t.Fatalf("%d prompts, want one for each of %d", n, flood)
		}
		plain := connect
		plain.ClientID = []byte("plain")
		c.sendMessage(t, source(flood), plain)
		withWill := connect
		withWill.Will, withWill.ClientID = true, []byte("with-will")
		c.sendMessage(t, source(flood+1), withWill)
		for i := range limit / 2 { // the flood goes on between the steps
			forged := connect
			forged.Will, forged.ClientID = true, id(flood+i)
			c.sendMessage(t, source(flood+10+i), forged)
		}
		synctest.Wait()
		c.sendMessage(t, source(flood+1), sn12.WillTopic{Topic: []byte("w")})
		c.sendMessage(t, source(flood+1), sn12.WillMsg{Message: []byte("m")})
		synctest.Wait()
		if n := accepted.Load(); n != 2 {
			t.Fatalf("%d devices accepted, want both", n)
		}
		c.sendMessage(t, source(0), sn12.WillTopic{Topic: []byte("w")})
		synctest.Wait()
		if n := disconnects.Load(); n != 1 {
			t.Fatalf("%d DISCONNECTs, want one: the first dialogue has given way", n)
		}
		if n := r.gateway.dialer.Stats().DialsStarted.Load(); n != 3 {
			t.Fatalf("%d dials, want those of the two devices and the gateway's own", n)
		}
		time.Sleep(45 * time.Second)
		r.wantSessions("the dialogues are over", 2)
		if n := r.gateway.shards[0].spares.halfOpen.Len(); n != 0 {
			t.Fatalf("%d dialogues are still on the list", n)
		}
	})
}

// A device that has been accepted before is not half-open when it goes through another
// will dialogue.
func TestKnownDevicesDoNotGiveWayInTheirDialogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxSessions = 2 })
		live, kept := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		live.connectWill("live", "w", "m")
		kept.connectWith(false, 60, "kept")
		kept.send("02 18")
		kept.discard()
		for i, d := range []*device{live, kept} {
			time.Sleep(2 * time.Second)
			d.sendMessage(sn12.Connect{Will: true, CleanSession: i == 0, ProtocolID: 1, Duration: 60, ClientID: []byte([]string{"live", "kept"}[i])})
			d.wantMessage("a prompt", sn12.WillTopicReq{})
		}
		late := r.device("10.0.1.3:5000")
		late.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("late")})
		late.wantMessage("no room", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		for _, d := range []*device{live, kept} {
			d.sendMessage(sn12.WillTopic{Empty: true})
			d.wantMessage("accepted", sn12.ConnAck{})
		}
	})
}
