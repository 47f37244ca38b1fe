package session

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"sngate/internal/binrec"
	"sngate/snpacket/sn12"
)

// What world checks after every step, and at the end.

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
	for i := range w.s.up.spool.msgs {
		m[string(w.s.up.spool.msgs[i].payload)]++
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
	handed := map[string]bool{} // QoS 0 leaves the spool for the link
	for _, a := range w.out.Actions {
		if a.Kind == ActionPublish && a.QoS == 0 {
			handed[string(a.Payload)] = true
		}
	}
	now := w.spooled()
	for payload, n := range before {
		if n <= now[payload] || w.b.passedOn[payload] > 0 || handed[payload] {
			continue
		}
		repeated := w.dev.sending != nil && string(w.dev.sending.m.Data) == payload // it does not know of the acknowledgement
		if dropped--; dropped < 0 && now[payload] == 0 && w.owedUp[payload] && !repeated {
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
	s := w.s
	stored := map[RecordKind]map[string]bool{RecordHeld: {}, RecordSpool: {}}
	for _, r := range w.store.records {
		f := binrec.NewReader(r.Value)
		switch r.Kind {
		case RecordSpool:
			f.U16()
			fallthrough
		case RecordHeld:
			_, _, _, payload := readMessage(&f)
			stored[r.Kind][string(payload)] = true
		}
	}
	if w.b.forgot {
		w.b.forgot, w.trouble = false, w.steps // exchanges begin anew
	}
	// After a restart identifiers begin anywhere, which may be where a message that has
	// expired had one.
	if w.b.mistaken != "" && w.spooled()[w.b.mistakenFor] > 0 {
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
		{len(s.journal.waiting) > maxWaiting+2*maxAsked+maxRemoving, "too much waits for the store"},
		{len(s.custody.unreleased) > maxUnreleased, "too many QoS 2 messages of the broker are taken over"},
		// What a store that has failed did not remove is there again after a restart.
		{!w.frail && s.up.spool.len() > w.cfg.SpoolMessages, "more in the spool than SpoolMessages"},
		{!w.frail && s.up.spool.octets > w.cfg.SpoolBytes, "more in the spool than SpoolBytes"},
		{len(s.up.window) > w.cfg.MaxInFlight, "more in flight than MaxInFlight"},
		{len(s.subs.list) > w.cfg.MaxSubscriptions, "too many subscriptions"},
		{s.ids.topics.Owned() > w.cfg.MaxTopics || s.ids.topics.Len() > w.cfg.MaxTopics+spareIDs, "too many topic ids"},
		{s.broker.draining() && s.up.spool.len() == 0 && s.handshake.pending == nil, "a link without device and spool stays open"},
		{s.broker.draining() && s.down.paused, "what is drained is not read from"},
	} {
		if c.broken {
			w.fail("in state %v: %s", s.state, c.what)
		}
	}
}

// held are the messages for the device.
func (w *world) held() map[string]bool {
	m := map[string]bool{string(w.s.down.delivery.msg.payload): true}
	for i := range w.s.down.queue.len() {
		m[string(w.s.down.queue.at(i).payload)] = true
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
	w.storeDown, w.dev.deaf = false, false
	w.env.SpoolRoom = true
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
			w.step("advance", func(s *Session, out *Out) { s.Advance(w.at(), out) })
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
	case s.up.spool.len() > 0:
		w.fail("%d messages are left in the spool", s.up.spool.len())
	case s.down.queue.len() > 0 || s.down.delivery.phase != idle:
		w.fail("%d messages are left in the queue, delivery is in phase %d", s.down.queue.len(), s.down.delivery.phase)
	case len(w.b.out) > 0:
		w.fail("the broker still has %+v", w.b.out)
	case len(s.journal.waiting) > 0:
		w.fail("%d things wait for the store", len(s.journal.waiting))
	}
	w.checkSnapshot()
}

// checkSnapshot compares what is in the store with what ought to be.
func (w *world) checkSnapshot() {
	want := newModelStore()
	var out Out
	w.s.Snapshot(w.at(), &out)
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
