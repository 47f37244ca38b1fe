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

	"sngate/internal/binrec"
	"sngate/snpacket/sn12"
)

var durableRuns = flag.Uint64("durable-runs", 250, "runs of TestDurableInvariants")

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
	env   Env // but for its Now
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
	cfg.ProveAddress = rng.IntN(2) == 0
	w := &world{
		t: t, rng: rng, cfg: cfg, now: epoch, env: envAt(epoch), s: newSession(cfg, "dev"), twin: newSession(cfg, "dev"),
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

// at is the environment of the next step.
func (w *world) at() Env {
	w.env.Now = w.now
	return w.env
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
		w.l.dial(w.rng.IntN(5) > 0, Refusal(w.rng.IntN(8)/6))
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
		w.env.SpoolRoom = false
	case n == 22 && w.l.state == mDown:
		w.step("parked", func(s *Session, out *Out) { s.Upstream(w.at(), &Event{Kind: EventParked}, out) })
		w.l.dormant = true
	case n == 23:
		w.step("address taken", func(s *Session, out *Out) { s.AddressReused(w.at(), out) })
	case n >= 36:
		w.note("* credentials renewed")
		w.l.renew()
		w.drainLink()
	default:
		w.env.SpoolRoom = true
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
		s.Datagram(w.at(), own, out)
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
	w.step(fmt.Sprintf("event %d token=%d failed=%v present=%v id=%x dup=%v %q", ev.Kind, ev.Token, ev.Failed, ev.SessionPresent, ev.Identity, ev.Dup, ev.Payload),
		func(s *Session, out *Out) {
			own := ev
			own.Payload = bytes.Clone(ev.Payload)
			s.Upstream(w.at(), &own, out)
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
	if len(w.s.subs.list) == 0 || len(w.b.out) >= 10 || !w.b.present {
		return
	}
	w.published++
	qos := uint8(w.rng.IntN(3))
	topic := deviceTopics[w.rng.IntN(len(deviceTopics))]
	if w.rng.IntN(3) == 0 {
		topic = lentTopics[w.rng.IntN(len(lentTopics))]
	}
	kind := "down"
	if w.rng.IntN(50) == 0 {
		kind = "poison" // the device does not answer it
	}
	payload := fmt.Sprintf("%s%d-%d@%s", kind, qos, w.published, topic)
	w.born[payload] = w.steps
	w.b.publish(topic, payload, qos)
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
	w.step("advance", func(s *Session, out *Out) { s.Advance(w.at(), out) })
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
	w.restore()
}

// excuse lets messages of the device go that the broker has forgotten half-way, when the
// process ends before the store knows: it goes on with PUBREL for nothing.
func (w *world) excuse() {
	p := &w.s.up.spool
	for _, r := range w.store.records {
		if r.Kind != RecordReleased {
			continue
		}
		f := binrec.NewReader(r.Key)
		if i := p.find(f.U32()); i >= 0 && !p.msgs[i].released && p.msgs[i].stage != upReceived {
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
	w.step("snapshot", func(s *Session, out *Out) { s.Snapshot(w.at(), out) })
}

func (w *world) erase() {
	var erase Out
	for kind := RecordSession; kind <= RecordSpool; kind++ {
		erase.Records = append(erase.Records, Record{Kind: kind, Op: DeleteRecords})
	}
	w.store.submit(&erase)
}

func (w *world) restore() {
	first, clean := uint16(w.rng.Uint32()), w.s.clean
	w.s = w.store.loaded(w.t, w.cfg, first)
	if w.s.clean != clean { // CONNACK does not wait for the store
		w.dev.forget()
		w.dev.clean = w.s.clean
		w.trouble = w.steps
	}
	w.twin = w.store.loaded(w.t, w.cfg, first)
	known := false
	w.step("resume", func(s *Session, out *Out) { known = s.Restore(w.at(), out) })
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
	w.s, w.twin = newSession(w.cfg, "dev"), newSession(w.cfg, "dev")
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
	w.env.StoreOK = !w.storeDown && !w.repair
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
		w.note("    ** %s id=%d again=%v released=%v", showAction(a), a.Exchange, a.Again, a.Released)
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
		case ActionGivenUp:
			w.gone[string(a.Payload)] = true
			delete(w.owedDown, string(a.Payload))
		case ActionFree:
			w.freed = true
		default:
			a.Payload = bytes.Clone(a.Payload)
			if _, topic, said := strings.Cut(string(a.Payload), "@"); a.Kind == ActionPublish && said && topic != a.Topic {
				w.fail("the device means %q and %q is published", topic, a.Topic)
			}
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
