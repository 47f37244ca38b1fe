package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store"
)

// What lasts longer than a process is measured by the time for which the gateway has been
// running, in all its lives.

// kept makes a kept session of a device that has left.
func (r *rig) kept(i int, clientID string) *device {
	r.t.Helper()
	d := r.device(fmt.Sprintf("10.0.3.%d:5000", i))
	d.connectWith(false, 60, clientID)
	d.send("02 18")
	d.wantMessage("goodbye", sn12.Disconnect{})
	return d
}

// age is how long ago the session of a client id has ended, as the gateway has it.
func (r *rig) age(clientID string) time.Duration {
	r.t.Helper()
	synctest.Wait()
	e := r.gateway.shards[0].roster.find(clientID)
	defer r.handBack()
	if e == nil || e.ended == nil {
		r.t.Fatalf("%s is not kept", clientID)
	}
	return r.gateway.now() - e.endedAt
}

func TestAgeOfAKeptSessionSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		time.Sleep(time.Hour)
		at := r.kept(1, "dev")
		time.Sleep(25 * time.Minute)
		for range 3 {
			before := r.age("dev")
			r.restart()
			if got := r.age("dev"); got > before || got < before-10*time.Minute {
				t.Fatalf("age %s after the crash, %s before: a crash costs up to %s", got, before, 10*time.Minute)
			}
		}
		if e := r.gateway.shards[0].roster.find("dev"); e.endedAt >= 0 {
			t.Fatalf("it has ended at %s of this process, which is before it began", e.endedAt)
		}
		// The record is written again, with a time before the start of the process.
		at.connect("another") // takes its address
		time.Sleep(7 * time.Minute)
		before := r.age("dev")
		r.stop()
		r.start()
		if got := r.age("dev"); got != before {
			t.Fatalf("age %s after a stop, %s before", got, before)
		}
	})
}

// A crash takes back up to 10*time.Minute of the running time, but what has ended did so in
// the past.
func TestKeptSessionHasNotEndedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		for i := range 3 {
			time.Sleep(10*time.Minute - time.Second)
			r.kept(i+1, fmt.Sprintf("dev-%d", i))
			r.restart()
			if got := r.age(fmt.Sprintf("dev-%d", i)); got < 0 {
				t.Fatalf("it ends in %s", -got)
			}
		}
		if got, want := r.age("dev-0"), 2*(10*time.Minute-time.Second); got < want {
			t.Fatalf("the first has ended %s ago, want at least %s", got, want)
		}
	})
}

// When the gateway is full, the session that has been kept longest makes room, whatever
// the order of the client ids, and not before its time; and then nothing of it is left.
func TestRestartKeepsTheOrderOfKeptSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, func(o *Options) { o.MaxSessions = 3 })
		r.kept(1, "z-oldest")
		time.Sleep(15 * time.Minute)
		r.kept(2, "a-middle")
		time.Sleep(15 * time.Minute)
		r.kept(3, "m-newest")
		r.stop()
		r.start()
		d := r.device("10.0.1.1:5000")
		connect := func(want sn12.ReturnCode) {
			t.Helper()
			d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("new")})
			d.wantMessage("CONNECT", sn12.ConnAck{ReturnCode: want})
		}
		connect(sn12.RejectedCongestion)
		time.Sleep(31 * time.Minute)
		connect(sn12.Accepted)
		r.wantDropped(session.ReasonMaxSessions, 2)
		d.send("02 18")
		d.wantMessage("goodbye", sn12.Disconnect{})
		r.wantStored("the oldest has gone", "sessions a-middle|S", "sessions m-newest|S")
	})
}

// The times of sleep and keep-alive that a device is given anew after a restart are those
// of the process: a store that says that the gateway has run for years changes nothing.
func TestRestartTimesAreThoseOfTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 60, "dev")
		r.crash()
		years := make([]byte, 8)
		years[0] = 0x10 // 36 years in ns
		r.store.Submit(store.Batch{Ops: []store.Op{{Bucket: store.Sessions, Key: []byte("\x00clock"), Value: years}}})
		synctest.Wait()
		r.start()
		time.Sleep(90*time.Second - time.Millisecond)
		d.wantQuiet("not lost yet")
		time.Sleep(time.Millisecond)
		d.wantMessage("lost", sn12.Disconnect{})
	})
}
