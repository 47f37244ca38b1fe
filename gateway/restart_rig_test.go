package gateway

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store/storetest"
)

// The rig with a store, whose gateway crashes and starts again.

// newDurableRig is newRig with a store; the spool is on, as by default.
func newDurableRig(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	s := storetest.New()
	r := newRig(t, func(o *Options) {
		o.Store, o.SpoolTotalBytes = s, 64<<20
		c := o.Session
		c.Spool, c.SpoolMessages, c.SpoolBytes, c.SpoolAge = true, 1000, 1<<20, 24*time.Hour
		if change != nil {
			change(o)
		}
	})
	r.store = s
	return r
}

// rigMaker is newRig or newDurableRig.
type rigMaker func(*testing.T, func(*Options)) *rig

// withAndWithoutStore runs a test in a bubble for each of both; durable says which.
func withAndWithoutStore(t *testing.T, test func(t *testing.T, newRig rigMaker, durable bool)) {
	for _, durable := range []bool{false, true} {
		name, rig := "store off", rigMaker(newRig)
		if durable {
			name, rig = "store on", newDurableRig
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, rig, durable) })
		})
	}
}

// crash ends the gateway as SIGKILL does: its sockets are closed, nothing is sent, and
// what the store has not committed is lost.
func (r *rig) crash() {
	r.t.Helper()
	if r.store != nil {
		r.store = r.store.Crash()
		r.opts.Store = r.store
	}
	r.gateway.stop.once.Do(func() {
		if err := r.gateway.close(); err != nil {
			r.t.Fatal(err)
		}
	})
	synctest.Wait()
}

// restart crashes the gateway and starts the next one.
func (r *rig) restart() {
	r.t.Helper()
	r.crash()
	r.start()
}

// stop stops the gateway in good order; the next one will find what is stored by then.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.gateway.Stop(4 * time.Second); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.store = r.store.Crash()
	r.opts.Store = r.store
}

// wantStored expects that the store has exactly these records, apart from the gateway's
// own. A zero octet in a key is written as "|".
func (r *rig) wantStored(why string, want ...string) {
	r.t.Helper()
	synctest.Wait()
	var got []string
	for _, key := range r.store.Keys() {
		if key = strings.ReplaceAll(key, "\x00", "|"); !strings.HasPrefix(key, "sessions |") {
			got = append(got, key)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("%s: the store has %q, want %q", why, got, want)
	}
}

// submitted returns how many batches the store was given; 0 without a store.
func (r *rig) submitted() uint64 {
	synctest.Wait()
	if r.store == nil {
		return 0
	}
	return r.store.Submitted()
}

// wantSubmitted expects at most so many batches since submitted returned before.
func (r *rig) wantSubmitted(why string, before, most uint64) {
	r.t.Helper()
	if n := r.submitted() - before; n > most {
		r.t.Fatalf("%s: %d batches for the store, want at most %d", why, n, most)
	}
}

// publishShort publishes QoS 1 with a short topic name and wants the answer.
func (d *device) publishShort(why string, msgID uint16, code sn12.ReturnCode) {
	d.r.t.Helper()
	id := sn12.ShortID("ab")
	d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: id, MsgID: msgID, Data: []byte("x")})
	d.wantMessage(why, sn12.PubAck{TopicID: id, MsgID: msgID, ReturnCode: code})
}

// connectWillKept is connectWill with CleanSession=0 and a keep-alive.
func (d *device) connectWillKept(clientID, topic, message string, keepAlive uint16) {
	d.r.t.Helper()
	d.sendMessage(sn12.Connect{Will: true, ProtocolID: 1, Duration: keepAlive, ClientID: []byte(clientID)})
	d.wantMessage("will topic", sn12.WillTopicReq{})
	d.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte(topic)})
	d.wantMessage("will message", sn12.WillMsgReq{})
	d.sendMessage(sn12.WillMsg{Message: []byte(message)})
	d.wantMessage("CONNECT is accepted", sn12.ConnAck{})
}

// wantState expects n sessions in a state.
func (r *rig) wantState(why string, st session.State, n int64) {
	r.t.Helper()
	if got := r.state(st); got != n {
		r.t.Fatalf("%s: %d sessions in state %v, want %d", why, got, st, n)
	}
}
