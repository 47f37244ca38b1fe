package session

import (
	"fmt"
	"runtime/debug"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// filling is a session to which one message after the other is added that stays: for a
// sleeping device, or of one whose broker is away.
type filling struct {
	s        *Session
	out      Out
	now      Time
	n        int
	datagram []byte
	add      func(f *filling) Token
}

// The ways of filling: what adds the next message.
var fillings = []struct {
	name string
	add  func(f *filling) Token
}{
	{"held QoS 1", (*filling).hold},
	{"spooled QoS 1", func(f *filling) Token { return f.spool(1) }},
	{"spooled QoS 2", func(f *filling) Token { return f.spool(2) }},
}

func newFilling(tb testing.TB, add func(*filling) Token, messages int) *filling {
	tb.Helper()
	cfg := testConfig()
	cfg.Durable, cfg.Spool = true, true
	cfg.SpoolMessages, cfg.SpoolBytes, cfg.SpoolAge = 1<<20, 1<<30, 24*time.Hour
	cfg.MaxMessages, cfg.MaxBytes = 1<<20, 1<<30
	f := &filling{s: newSession(cfg, "dev"), now: epoch, add: add}
	feed := func(m sn12.Message) {
		b, err := m.Append(nil)
		if err != nil {
			tb.Fatal(err)
		}
		f.out.Reset()
		f.s.Datagram(envAt(f.now), b, &f.out)
		f.stored(f.out.Batch)
	}
	feed(connectMsg(false, false, 60))
	f.event(Event{Kind: EventConnected})
	f.stored(f.out.Batch)
	feed(sn12.Register{MsgID: 1, TopicName: []byte("a/b")})
	f.datagram, _ = sn12.Publish{QoS: 1, TopicID: 1, MsgID: 2, Data: []byte("21.5")}.Append(nil)
	f.event(Event{Kind: EventDown})
	if f.s.State() != StateActive {
		tb.Fatal("not connected")
	}
	if add != nil {
		f.fill(messages)
	}
	return f
}

func (f *filling) event(ev Event) {
	f.out.Reset()
	f.s.Upstream(envAt(f.now), &ev, &f.out)
}

func (f *filling) stored(batch Token) {
	if batch != 0 {
		f.event(Event{Kind: EventStored, Token: batch})
	}
}

// hold is a message of the broker for a device that sleeps.
func (f *filling) hold() Token {
	if f.s.State() != StateAsleep {
		f.out.Reset()
		f.s.Datagram(envAt(f.now), []byte{4, byte(sn12.TypeDisconnect), 0xFF, 0xFF}, &f.out)
		f.stored(f.out.Batch)
	}
	f.event(Event{Kind: EventMessage, Topic: "a/b", Payload: []byte("21.5"), QoS: 1, Handle: Handle(f.n + 1)})
	return f.out.Batch
}

// spool is a PUBLISH of the device while the broker is away. Of QoS 2 it is completed, so
// that only the spool remembers it.
func (f *filling) spool(qos uint8) Token {
	id := uint16(f.n%60000 + 1)
	f.datagram[2] = f.datagram[2]&^0x60 | qos<<5
	f.datagram[5], f.datagram[6] = byte(id>>8), byte(id)
	f.out.Reset()
	f.s.Datagram(envAt(f.now), f.datagram, &f.out)
	return f.out.Batch
}

// fill adds messages. The store answers with some delay.
func (f *filling) fill(messages int) {
	const behind = 8
	var batches [behind]Token
	for i := range messages {
		f.stored(batches[i%behind])
		batches[i%behind] = f.add(f)
		f.now += lateWindow // and a QoS 2 exchange is forgotten when its MsgId comes again
		if f.n++; f.datagram[2]&0x60 == 2<<5 {
			f.stored(batches[i%behind])
			batches[i%behind] = 0
			f.out.Reset()
			f.s.Datagram(envAt(f.now), []byte{4, byte(sn12.TypePubRel), f.datagram[5], f.datagram[6]}, &f.out)
		}
	}
	for i := range batches {
		f.stored(batches[i])
	}
}

func (f *filling) kept() int {
	held, _ := f.s.Held()
	spooled, _ := f.s.Spooled()
	return held + spooled
}

// fillSizes are how many messages wait already, by the way of filling: of QoS 2 the spool
// takes no more than maxSpooledQoS2.
func fillSizes(way int) (few, many int) {
	if fillings[way].name == "spooled QoS 2" {
		return 100, maxSpooledQoS2 - 10_000
	}
	return 100, 100_000
}

// One more message takes the same time however many wait already.
func TestAddingAMessageTakesTheSameTimeBehindMany(t *testing.T) {
	const rounds, each, most = 40, 20, 1.3
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for way, w := range fillings {
		few, many := fillSizes(way)
		var best [2]time.Duration
		fillings := [2]*filling{newFilling(t, w.add, few), newFilling(t, w.add, many)}
		ratio := 0.0
		for try := range 10 { // a machine that does other things spoils a measurement, and not all of them
			for range rounds {
				for i, f := range fillings {
					before := f.kept()
					start := time.Now()
					f.fill(each)
					took := time.Since(start)
					if f.kept() != before+each {
						t.Fatalf("%s: %d of %d messages are kept", w.name, f.kept()-before, each)
					}
					if best[i] == 0 || took < best[i] {
						best[i] = took
					}
				}
			}
			if ratio = float64(best[1]) / float64(best[0]); ratio <= most {
				break
			}
			t.Logf("%s: ratio %.2f at try %d", w.name, ratio, try+1)
		}
		t.Logf("%s: %v behind %d messages, %v behind %d", w.name, best[0]/each, few, best[1]/each, many)
		if ratio > most {
			t.Errorf("%s: one more message takes %.2f times as long behind %d messages as behind %d", w.name, ratio, many, few)
		}
	}
}

func BenchmarkAddBehind(b *testing.B) {
	for way, w := range fillings {
		few, many := fillSizes(way)
		for _, n := range []int{few, many} {
			b.Run(fmt.Sprintf("%s/waiting=%d", w.name, n), func(b *testing.B) {
				f := newFilling(b, w.add, n)
				b.ReportAllocs()
				for b.Loop() {
					if f.fill(1); f.n >= n+1000 {
						b.StopTimer()
						f = newFilling(b, w.add, n)
						b.StartTimer()
					}
				}
			})
		}
	}
}
