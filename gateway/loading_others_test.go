package gateway

import (
	"testing"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// What others do to a session that is being loaded: take its address, need its room, or let its
// time come.

// A device connects from the address of one whose session is being loaded. The latter is told when
// it is loaded, and what it has sent before is not taken for the other's, whose topic ids mean
// something else.
func TestAddressOfALoadingSessionIsTaken_Case148(t *testing.T) {
	for _, tt := range []struct {
		name   string
		asleep bool
		want   session.State
	}{{"active", false, session.StateLost}, {"asleep", true, session.StateAsleep}} {
		t.Run(tt.name, func(t *testing.T) {
			inLoadingRig(t, func(o *Options) { o.Shards = 3 }, func(t *testing.T, r *rig) {
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 600, "dev")
				id := d.register("topic/of/the/first")
				if tt.asleep {
					d.sleep(600)
				}
				time.Sleep(2 * time.Second)
				s := r.slowStart()
				got := r.observe()
				d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
				d.connectWith(false, 600, "guest")
				if other := d.register("topic/of/the/guest"); other != id {
					t.Fatal("the test wants one topic id with two meanings")
				}
				r.wantSessions("both", 2)
				s.answer()
				r.wantDropped(session.ReasonSessionLoading, 1)
				got.want(t, "nobody's message")
				r.wantState("it has been told", tt.want, 1)
				r.wantConsistent()
				d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2, Data: []byte("y")})
				d.wantMessage("the guest's", sn12.PubAck{TopicID: id, MsgID: 2})
				got.want(t, "the guest's", "guest topic/of/the/guest y 1")
				time.Sleep(2 * time.Second)
				r.restart()
				r.wantState("it is stored", tt.want, 1)
				if e := r.gateway.shardOf([]byte("dev")).roster.find("dev"); e.bound {
					t.Error("it has its address back")
				}
			})
		})
	}
}

// Of two CONNECTs from one address, in two names, the later one counts, though the session of the
// earlier one is loaded after it.
func TestLaterConnectFromAnAddressCounts(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		r.devices(1)
		s := r.slowStart()
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte(devName(0))})
		d.connectWith(false, 600, "later")
		s.answer()
		d.wantQuiet("the earlier CONNECT is out of date")
		r.wantDropped(session.ReasonSessionLoading, 1)
		if e := r.gateway.directory.find(r.gateway.shards[0].roster.find("later").peer); e.session.ClientID() != "later" {
			t.Errorf("%s has the address", e.session.ClientID())
		}
		r.wantConsistent()
	})
}

// A device comes to the address of another one while its session is being loaded.
func TestLoadingSessionMovesToTheAddressOfAnother(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		r.devices(1)
		s := r.slowStart()
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "earlier")
		d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte(devName(0))})
		d.wantQuiet("not known yet")
		s.answer()
		d.wantMessage("accepted", sn12.ConnAck{})
		r.wantState("its address was taken", session.StateLost, 1)
		r.wantDropped(session.ReasonSessionLoading, 0)
		r.wantConsistent()
	})
}

// Session.address_change is decided when the session is loaded.
func TestClaimOfALoadingSessionIsRefused(t *testing.T) {
	inLoadingRig(t, func(o *Options) { o.AddressChange = AddressChangeDeny }, func(t *testing.T, r *rig) {
		d := r.devices(1)[0]
		s := r.slowStart()
		other := r.device("10.0.1.1:5000")
		other.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte(devName(0))})
		other.wantQuiet("not known yet")
		s.answer()
		other.wantMessage("refused", sn12.Disconnect{})
		r.wantDropped(session.ReasonAddressChange, 1)
		d.want("it is asked whether it is still there", "02 16")
		d.send("02 17")
		d.ping("it has its session")
	})
}

// A session kept for a device that has gone makes room for another, but not before it is known
// whether it has messages for the broker.
func TestLoadingSessionMakesNoRoom(t *testing.T) {
	inLoadingRig(t, func(o *Options) { o.MaxSessions = 2 }, func(t *testing.T, r *rig) {
		r.kept(1, "first")
		r.kept(2, "second")
		time.Sleep(2 * time.Hour)
		s := r.slowStart()
		d := r.device("10.0.1.1:5000")
		connect := sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("new")}
		d.sendMessage(connect)
		d.wantMessage("no room yet", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		r.wantSessions("both are there", 2)
		s.answer("second")
		d.sendMessage(connect)
		d.wantMessage("it is the first one's turn", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		s.answer()
		d.sendMessage(connect)
		d.wantMessage("room", sn12.ConnAck{})
		if r.gateway.shards[0].roster.find("first") != nil || r.gateway.shards[0].roster.find("second") == nil {
			t.Error("another one than the oldest has gone")
		}
	})
}

// Kept sessions expire in the order in which they have ended, each when it is loaded.
func TestLoadingSessionExpiresWhenItIsLoaded(t *testing.T) {
	inLoadingRig(t, func(o *Options) { o.Expiry = time.Hour }, func(t *testing.T, r *rig) {
		for i, id := range []string{"z", "y", "x"} {
			r.kept(i+1, id)
			time.Sleep(10 * time.Minute)
		}
		r.stop()
		s := r.slowStart()
		time.Sleep(2 * time.Hour)
		r.wantSessions("nobody knows what is in them", 3)
		r.wantDropped(session.ReasonSessionExpired, 0)
		s.answer("y", "x")
		time.Sleep(time.Second)
		r.wantSessions("nobody goes before the first", 3)
		s.answer()
		time.Sleep(expiryPace)
		r.wantDropped(session.ReasonSessionExpired, 1)
		if r.gateway.shards[0].roster.find("z") != nil {
			t.Error("z is still there, which has ended first")
		}
		r.handBack()
		time.Sleep(time.Second)
		r.wantSessions("all have expired", 0)
		r.wantStored("all have expired")
	})
}

// A failure of the store, and its end, leave the records of sessions alone that are being loaded.
func TestRepairLeavesLoadingSessionsAlone(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "dev")
		id := d.register("up")
		s := r.slowStart()
		before := sessionsOf(t, r.store)
		shard := r.gateway.shards[0]
		shard.queues.post(func() { shard.repairs.add("dev", 10) })
		time.Sleep(3 * time.Second)
		if got := sessionsOf(t, r.store); len(got) != len(before) || shard.repairs.n.Load() != 0 {
			t.Errorf("the store has %q, had %q; %d repairs are left", got, before, shard.repairs.n.Load())
		}
		s.answer()
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
		d.wantMessage("it has its topic id", sn12.PubAck{TopicID: id, MsgID: 1})
	})
}

// What waits for sessions takes at most half of the memory for datagrams, so that devices whose
// sessions are loaded are served whatever the store does.
func TestWaitingDatagramsLeaveMemoryToOthers(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		const half = poolLimit / 2 / 65535 // datagrams of a size that takes a large buffer
		devices := r.devices(half/loadBacklog + 10)
		s := r.slowStart()
		s.answer(devName(0))
		for _, d := range devices[1:] {
			for range loadBacklog {
				d.sendMessage(sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: make([]byte, 3000)})
			}
		}
		sent := uint64(len(devices)-1) * loadBacklog
		if n := r.dropped(session.ReasonSessionLoading); n < sent-half-2 || n > sent-half+2 {
			t.Errorf("%d of %d datagrams do not wait, want all but %d", n, sent, half)
		}
		devices[0].ping("served")
		s.answer()
		devices[1].ping("served")
	})
}
