package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// One device in a loop is cut to its rate before the shard sees it, whatever it sends;
// the others, also those behind the same forwarder, have rates of their own.
func TestDatagramRateOfADevice_Case160(t *testing.T) {
	floods := map[string]sn12.Message{
		"PINGREQ":                 sn12.PingReq{},
		"PINGREQ with client id":  sn12.PingReq{ClientID: []byte("loop")},
		"CONNECT":                 sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("loop")},
		"REGISTER":                sn12.Register{MsgID: 1, TopicName: []byte("t")},
		"PUBLISH of unknown":      sn12.Publish{QoS: 1, TopicID: 99, MsgID: 1},
		"PUBLISH with QoS -1":     sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDPredefined, TopicID: 1},
		"what makes no sense now": sn12.PubComp{MsgID: 9},
	}
	for name, m := range floods {
		t.Run(name, func(t *testing.T) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
				r := newRig(t, func(o *Options) { o.DatagramRate = 50 })
				loop, other := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
				loop.connectWith(false, 60, "loop")
				other.connectWith(false, 60, "other")
				time.Sleep(5 * time.Second)
				submitted := r.submitted()
				for i := range 1000 {
					loop.sendMessage(m)
					if i%100 == 0 {
						other.ping("in the middle of it")
					}
				}
				r.wantDropped(session.ReasonDatagramRate, 900)
				r.wantSubmitted("those within the rate", submitted, 100)
				loop.discard()
				time.Sleep(time.Second)
				for range 51 {
					loop.sendMessage(m)
				}
				r.wantDropped(session.ReasonDatagramRate, 901)
			})
		})
	}
}

func TestDatagramsInTheNameOfAnotherAreNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.DatagramRate = 10 })
		victim, thief := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		victim.connectWith(false, 60, "victim")
		thief.connectWith(false, 60, "thief")
		for range 100 {
			thief.sendMessage(sn12.PingReq{ClientID: []byte("victim")})
		}
		thief.discard()
		thief.ping("not charged: it is not known who sent them")
		victim.ping("nor is he who is named")
		r.wantDropped(session.ReasonDatagramRate, 0)
	})
}

func TestMessagesWithoutASessionHaveARate_Case160(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
		r := newRig(t, func(o *Options) { o.StrayRate = 10 })
		p := r.observe()
		submitted := r.submitted()
		for i := range 100 {
			d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d.sendMessage(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDPredefined, TopicID: 1, Data: []byte("x")})
		}
		if n := len(p.take()); n != 20 {
			t.Fatalf("%d of 100 messages arrived, want 20", n)
		}
		r.wantDropped(session.ReasonMessageRate, 80)
		r.wantSubmitted("messages of nobody", submitted, 0)
	})
}
