package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// retain leaves n retained messages at the broker.
func (r *rig) retain(n int, qos byte) {
	for i := range n {
		r.broker.Publish(upstreamtest.Message{Topic: fmt.Sprintf("r/%04d", i), Payload: fmt.Append(nil, i), QoS: qos, Retain: true})
	}
	synctest.Wait()
}

// receiveSlowly is receive for a device that takes its time for each answer.
func (d *device) receiveSlowly(each, pause time.Duration) (payloads []string) {
	d.r.t.Helper()
	released := make(map[uint16]sn12.Publish)
	for m := d.next(pause); m != nil; m = d.next(pause) {
		time.Sleep(each)
		if p, ok := d.answer(m, released); ok {
			payloads = append(payloads, string(p.Data))
		}
	}
	return payloads
}

func TestDeviceThatAnswersGetsAllRetainedMessages_Case95(t *testing.T) {
	for _, first := range []bool{false, true} {
		for qos := range byte(2) {
			t.Run(fmt.Sprintf("before SUBACK %v, QoS %d", first, qos), func(t *testing.T) {
				withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
					r := newRig(t, func(o *Options) { o.Session.MaxTopics = 2000 })
					r.broker.SetHabits(upstreamtest.Habits{RetainedFirst: first})
					n := 1500
					if qos > 0 {
						n = 900 // what this broker queues
					}
					r.retain(n, qos)
					d := r.device("10.0.1.1:5000")
					d.connectWith(false, 60, "dev")
					d.sendMessage(sn12.Subscribe{QoS: qos, MsgID: 1, TopicName: []byte("#")})
					d.wantMessage("first of all", sn12.SubAck{QoS: qos, MsgID: 1})
					got := d.receiveSlowly(4*time.Millisecond, time.Second)
					if len(got) != n {
						t.Fatalf("%d of %d arrive", len(got), n)
					}
					for i := range got {
						if got[i] != fmt.Sprint(i) {
							t.Fatalf("%s in place of %d", got[i], i)
						}
					}
					r.wantDropped(session.ReasonBufferFull, 0)
				})
			})
		}
	}
}

// There are clients that know no REGISTER: what they subscribe to by name comes with the
// topic id of the SUBACK.
func TestDeviceWithoutRegisterIsServed_Case84_95(t *testing.T) {
	for _, first := range []bool{false, true} {
		for qos := range byte(3) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
				r := newRig(t, nil)
				r.broker.SetHabits(upstreamtest.Habits{RetainedFirst: first})
				r.retain(1, qos)
				d := r.device("10.0.1.1:5000")
				take := func(why, payload string, retain bool) {
					t.Helper()
					m := d.next(time.Second)
					for ; m != nil && m.Type() == sn12.TypeRegister; m = d.next(time.Second) {
						t.Fatalf("%s: REGISTER", why)
					}
					p, ok := m.(sn12.Publish)
					if !ok || string(p.Data) != payload || p.Retain != retain || p.TopicIDType != sn12.TopicIDNormal || p.QoS != qos {
						t.Fatalf("%s: %+v", why, m)
					}
					switch qos {
					case 1:
						d.sendMessage(sn12.PubAck{TopicID: p.TopicID, MsgID: p.MsgID})
					case 2:
						d.sendMessage(sn12.PubRec{MsgID: p.MsgID})
						d.wantMessage(why, sn12.PubRel{MsgID: p.MsgID})
						d.sendMessage(sn12.PubComp{MsgID: p.MsgID})
					}
				}
				d.connectWith(false, 60, "dev")
				id := d.subscribe("r/0000", qos)
				take("retained", "0", true)
				r.publish("r/0000", "live", qos)
				take("live", "live", false)
				d.sleep(60)
				r.publish("r/0000", "held", qos)
				d.sendMessage(sn12.PingReq{ClientID: []byte("dev")})
				take("held", "held", false)
				d.wantMessage("last", sn12.PingResp{})
				if qos == 0 {
					return
				}
				d.sendMessage(sn12.Disconnect{})
				d.wantMessage("goodbye", sn12.Disconnect{})
				time.Sleep(time.Second)
				r.publish("r/0000", "queued", qos)
				d.connectWith(false, 60, "dev")
				if m, ok := d.next(time.Second).(sn12.Register); !ok || m.TopicID != id {
					t.Fatalf("it may have forgotten the id: %+v", m)
				}
				d.sendMessage(sn12.Subscribe{QoS: qos, MsgID: 0x1235, TopicName: []byte("r/0000")})
				d.wantMessage("it has", sn12.SubAck{QoS: qos, TopicID: id, MsgID: 0x1235})
				take("queued", "queued", false)
				take("once more: it has subscribed again", "0", true)
			})
		}
	}
}
