package gateway

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// twoBrokers is a rig whose gateway has a second broker; rig.broker is the preferred one.
func twoBrokers(t *testing.T, failBack time.Duration) (r *rig, backup *upstreamtest.Broker) {
	t.Helper()
	backup = upstreamtest.NewBroker()
	t.Cleanup(backup.Close)
	r = newDurableRig(t, func(o *Options) {
		preferred := o.Upstream.Dial
		o.Upstream.Fallbacks, o.Upstream.FailBack = []string{"backup:1883"}, failBack
		o.Upstream.MaxDials = 4 // so that moving takes a while
		o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "backup:1883" {
				return backup.Dial(ctx, network, address)
			}
			return preferred(ctx, network, address)
		}
	})
	return r, backup
}

// wantConnected checks how many clients there are at each broker.
func wantConnected(t *testing.T, why string, r *rig, preferred int, backup *upstreamtest.Broker, atBackup int) {
	t.Helper()
	synctest.Wait()
	if a, b := r.broker.Connected(), backup.Connected(); a != preferred || b != atBackup {
		t.Fatalf("%s: %d clients at the preferred broker and %d at the other, want %d and %d", why, a, b, preferred, atBackup)
	}
}

// relayed publishes from one device to the other.
func relayed(from, to *device, id uint16, msgID uint16, why string) {
	from.r.t.Helper()
	from.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: msgID, Data: []byte("x")})
	from.wantMessage(why, sn12.PubAck{TopicID: id, MsgID: msgID})
	for {
		m := to.next(time.Second)
		if m == nil {
			to.r.t.Fatalf("%s: nothing was delivered", why)
		}
		if _, ok := to.answer(m, nil); ok {
			return
		}
	}
}

// The devices meet at the other broker, with their subscriptions, and again at the
// preferred one. Nobody's will is published on the way back.
func TestDevicesFollowToTheOtherBrokerAndBack_Case152(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, backup := twoBrokers(t, 5*time.Minute)
		var wills []string
		backup.Will = func(clientID string, _ upstreamtest.Message) { wills = append(wills, clientID) }
		from, to := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		from.connectWill("from", "will/from", "gone")
		to.connectWill("to", "will/to", "gone")
		id, other := from.register("t"), from.register("other")
		to.subscribe("t", 1)
		relayed(from, to, id, 1, "at the preferred broker")
		r.broker.Kill(true)
		synctest.Wait()
		stored := make(chan string, 10)
		backup.Observe = func(_ string, m upstreamtest.Message) { stored <- string(m.Payload) }
		from.sendMessage(sn12.Publish{QoS: 1, TopicID: other, MsgID: 9, Data: []byte("stored")})
		from.wantMessage("no broker is there", sn12.PubAck{TopicID: other, MsgID: 9})
		time.Sleep(40 * time.Second)
		wantConnected(t, "the preferred broker is down", r, 0, backup, 3)
		if got := <-stored; got != "stored" {
			t.Errorf("the other broker has got %q first", got)
		}
		relayed(from, to, id, 2, "at the other broker")
		r.broker.Start()
		for range 14 {
			time.Sleep(30 * time.Second)
			from.ping("alive")
			to.ping("alive")
		}
		wantConnected(t, "the preferred broker is back", r, 3, backup, 0)
		relayed(from, to, id, 3, "at the preferred broker again")
		if len(wills) > 0 {
			t.Errorf("the other broker has published the wills of %q", wills)
		}
		log := r.log.String()
		for _, line := range []string{"failing over to another broker", "failing back to the preferred broker"} {
			if strings.Count(log, line) != 1 {
				t.Errorf("%q is not in the log once", line)
			}
		}
	})
}

func TestGatewayBeginsWithTheBrokerThatWasInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, backup := twoBrokers(t, 0)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		r.broker.Kill(true)
		time.Sleep(40 * time.Second)
		wantConnected(t, "the preferred broker is down", r, 0, backup, 2)
		r.broker.Start()
		d.ping("the device is there")
		r.restart()
		time.Sleep(time.Second)
		d.ping("and speaks")
		time.Sleep(time.Second)
		wantConnected(t, "the sessions are at the other broker", r, 0, backup, 2)
	})
}

// subscribedAtTheBackup lets n devices that the preferred broker knows subscribe at the
// other one, while the preferred one is down.
func subscribedAtTheBackup(t *testing.T, failBack time.Duration, n int) (r *rig, backup *upstreamtest.Broker, devices []*device) {
	t.Helper()
	r, backup = twoBrokers(t, failBack)
	for i := range n {
		d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
		d.connectWith(false, 6000, fmt.Sprintf("dev-%d", i))
		devices = append(devices, d)
	}
	r.broker.Kill(true)
	time.Sleep(time.Minute)
	wantConnected(t, "the preferred broker is down", r, 0, backup, n+1)
	for _, d := range devices {
		d.subscribe("news", 1)
	}
	return r, backup, devices
}

// wantNews publishes at a broker what all devices have subscribed to.
func wantNews(t *testing.T, why string, b *upstreamtest.Broker, devices []*device) {
	t.Helper()
	b.Publish(upstreamtest.Message{Topic: "news", Payload: []byte("x"), QoS: 1})
	missing := 0
	for _, d := range devices {
		m := d.next(time.Second)
		for ; m != nil; m = d.next(time.Second) {
			if _, ok := d.answer(m, nil); ok {
				break
			}
		}
		if m == nil {
			missing++
		}
	}
	if missing > 0 {
		t.Fatalf("%s: %d of %d devices got nothing", why, missing, len(devices))
	}
}

// The gateway dies on the way back to the preferred broker, which knows the devices from
// before they subscribed. Some have moved by then, and one has said goodbye.
func TestCrashDuringTheFailBackLosesNoSubscription_Case152(t *testing.T) {
	for after := range 4 {
		t.Run(fmt.Sprint(2*after, " s"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, devices := subscribedAtTheBackup(t, 5*time.Minute, 20)
				devices[0].send("02 18")
				devices[0].want("DISCONNECT", "02 18")
				r.broker.Start()
				for r.gateway.broker.inUse() != r.opts.Upstream.Address {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(2 * time.Duration(after) * time.Second)
				r.restart()
				time.Sleep(time.Minute)
				devices[0].connectWith(false, 6000, "dev-0")
				time.Sleep(time.Second)
				wantNews(t, "after the restart", r.broker, devices)
				r.restart()
				time.Sleep(time.Minute)
				wantNews(t, "after another one", r.broker, devices)
			})
		})
	}
}

// Which broker is in use is stored as soon as the store works.
func TestFailOverWhileTheStoreFailsIsKeptLater_Case152(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, backup := twoBrokers(t, 0)
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 6000, "dev")
				fault.begin(r.store)
				r.broker.Kill(true)
				time.Sleep(time.Minute)
				wantConnected(t, "the preferred broker is down", r, 0, backup, 2)
				fault.end(r.store)
				time.Sleep(5 * time.Second)
				d.subscribe("news", 1)
				r.broker.Start()
				r.restart()
				time.Sleep(10 * time.Second)
				wantConnected(t, "the sessions are at the other broker", r, 0, backup, 2)
				wantNews(t, "after the restart", backup, []*device{d})
			})
		})
	}
}

// The gateway's own connection, refused while it has never been accepted, finds the other
// broker.
func TestGatewayStartsWhileThePreferredBrokerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, backup := twoBrokers(t, 0)
		r.broker.Kill(true)
		r.restart()
		time.Sleep(20 * time.Second)
		wantConnected(t, "soon after ten seconds", r, 0, backup, 1)
	})
}
