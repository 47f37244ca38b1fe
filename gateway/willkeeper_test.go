package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// willRig is a rig whose gateway keeps the wills, for up to a day.
func willRig(t *testing.T) *rig {
	t.Helper()
	return newRig(t, func(o *Options) {
		o.Session.PublishesWills = true
		o.Upstream.DrainTimeout = 24 * time.Hour
		o.Upstream.Rand = func() float64 { return 0 }
	})
}

// expire lets the keep-alive of 60 s pass.
func (d *device) expire() {
	d.r.t.Helper()
	time.Sleep(90 * time.Second)
	d.want("lost", "02 18")
}

// wantLostSessions is wantSessions for shards that time alone wakes.
func (r *rig) wantLostSessions(why string, n int64) {
	r.t.Helper()
	if got := r.state(session.StateLost); got != n {
		r.t.Fatalf("%s: %d lost sessions, want %d", why, got, n)
	}
}

func (r *rig) wantDroppedWills(why string, n uint64) {
	r.t.Helper()
	synctest.Wait()
	if got := r.gateway.dialer.Stats().DroppedWills.Load(); got != n {
		r.t.Fatalf("%s: %d wills counted as dropped, want %d", why, got, n)
	}
}

func TestKeptWillIsPublishedOverTheDevicesConnection_Case40_47(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := willRig(t)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connectWill("dev", "will", "gone")
		d.expire()
		got.want(t, "by the gateway", "dev will gone 1")
		r.wantWill("retained as the device wants it", "will", "gone")
		r.wantSessions("CleanSession=1", 0)
		r.wantDroppedWills("none", 0)
	})
}

// What happens between gateway and broker is no news of the device. With the wills at the
// broker one closed connection is enough.
func TestBrokenConnectionRaisesNoKeptWill_Case151(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Session.PublishesWills = keeps })
			r.device("10.0.1.2:5000").connectWith(true, 0, "company")
			d := r.device("10.0.1.1:5000")
			d.connectWill("dev", "will", "gone")
			want := "gone"
			if keeps {
				want = ""
			}
			for range 20 {
				r.broker.Drop("dev")
				time.Sleep(5 * time.Second)
				d.ping("the device knows nothing of it")
			}
			r.wantWill(fmt.Sprintf("PublishesWills=%v", keeps), "will", want)
		})
	}
}

func TestKeptWillWaitsForTheBroker_Case47_151(t *testing.T) {
	for _, keep := range []bool{true, false} {
		for _, clean := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				r := willRig(t)
				d := r.device("10.0.1.1:5000")
				d.connectWill("dev", "will", "gone")
				if !clean {
					time.Sleep(2 * time.Second)
					d.connectWith(false, 60, "dev")
					d.sendMessage(sn12.WillTopicUpd{Retain: true, Topic: []byte("will")})
					d.wantMessage("a will of QoS 0", sn12.WillTopicResp{})
					d.sendMessage(sn12.WillMsgUpd{Message: []byte("gone")})
					d.wantMessage("", sn12.WillMsgResp{})
				}
				r.broker.Kill(keep)
				d.expire()
				time.Sleep(time.Hour)
				r.wantLostSessions("the will waits", 1)
				r.broker.Start()
				time.Sleep(2 * time.Minute)
				r.wantWill("published when the broker is back", "will", "gone")
				r.wantDroppedWills("none", 0)
				kept := 0
				if !clean {
					kept = 1
				}
				r.wantSessions("CleanSession=0 is kept", kept)
				if n := r.broker.Connected(); n != 1 {
					t.Fatalf("%d clients at the broker, want the gateway's own", n)
				}
			})
		}
	}
}

func TestKeptWillIsDroppedWhenTheDeviceIsBackFirst_Case151(t *testing.T) {
	for _, clean := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := willRig(t)
			got := r.observe()
			d := r.device("10.0.1.1:5000")
			d.connectWill("dev", "will", "gone")
			r.broker.Kill(true)
			d.expire()
			time.Sleep(time.Hour)
			r.broker.Start()
			d.connectWith(clean, 60, "dev")
			r.wantDroppedWills("it would be false", 1)
			for range 10 {
				time.Sleep(time.Minute)
				d.ping("alive")
			}
			got.want(t, "no false alarm")
			r.wantWill("none", "will", "")
			id := d.register("t")
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
			d.wantMessage("the connection is as any other", sn12.PubAck{TopicID: id, MsgID: 1})
		})
	}
}

func TestKeptWillIsDroppedAfterADay_Case151(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := willRig(t)
		d := r.device("10.0.1.1:5000")
		d.connectWill("dev", "will", "gone")
		r.broker.Kill(true)
		d.expire()
		time.Sleep(24*time.Hour - time.Second)
		r.wantLostSessions("it waits", 1)
		time.Sleep(time.Second)
		r.wantDroppedWills("not news any more", 1)
		r.wantSessions("nothing is left", 0)
		r.broker.Start()
		time.Sleep(time.Hour)
		r.wantWill("none", "will", "")
	})
}

func TestKeptWillsLeaveRoomForNoMoreThanMaxSessions_Case34(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Session.PublishesWills, o.Upstream.DrainTimeout, o.MaxSessions = true, 24*time.Hour, 2
		})
		for i := range 2 {
			r.device(fmt.Sprintf("10.0.1.%d:5000", i+1)).connectWill(fmt.Sprint("dev", i), fmt.Sprint("will/", i), "gone")
		}
		r.broker.Kill(true)
		time.Sleep(3 * time.Hour)
		r.wantSessions("both lost, both wills wait", 2)
		d := r.device("10.0.1.9:5000")
		d.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("late")})
		d.wantMessage("full", sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		r.wantDropped(session.ReasonMaxSessions, 1)
		r.broker.Start()
		time.Sleep(2 * time.Minute)
		r.wantWill("", "will/0", "gone")
		r.wantWill("", "will/1", "gone")
		d.connect("late")
	})
}

func TestNoKeptWillOfADeviceThatIsProbablyElsewhere_Case157(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := willRig(t)
		r.device("10.0.1.2:5000").connectWith(true, 0, "company")
		d := r.device("10.0.1.1:5000")
		d.connectWill("dev", "will", "gone")
		r.broker.Drop("dev")
		time.Sleep(10 * time.Minute)
		d.wantQuiet("it ended here without a word")
		r.wantSessions("only the company", 1)
		r.wantWill("and without will", "will", "")
	})
}

func TestStopGivesAKeptWillItsGrace_Case20(t *testing.T) {
	for i := range 4 {
		back, mode := i%2 == 0, StopMode(i/2)
		synctest.Test(t, func(t *testing.T) {
			r := willRig(t)
			r.gateway.opts.OnStop = mode // nobody looks at it before the stop
			lost, alive := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
			lost.connectWill("lost", "will/lost", "gone")
			alive.connectWill("alive", "will/alive", "gone")
			time.Sleep(89 * time.Second)
			alive.ping("alive")
			time.Sleep(500 * time.Millisecond)
			r.broker.Kill(true) // the next try is a second later
			time.Sleep(501 * time.Millisecond)
			lost.want("lost", "02 18")
			want, limit := "", 4*time.Second
			if back {
				r.broker.Start()
				want, limit = "gone", 2*time.Second
			}
			began := time.Now()
			if err := r.gateway.Stop(4 * time.Second); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > limit {
				t.Fatalf("Stop took %s", d)
			}
			if mode == StopDisconnect {
				alive.want("told", "02 18")
			}
			alive.wantQuiet("no more")
			r.wantWill("the device was lost before", "will/lost", want)
			r.wantWill("the stop is no loss", "will/alive", "")
			r.wantLogged("stopping with unpublished wills: dropped if the broker does not answer, as there is no store", []string{"wills"}, "1")
		})
	}
}
