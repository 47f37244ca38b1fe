package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

func keepOnStop(o *Options) { o.OnStop = StopKeep }

func TestStopThatKeepsSessionsTellsNobody_Case20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keepOnStop)
		active, asleep, kept, gone := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000"), r.device("10.0.1.3:5000"), r.device("10.0.1.4:5000")
		active.connectWill("active", "will/active", "gone")
		asleep.connectWill("asleep", "will/asleep", "gone")
		asleep.sleep(600)
		kept.connectWith(false, 60, "kept")
		kept.subscribe("t", 1)
		gone.connectWith(false, 60, "gone")
		gone.send("02 18")
		gone.want("goodbye", "02 18")
		began := time.Now()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > time.Second {
			t.Fatalf("Stop took %s", d)
		}
		for _, d := range []*device{active, asleep, kept, gone} {
			d.wantQuiet("it goes on when the gateway is back")
		}
		r.wantWill("none", "will/active", "")
		r.wantWill("none", "will/asleep", "")
		if n := r.broker.Connected(); n != 0 {
			t.Fatalf("%d clients at the broker", n)
		}
		r.publish("t", "x", 1)
		if n, _ := r.broker.Pending("kept"); n != 1 {
			t.Fatalf("%d messages wait at the broker: it has lost the session", n)
		}
		if a, s := r.state(session.StateActive), r.state(session.StateAsleep); a != 2 || s != 1 {
			t.Fatalf("%d active and %d asleep, want them as they were", a, s)
		}
		if n := r.ends()[session.ReasonGatewayStop.String()]; n != 0 {
			t.Fatalf("%v sessions counted as ended by the stop", n)
		}
	})
}

// Nobody is lost by a stop that takes its time: the device could not have been heard.
func TestStopThatKeepsSessionsStopsTheirTime_Case20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.OnStop, o.Upstream.Dial = StopKeep, broker.Dial })
		broker.Accept(t).Accept(false) // does not react to DISCONNECT: Stop takes a second
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 10, ClientID: []byte("dev")})
		broker.Accept(t).Accept(false)
		d.wantMessage("accepted", sn12.ConnAck{})
		time.Sleep(15*time.Second - 500*time.Millisecond) // lost in half a second
		stopped := make(chan error)
		began := time.Now()
		go func() { stopped <- r.gateway.Stop(4 * time.Second) }()
		synctest.Wait()
		d.send("02 16")
		r.wantDropped(session.ReasonStopping, 1)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Fatalf("Stop took %s, want about a second", took)
		}
		d.wantQuiet("not lost")
		if n := r.state(session.StateActive); n != 1 {
			t.Fatalf("%d active, want 1", n)
		}
	})
}

func TestStopThatKeepsSessionsWhileTheBrokerIsDown_Case20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keepOnStop)
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		id := d.register("t")
		r.broker.Kill(true)
		synctest.Wait()
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
		began := time.Now()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Fatalf("Stop took %s", took)
		}
		d.wantQuiet("neither DISCONNECT nor a refusal")
	})
}
