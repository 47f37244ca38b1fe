package session

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

var durableRuns = flag.Uint64("durable-runs", 400, "runs of TestDurableInvariants")

var durableTrace = flag.Int("durable-trace", 150, "lines of the trace that TestDurableInvariants shows")

// TestDurableInvariants has a device, a broker and a store, which all keep their rules,
// work with sessions through losses of datagrams, connections and power, and accounts for
// every message.
func TestDurableInvariants(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	for n := range *durableRuns {
		w := newWorld(t, rand.New(rand.NewPCG(first, n)))
		w.run(1500)
		if t.Failed() {
			t.Fatalf("go test -run TestDurableInvariants -seed %d (run %d)", first, n)
		}
	}
}

// world is a session with all that it has to do with.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	trace []string
	cfg   *Config
	now   Time
	steps int

	s, twin      *Session
	out, twinOut Out
	freed        bool

	dev   *modelDevice
	b     *modelBroker
	l     *modelLink
	store *modelStore

	frail     bool // this run has failures of the store
	storeDown bool
	repair    bool // Snapshot is due
	trouble   int  // step of the last event after which exactly once is too much to ask for

	born      map[string]int  // step by payload
	owedUp    map[string]bool // acknowledged to the device, not passed on by the broker
	owedDown  map[string]bool // acknowledged to the broker, not with the device
	dropped   map[string]bool // from the spool, counted
	gone      map[string]bool // with the session they were held for, counted
	published int

	asked bool // the step was caused by the device
}

func newWorld(t *testing.T, rng *rand.Rand) *world {
	cfg := testConfig()
	cfg.Durable, cfg.Spool = true, true
	cfg.SpoolQoS0 = rng.IntN(2) == 0
	cfg.SpoolDropOldest = rng.IntN(2) == 0
	cfg.SpoolMessages, cfg.SpoolBytes, cfg.SpoolAge = 8, 1000, 10*time.Minute
	cfg.MaxInFlight, cfg.MaxTopics, cfg.MaxSubscriptions = 4, 6, 4
	cfg.MaxMessages, cfg.MaxBytes = 6, 4000
	w := &world{
		t: t, rng: rng, cfg: cfg, now: epoch, s: New(cfg, "dev"), twin: New(cfg, "dev"),
		dev: newModelDevice(rng), store: newModelStore(), frail: rng.IntN(2) == 0, trouble: -1,
		b:    &modelBroker{received: map[uint16]string{}, passedOn: map[string]int{}, atPubrel: rng.IntN(2) == 0},
		born: map[string]int{}, owedUp: map[string]bool{}, owedDown: map[string]bool{}, dropped: map[string]bool{}, gone: map[string]bool{},
	}
	first := uint16(rng.Uint32())
	w.s.StartMsgIDs(first)
	w.twin.StartMsgIDs(first)
	w.b.confirmed = w.confirmed
	w.l = newModelLink(w.b, rng)
	return w
}

func (w *world) run(steps int) {
	defer func() {
		if p := recover(); p != nil {
			w.fail("panic: %v", p)
			panic(p)
		}
	}()
	for w.steps = range steps {
		w.next()
		if w.t.Failed() {
			return
		}
	}
	w.calm()
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	if w.t.Failed() {
		return
	}
	for _, line := range w.trace[max(0, len(w.trace)-*durableTrace):] {
		w.t.Log(line)
	}
	w.t.Errorf("step %d: "+format, append([]any{w.steps}, args...)...)
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > 20000 {
		w.trace = slices.Clone(w.trace[10000:])
	}
}

func (w *world) next() {
	switch n := w.rng.IntN(100); {
	case n < 14:
		if len(w.dev.out) < 3 {
			w.dev.act()
		}
		w.deviceSpeaks()
	case n < 34:
		w.deviceSpeaks()
	case n < 60:
		w.l.work()
		w.drainLink()
	case n < 65:
		w.l.dial(w.rng.IntN(5) > 0, uint8(w.rng.IntN(8)/6*3))
		w.drainLink()
	case n < 83:
		w.storeWorks()
	case n < 92:
		w.brokerPublishes()
	case n < 96:
		w.passTime()
	default:
		w.rare()
	}
}

func (w *world) rare() {
	switch n := w.rng.IntN(40); {
	case n < 10:
		w.note("* connection lost")
		w.l.lose()
		w.drainLink()
	case n == 10:
		if w.l.state != mUp {
			w.note("* the broker forgets the session")
			w.b.reset()
		}
	case n < 14 && w.frail:
		w.note("* store down")
		w.storeDown, w.repair = true, true
	case n < 18:
		w.restart(true)
	case n < 21:
		w.restart(false)
	case n == 21:
		w.out.SpoolFull, w.twinOut.SpoolFull = true, true
	case n == 22 && w.l.state == mDown:
		w.step("parked", func(s *Session, out *Out) { s.Upstream(w.now, &Event{Kind: EventParked}, out) })
		w.l.dormant = true
	case n == 23:
		w.step("address taken", func(s *Session, out *Out) { s.AddressTaken(w.now, out) })
	default:
		w.out.SpoolFull, w.twinOut.SpoolFull = false, false
	}
}

func (w *world) deviceSpeaks() {
	if len(w.dev.out) == 0 {
		return
	}
	m := w.dev.out[0]
	w.dev.out = w.dev.out[1:]
	b, err := m.Append(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if c, ok := m.(sn12.Connect); ok && (c.CleanSession || w.s.clean) {
		w.trouble = w.steps // everything is forgotten
		clear(w.owedDown)
	}
	if p, ok := m.(sn12.Publish); ok && w.born[string(p.Data)] == 0 {
		w.born[string(p.Data)] = w.steps
	}
	if w.rng.IntN(12) == 0 {
		w.note("* lost: %s", describe(b))
		return
	}
	w.l.dormant = false
	w.asked = true
	w.step("device: "+describe(b), func(s *Session, out *Out) {
		own := bytes.Clone(b)
		s.Datagram(w.now, own, out)
		for i := range out.Actions {
			out.Actions[i].Payload = bytes.Clone(out.Actions[i].Payload)
		}
		for i := range own {
			own[i] = 0xA5
		}
	})
	w.asked = false
}

// drainLink gives the session what the link reports.
func (w *world) drainLink() {
	for len(w.l.events) > 0 {
		ev := w.l.events[0]
		w.l.events = w.l.events[1:]
		w.event(ev)
	}
}

func (w *world) event(ev Event) {
	w.step(fmt.Sprintf("event %d token=%d failed=%v present=%v id=%d dup=%v %q", ev.Kind, ev.Token, ev.Failed, ev.SessionPresent, ev.PacketID, ev.Dup, ev.Payload),
		func(s *Session, out *Out) {
			own := ev
			own.Payload = bytes.Clone(ev.Payload)
			s.Upstream(w.now, &own, out)
		})
}

func (w *world) storeWorks() {
	switch n := w.rng.IntN(10); {
	case w.storeDown && n == 0:
		w.note("* store works")
		w.storeDown = false
	case !w.storeDown && w.repair:
		w.snapshot()
	case n < 6:
		if w.store.commit(!w.storeDown) && w.storeDown {
			w.repair = true
		}
	default:
		if ev, ok := w.store.answer(); ok && ev.Token != 0 {
			w.event(ev)
		}
	}
}

func (w *world) brokerPublishes() {
	if len(w.s.subs) == 0 || len(w.b.out) >= 10 || !w.b.present {
		return
	}
	w.published++
	qos := uint8(w.rng.IntN(3))
	payload := fmt.Sprintf("down%d-%d", qos, w.published)
	w.born[payload] = w.steps
	w.b.publish(deviceTopics[w.rng.IntN(len(deviceTopics))], payload, qos)
}

// confirmed: the broker has been told that a message of it is safe.
func (w *world) confirmed(m *brokerMessage) {
	if w.dev.got[m.payload] == 0 && !w.gone[m.payload] && m.qos > 0 {
		w.owedDown[m.payload] = true
	}
}

func (w *world) passTime() {
	if w.rng.IntN(3) == 0 {
		w.now += time.Duration(w.rng.IntN(40)) * time.Second / 10
	} else if at := w.s.Deadline(); at != Never && (at < w.now+30*time.Second || w.rng.IntN(20) == 0) {
		w.now = max(w.now, at)
	}
	w.step("advance", func(s *Session, out *Out) { s.Advance(w.now, out) })
	if at := w.s.Deadline(); at <= w.now {
		w.fail("deadline %v is not after now %v", at-epoch, w.now-epoch)
	}
}

// restart begins a new process with what is in the store. In a crash that is what has
// been committed; otherwise everything is.
func (w *world) restart(crash bool) {
	for !crash && w.store.commit(!w.storeDown) {
	}
	w.note("* restart, crash=%v", crash)
	w.excuse()
	if w.storeDown || w.repair {
		w.trouble = w.steps
	}
	w.storeDown, w.repair = false, false
	w.store.batches = nil
	w.l.disconnect()
	w.l = newModelLink(w.b, w.rng)
	w.dev.out = nil
	w.resume()
}

// excuse lets messages of the device go that the broker has forgotten half-way, when the
// process ends before the store knows: it goes on with PUBREL for nothing.
func (w *world) excuse() {
	p := &w.s.durable.spool
	for _, r := range w.store.records {
		if r.Kind != RecordReleased {
			continue
		}
		f := fields{b: r.Key}
		if i := p.find(f.u32()); i >= 0 && !p.msgs[i].released && p.msgs[i].stage != spoolReceived {
			w.dropped[string(p.msgs[i].payload)] = true
			delete(w.owedUp, string(p.msgs[i].payload))
		}
	}
}

// snapshot repairs the store, as the shell does.
func (w *world) snapshot() {
	w.repair = false
	if !w.s.Stored() {
		w.erase()
		return
	}
	w.step("snapshot", func(s *Session, out *Out) { s.Snapshot(out) })
}

func (w *world) erase() {
	var erase Out
	for kind := RecordSession; kind <= RecordSpool; kind++ {
		erase.removeAll(kind)
	}
	w.store.submit(&erase)
}

func (w *world) resume() {
	first, clean := uint16(w.rng.Uint32()), w.s.clean
	w.s = w.store.loaded(w.t, w.cfg, first)
	if w.s.clean != clean { // CONNACK does not wait for the store
		w.dev.forget()
		w.dev.clean = w.s.clean
		w.trouble = w.steps
	}
	w.twin = w.store.loaded(w.t, w.cfg, first)
	known := false
	w.step("resume", func(s *Session, out *Out) { known = s.Resume(w.now, out) })
	if !known {
		w.forget()
	}
}

// forget is what the shell does with a session that is over.
func (w *world) forget() {
	if spooled, _ := w.s.Spooled(); spooled > 0 {
		w.fail("a session is forgotten with %d messages in the spool", spooled)
	}
	w.note("* forgotten")
	for i := range w.store.batches {
		w.store.batches[i].token = 0 // nobody waits
	}
	w.erase()
	w.repair = w.repair || w.storeDown
	clear(w.owedDown)
	w.trouble = w.steps
	w.s, w.twin = New(w.cfg, "dev"), New(w.cfg, "dev")
	first := uint16(w.rng.Uint32())
	w.s.StartMsgIDs(first)
	w.twin.StartMsgIDs(first)
	w.l.disconnect()
	w.l = newModelLink(w.b, w.rng)
	w.dev.state = deviceOff
}

func (w *world) step(what string, f func(*Session, *Out)) {
	if w.t.Failed() {
		return
	}
	w.out.StoreDown, w.twinOut.StoreDown = w.storeDown || w.repair, w.storeDown || w.repair
	if w.storeDown || w.repair {
		w.trouble = w.steps
	}
	w.out.Reset()
	w.twinOut.Reset()
	before := w.s.State()
	spooled, held := w.spooled(), w.held()
	f(w.s, &w.out)
	f(w.twin, &w.twinOut)
	w.note("%d %v %s", w.steps, before, what)
	for i := range w.out.Datagrams() {
		w.note("    -> %s", describe(w.out.Datagram(i)))
	}
	for _, a := range w.out.Actions {
		w.note("    ** %s id=%d again=%v released=%v", showAction(a), a.PacketID, a.Again, a.Released)
	}
	if len(w.out.Records) > 0 || w.out.Batch != 0 {
		w.note("    ++ batch %d: %s", w.out.Batch, describeRecords(w.out.Records))
	}
	if len(w.out.Drops) > 0 {
		w.note("    !! %v", w.out.Drops)
	}
	w.checkTwin()
	w.store.submit(&w.out)
	w.checkDrops(spooled)
	w.noteGone(held)
	for _, a := range w.out.Actions {
		switch a.Kind {
		case ActionState, ActionSetWill:
		case ActionFree:
			w.freed = true
		default:
			a.Payload = bytes.Clone(a.Payload)
			if !w.l.do(a) {
				w.fail("the link is closed, or open, and is asked for %s", showAction(a))
			}
		}
	}
	for i := range w.out.Datagrams() {
		w.toDevice(before, w.out.Datagram(i))
	}
	w.check()
	if w.freed {
		w.freed = false
		w.forget()
	}
}

func (w *world) checkTwin() {
	a, b := &w.out, &w.twinOut
	same := bytes.Equal(a.arena, b.arena) && slices.Equal(a.ends, b.ends) && slices.Equal(a.Drops, b.Drops) &&
		len(a.Actions) == len(b.Actions) && len(a.Records) == len(b.Records) && a.Batch == b.Batch
	for i := 0; same && i < len(a.Actions); i++ {
		same = describeAction(a.Actions[i]) == describeAction(b.Actions[i])
	}
	for i := 0; same && i < len(a.Records); i++ {
		x, y := a.Records[i], b.Records[i]
		same = x.Kind == y.Kind && x.Op == y.Op && bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value)
	}
	if !same {
		w.fail("the twin has done something else")
	}
}

func (w *world) spooled() map[string]int {
	m := map[string]int{}
	for i := range w.s.durable.spool.msgs {
		m[string(w.s.durable.spool.msgs[i].payload)]++
	}
	return m
}

// checkDrops settles the messages of the device that have left the spool: the broker has
// them, or they are counted. A repetition may be there a second time.
func (w *world) checkDrops(before map[string]int) {
	dropped := 0
	for _, r := range w.out.Drops {
		if r == ReasonSpoolExpired || r == ReasonSpoolRejected || r == ReasonSpoolFull {
			dropped++
		}
	}
	now := w.spooled()
	for payload, n := range before {
		if n <= now[payload] || w.b.passedOn[payload] > 0 {
			continue
		}
		if dropped--; dropped < 0 && now[payload] == 0 && w.owedUp[payload] {
			w.fail("%s was acknowledged to the device and has left the spool uncounted", payload)
		}
		w.dropped[payload] = true
		delete(w.owedUp, payload)
	}
}

// toDevice delivers a datagram, or loses it.
func (w *world) toDevice(before State, b []byte) {
	m, err := sn12.Parse(b)
	if err != nil {
		w.fail("sent %x: %v", b, err)
		return
	}
	switch m := m.(type) {
	case sn12.PubAck:
		if m.ReturnCode == sn12.Accepted {
			w.acknowledged(m.MsgID, 1)
		}
	case sn12.PubRec:
		w.acknowledged(m.MsgID, 2)
	case sn12.RegAck, sn12.SubAck, sn12.UnsubAck, sn12.Disconnect:
	case sn12.PubRel: // answers a PUBREC
	default:
		if before == StateAsleep && w.s.State() == StateAsleep && !w.asked {
			w.fail("sent to a sleeping device: %s", describe(b))
		}
	}
	if w.rng.IntN(12) == 0 {
		w.note("    * lost")
		return
	}
	w.dev.receive(b)
	if w.dev.fault != "" {
		w.fail("the device complains: %s", w.dev.fault)
	}
}

func (w *world) acknowledged(msgID uint16, qos uint8) {
	p := w.dev.sending
	if p == nil || p.m.MsgID != msgID || p.m.QoS != qos {
		return
	}
	if w.b.passedOn[p.payload] == 0 && !w.dropped[p.payload] {
		w.owedUp[p.payload] = true
	}
}

// check is what must hold after every step.
func (w *world) check() {
	s, d := w.s, w.s.durable
	stored := map[RecordKind]map[string]bool{RecordHeld: {}, RecordSpool: {}}
	for _, r := range w.store.records {
		f := fields{b: r.Value}
		switch r.Kind {
		case RecordSpool:
			f.u16()
			fallthrough
		case RecordHeld:
			_, _, _, payload := f.message()
			stored[r.Kind][string(payload)] = true
		}
	}
	if w.b.forgot {
		w.b.forgot, w.trouble = false, w.steps // exchanges begin anew
	}
	if w.b.mistaken != "" {
		w.fail("the broker takes %s", w.b.mistaken)
	}
	for payload := range w.owedUp {
		if w.b.passedOn[payload] > 0 {
			delete(w.owedUp, payload)
		} else if !stored[RecordSpool][payload] {
			w.fail("%s was acknowledged to the device and is neither with the broker nor in the store", payload)
		}
	}
	for payload := range w.owedDown {
		if w.dev.got[payload] > 0 {
			delete(w.owedDown, payload)
		} else if !stored[RecordHeld][payload] {
			w.fail("%s was acknowledged to the broker and is neither with the device nor in the store", payload)
		}
	}
	for payload, n := range w.b.passedOn {
		if n > 1 && strings.HasPrefix(payload, "up2") && w.trouble < w.born[payload] {
			w.fail("the broker has passed on %s %d times", payload, n)
		}
	}
	for payload, n := range w.dev.got {
		if n > 1 && strings.HasPrefix(payload, "down2") && w.trouble < w.born[payload] {
			w.fail("the device has got %s %d times", payload, n)
		}
	}
	for _, c := range []struct {
		broken bool
		what   string
	}{
		{len(d.saving) > maxSaving+2*maxAsked, "too much waits for the store"},
		{len(d.taken) > maxTaken, "too many QoS 2 messages of the broker are taken over"},
		{d.spool.len() > w.cfg.SpoolMessages, "more in the spool than SpoolMessages"},
		{d.spool.octets > w.cfg.SpoolBytes, "more in the spool than SpoolBytes"},
		{len(s.window) > w.cfg.MaxInFlight, "more in flight than MaxInFlight"},
		{len(s.subs) > w.cfg.MaxSubscriptions, "too many subscriptions"},
		{s.topics.Len() > w.cfg.MaxTopics, "too many topic ids"},
		{s.draining() && d.spool.len() == 0 && s.dialogue == nil, "a link without device and spool stays open"},
		{s.draining() && s.paused, "what is drained is not read from"},
	} {
		if c.broken {
			w.fail("in state %v: %s", s.state, c.what)
		}
	}
}

// held are the messages for the device.
func (w *world) held() map[string]bool {
	m := map[string]bool{string(w.s.delivery.msg.payload): true}
	for _, o := range w.s.queue.msgs[w.s.queue.head:] {
		m[string(o.payload)] = true
	}
	return m
}

// noteGone lets messages go that were counted as the end of a session.
func (w *world) noteGone(before map[string]bool) {
	now := w.held()
	for _, r := range w.out.Drops {
		switch r {
		case ReasonSessionEnded, ReasonCleanSession, ReasonTooLarge, ReasonTopicsFull, ReasonClientRejected:
			for payload := range before {
				if !now[payload] {
					w.gone[payload] = true
					delete(w.owedDown, payload)
				}
			}
		}
	}
}

// calm has everything work, until nothing is left to be done, and checks that all has
// arrived and that the store has what it should.
func (w *world) calm() {
	w.note("* calm")
	w.storeDown = false
	w.out.SpoolFull, w.twinOut.SpoolFull = false, false
	for i := 0; i < 6000 && !w.t.Failed(); i++ {
		w.steps++
		if w.repair {
			w.snapshot()
		}
		w.store.commit(true)
		if ev, ok := w.store.answer(); ok && ev.Token != 0 {
			w.event(ev)
		}
		w.l.work()
		w.drainLink()
		w.l.dial(true, 0)
		w.drainLink()
		switch {
		case len(w.dev.out) > 0:
			w.deviceSpeaks()
		case i%5 != 0:
		case w.dev.state == deviceActive && w.s.State() != StateActive && i%50 == 0:
			w.dev.connect(w.dev.clean)
		case w.dev.state == deviceActive && w.dev.sending != nil:
			w.dev.repeat()
		case w.dev.state == deviceActive && i%100 == 0:
			w.dev.send(sn12.PingReq{})
		case w.dev.state == deviceOff:
			w.dev.connect(w.dev.clean)
		case w.dev.state == deviceConnecting && i%20 == 0, w.dev.state == deviceFallingAsleep && i%20 == 0:
			w.dev.connect(w.dev.clean)
		case w.dev.state == deviceAsleep || w.dev.state == deviceAwake:
			w.dev.connect(w.dev.clean)
		}
		w.now += 200 * time.Millisecond
		if w.now >= w.s.Deadline() {
			w.step("advance", func(s *Session, out *Out) { s.Advance(w.now, out) })
		}
	}
	if w.t.Failed() {
		return
	}
	for range 100 {
		w.store.commit(true)
		if ev, ok := w.store.answer(); ok && ev.Token != 0 {
			w.event(ev)
		}
		w.drainLink()
	}
	s := w.s
	switch {
	case len(w.owedUp) > 0:
		w.fail("never arrived at the broker: %v", w.owedUp)
	case len(w.owedDown) > 0:
		w.fail("never arrived at the device: %v", w.owedDown)
	case s.durable.spool.len() > 0:
		w.fail("%d messages are left in the spool", s.durable.spool.len())
	case s.queue.len() > 0 || s.delivery.phase != idle:
		w.fail("%d messages are left in the queue, delivery is in phase %d", s.queue.len(), s.delivery.phase)
	case len(w.b.out) > 0:
		w.fail("the broker still has %+v", w.b.out)
	case len(s.durable.saving) > 0:
		w.fail("%d things wait for the store", len(s.durable.saving))
	}
	w.checkSnapshot()
}

// checkSnapshot compares what is in the store with what ought to be.
func (w *world) checkSnapshot() {
	want := newModelStore()
	var out Out
	w.s.Snapshot(&out)
	want.apply(out.Records)
	got, should := w.store.list(), want.list()
	same := len(got) == len(should)
	for i := 0; same && i < len(got); i++ {
		a, b := got[i], should[i]
		if a.Kind == RecordTopic { // told may be out of date
			a.Value, b.Value = a.Value[1:], b.Value[1:]
		}
		same = a.Kind == b.Kind && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	}
	if !same {
		w.fail("the store has %s,\nand should have %s", describeRecords(got), describeRecords(should))
	}
}
