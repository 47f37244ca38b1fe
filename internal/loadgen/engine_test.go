package loadgen

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
	"sngate/upstream/mqtt"
)

// script is a gateway and its broker: it says what a datagram of a device is answered with.
// The engine's clock is that of synctest.
type script struct {
	t      *testing.T
	e      *engine
	answer func(s *script, i int, m sn12.Message)

	mu      sync.Mutex
	queue   []func()
	ready   chan struct{}
	heard   map[sn12.Type]int
	started time.Time
}

func (s *script) send(i int, datagram []byte) {
	m, err := sn12.Parse(append([]byte(nil), datagram...))
	if err != nil {
		s.t.Errorf("device %d sends % x: %v", i, datagram, err)
		return
	}
	s.mu.Lock()
	s.heard[m.Type()]++
	s.mu.Unlock()
	s.answer(s, i, m)
}

// after has f run on the gateway's goroutine, d from now.
func (s *script) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queue = append(s.queue, f)
		select {
		case s.ready <- struct{}{}:
		default:
		}
	})
}

// reply sends messages to device i, in their order, a millisecond from now.
func (s *script) reply(i int, list ...sn12.Message) {
	var datagrams [][]byte
	for _, m := range list {
		b, err := m.Append(nil)
		if err != nil {
			s.t.Error(err)
		}
		datagrams = append(datagrams, b)
	}
	s.after(time.Millisecond, func() {
		for _, b := range datagrams {
			s.e.take(i, b)
		}
	})
}

func (s *script) serve(func(int, []byte)) error {
	for range s.ready {
		s.mu.Lock()
		list := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, f := range list {
			f()
		}
	}
	return nil
}

func (s *script) close() { close(s.ready) }

// play runs an engine against a script. After its plan it sends for o.Duration.
func play(t *testing.T, o Options, answer func(s *script, i int, m sn12.Message)) (r *Result, heard map[sn12.Type]int) {
	t.Helper()
	o.Payload, o.AtOnce = max(o.Payload, MinPayload), max(o.AtOnce, 100)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		here, there := net.Pipe()
		defer there.Close()
		s := &script{t: t, answer: answer, ready: make(chan struct{}, 1), heard: make(map[sn12.Type]int), started: time.Now()}
		s.e = &engine{
			o: &o, begin: time.Now(), stop: cancel, wire: s, devices: newDevices("t", o.Devices),
			waiting: newTimeouts(o.Devices), credit: newTimeouts(o.Devices),
			up: way{tally: newTally(o.Devices)}, down: way{tally: newTally(o.Devices)},
			random: rand.New(rand.NewPCG(1, 1)), payload: make([]byte, o.Payload),
			broker: &brokerConn{conn: here, in: mqtt.NewScanner(here, 1<<16)},
		}
		s.e.broker.unwritten.L = &s.e.broker.mu
		go s.broker(there)
		s.e.start(ctx)
		var err error
		if r, err = s.e.run(ctx); err != nil {
			t.Error(err)
		}
		s.e.goodbye()
		cancel(nil)
		s.e.close()
		time.Sleep(time.Minute) // what was to come later comes to nothing
		s.mu.Lock()
		heard = s.heard
		s.mu.Unlock()
	})
	return r, heard
}

// broker hands what the engine publishes to the device, 1 ms later.
func (s *script) broker(conn net.Conn) {
	in := mqtt.NewScanner(conn, 1<<16)
	var v mqtt.View
	for in.Next(&v) == nil {
		if v.Kind == mqtt.TypePublish {
			m := sn12.Publish{QoS: s.e.o.QoS, TopicID: 1, MsgID: uint16(readStamp(v.Payload).number + 1), Data: append([]byte(nil), v.Payload...)}
			s.answer(s, int(readStamp(v.Payload).device), m)
		}
	}
}

// obliging answers everything at once, as a gateway does that does well. A PUBLISH with a
// topic id of 1 is the broker's.
func obliging(s *script, i int, m sn12.Message) {
	switch m := m.(type) {
	case sn12.Connect:
		s.reply(i, sn12.ConnAck{})
	case sn12.Register:
		s.reply(i, sn12.RegAck{TopicID: 2, MsgID: m.MsgID})
	case sn12.Subscribe:
		s.reply(i, sn12.SubAck{QoS: m.QoS, TopicID: 1, MsgID: m.MsgID})
	case sn12.Publish:
		if m.TopicID == 1 {
			s.reply(i, m)
			return
		}
		data := append([]byte(nil), m.Data...)
		s.after(time.Millisecond, func() { s.e.published(data) })
		if m.QoS == 1 {
			s.reply(i, sn12.PubAck{TopicID: 2, MsgID: m.MsgID})
		}
		if m.QoS == 2 {
			s.reply(i, sn12.PubRec{MsgID: m.MsgID})
		}
	case sn12.PubRel:
		s.reply(i, sn12.PubComp{MsgID: m.MsgID})
	case sn12.PubRec:
		s.reply(i, sn12.PubRel{MsgID: m.MsgID})
	case sn12.Disconnect:
		if m.HasDuration {
			s.reply(i, sn12.Disconnect{})
		}
	case sn12.PingReq:
		s.reply(i, sn12.PingResp{})
	}
}

func seconds10(mode Mode) Options {
	return Options{Mode: mode, Devices: 10, QoS: 1, Rate: 100, RetryInterval: time.Second, RetryCount: 2, Duration: 10 * time.Second, Drain: 5 * time.Second, Hold: time.Second}
}

func TestOpenLoopSendsAtItsRate(t *testing.T) {
	for _, mode := range []Mode{Up, Down, Mixed} {
		for qos := range uint8(3) {
			o := seconds10(mode)
			o.QoS = qos
			r, _ := play(t, o, obliging)
			var sent, received, spoiled int64
			for _, s := range []*Stream{r.Up, r.Down} {
				if s != nil {
					sent, received, spoiled = sent+s.Sent, received+s.Received, spoiled+s.Lost+s.Duplicates+s.Reordered
				}
			}
			if sent < 999 || sent > 1002 || received != sent || spoiled != 0 || r.Invalid != 0 {
				t.Errorf("%s, QoS %d: %d sent, %d received, %d spoiled, %d invalid", mode, qos, sent, received, spoiled, r.Invalid)
			}
			if r.Window.SentPerSecond < 99 || r.Window.SentPerSecond > 101 {
				t.Errorf("%s, QoS %d: %v per second", mode, qos, r.Window.SentPerSecond)
			}
		}
	}
}

// What is slow while it warms up does not count.
func TestWarmUpIsNotMeasured(t *testing.T) {
	for _, mode := range []Mode{Up, Down} {
		o := seconds10(mode)
		o.WarmUp, o.RetryInterval = 5*time.Second, time.Minute
		r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
			if _, ok := m.(sn12.Publish); ok && time.Since(s.started) < 4*time.Second {
				s.after(500*time.Millisecond, func() { obliging(s, i, m) })
				return
			}
			obliging(s, i, m)
		})
		for name, l := range map[string]*Latency{"up": streamLatency(r.Up), "down": streamLatency(r.Down), "ack": r.Ack, "late": r.Late} {
			if l != nil && (l.Max > 5000 || l.Count < 999 || l.Count > 1001) {
				t.Errorf("%s: %s is %+v", mode, name, *l)
			}
		}
		if s := r.Window.Seconds; s < 10 || s > 10.1 || r.Window.SentPerSecond < 99 || r.Window.SentPerSecond > 101 {
			t.Errorf("%s: %+v", mode, r.Window)
		}
	}
}

func streamLatency(s *Stream) *Latency {
	if s == nil {
		return nil
	}
	return s.EndToEnd
}

func TestClosedLoopWaitsForWhatIsUnderWay(t *testing.T) {
	for _, mode := range []Mode{Up, Down} {
		for qos := range uint8(3) {
			o := seconds10(mode)
			o.Rate, o.QoS, o.Duration = 0, qos, time.Second
			r, _ := play(t, o, obliging)
			s := r.Up
			if mode == Down {
				s = r.Down
			}
			// A message takes 1 ms, and with QoS 2 up two; 10 devices have one under way each.
			want := int64(10_000)
			if mode == Up && qos == 2 {
				want /= 2
			}
			if s.Sent < want*95/100 || s.Sent > want+20 || s.Lost != 0 || s.Duplicates != 0 || r.Timeouts != 0 {
				t.Errorf("%s, QoS %d: %d sent, %d lost, %d duplicates, %d timeouts", mode, qos, s.Sent, s.Lost, s.Duplicates, r.Timeouts)
			}
			if s.EndToEnd.P50 < 950 || s.EndToEnd.P50 > 1050 {
				t.Errorf("%s, QoS %d: half of the messages take %v us, want 1000", mode, qos, s.EndToEnd.P50)
			}
		}
	}
}

func TestClosedLoopGoesOnWhenAMessageIsLost(t *testing.T) {
	for _, mode := range []Mode{Up, Down} {
		o := seconds10(mode)
		o.Rate, o.QoS, o.Drain = 0, 0, time.Second
		lost := 0
		r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
			if p, ok := m.(sn12.Publish); ok && readStamp(p.Data).number == 5 {
				lost++
				return
			}
			obliging(s, i, m)
		})
		s := r.Up
		if mode == Down {
			s = r.Down
		}
		if lost != 10 || s.Lost != 10 || r.Timeouts != 10 || s.Received < 50_000 {
			t.Errorf("%s: %d lost, told are %d and %d timeouts; %d received", mode, lost, s.Lost, r.Timeouts, s.Received)
		}
	}
}

func TestWhatADeviceOwesIsSentLater(t *testing.T) {
	o := seconds10(Up)
	o.RetryInterval = 20 * time.Second
	r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
		// A device sends ten times a second, and has its answers for 0.05 s each, but for one.
		if p, ok := m.(sn12.Publish); ok {
			d := 50 * time.Millisecond
			if readStamp(p.Data).number == 10 {
				d = time.Second
			}
			s.after(d, func() { obliging(s, i, p) })
			return
		}
		obliging(s, i, m)
	})
	if r.Up.Sent < 999 || r.Up.Lost != 0 || r.Up.Reordered != 0 {
		t.Errorf("%d sent, %d lost, %d out of order", r.Up.Sent, r.Up.Lost, r.Up.Reordered)
	}
	// It was due 0.1 s after the one that took a second, and leaves when that has its answer.
	if late := r.Late.Max / 1e6; late < 0.85 || late > 0.95 {
		t.Errorf("the latest message is %v s late", late)
	}
	if ack := r.Ack.Max / 1e6; ack < 1 || ack > 1.01 {
		t.Errorf("the latest acknowledgement takes %v s", ack)
	}
}

func TestRequestsAreRepeatedAndGivenUp(t *testing.T) {
	o := seconds10(Connect)
	tries := make([]int, o.Devices)
	r, heard := play(t, o, func(s *script, i int, m sn12.Message) {
		if _, ok := m.(sn12.Connect); ok {
			if tries[i]++; tries[i] == i%4 { // 0: never answered
				obliging(s, i, m)
			}
		}
	})
	// Devices 0, 4 and 8 are never answered; 1, 5, 9 at once; 2 and 6 after one repeat; 3 and 7
	// after two.
	if r.Connect.Connected != 7 || r.Connect.Failed != 3 || r.Connect.Repeats != 3*2+2*1+2*2 || heard[sn12.TypeConnect] != 10+12 {
		t.Errorf("%+v, %d CONNECTs", r.Connect, heard[sn12.TypeConnect])
	}
	if s := r.Connect.Seconds; s < 3 || s > 3.1 {
		t.Errorf("giving up took %v s, want 3", s)
	}
}

func TestOnlySoManyConnectAtOnce(t *testing.T) {
	o := seconds10(Connect)
	o.Devices, o.AtOnce = 250, 100
	open, most := 0, 0
	var mu sync.Mutex
	play(t, o, func(s *script, i int, m sn12.Message) {
		if _, ok := m.(sn12.Connect); ok {
			mu.Lock()
			open++
			most = max(most, open)
			mu.Unlock()
			s.after(time.Second/2, func() {
				mu.Lock()
				open--
				mu.Unlock()
				s.e.take(i, []byte{3, byte(sn12.TypeConnAck), 0})
			})
		}
	})
	if most != 100 {
		t.Errorf("up to %d connect at once, want 100", most)
	}
}

func TestRefusalsAndDisconnectsAreCounted(t *testing.T) {
	o := seconds10(Up)
	r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
		switch p, _ := m.(sn12.Publish); {
		case m.Type() == sn12.TypeConnect && i == 0:
			s.reply(i, sn12.ConnAck{ReturnCode: sn12.RejectedCongestion})
		case p.MsgID != 0 && i == 1 && readStamp(p.Data).number == 3:
			s.reply(i, sn12.Disconnect{})
		case p.MsgID != 0 && i == 2 && readStamp(p.Data).number == 4:
			s.reply(i, sn12.PubAck{TopicID: 2, MsgID: p.MsgID, ReturnCode: sn12.RejectedCongestion})
		case p.MsgID != 0 && i == 3 && readStamp(p.Data).number == 5:
		default:
			obliging(s, i, m)
		}
	})
	if r.Connect.Rejected != 1 || r.Connect.Failed != 2 || r.Disconnects != 1 || r.Refused != 1 || r.GivenUp != 2 || r.Repeats != 2 {
		t.Errorf("%+v", r)
	}
	if r.Up.Lost != 3 || r.Up.Duplicates != 0 {
		t.Errorf("%+v", r.Up)
	}
}

func TestSimulatedLossIsRepairedByRepeats(t *testing.T) {
	for qos := range uint8(3) {
		o := seconds10(Up)
		o.QoS, o.Loss, o.RetryCount, o.Drain = qos, .1, 20, time.Minute
		seen := make(map[int]map[uint16]bool) // by device: MsgIds, as a gateway keeps for QoS 2
		r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
			p, ok := m.(sn12.Publish)
			if seen[i] == nil {
				seen[i] = make(map[uint16]bool)
			}
			if ok && p.QoS == 2 && seen[i][p.MsgID] {
				s.reply(i, sn12.PubRec{MsgID: p.MsgID})
				return
			}
			seen[i][p.MsgID] = ok
			obliging(s, i, m)
		})
		spoiled := map[bool]string{true: "some", false: "none"}
		if r.ThrownAway == 0 || (r.Up.Lost > 0) != (qos == 0) || (r.Up.Duplicates > 0) != (qos == 1) || (r.Repeats > 0) != (qos > 0) {
			t.Errorf("QoS %d: %d thrown away, lost %s, duplicates %s, %d repeats", qos, r.ThrownAway,
				spoiled[r.Up.Lost > 0], spoiled[r.Up.Duplicates > 0], r.Repeats)
		}
	}
}

func TestRepeatOfQoS2IsNoDuplicate(t *testing.T) {
	for qos, duplicates := range []int64{1: 10, 2: 0} {
		if qos == 0 {
			continue
		}
		o := seconds10(Down)
		o.QoS = uint8(qos)
		r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
			if p, ok := m.(sn12.Publish); ok && readStamp(p.Data).number == 3 {
				s.reply(i, p) // and once more below
			}
			obliging(s, i, m)
		})
		if r.Down.Duplicates != duplicates || r.Down.Lost != 0 {
			t.Errorf("QoS %d: %+v", qos, r.Down)
		}
	}
}

func TestSleepersWakeUpUntilTheyHaveAll(t *testing.T) {
	o := seconds10(Sleep)
	o.Messages = 5
	held := make(map[int][]sn12.Message)
	wakes := make(map[int]int)
	var mu sync.Mutex
	r, _ := play(t, o, func(s *script, i int, m sn12.Message) {
		mu.Lock()
		defer mu.Unlock()
		switch m := m.(type) {
		case sn12.Publish:
			if i == 7 && len(held[7]) == 0 && wakes[7] == 0 {
				s.reply(i, m) // does not know that device 7 sleeps
			}
			held[i] = append(held[i], m)
		case sn12.PingReq:
			n := len(held[i])
			if wakes[i]++; i == 3 && wakes[i] == 1 {
				n = 2
			}
			s.reply(i, append(slices.Clone(held[i][:n]), sn12.PingResp{})...)
			held[i] = held[i][n:]
		default:
			obliging(s, i, m)
		}
	})
	want := Wakes{Early: 1, FirstWake: 5*10 - 3 - 1, Wakes: 2}
	got := *r.Sleep
	got.Wake = nil
	if got != want || r.Down.Received != 50 || r.Down.Duplicates != 1 {
		t.Errorf("%+v, want %+v; %+v", got, want, r.Down)
	}
}

// nowhere is a wire that leads nowhere.
type nowhere struct{ sent int }

func (w *nowhere) send(int, []byte)              { w.sent++ }
func (w *nowhere) serve(func(int, []byte)) error { return nil }
func (w *nowhere) close()                        {}

func TestMessagesAllocateNothing(t *testing.T) {
	for _, mode := range []Mode{Up, Down} {
		for qos := range uint8(3) {
			o := Options{Mode: mode, Devices: 3, QoS: qos, Payload: 32, RetryInterval: time.Hour, Duration: time.Second}
			w := &nowhere{}
			e := &engine{
				o: &o, begin: time.Now(), wire: w, devices: newDevices("t", o.Devices), waiting: newTimeouts(o.Devices), credit: newTimeouts(o.Devices),
				up: way{tally: newTally(o.Devices)}, down: way{tally: newTally(o.Devices)}, payload: make([]byte, o.Payload), broker: &brokerConn{},
			}
			e.broker.unwritten.L = &e.broker.mu
			e.startSending()
			var datagram, payload []byte
			one := func() { // what happens at device 1 for each message
				d := &e.devices[1]
				e.broker.out = e.broker.out[:0]
				s := stamp{device: 1, number: e.up.streams[1].next - 1}
				if mode == Down {
					s.number = e.down.streams[1].next - 1
				}
				payload = append(payload[:0], e.payload...)
				s.put(payload)
				id := uint16(s.number + 1)
				switch {
				case mode == Down:
					datagram, _ = sn12.Publish{QoS: qos, MsgID: id, Data: payload}.Append(datagram[:0])
					e.take(1, datagram)
					if qos == 2 {
						datagram, _ = sn12.PubRel{MsgID: id}.Append(datagram[:0])
						e.take(1, datagram)
					}
					return
				case qos == 1:
					e.published(payload)
					datagram, _ = sn12.PubAck{MsgID: d.msgID}.Append(datagram[:0])
				case qos == 2:
					datagram, _ = sn12.PubRec{MsgID: d.msgID}.Append(datagram[:0])
					e.take(1, datagram)
					e.published(payload)
					datagram, _ = sn12.PubComp{MsgID: d.msgID}.Append(datagram[:0])
				default:
					e.published(payload)
					return
				}
				e.take(1, datagram)
			}
			n := testing.AllocsPerRun(2000, one)
			if received := e.up.received + e.down.received; n != 0 || received != 2001 {
				t.Errorf("%s, QoS %d: %v allocations for each of %d messages", mode, qos, n, received)
			}
			e.tick()
		}
	}
}
