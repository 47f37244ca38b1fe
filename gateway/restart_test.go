package gateway

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// What a device that goes on as if nothing had happened gets from a gateway that was
// killed and started again.

func TestRestartPublishOnAnOldTopicID_Case148(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for qos := range uint8(3) {
			t.Run(fmt.Sprintf("clean=%v QoS %d", clean, qos), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newDurableRig(t, nil)
					d := r.device("10.0.1.1:5000")
					d.connectWith(clean, 60, "dev")
					d.register("a")
					id := d.register("b")
					r.restart()
					got := r.observe()
					d.ping("a sign of life") // opens the link: QoS 0 does not wait for it
					d.sendMessage(sn12.Publish{QoS: qos, TopicID: id, MsgID: 5, Data: []byte("x")})
					switch qos {
					case 1:
						d.wantMessage("acknowledged", sn12.PubAck{TopicID: id, MsgID: 5})
					case 2:
						d.wantMessage("received", sn12.PubRec{MsgID: 5})
						d.sendMessage(sn12.PubRel{MsgID: 5})
						d.wantMessage("complete", sn12.PubComp{MsgID: 5})
					}
					d.wantQuiet("no word of the restart")
					got.want(t, "relayed", fmt.Sprintf("dev b x %d", qos))
					if again := d.register("b"); again != id {
						t.Fatalf("the topic id of b is %d now, was %d", again, id)
					}
					if other := d.register("c"); other == id || other == id-1 {
						t.Fatalf("c is given the topic id %d of another topic", other)
					}
				})
			})
		}
	}
}

// Without a word before, QoS 1 and 2 wait for the broker; no message is refused.
func TestRestartFirstWordIsAPublish_Case148(t *testing.T) {
	for _, spool := range []bool{true, false} {
		t.Run(fmt.Sprintf("spool=%v", spool), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, func(o *Options) { o.Session.Spool = spool })
				d := r.device("10.0.1.1:5000")
				d.connectWith(true, 60, "dev")
				r.restart()
				got := r.observe()
				for mid := uint16(1); mid <= 3; mid++ {
					d.publishShort("acknowledged", mid, sn12.Accepted)
				}
				got.want(t, "relayed in order, once", "dev ab x 1", "dev ab x 1", "dev ab x 1")
				r.wantStored("what was spooled is not kept for longer than needed", "sessions dev|S")
			})
		})
	}
}

func TestRestartSleeperFindsItsMessages_Case148(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, moved := range []bool{false, true} {
			t.Run(fmt.Sprintf("clean=%v moved=%v", clean, moved), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newDurableRig(t, nil)
					d := r.device("10.0.1.1:5000")
					d.connectWith(clean, 60, "dev")
					d.subscribe("t/#", 2)
					d.sleep(600)
					r.publish("t/1", "a", 1)
					r.publish("t/2", "b", 2)
					if n, _ := r.broker.Pending("dev"); n != 0 {
						t.Fatalf("%d messages left with the broker: they are in the store", n)
					}
					r.crash()
					r.publish("t/1", "while away", 1)
					r.start()
					r.publish("t/2", "c", 2)
					want := []string{"a", "b", "while away", "c"}
					if clean {
						want = []string{"a", "b", "c"} // the broker has dropped the session
					}
					if moved {
						d = r.device("10.0.1.1:6000")
					}
					if got := d.wake("dev"); !slices.Equal(got, want) {
						t.Fatalf("got %q, want %q", got, want)
					}
					if got := d.wake("dev"); len(got) > 0 {
						t.Fatalf("got %q again", got)
					}
					r.restart()
					if got := d.wake("dev"); len(got) > 0 {
						t.Fatalf("got %q once more after another restart", got)
					}
					r.publish("t/1", "d", 2)
					if got := d.wake("dev"); !slices.Equal(got, []string{"d"}) {
						t.Fatalf("got %q", got)
					}
				})
			})
		}
	}
}

func TestWakeOfASleeperAfterARestart_Case148(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.subscribe("t", 1)
		d.sleep(600)
		r.publish("t", "a", 1)
		r.restart()
		if durable {
			if got := d.wake("dev"); !slices.Equal(got, []string{"a"}) {
				t.Fatalf("got %q", got)
			}
			return
		}
		d.sendMessage(sn12.PingReq{ClientID: []byte("dev")})
		d.wantMessage("never silence: the device connects again", sn12.Disconnect{})
		d.connectWith(false, 60, "dev")
		if got := d.receive(time.Second); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("got %q", got)
		}
	})
}

// A QoS 2 message of the device, with the gateway killed at each step.
func TestRestartInTheMiddleOfQoS2FromTheDevice_Case148(t *testing.T) {
	const short = sn12.TopicIDShort
	publish := sn12.Publish{QoS: 2, TopicIDType: short, TopicID: sn12.ShortID("ab"), MsgID: 9, Data: []byte("x")}
	for _, step := range []string{"not committed", "committed", "committed, broker away", "with the broker", "released"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				got := r.observe()
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 60, "dev")
				switch step {
				case "not committed":
					r.store.StopCommits()
				case "committed, broker away":
					r.broker.Kill(true)
					synctest.Wait()
				case "committed":
					r.store.SetDelay(time.Second)
				}
				d.sendMessage(publish)
				switch step {
				case "committed":
					time.Sleep(1500 * time.Millisecond) // the spool, and not yet the broker's PUBREC
				case "released":
					d.wantMessage("received", sn12.PubRec{MsgID: 9})
					d.sendMessage(sn12.PubRel{MsgID: 9})
					synctest.Wait()
				}
				d.discard()
				r.crash()
				r.broker.Start()
				r.start()
				if step == "not committed" {
					d.wantQuiet("nothing was promised")
				}
				if step != "released" {
					again := publish
					again.DUP = true
					d.sendMessage(again)
					time.Sleep(10 * time.Second)
					d.wantMessage("received", sn12.PubRec{MsgID: 9})
				}
				d.sendMessage(sn12.PubRel{MsgID: 9})
				d.wantMessage("complete", sn12.PubComp{MsgID: 9})
				time.Sleep(10 * time.Second)
				got.want(t, "exactly once", "dev ab x 2")
				r.wantStored("all is over", "sessions dev|S")
			})
		})
	}
}

// A QoS 2 message for the device, with the gateway killed at each step.
func TestRestartInTheMiddleOfQoS2ToTheDevice_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "dev")
		d.sendMessage(sn12.Subscribe{QoS: 2, MsgID: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab")})
		d.discard()
		want := sn12.Publish{QoS: 2, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: 1, Data: []byte("x")}
		r.publish("ab", "x", 2)
		d.wantMessage("sent", want)
		r.opts.FirstMsgID = func() uint16 { return 5000 }
		r.restart()
		time.Sleep(time.Second)
		want.DUP = true
		d.wantMessage("sent again under its MsgId, with DUP", want)
		d.sendMessage(sn12.PubRec{MsgID: 1})
		d.wantMessage("released", sn12.PubRel{MsgID: 1})
		r.restart()
		d.wantMessage("released again", sn12.PubRel{MsgID: 1})
		d.sendMessage(sn12.PubComp{MsgID: 1})
		d.wantQuiet("over")
		if n, _ := r.broker.Pending("dev"); n != 0 {
			t.Fatalf("%d messages with the broker", n)
		}
		r.wantStored("over", "sessions dev|Fab", "sessions dev|S")
	})
}

// Sessions with subscriptions are reopened at once, a few at a time; the others when
// their device speaks.
func TestRestartReopensWhatHasSubscriptions_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const subscribed, silent, atOnce = 20, 10, 3
		var mu sync.Mutex
		dialling, most, dials := 0, 0, 0
		slow := false
		r := newDurableRig(t, func(o *Options) {
			dial := o.Upstream.Dial
			o.Upstream.MaxDials = atOnce
			o.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				mu.Lock()
				dialling, dials = dialling+1, dials+1
				most = max(most, dialling)
				wait := slow
				mu.Unlock()
				if wait {
					time.Sleep(time.Second)
				}
				mu.Lock()
				dialling--
				mu.Unlock()
				return dial(ctx, network, address)
			}
		})
		devices := make([]*device, subscribed+silent)
		for i := range devices {
			devices[i] = r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			devices[i].connectWith(i%2 == 0, 600, fmt.Sprintf("dev-%02d", i))
			if i < subscribed {
				devices[i].subscribe("t", 1)
			}
		}
		mu.Lock()
		dials, most, slow = 0, 0, true
		mu.Unlock()
		r.restart()
		r.wantState("all of them", session.StateActive, subscribed+silent)
		time.Sleep(time.Minute)
		r.publish("t", "x", 1)
		mu.Lock()
		if dials != subscribed+1 || most != atOnce {
			t.Errorf("%d dials, %d at once; want %d with the gateway's own, %d", dials, most, subscribed+1, atOnce)
		}
		mu.Unlock()
		for i, d := range devices {
			if got := d.receive(time.Millisecond); i < subscribed && !slices.Equal(got, []string{"x"}) {
				t.Errorf("device %d got %q", i, got)
			}
		}
		devices[subscribed].ping("served")
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if dials != subscribed+2 {
			t.Errorf("%d dials when one of the others has spoken, want %d", dials, subscribed+2)
		}
	})
}
