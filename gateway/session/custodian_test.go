package session

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"sngate/snpacket/sn12"
)

var custodianNames = map[custodian]string{brokers: "brokers", storing: "storing", ours: "ours"}

var upStateNames = map[upState]string{
	upRelaying: "relaying", upRefused: "refused", upSaving: "saving", upWaiting: "waiting", upSent: "sent",
	upReceived: "received", upReleased: "released", upAnswered: "answered", upFinished: "finished",
}

// messageRig drives one session to where a message is in some state. It expects nothing of
// the output: other tests do.
type messageRig struct {
	*rig
	token Token // of the last request to the link
}

func newMessageRig(t *testing.T, durable bool) *messageRig {
	cfg := durableConfig()
	cfg.Durable, cfg.Spool = durable, durable
	cfg.SpoolDropOldest, cfg.SpoolMessages = true, 1
	c := &messageRig{rig: newRig(t, cfg)}
	c.store = newModelStore()
	t.Cleanup(c.collect)
	c.say(connectMsg(false, false, 600))
	c.tell(Event{Kind: EventConnected})
	c.say(sn12.Register{MsgID: 1, TopicName: []byte("a/b")})
	return c
}

// collect throws the output away, but for the token of the last request.
func (c *messageRig) collect() {
	for _, a := range c.acts {
		if a.Token != 0 {
			c.token = a.Token
		}
	}
	c.sent, c.acts = nil, nil
}

// answer has the store answer all that it has been given.
func (c *messageRig) answer(ok bool) {
	for c.collect(); c.store.commit(ok); c.collect() {
		if ev, _ := c.store.answer(); ev.Token != 0 {
			c.event(ev)
		}
	}
}

// say has the device send something that the store takes, tell the link report something.
func (c *messageRig) say(m sn12.Message) { c.send(m); c.answer(true) }
func (c *messageRig) tell(ev Event)      { c.event(ev); c.answer(true) }

// only has the device send something that the store does not answer yet.
func (c *messageRig) only(m sn12.Message) { c.send(m); c.collect() }

func (c *messageRig) pass(d Time) { c.advance(d); c.collect() }

func (c *messageRig) sleep() { c.say(sn12.Disconnect{HasDuration: true, Duration: 600}) }

func (c *messageRig) publish(qos uint8) {
	c.only(sn12.Publish{QoS: qos, TopicID: 1, MsgID: 7, Data: []byte("x")})
}

// spool has a message of QoS 2 of the device in the spool, and with the link.
func (c *messageRig) spool() {
	c.publish(2)
	c.answer(true)
}

func (c *messageRig) received() { c.event(Event{Kind: EventReceived, Token: c.token}); c.collect() }
func (c *messageRig) released() { c.received(); c.answer(true) }

// lose loses the connection, and regain has it again, with a broker that knows the session
// or does not.
func (c *messageRig) lose() { c.event(Event{Kind: EventDown}); c.collect() }
func (c *messageRig) regain(present bool) {
	c.event(Event{Kind: EventUp, SessionPresent: present})
	c.collect()
}

// holding is the state of the message for the device; "-": there is none.
func (c *messageRig) holding() string {
	s := c.s
	if s.down.delivery.phase == publishing {
		return custodianNames[s.down.delivery.msg.custodian]
	}
	if s.down.queue.len() > 0 {
		return custodianNames[s.down.queue.at(0).custodian]
	}
	return "-"
}

// raising is the state of the message of the device: of what answers for it, if that is
// more than one thing.
func (c *messageRig) raising() string {
	s := c.s
	if s.up.spool.len() > 0 {
		return upStateNames[s.up.spool.msgs[0].stage]
	}
	if len(s.up.window) > 0 {
		return upStateNames[s.up.window[0].stage]
	}
	return "-"
}

// change is a row of a table: how the state it begins with is reached, and the event.
type change struct {
	relayed bool // there is no store
	reach   func(c *messageRig)
	event   func(c *messageRig)
}

func nothing(*messageRig) {}

func (c *messageRig) comes() {
	c.event(fromBroker("a/b", "x", 1, 1))
	c.collect()
}

func (c *messageRig) has() { c.only(sn12.PubAck{TopicID: 1, MsgID: c.s.down.delivery.msgID}) }

func (c *messageRig) wakes() { c.only(sn12.PingReq{ClientID: []byte("dev")}) }

var custodianChanges = map[string]change{
	"-       it comes from the broker":              {reach: nothing, event: (*messageRig).comes},
	"-       restart, it is in the store":           {reach: func(c *messageRig) { c.sleep(); c.comes(); c.answer(true); c.wipe() }, event: (*messageRig).reload},
	"brokers the device sleeps, the store has room": {reach: func(c *messageRig) { c.comes() }, event: func(c *messageRig) { c.only(sn12.Disconnect{HasDuration: true, Duration: 600}) }},
	"brokers the device has it":                     {reach: (*messageRig).comes, event: (*messageRig).has},
	"brokers the device's connection ends":          {reach: (*messageRig).comes, event: func(c *messageRig) { c.say(sn12.Disconnect{}) }},
	"storing it is stored":                          {reach: func(c *messageRig) { c.sleep(); c.comes() }, event: func(c *messageRig) { c.answer(true) }},
	"storing the store has not taken it":            {reach: func(c *messageRig) { c.sleep(); c.comes() }, event: func(c *messageRig) { c.env.HeldRoom = false; c.answer(false) }},
	"storing the device has it":                     {reach: func(c *messageRig) { c.sleep(); c.comes(); c.wakes() }, event: (*messageRig).has},
	"storing the device's connection ends":          {reach: func(c *messageRig) { c.sleep(); c.comes() }, event: func(c *messageRig) { c.only(sn12.Disconnect{}) }},
	"ours    the device has it":                     {reach: func(c *messageRig) { c.sleep(); c.comes(); c.answer(true); c.wakes() }, event: (*messageRig).has},
	"ours    the connection ends, CleanSession=0":   {reach: func(c *messageRig) { c.sleep(); c.comes(); c.answer(true) }, event: func(c *messageRig) { c.only(sn12.Disconnect{}) }},
	"ours    the session is forgotten":              {reach: func(c *messageRig) { c.sleep(); c.comes(); c.answer(true) }, event: func(c *messageRig) { c.only(connectMsg(true, false, 600)) }},
}

// wipe takes the session away as a restart does, and reload makes one of what is stored.
func (c *messageRig) wipe()   { c.s = newSession(c.s.cfg, "dev") }
func (c *messageRig) reload() { c.s = c.store.loaded(c.t, c.s.cfg, 0x4000) }

func (c *messageRig) done() { c.event(Event{Kind: EventPublished, Token: c.token}); c.collect() }

func publishing1(c *messageRig) { c.publish(1) }
func publishing2(c *messageRig) { c.publish(2) }

func withoutBroker(c *messageRig) { c.lose(); c.publish(1) }

func waitingThere(c *messageRig) { withoutBroker(c); c.answer(true) }

func sentUp(c *messageRig) { waitingThere(c); c.regain(true) }

func refusedOf(qos uint8) func(c *messageRig) {
	return func(c *messageRig) { c.publish(qos); c.pass(c.s.cfg.BrokerWait) }
}

func answeredUp(c *messageRig) { c.publish(2); c.done() }

var upChanges = map[string]change{
	"-        PUBLISH, the broker takes it":         {reach: nothing, event: publishing1},
	"-        PUBLISH for the spool":                {reach: nothing, event: publishing2},
	"-        restart, it is in the store":          {reach: func(c *messageRig) { waitingThere(c); c.wipe() }, event: (*messageRig).reload},
	"relaying the broker has it, QoS 1":             {reach: publishing1, event: (*messageRig).done},
	"relaying the broker has it, QoS 2":             {relayed: true, reach: publishing2, event: (*messageRig).done},
	"relaying the broker does not answer":           {relayed: true, reach: publishing1, event: func(c *messageRig) { c.pass(c.s.cfg.BrokerWait) }},
	"relaying the connection is lost, with a spool": {reach: publishing1, event: (*messageRig).retracted},
	"refused  the device repeats it":                {relayed: true, reach: refusedOf(1), event: func(c *messageRig) { c.only(dup(sn12.Publish{QoS: 1, TopicID: 1, MsgID: 7, Data: []byte("x")})) }},
	"refused  the broker has it, QoS 1":             {relayed: true, reach: refusedOf(1), event: (*messageRig).done},
	"refused  the broker has it, QoS 2":             {relayed: true, reach: refusedOf(2), event: (*messageRig).done},
	"saving   it is stored":                         {reach: withoutBroker, event: func(c *messageRig) { c.answer(true) }},
	"saving   the store has not taken it":           {reach: withoutBroker, event: func(c *messageRig) { c.answer(false) }},
	"waiting  there is a connection, and its turn":  {reach: waitingThere, event: func(c *messageRig) { c.regain(true) }},
	"waiting  it is too old, or makes room":         {reach: waitingThere, event: func(c *messageRig) { c.pass(c.s.cfg.SpoolAge) }},
	"sent     the link has no room": {reach: sentUp, event: func(c *messageRig) {
		c.tell(Event{Kind: EventPublishFailed, Token: c.token, Failed: true, Congested: true})
	}},
	"sent     the broker has it, QoS 1":             {reach: sentUp, event: (*messageRig).done},
	"sent     PUBREC":                               {reach: (*messageRig).spool, event: (*messageRig).received},
	"received that is stored":                       {reach: func(c *messageRig) { c.spool(); c.received() }, event: func(c *messageRig) { c.answer(true) }},
	"received the broker has forgotten the session": {reach: func(c *messageRig) { c.spool(); c.received(); c.lose() }, event: func(c *messageRig) { c.regain(false) }},
	"released PUBCOMP": {reach: func(c *messageRig) {
		c.only(sn12.Publish{QoS: 2, TopicID: 1, MsgID: 7, Data: []byte("x")})
		c.answer(true)
		c.released()
		c.only(sn12.PubRel{MsgID: 7})
		c.pass(lateWindow)
	}, event: (*messageRig).done},
	"released the broker has forgotten the session": {reach: func(c *messageRig) { c.spool(); c.released(); c.lose() }, event: func(c *messageRig) { c.regain(false) }},
	"answered PUBREL of the device":                 {relayed: true, reach: answeredUp, event: func(c *messageRig) { c.only(sn12.PubRel{MsgID: 7}) }},
	"finished late duplicates cannot come any more": {relayed: true, reach: func(c *messageRig) { answeredUp(c); c.only(sn12.PubRel{MsgID: 7}) }, event: func(c *messageRig) { c.pass(lateWindow) }},
}

// retracted loses the connection; the link gives the message back.
func (c *messageRig) retracted() {
	c.lose()
	c.event(Event{Kind: EventRetracted, Token: c.token, Topic: "a/b", Payload: []byte("x")})
	c.collect()
}

// TestEveryChangeOfWhoAnswersForAMessage drives every row of the two tables in the package
// documentation, and there is none that is not in a table.
func TestEveryChangeOfWhoAnswersForAMessage(t *testing.T) {
	for _, table := range []struct {
		name    string
		changes map[string]change
		state   func(*messageRig) string
	}{
		{"(custodian)", custodianChanges, (*messageRig).holding},
		{"(upState)", upChanges, (*messageRig).raising},
	} {
		rows := docTable(t, table.name)
		if len(rows) != len(table.changes) {
			t.Errorf("%s: %d rows in the documentation, %d changes in the test", table.name, len(rows), len(table.changes))
		}
		for _, row := range rows {
			t.Run(row.from+" "+row.event, func(t *testing.T) {
				var found *change
				for key, ch := range table.changes {
					if from, event, _ := strings.Cut(key, " "); from == row.from && strings.TrimSpace(event) == row.event {
						found = &ch
					}
				}
				if found == nil {
					t.Fatal("nothing drives this row")
				}
				c := newMessageRig(t, !found.relayed)
				if found.reach(c); table.state(c) != row.from {
					t.Fatalf("the state before is %q, want %q", table.state(c), row.from)
				}
				if found.event(c); table.state(c) != row.to {
					t.Errorf("the state after is %q, want %q", table.state(c), row.to)
				}
			})
		}
	}
}

type docRow struct{ from, event, to string }

// docTable reads the table that follows a line with mark in the package documentation.
func docTable(t *testing.T, mark string) (rows []docRow) {
	t.Helper()
	f, err := os.Open("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var columns []int
	for sc, within := bufio.NewScanner(f), false; sc.Scan(); {
		line, tabbed := strings.CutPrefix(sc.Text(), "//\t")
		switch {
		case strings.Contains(line, mark):
			within = true
		case within && len(rows) > 0 && !tabbed:
			return rows
		case !within || !tabbed:
		case columns == nil:
			columns = []int{0, strings.Index(line, "event"), strings.Index(line, " to ") + 1, strings.Index(line, "done")}
		case !strings.HasPrefix(line, "---"):
			cell := func(i int) string {
				from, to := min(columns[i], len(line)), min(columns[i+1], len(line))
				return strings.TrimSpace(line[from:to])
			}
			rows = append(rows, docRow{cell(0), cell(1), cell(2)})
		}
	}
	t.Fatalf("no table %s in the package documentation", mark)
	return nil
}
