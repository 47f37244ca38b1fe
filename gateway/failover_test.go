package gateway

import (
	"context"
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
		id := from.register("t")
		to.subscribe("t", 1)
		relayed(from, to, id, 1, "at the preferred broker")
		r.broker.Kill(true)
		time.Sleep(40 * time.Second)
		wantConnected(t, "the preferred broker is down", r, 0, backup, 3)
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
		for _, line := range []string{"another one is used", "back to the preferred broker"} {
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
