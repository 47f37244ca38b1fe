package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// code returns the return code of a REGACK, SUBACK or CONNACK that the device has got.
func (d *device) code() sn12.ReturnCode {
	d.r.t.Helper()
	switch m := d.next(time.Second).(type) {
	case sn12.RegAck:
		return m.ReturnCode
	case sn12.SubAck:
		return m.ReturnCode
	case sn12.ConnAck:
		return m.ReturnCode
	default:
		d.r.t.Fatalf("got %v, want an answer with a return code", m)
		return 0
	}
}

// offerWill goes through the will dialogue and returns the code of the CONNACK.
func (d *device) offerWill(clientID, topic, message string) sn12.ReturnCode {
	d.r.t.Helper()
	d.sendMessage(sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte(clientID)})
	switch m := d.next(time.Second).(type) {
	case sn12.ConnAck:
		return m.ReturnCode
	case sn12.WillTopicReq:
	default:
		d.r.t.Fatalf("got %v, want WILLTOPICREQ", m)
	}
	d.sendMessage(sn12.WillTopic{Topic: []byte(topic)})
	switch m := d.next(time.Second).(type) {
	case sn12.ConnAck:
		return m.ReturnCode
	case sn12.WillMsgReq:
	default:
		d.r.t.Fatalf("got %v, want WILLMSGREQ", m)
	}
	d.sendMessage(sn12.WillMsg{Message: []byte(message)})
	return d.code()
}

// name returns a topic name of 256 octets.
func name(i int) string {
	n := fmt.Sprintf("%06d/", i)
	return n + strings.Repeat("n", 256-len(n))
}

// TestWillsAndNamesStayWithinTheLimits: strangers with the largest wills and the longest
// names take what is theirs, and no more; whoever was here before goes on, as does one
// that comes after.
func TestWillsAndNamesStayWithinTheLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		memory, store int64
		maxWill       int
	}{
		"memory":                 {memory: 4 << 20, maxWill: 4096},
		"memory, no will bound":  {memory: 4 << 20},
		"store":                  {store: storedPart * 4 << 20, maxWill: 4096},
		"store, no will bound":   {store: storedPart * 4 << 20},
		"both, and memory first": {memory: 4 << 20, store: 1 << 40, maxWill: 4096},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { floodWithState(t, tt.memory, tt.store, tt.maxWill) })
		})
	}
}

func floodWithState(t *testing.T, memory, store int64, maxWill int) {
	r := newDurableRig(t, func(o *Options) {
		o.MemoryLimit, o.StoreMaxBytes, o.MaxSessions = memory, store, 5000
		o.Session.MaxWill = maxWill
	})
	within := func(when string) {
		t.Helper()
		synctest.Wait()
		for _, b := range []*budget{&r.gateway.limits.memory, &r.gateway.limits.footprints} {
			if used := b.used.Load(); b.limit > 0 && (used > b.limit || used < 0) {
				t.Fatalf("%s: %d octets of %d", when, used, b.limit)
			}
		}
	}
	honest := r.device("10.9.0.1:5000")
	honest.connectWith(false, 60000, "honest")
	honest.subscribe("honest/first", 1)
	time.Sleep(keptFor)

	long := strings.Repeat("w", 60000)
	for i := range 1000 {
		d := r.device(fmt.Sprintf("10.1.%d.%d:5000", i/250, i%250+1))
		size := 60000
		if maxWill > 0 && i%2 == 0 {
			size = maxWill/2 - 2
		}
		code := d.offerWill(fmt.Sprintf("will-%d", i), long[:size], long[:size])
		if maxWill > 0 && size > maxWill && code != sn12.RejectedNotSupported {
			t.Fatalf("a will that is too large gets CONNACK %v", code)
		}
		if i%100 == 0 {
			within("wills")
		}
	}
	within("wills")
	refused := 0
	for i := range 50 {
		d := r.device(fmt.Sprintf("10.2.0.%d:5000", i+1))
		d.connectWith(true, 60000, fmt.Sprintf("names-%d", i))
		for n := range 400 {
			d.sendMessage(sn12.Register{MsgID: uint16(n + 1), TopicName: []byte(name(n))})
			if d.code() != sn12.Accepted {
				refused++
				break
			}
		}
	}
	within("names")
	if refused == 0 || r.dropped(session.ReasonMemoryLimit) == 0 {
		t.Errorf("nobody was refused")
	}
	for who, d := range map[string]*device{"honest": honest, "late": r.device("10.9.0.2:5000")} {
		if who == "late" {
			d.connectWith(true, 60, who)
		}
		d.sendMessage(sn12.Register{MsgID: 1, TopicName: []byte(who + "/second")})
		if code := d.code(); code != sn12.Accepted {
			t.Errorf("REGISTER of %s: %v", who, code)
		}
		if who == "late" {
			continue
		}
		for n := range 100 {
			d.sendMessage(sn12.Register{MsgID: uint16(n + 2), TopicName: []byte(name(n))})
			if code := d.code(); code != sn12.Accepted {
				t.Fatalf("REGISTER %d of %s: %v", n, who, code)
			}
		}
		d.subscribe(who+"/third", 1)
	}
	within("honest devices")
}

// TestKeptIsCountedAndGivenBack compares what is counted with what is there, through the
// life of a session.
func TestKeptIsCountedAndGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, func(o *Options) { o.MemoryLimit, o.StoreMaxBytes, o.Expiry = 1<<20, 1<<20, time.Hour })
		d := r.device("10.0.0.2:5000")
		count := func(why string, want int64) {
			t.Helper()
			synctest.Wait()
			if memory, store := r.gateway.limits.memory.used.Load(), r.gateway.limits.footprints.used.Load(); memory != want || store != want {
				t.Errorf("%s: %d octets in memory and %d in the store, want %d", why, memory, store, want)
			}
		}
		d.connectWill("dev", "topic", "message")
		n := int64(len("dev") + len("topic") + len("message") + 64)
		count("a will", n)
		d.register("a/b")
		n += 3 + 96
		count("a topic", n)
		d.subscribe("c/#", 1)
		n += 3 + 48
		count("a subscription", n)
		d.sendMessage(sn12.WillMsgUpd{Message: []byte("m")})
		d.wantMessage("updated", sn12.WillMsgResp{})
		update := int64(len("topic") + len("m") + 64)
		count("the connection still has the old will", n+update)
		r.restart()
		n -= int64(len("message") - len("m"))
		count("after a restart", n)
		d.sendMessage(sn12.Unsubscribe{MsgID: 9, TopicName: []byte("c/#")})
		d.wantMessage("unsubscribed", sn12.UnsubAck{MsgID: 9})
		n -= 3 + 48
		count("unsubscribed", n)
		d.sendMessage(sn12.Disconnect{})
		time.Sleep(4 * time.Hour)
		r.wantSessions("nobody", 0)
		count("it has ended", 0)
	})
}

func TestNodeIDsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MemoryLimit = 1 << 20 })
		d := r.device("10.0.0.2:5000")
		inner, err := sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		node := strings.Repeat("n", 200)
		d.sendMessage(sn12.Encapsulated{NodeID: []byte(node), Inner: inner})
		synctest.Wait()
		if used := r.gateway.limits.memory.used.Load(); used != int64(len(node)+len("dev")) {
			t.Errorf("%d octets", used)
		}
	})
}

// TestHeldMessagesLeaveRoomInTheStore: they stay with the broker when too many are
// stored, and none is lost.
func TestHeldMessagesLeaveRoomInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10_000
		r := newDurableRig(t, func(o *Options) {
			o.StoreMaxBytes = storedPart * limit
			o.Session.MaxMessages, o.Session.MaxBytes = 1000, 1<<20
		})
		devices := r.sleepers(2, 1)
		for i := range 40 {
			for to := range 2 {
				r.publish(fmt.Sprintf("to/%d", to), fmt.Sprintf("%03d", i)+strings.Repeat("x", 400), 1)
			}
			synctest.Wait()
		}
		octets := 0
		for _, key := range r.store.Keys() {
			if strings.HasPrefix(key, "held ") {
				octets += 400
			}
		}
		if octets == 0 || octets > limit {
			t.Errorf("%d octets are stored, want up to %d", octets, limit)
		}
		for i, d := range devices {
			got := d.wake(fmt.Sprintf("s-%d", i))
			for n, p := range got {
				if !strings.HasPrefix(p, fmt.Sprintf("%03d", n)) {
					t.Fatalf("device %d gets %.3s as message %d", i, p, n)
				}
			}
			if len(got) != 40 {
				t.Errorf("device %d gets %d messages", i, len(got))
			}
		}
	})
}
