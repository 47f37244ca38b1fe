package gateway

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// The gateway with brokers that have the habits of those in docs/BROKERS.md.

// withBrokers runs a test with the habits of each broker, with and without a store. A
// device "dev" with CleanSession=0 is connected, and another, so that the loss of one
// connection is not the loss of all.
func withBrokers(t *testing.T, test func(t *testing.T, r *rig, d *device, h upstreamtest.Habits)) {
	for _, b := range []struct {
		name   string
		habits upstreamtest.Habits
	}{
		{"mosquitto", upstreamtest.Mosquitto()}, {"RabbitMQ", upstreamtest.RabbitMQ()}, {"NATS", upstreamtest.NATS()},
		{"ejabberd", upstreamtest.Ejabberd()}, {"mochi", upstreamtest.Mochi()}, {"built-in", upstreamtest.BuiltIn()},
	} {
		for _, retainedFirst := range []bool{false, true} {
			h := b.habits
			h.RetainedFirst = retainedFirst
			t.Run(fmt.Sprintf("%s retained first %v", b.name, retainedFirst), func(t *testing.T) {
				withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
					r := newRig(t, nil)
					r.broker.SetHabits(h)
					r.device("10.0.1.2:5000").connectWith(true, 0, "company")
					d := r.device("10.0.1.1:5000")
					d.connectWith(false, 0, "dev")
					test(t, r, d, h)
				})
			})
		}
	}
}

// exchange publishes and does the device's part of the exchange.
func (d *device) exchange(m sn12.Publish) {
	d.r.t.Helper()
	d.sendMessage(m)
	for {
		switch got := d.next(5 * time.Second).(type) {
		case sn12.PubRec:
			d.sendMessage(sn12.PubRel{MsgID: got.MsgID})
		case sn12.PubComp:
			return
		case sn12.PubAck:
			if got.ReturnCode != sn12.Accepted {
				d.r.t.Fatalf("PUBLISH is answered by %v", got.ReturnCode)
			}
			return
		default:
			d.r.t.Fatalf("QoS %d, message %d: got %+v", m.QoS, m.MsgID, got)
		}
	}
}

func TestEachBrokerGetsMessagesOfEachQoSOnce(t *testing.T) {
	withBrokers(t, func(t *testing.T, r *rig, d *device, h upstreamtest.Habits) {
		id := d.register("t")
		got := r.observe()
		var want []string
		for mid := uint16(1); mid <= 30; mid++ {
			qos := uint8(1 + mid%2)
			d.exchange(sn12.Publish{QoS: qos, TopicID: id, MsgID: mid, Data: fmt.Append(nil, mid)})
			if h.QoS2WithPuback {
				qos = 1
			}
			want = append(want, fmt.Sprintf("dev t %d %d", mid, qos))
		}
		time.Sleep(time.Minute)
		got.want(t, "each once, in order", want...)
	})
}

func TestEachBrokersMessagesArriveOnce(t *testing.T) {
	withBrokers(t, func(t *testing.T, r *rig, d *device, h upstreamtest.Habits) {
		d.subscribe("t", 1)
		var want []string
		for i := range 30 {
			r.publish("t", fmt.Sprint(i), byte(i%3))
			want = append(want, fmt.Sprint(i))
		}
		got := d.receive(5 * time.Second)
		slices.Sort(got) // QoS 0 overtakes the rest at the broker
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the device got %q, want each of %q once", got, want)
		}
	})
}

// Another connects in the device's name and keeps the session until the device speaks.
func TestTakeoverAtEachBrokerIsLeftAlone(t *testing.T) {
	withBrokers(t, func(t *testing.T, r *rig, d *device, h upstreamtest.Habits) {
		id := d.subscribe("t", 1)
		conn, err := r.broker.Dial(context.Background(), "tcp", "broker")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
		connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier = "MQTT", 4, "dev"
		if err := connect.Write(conn); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn)
		synctest.Wait()
		before := r.connects()
		time.Sleep(20 * time.Second) // it is tried again after half of the longest pause
		if n := r.connects() - before; n != 0 {
			t.Errorf("%d connects while the device was silent", n)
		}
		d.discard() // it may be asked whether it is here
		d.ping("the device speaks")
		time.Sleep(time.Second)
		r.publish("t", "x", 1)
		if m, ok := d.next(5 * time.Second).(sn12.Publish); !ok || m.TopicID != id {
			t.Errorf("after that the device got %+v", m)
		}
	})
}

// Messages of others on topics that a broker spoils cost nothing but themselves.
func TestTopicsThatEachBrokerSpoils(t *testing.T) {
	withBrokers(t, func(t *testing.T, r *rig, d *device, h upstreamtest.Habits) {
		d.subscribe("pl/#", 1)
		before := r.connects()
		for qos := range byte(3) {
			r.publish("pl/s*r", "bad", qos)
			r.publish("pl/good", fmt.Sprintf("good %d", qos), 1)
			var good []string
			for _, p := range d.receive(5 * time.Second) {
				if p != "bad" {
					good = append(good, p)
				}
			}
			if want := []string{fmt.Sprintf("good %d", qos)}; !slices.Equal(good, want) {
				t.Errorf("behind a message of QoS %d the device got %q, want %q", qos, good, want)
			}
		}
		if waiting, _ := r.broker.Pending("dev"); waiting > 0 || r.connects() != before {
			t.Errorf("%d messages wait at the broker, %d connects were made", waiting, r.connects()-before)
		}
	})
}

// Whatever code from 0x80 on a broker refuses a filter with, the device is told at once.
func TestFilterThatABrokerRefuses(t *testing.T) {
	for code := 0x80; code <= 0xff; code++ {
		withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
			r := newRig(t, nil)
			r.broker.SetHabits(upstreamtest.Habits{Suback: upstreamtest.RefuseWith(byte(code), "no")})
			d := r.device("10.0.1.1:5000")
			d.connect("dev")
			id := d.subscribe("yes", 1)
			before := r.connects()
			d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: []byte("no")})
			d.wantMessage("refused", sn12.SubAck{QoS: 0, MsgID: 1, ReturnCode: sn12.RejectedNotSupported})
			r.publish("yes", "x", 1)
			d.wantMessage("and served on", sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
			if r.connects() != before {
				t.Errorf("code %#x: the connection was made anew", code)
			}
		})
	}
}
