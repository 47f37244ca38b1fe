package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"sngate/gateway/session/dialogue"
	version12 "sngate/gateway/session/sn12"
	"sngate/snpacket/sn12"
)

// relay is one QoS 1 PUBLISH of a device, with the broker's acknowledgement.
type relay struct {
	s        *Session
	out      Out
	now      Time
	datagram []byte
}

func (r *relay) at() Env { return envAt(r.now) }

func newRelay(tb testing.TB, durable bool) *relay {
	tb.Helper()
	cfg := testConfig()
	cfg.Durable, cfg.Spool = durable, durable
	cfg.SpoolMessages, cfg.SpoolBytes, cfg.SpoolAge = 1000, 1<<20, 24*time.Hour
	r := &relay{s: newSession(cfg, "dev"), now: epoch}
	feed := func(m sn12.Message) {
		b, err := m.Append(nil)
		if err != nil {
			tb.Fatal(err)
		}
		r.out.Reset()
		r.s.Datagram(r.at(), b, &r.out)
	}
	feed(connectMsg(true, false, 60))
	r.s.Upstream(r.at(), &Event{Kind: EventConnected}, &r.out)
	r.stored()
	feed(sn12.Register{MsgID: 1, TopicName: []byte("site/7/temperature")})
	r.stored()
	r.datagram, _ = sn12.Publish{QoS: 1, TopicID: 1, MsgID: 2, Data: []byte("21.5")}.Append(nil)
	if !r.step() {
		tb.Fatal("the PUBLISH was not relayed and acknowledged")
	}
	return r
}

// stored tells the session that what it has put out is in the store.
func (r *relay) stored() {
	if token := r.out.Batch; token != 0 {
		r.out.Reset()
		r.s.Upstream(r.at(), &Event{Kind: EventStored, Token: token}, &r.out)
	}
}

// step reports whether the PUBLISH was relayed and then acknowledged, by nothing but that.
func (r *relay) step() bool {
	r.now++
	r.out.Reset()
	r.s.Datagram(r.at(), r.datagram, &r.out)
	if len(r.out.Records) > 0 || len(r.out.Actions) != 1 || r.out.Actions[0].Kind != ActionPublish {
		return false
	}
	ev := Event{Kind: EventPublished, Token: r.out.Actions[0].Token}
	r.out.Reset()
	r.s.Upstream(r.at(), &ev, &r.out)
	return len(r.out.Records) == 0 && r.out.Datagrams() == 1 && len(r.out.Datagram(0)) == 7 && r.s.Deadline() > r.now
}

func TestRelayingAllocatesNothingAndStoresNothing(t *testing.T) {
	for _, durable := range []bool{false, true} {
		r := newRelay(t, durable)
		if n := testing.AllocsPerRun(1000, func() {
			if !r.step() {
				t.Fatal("not acknowledged, or something to be stored")
			}
		}); n != 0 {
			t.Errorf("store %v: %v allocations per QoS 1 PUBLISH and its PUBACK, want 0", durable, n)
		}
	}
}

func TestPingAllocatesNothing(t *testing.T) {
	r := newRelay(t, false)
	ping := []byte{2, byte(sn12.TypePingReq)}
	if n := testing.AllocsPerRun(1000, func() {
		r.out.Reset()
		r.s.Datagram(r.at(), ping, &r.out)
		if r.out.Datagrams() != 1 {
			t.Fatal("not answered")
		}
	}); n != 0 {
		t.Errorf("%v allocations per PINGREQ, want 0", n)
	}
}

// The memory of an idle device is what 100,000 of them are multiplied by.
func TestSessionIsSmall(t *testing.T) {
	size := unsafe.Sizeof(Session{})
	t.Logf("Session %d, delivery %d, outgoing %d, inflight %d, request %d, subscription %d, Action %d octets",
		size, unsafe.Sizeof(delivery{}), unsafe.Sizeof(outgoing{}), unsafe.Sizeof(inflight{}),
		unsafe.Sizeof(request{}), unsafe.Sizeof(subscription{}), unsafe.Sizeof(Action{}))
	if size > 896 {
		t.Errorf("Session is %d octets, want at most 896", size)
	}
}

// A chunk of the queue is as large as Go allocates without a header and without rounding up.
func TestOutgoingIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(outgoing{}); size*chunkLen > 512 {
		t.Errorf("outgoing is %d octets and a chunk %d, want at most 512", size, size*chunkLen)
	}
}

// A message that is held costs little more than what is in it, although each comes with a copy
// of the name of its topic.
func TestHeldMessageIsSmall(t *testing.T) {
	const devices, each, payload = 50, 100, 32
	const most = payload + 76
	for _, topics := range []int{1, 5} {
		var all []*filling
		for range devices {
			all = append(all, newFilling(t, (*filling).hold, 1)) // asleep
		}
		for i := range topics {
			for _, f := range all {
				if topics > 1 { // only what has an id is shared by messages that take turns
					f.s.ids.topics.Add(fmt.Sprint("sngate-bench/0123456/down/", i), topics+1, nil)
				}
			}
		}
		before := liveOctets()
		for n := range each {
			for _, f := range all {
				topic := fmt.Sprint("sngate-bench/0123456/down/", n%topics)
				f.event(Event{Kind: EventMessage, Topic: topic, Payload: make([]byte, payload), QoS: 1, Handle: Handle(n + 2)})
				f.stored(f.out.Batch)
			}
		}
		octets := (liveOctets() - before) / (devices * each)
		t.Logf("%d topics: %d octets for a message of %d", topics, octets, payload)
		if octets > most {
			t.Errorf("%d topics: a message of %d octets costs %d, want at most %d", topics, payload, octets, most)
		}
		for _, f := range all {
			if n, _ := f.s.Held(); n != each+1 {
				t.Fatalf("%d messages are held", n)
			}
		}
	}
}

// liveOctets is what of the heap is in use.
func liveOctets() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has found in pools
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestOutGivesBackTheMemoryOfAHugeStep(t *testing.T) {
	var o Out
	for i := range 10 {
		send(&step{Out: &o, dialogue: version12.Dialogue{}}, dialogue.Message{Kind: dialogue.Publish, MsgID: uint16(i), Data: make([]byte, 60000)})
	}
	o.do(Action{Kind: ActionPublish, Payload: make([]byte, 10)})
	if o.Datagrams() != 10 || len(o.Datagram(9)) != 60009 {
		t.Fatalf("%d datagrams", o.Datagrams())
	}
	o.Reset()
	if cap(o.arena) != 0 || o.Datagrams() != 0 || len(o.Actions) != 0 {
		t.Errorf("%d octets kept", cap(o.arena))
	}
	if a := o.Actions[:1][0]; a.Payload != nil {
		t.Error("the payload of an old action is kept alive")
	}
}

func BenchmarkRelayQoS1(b *testing.B) {
	for _, durable := range []bool{false, true} {
		for _, topics := range []int{1, 100} {
			b.Run(fmt.Sprintf("store=%v/topics=%d", durable, topics), func(b *testing.B) {
				r := newRelay(b, durable)
				for i := range topics - 1 {
					m, _ := sn12.Register{MsgID: 1, TopicName: []byte(fmt.Sprint("topic/", i))}.Append(nil)
					r.out.Reset()
					r.s.Datagram(r.at(), m, &r.out)
					r.stored()
				}
				b.ReportAllocs()
				for b.Loop() {
					if !r.step() {
						b.Fatal("not acknowledged")
					}
				}
			})
		}
	}
}
