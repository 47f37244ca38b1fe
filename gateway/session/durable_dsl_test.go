package session

import (
	"slices"
	"testing"

	"sngate/snpacket/sn12"
)

// durableConfig is testConfig with a store and a spool.
func durableConfig() *Config {
	cfg := testConfig()
	cfg.Durable, cfg.Spool, cfg.SpoolQoS0 = true, true, true
	cfg.SpoolMessages, cfg.SpoolBytes, cfg.SpoolAge = 100, 1<<20, 24*3600*1e9
	return cfg
}

// durableRig is a rig with a store. The records of a step have to be expected, too.
type durableRig struct {
	*rig
}

func newDurableRig(t *testing.T, cfg *Config) durableRig {
	t.Helper()
	if cfg == nil {
		cfg = durableConfig()
	}
	r := newRig(t, cfg)
	r.store = newModelStore()
	return durableRig{r}
}

// wantRecords expects the records put out since the last call, as describeRecord has
// them.
func (r durableRig) wantRecords(why, want string) {
	r.t.Helper()
	if got := describeRecords(r.records); got != want {
		r.t.Fatalf("%s:\n got records %q\nwant records %q", why, got, want)
	}
	r.records = nil
}

// stored has the store commit all it has got, and answer.
func (r durableRig) stored() {
	r.t.Helper()
	r.answerAll(true)
}

// storeFailed has the store answer all it has got with an error.
func (r durableRig) storeFailed() {
	r.t.Helper()
	r.answerAll(false)
}

func (r durableRig) answerAll(ok bool) {
	r.t.Helper()
	r.settled("before the store answers")
	for range len(r.store.batches) {
		r.store.commit(ok)
		ev, _ := r.store.answer()
		if ev.Token == 0 {
			continue
		}
		sent, acts := r.sent, r.acts
		r.sent, r.acts = nil, nil
		r.event(ev)
		r.sent, r.acts = append(sent, r.sent...), append(acts, r.acts...)
	}
}

// restart continues with a new session of what has been put out; crash of what has been
// committed.
func (r durableRig) restart() {
	r.t.Helper()
	for r.store.commit(true) {
	}
	r.crash()
}

func (r durableRig) crash() {
	r.t.Helper()
	r.settled("before the restart")
	r.store.batches, r.records = nil, nil
	r.s = r.store.loaded(r.t, r.s.cfg, 0x4000)
	known := false
	r.step("resume", func() { known = r.s.Restore(r.at(), &r.out) })
	if !known {
		r.t.Fatal("there is no session after the restart")
	}
	r.records = nil
}

// begin connects with CleanSession=0 and registers a/b.
func (r durableRig) begin() (topicID uint16) {
	r.t.Helper()
	r.connect(false, 600)
	r.wantRecords("connected", "+session")
	r.send(sn12.Register{MsgID: 1, TopicName: []byte("a/b")})
	r.wantQuiet("REGACK waits for the store")
	r.wantRecords("the topic id", "+topic")
	r.stored()
	r.want("stored", sn12.RegAck{TopicID: 1, MsgID: 1})
	return 1
}

// subscribed subscribes to a/b with QoS 2.
func (r durableRig) subscribed() {
	r.t.Helper()
	r.send(sn12.Subscribe{QoS: 2, MsgID: 2, TopicName: []byte("a/b")})
	a := r.wantAction("SUBSCRIBE goes up", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 2})
	r.wantQuiet("SUBACK waits for the store")
	r.wantRecords("the subscription", "+subscription")
	r.stored()
	r.want("stored", sn12.SubAck{QoS: 2, TopicID: 1, MsgID: 2})
}

// slept puts the device to sleep.
func (r durableRig) slept() {
	r.t.Helper()
	r.send(sn12.Disconnect{HasDuration: true, Duration: 600})
	r.wantQuiet("the answer waits for the store: a restart could find it awake")
	r.wantRecords("asleep", "+session")
	r.stored()
	r.want("stored", sn12.Disconnect{})
}

// up reconnects the link after a restart. It returns what the link is told to be taken.
func (r durableRig) up() (taken []Identity) {
	r.t.Helper()
	a := r.wantAction("the link is opened again", Action{Kind: ActionReopen, KeepAlive: 600})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	return a.Unreleased
}

func (r durableRig) wantTaken(why string, got []Identity, want ...Identity) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Fatalf("%s: the link is told of %x, want %x", why, got, want)
	}
}
