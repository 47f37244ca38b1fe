package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// What devices leave unanswered, and the topic ids of those that get messages of more
// topics than they may have ids.

// pickyDevice answers what it is sent but for what is too long for it.
type pickyDevice struct {
	*device
	limit    int // octets of a PUBLISH that it can take
	restarts bool
	names    map[uint16]string // of topic ids, as it has been told
	got      []string          // topic and payload
	thrown   int               // DISCONNECTs
}

// live lets the device live for so long: it pings each second.
func (p *pickyDevice) live(d time.Duration) {
	p.r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		m := p.next(time.Second)
		if m == nil {
			p.send("02 16")
			continue
		}
		p.take(m)
	}
}

func (p *pickyDevice) take(m sn12.Message) {
	switch m := m.(type) {
	case sn12.Register:
		p.names[m.TopicID] = string(m.TopicName)
		p.sendMessage(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case sn12.Publish:
		if m.Len() > p.limit {
			if p.restarts {
				p.connect()
			}
			return
		}
		p.got = append(p.got, p.names[m.TopicID]+" "+string(m.Data))
		switch m.QoS {
		case 1:
			p.sendMessage(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
		case 2:
			p.sendMessage(sn12.PubRec{MsgID: m.MsgID})
		}
	case sn12.PubRel:
		p.sendMessage(sn12.PubComp{MsgID: m.MsgID})
	case sn12.Disconnect:
		p.thrown++
		p.connect()
	}
}

func (p *pickyDevice) connect() {
	p.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
}

func newPicky(r *rig, limit int) *pickyDevice {
	p := &pickyDevice{device: r.device("10.0.1.1:5000"), limit: limit, names: make(map[uint16]string)}
	p.connectWith(false, 60, "dev")
	return p
}

func TestMessageThatADeviceCannotTakeIsGivenUp(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		for _, restarts := range []bool{false, true} {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
				r := newRig(t, func(o *Options) { o.Session.RetryInterval = 2 * time.Second })
				p := newPicky(r, 200)
				p.restarts = restarts
				p.subscribe("t/+", qos)
				r.publish("t/big", strings.Repeat("b", 1000), qos)
				for _, small := range []string{"1", "2", "3"} {
					r.publish("t/small", small, qos)
				}
				p.live(45 * time.Second)
				if want := []string{"t/small 1", "t/small 2", "t/small 3"}; !slices.Equal(p.got, want) {
					t.Errorf("QoS %d, restarts %v: got %q, want %q", qos, restarts, p.got, want)
				}
				if p.thrown > 0 {
					t.Errorf("QoS %d, restarts %v: thrown out %d times", qos, restarts, p.thrown)
				}
				if n := r.dropped(session.ReasonUnanswered); n != 1 {
					t.Errorf("counted %d times", n)
				}
				if want := `"reason":"unanswered","topic":"t/big","octets":1000,"qos":` + fmt.Sprint(qos); strings.Count(r.log.String(), want) != 1 {
					t.Errorf("no line in the log with %s", want)
				}
			})
		}
	}
}

// The count goes on over sleeps, and PINGRESP comes last.
func TestMessageThatASleeperCannotTakeIsGivenUp(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, func(o *Options) { o.Session.RetryInterval = 2 * time.Second })
		p := newPicky(r, 200)
		p.subscribe("t/+", 1)
		p.sleep(60)
		r.publish("t/big", strings.Repeat("b", 1000), 1)
		r.publish("t/small", "1", 1)
		for wakes := 1; ; wakes++ {
			p.sendMessage(sn12.PingReq{ClientID: []byte("dev")})
			last := sn12.Message(nil)
			for m := p.next(3 * time.Second); m != nil; m = p.next(3 * time.Second) {
				p.take(m)
				last = m
			}
			if _, done := last.(sn12.PingResp); done {
				break
			}
			if wakes == 10 {
				t.Fatal("no PINGRESP in ten wakes")
			}
			p.sleep(60)
		}
		if want := []string{"t/small 1"}; !slices.Equal(p.got, want) {
			t.Errorf("got %q, want %q", p.got, want)
		}
		if n := r.dropped(session.ReasonUnanswered); n != 1 {
			t.Errorf("counted %d times", n)
		}
	})
}

func TestMaxPacketSizeByPattern(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, func(o *Options) { o.Session.PacketSizes = []session.PacketSize{{Client: "d*", Octets: 200}} })
		p := newPicky(r, 200)
		p.subscribe("t/+", 1)
		r.publish("t/big", strings.Repeat("b", 1000), 1)
		r.publish("t/small", "1", 1)
		p.live(2 * time.Second)
		if want := []string{"t/small 1"}; !slices.Equal(p.got, want) {
			t.Errorf("got %q, want %q at once", p.got, want)
		}
		if n := r.dropped(session.ReasonTooLarge); n != 1 {
			t.Errorf("counted %d times", n)
		}
		if want := `"reason":"too_large","topic":"t/big","octets":1000`; !strings.Contains(r.log.String(), want) {
			t.Errorf("no line in the log with %s", want)
		}
	})
}

// Request and response with a topic for each call: more topics than ids.
func TestTopicsOfMessagesNeverRunOut(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, nil)
		p := newPicky(r, 200)
		p.subscribe("resp/+", 1)
		var want []string
		send := func(n int) {
			for range n {
				topic := fmt.Sprintf("resp/%d", len(want))
				want = append(want, topic+" "+topic)
				r.publish(topic, topic, 1)
				p.live(time.Millisecond)
			}
		}
		send(2500)
		p.live(5 * time.Second)
		if durable {
			r.restart()
			time.Sleep(2 * time.Second)
			p.discard()
			send(50)
			p.live(5 * time.Second)
		}
		if !slices.Equal(p.got, want) {
			t.Errorf("%d messages have come, by the names that the device knows; want %d", len(p.got), len(want))
		}
		if n := r.dropped(session.ReasonTopicsFull); n != 0 {
			t.Errorf("%d dropped", n)
		}
		got := r.observe()
		p.discard()
		id := p.register("own")
		p.subscribe("another", 1)
		p.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
		p.wantMessage("its own topics have room", sn12.PubAck{TopicID: id, MsgID: 5})
		got.want(t, "by the right name", "dev own x 1")
	})
}

// A client that does not know REGISTER keeps its session, and what needs none comes.
func TestDeviceWithoutRegisterKeepsItsSession(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, func(o *Options) { o.Session.RetryInterval = 2 * time.Second })
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		id := d.subscribe("a/b", 1)
		d.subscribe("w/+", 1)
		r.publish("w/1", "x", 1)
		for n := range 3 {
			r.publish("a/b", fmt.Sprint(n), 1)
		}
		var got []string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			switch m := d.next(time.Second).(type) {
			case nil:
				d.send("02 16") // it lives
			case sn12.Publish:
				got = append(got, string(m.Data))
				d.sendMessage(sn12.PubAck{TopicID: id, MsgID: m.MsgID})
			case sn12.PingReq:
				d.sendMessage(sn12.PingResp{})
			case sn12.Disconnect:
				t.Fatal("thrown out")
			}
		}
		if !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("got %q", got)
		}
		if n := r.dropped(session.ReasonRegisterUnanswered); n != 1 {
			t.Errorf("%d given up", n)
		}
	})
}
