package session

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sngate/snpacket/sn12"
)

// A change must not fail for what it has not touched, so the seed is a fixed one; "make explore"
// takes new ones.
var seed = flag.Uint64("seed", 1, "seed of TestInvariants and TestDurableInvariants; 0: a new one each time")

// TestInvariants drives sessions by random inputs and checks what must hold after every
// step, whatever came before. FuzzSession does the same with inputs chosen by coverage.
func TestInvariants(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	script := make([]byte, 2048)
	for n := range uint64(2500) {
		rng := rand.New(rand.NewPCG(first, n))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		runScript(t, script[n%4:]) // the length says who keeps the wills, and whether addresses have to be proven
		if t.Failed() {
			t.Fatalf("go test -run TestInvariants -seed %d (run %d)", first, n)
		}
	}
}

func (d *driver) step(what string, f func(*Session, *Out)) {
	d.out.Reset()
	d.twinOut.Reset()
	d.before, d.listened = d.s.State(), d.s.listening()
	f(d.s, &d.out)
	f(d.twin, &d.twinOut)
	d.trace = append(d.trace, fmt.Sprintf("%v %s", d.before, what))
	for i := range d.out.Datagrams() {
		d.trace = append(d.trace, "    -> "+show(d.out.Datagram(i)))
	}
	for _, a := range d.out.Actions {
		d.trace = append(d.trace, "    ** "+showAction(a))
	}
	d.checkTwin()
	d.checkActions()
	d.checkDatagrams()
	d.checkSession()
}

// checkTwin: same input, same output.
func (d *driver) checkTwin() {
	same := d.out.Datagrams() == d.twinOut.Datagrams() && len(d.out.Actions) == len(d.twinOut.Actions) &&
		slices.Equal(d.out.Drops, d.twinOut.Drops) && slices.Equal(d.out.Retries, d.twinOut.Retries)
	for i := 0; same && i < d.out.Datagrams(); i++ {
		same = bytes.Equal(d.out.Datagram(i), d.twinOut.Datagram(i))
	}
	for i := 0; same && i < len(d.out.Actions); i++ {
		same = describeAction(d.out.Actions[i]) == describeAction(d.twinOut.Actions[i])
	}
	if !same {
		d.fail("the twin has done something else")
	}
}

func (d *driver) checkActions() {
	acks, last := 0, d.before
	d.checkWills()
	for _, a := range d.out.Actions {
		switch {
		case a.Kind == ActionState:
			last = a.State
			continue
		case a.Kind == ActionFree:
			d.ended = true
			continue
		case a.Kind == ActionGivenUp:
			continue
		case a.Kind == ActionConnect:
			d.open = true
			d.pending = slices.DeleteFunc(d.pending, func(p Action) bool { return p.Kind == ActionConnect })
		case !d.open:
			d.fail("the link is closed and is asked for %s", showAction(a))
		}
		switch a.Kind {
		case ActionAck:
			acks++
			if !d.unacked[a.Handle] {
				d.fail("handle %d acknowledged twice, or never given", a.Handle)
			}
			delete(d.unacked, a.Handle)
		case ActionCloseClean, ActionCloseDrain, ActionCloseAbort:
			d.open = false
			d.pending = append(d.pending, a)
		case ActionPublish:
			if a.Token != 0 {
				d.published(a)
			}
		case ActionConnect, ActionSubscribe, ActionUnsubscribe, ActionPing:
			d.pending = append(d.pending, a)
		}
	}
	if last != d.s.State() {
		d.fail("state is %v, ActionState says %v", d.s.State(), last)
	}
	allowed := 0
	if d.byDevice && (d.input == sn12.TypePubAck || d.input == sn12.TypePubRec) {
		allowed = 1
	}
	for _, r := range d.out.Drops {
		switch r {
		case ReasonTooLarge, ReasonClientRejected, ReasonUnanswered, ReasonRegisterUnanswered:
			allowed++
		}
	}
	if acks > allowed {
		d.fail("%d messages acknowledged to the broker, of which the device or a counted drop explains %d", acks, allowed)
	}
}

// checkWills: a will is either the broker's or the gateway's to publish.
func (d *driver) checkWills() {
	publishes, drains := 0, 0
	for _, a := range d.out.Actions {
		switch {
		case d.cfg.PublishesWills && a.Will != nil:
			d.fail("the broker is told of a will: %s", showAction(a))
		case a.Kind == ActionPublish && a.Token == 0:
			publishes++
		case a.Kind == ActionCloseDrain:
			drains++
		case a.Kind == ActionCloseAbort && d.cfg.PublishesWills && d.s.wills.current != nil && !d.s.presence.parked:
			d.fail("nobody publishes the will")
		}
	}
	if drains > publishes || drains > 1 { // QoS 0 of a device has no token either
		d.fail("%d connections are drained of %d wills", drains, publishes)
	}
}

// published notes a PUBLISH of the device that goes to the broker.
func (d *driver) published(a Action) {
	d.pending = append(d.pending, a)
	w := d.s.up.window[len(d.s.up.window)-1]
	if w.token != a.Token || w.qos != a.QoS {
		d.fail("%s is not in the window", showAction(a))
	}
	key := answer{w.msgID, w.qos}
	d.relayed[a.Token] = key
	delete(d.safe, key)
}

func (d *driver) checkDatagrams() {
	registers, publishes := 0, 0
	for i := range d.out.Datagrams() {
		m, err := sn12.Parse(d.out.Datagram(i))
		if err != nil {
			d.fail("sent %x: %v", d.out.Datagram(i), err)
			continue
		}
		lateAnswer := false
		switch m := m.(type) {
		case sn12.Register:
			registers++
			d.checkRequest(m, m.MsgID, m.Len(), m.TopicID)
		case sn12.Publish:
			d.checkPublish(m)
			if m.QoS > 0 {
				publishes++
				d.checkRequest(m, m.MsgID, m.Len(), m.TopicID)
				d.checkOneAtATime(m)
			}
		case sn12.PubAck:
			lateAnswer = true
			if key := (answer{m.MsgID, 1}); m.ReturnCode == sn12.Accepted {
				if !d.safe[key] {
					d.fail("PUBACK for MsgId %d, which the broker has not acknowledged", m.MsgID)
				}
				delete(d.safe, key)
			}
		case sn12.PubRec:
			lateAnswer, d.request = true, m
			if !d.safe[answer{m.MsgID, 2}] {
				d.fail("PUBREC for MsgId %d, which the broker has not acknowledged", m.MsgID)
			}
		case sn12.SubAck, sn12.UnsubAck:
			lateAnswer = true
		case sn12.PubRel, sn12.PingReq, sn12.WillTopicReq, sn12.WillMsgReq:
			d.request = m
		case sn12.Disconnect:
			d.request = m
			if m.HasDuration {
				d.fail("DISCONNECT with duration from a gateway")
			}
			lateAnswer = d.s.State() == StateLost // the end of the sleep
		case sn12.ConnAck, sn12.RegAck, sn12.PubComp, sn12.PingResp, sn12.WillTopicResp, sn12.WillMsgResp:
		default:
			d.fail("a gateway never sends %v", m.Type())
		}
		if d.before == StateAsleep && !d.byDevice && !lateAnswer {
			d.fail("sent to a sleeping device: %s", show(d.out.Datagram(i)))
		}
	}
	if registers > 1 || publishes > 1 || registers+publishes > 1 && (d.s.announcer.reg == nil || !d.s.announcer.reg.overdue) {
		d.fail("%d REGISTER and %d PUBLISH at once to the device", registers, publishes)
	}
}

func (d *driver) checkPublish(m sn12.Publish) {
	switch {
	case m.QoS > 2, m.QoS == 0 && (m.MsgID != 0 || m.DUP), m.Len() > d.cfg.MaxPacketSize:
		d.fail("sent PUBLISH of %d octets %+v", m.Len(), m)
	case m.TopicIDType == sn12.TopicIDNormal && m.QoS == 0 && !d.s.ids.topics.Announced(m.TopicID) && !d.s.ids.topics.Trusted(m.TopicID):
		d.fail("PUBLISH with topic id %d, which the device has not been told", m.TopicID)
	}
}

func (d *driver) checkRequest(m sn12.Message, msgID uint16, size int, topicID uint16) {
	d.request = m
	if msgID == 0 || topicID == 0 || topicID == 0xFFFF || size > d.cfg.MaxPacketSize {
		d.fail("sent %v of %d octets %+v", m.Type(), size, m)
	}
}

// checkOneAtATime: one PUBLISH of QoS 1 or 2 is on its way at a time.
func (d *driver) checkOneAtATime(m sn12.Publish) {
	if d.inFlight != 0 && d.inFlight != m.MsgID && !d.byDevice && d.listened && !slices.Contains(d.out.Drops, ReasonUnanswered) &&
		!slices.Contains(d.out.Drops, ReasonReleaseUnanswered) {
		d.fail("sent PUBLISH with MsgId %d while %d is unanswered", m.MsgID, d.inFlight)
	}
	d.inFlight = m.MsgID
}

func (d *driver) checkSession() {
	s, st := d.s, &step{d.at(), &Out{}, d.s.dialogue}
	if s.down.delivery.phase == idle {
		d.inFlight = 0
	}
	n, b := s.Held()
	scale := 1
	if s.down.awaiting() {
		scale = 2
	}
	full := n > scale*d.cfg.MaxMessages || b > min(scale*d.cfg.MaxBytes, st.Allowance)
	low := n == 0 || n <= d.cfg.MaxMessages/2 && b <= min(d.cfg.MaxBytes, st.Allowance)/2
	waiting := s.down.proceedAt != Never || s.addr.reach != nil // an address that is not proven is sent only so much
	var names, filters int32
	for id := range s.ids.topics.All {
		name, _ := s.ids.topics.Name(id)
		names += int32(len(name))
	}
	for i := range s.subs.list {
		filters += int32(len(s.subs.list[i].filter))
	}
	for _, c := range []struct {
		broken bool
		what   string
	}{
		{len(s.up.window) > d.cfg.MaxInFlight, "more in flight than MaxInFlight"},
		{len(s.subs.asked) > maxAsked+maxRemoving+d.cfg.MaxSubscriptions, "more asked than its bounds"},
		{len(s.subs.list) > d.cfg.MaxSubscriptions, "more subscriptions than MaxSubscriptions"},
		{s.ids.topics.Owned() > d.cfg.MaxTopics, "the device has more topics than MaxTopics"},
		{s.ids.topics.Len() > d.cfg.MaxTopics+spareIDs, "more topics than MaxTopics and the spare ones"},
		{s.announcer.reg != nil && !s.listening(), "a REGISTER is under way to a device that does not listen"},
		{s.announcer.reg != nil && s.announcer.reg.retryAt == Never, "a REGISTER waits for ever"},
		{len(s.down.tallies) > maxTallies, "more tallies than maxTallies"},
		{filters != s.subs.filterOctets, "the octets of filters are counted wrong"},
		{s.Proven() && !d.cfg.ProveAddress, "proven without a proof being asked for"},
		{full && !s.down.paused && !s.broker.link.over(), "the bounds of what is held are passed, and reading goes on"},
		{low && s.down.paused && s.listening(), "little is held, and reading has stopped"},
		{s.wills.due && s.broker.link != linkClosing && !s.broker.draining(), "a will is due that nobody publishes"},
		{s.down.paused && !d.open, "a closed link is paused"},
		{s.listening() && s.down.delivery.phase != idle && !s.down.retry.runs() && !waiting, "a delivery waits for ever"},
		{s.listening() && s.down.delivery.phase == idle && s.down.queue.len() > 0 && !waiting && s.announcer.reg == nil && !s.down.gated(st), "a message is held for no reason"},
		{s.state == StateAwake && s.listening() && s.down.delivery.phase == idle && s.announcer.reg == nil && s.wake.barrier.token == 0 && !s.down.gated(st) && !s.addr.proving(), "awake for no reason"},
		{s.state == StateAsleep && (s.down.retry.runs() || s.presence.probe.runs() || s.wake.barrier.token != 0), "a timer towards a sleeper runs"},
		{(s.state == StateAsleep || s.state == StateAwake) && s.presence.lifeAt == Never, "a sleep without end"},
		{s.state == StateActive && s.Deadline() == Never, "a device that is not supervised"},
		{(s.state == StateWillTopic || s.state == StateWillMsg) && !s.handshake.pending.retry.runs(), "a prompt without repeat"},
		{s.down.retry.runs() && s.down.delivery.phase != publishing && s.down.delivery.phase != releasing, "a delivery is repeated that is not under way"},
		{s.presence.probe.runs() && (s.down.retry.runs() || s.state != StateActive), "a device is probed that is asked for something else, or is not active"},
		{s.state == StateConnecting && s.broker.link != linkOpening, "connecting with nothing to wait for"},
		{s.state >= StateDisconnected && s.Deadline() != Never, "a timer runs in an ended session"},
		{s.state >= StateDisconnected && s.down.queue.len() > 0, "an ended session holds messages"},
		{(s.state == StateWillTopic || s.state == StateWillMsg || s.state == StateConnecting) != (s.handshake.pending != nil), "dialogue and state disagree"},
	} {
		if c.broken {
			d.fail("in state %v: %s", s.state, c.what)
		}
	}
}
