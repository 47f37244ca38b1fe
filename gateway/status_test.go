package gateway

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/upstreamtest"
)

const statusTopic = "gateways/7"

// statusRig is a rig with a status topic.
func statusRig(t *testing.T) *rig {
	t.Helper()
	return newRig(t, func(o *Options) { o.StatusTopic = statusTopic })
}

func (r *rig) wantStatus(why, status string) {
	r.t.Helper()
	r.wantWill(why, statusTopic, status)
}

func TestStatusOverAStartAndAStop_Case20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := statusRig(t)
		var wills atomic.Int64
		r.broker.Will = func(string, upstreamtest.Message) { wills.Add(1) }
		got := r.observe()
		r.wantStatus("connected", "online")
		time.Sleep(time.Hour)
		got.want(t, "said once")
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		r.wantStatus("stopped", "offline")
		got.want(t, "by the gateway", "sngate-test-7 gateways/7 offline 1")
		if wills.Load() != 0 {
			t.Fatal("and by the broker again")
		}
	})
}

func TestNoStatusWithoutTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		newRig(t, func(o *Options) { o.Upstream.Dial = broker.Dial })
		peer := broker.Accept(t)
		if c := peer.Accept(false); c.WillFlag {
			t.Fatalf("will on %q", c.WillTopic)
		}
		synctest.Wait()
		peer.WantQuiet("nothing is published")
		peer.Conn.Close()
	})
}

func TestStatusIsTheBrokersWhileTheGatewayIsCutOff_Case151(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := statusRig(t)
		for range 3 {
			r.broker.Drop("sngate-test-7")
			r.wantStatus("the will", "offline")
			time.Sleep(2 * time.Minute)
			r.wantStatus("connected again", "online")
		}
		r.broker.Kill(false)
		time.Sleep(10 * time.Minute)
		r.broker.Start()
		r.wantStatus("the broker has forgotten it", "")
		time.Sleep(2 * time.Minute)
		r.wantStatus("and is told again", "online")
	})
}

func TestStatusAfterTheBrokerHasRefused_Case22(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var code atomic.Uint32
		code.Store(5)
		r := newRig(t, func(o *Options) { o.StatusTopic = statusTopic })
		r.broker.Refuse = func(string, string, []byte) byte { return byte(code.Load()) }
		r.broker.Drop("sngate-test-7")
		time.Sleep(10 * time.Minute)
		r.wantStatus("refused", "offline")
		code.Store(0)
		time.Sleep(2 * time.Minute)
		r.wantStatus("accepted", "online")
	})
}

func TestStatusIsSaidOnceWhateverTheConnectionDoes_Case151(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		newRig(t, func(o *Options) {
			o.StatusTopic, o.Upstream.Dial, o.Upstream.Rand = statusTopic, broker.Dial, func() float64 { return 0 }
		})
		for i := range 2 { // a third time it is what connections end of
			peer := broker.Accept(t)
			c := peer.Accept(false)
			if c.WillTopic != statusTopic || string(c.WillMessage) != "offline" || c.WillQos != 1 || !c.WillRetain {
				t.Fatalf("CONNECT %v", c)
			}
			m := upstreamtest.Want[*packets.PublishPacket](peer, "online")
			if string(m.Payload) != "online" || m.Qos != 1 || !m.Retain || m.Dup != (i > 0) {
				t.Fatalf("PUBLISH %v", m)
			}
			synctest.Wait()
			peer.WantQuiet("once, though it was not acknowledged before")
			peer.Conn.Close()
		}
	})
}

func TestStopWhileTheBrokerIsAwayDoesNotWaitForTheStatus_Case20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := statusRig(t)
		r.broker.Kill(true)
		synctest.Wait()
		began := time.Now()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > time.Second {
			t.Fatalf("Stop took %s", d)
		}
	})
}

// A broker that does not acknowledge the last word gets no DISCONNECT: it has the will.
func TestStopWhileTheBrokerDoesNotAnswerLeavesTheStatusToTheWill_Case20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) { o.StatusTopic, o.Upstream.Dial = statusTopic, broker.Dial })
		peer := broker.Accept(t)
		peer.Accept(false)
		upstreamtest.Want[*packets.PublishPacket](peer, "online")
		synctest.Wait()
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		if m := upstreamtest.Want[*packets.PublishPacket](peer, "offline"); string(m.Payload) != "offline" || !m.Retain {
			t.Fatalf("PUBLISH %v", m)
		}
		peer.WantEOF("no DISCONNECT")
	})
}

func TestStatusThatTheBrokerDoesNotTakeIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := upstreamtest.NewListener(0)
		r := newRig(t, func(o *Options) {
			o.StatusTopic, o.Upstream.Dial, o.Upstream.Rand = statusTopic, broker.Dial, func() float64 { return 0 }
		})
		for range 2 {
			peer := broker.Accept(t)
			peer.Accept(false)
			upstreamtest.Want[*packets.PublishPacket](peer, "online")
			peer.Conn.Close()
		}
		peer := broker.Accept(t)
		peer.Accept(false)
		synctest.Wait()
		peer.WantQuiet("the connection is worth more than the status")
		r.wantLogged("publishing the gateway status failed", []string{"level", "topic"}, "warn | "+statusTopic)
		peer.Conn.Close()
	})
}
