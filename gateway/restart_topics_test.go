package gateway

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// Topic ids over a restart.

func TestRestartTopicIDsToldByTheGateway_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.subscribe("t/+", 1)
		r.publish("t/1", "x", 1)
		told, ok := d.next(time.Second).(sn12.Register)
		if !ok {
			t.Fatal("no REGISTER")
		}
		d.sendMessage(sn12.RegAck{TopicID: told.TopicID, MsgID: told.MsgID})
		d.wantMessage("message", sn12.Publish{QoS: 1, TopicID: told.TopicID, MsgID: told.MsgID + 1, Data: []byte("x")})
		d.sendMessage(sn12.PubAck{TopicID: told.TopicID, MsgID: told.MsgID + 1})
		r.restart()
		got := r.observe()
		time.Sleep(time.Second)
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: told.TopicID, MsgID: 3, Data: []byte("y")})
		d.wantMessage("the device may use it", sn12.PubAck{TopicID: told.TopicID, MsgID: 3})
		got.want(t, "it means the same", "dev t/1 y 1")
		if p, ok := d.next(time.Second).(sn12.Publish); !ok || p.TopicID != told.TopicID || string(p.Data) != "y" {
			t.Fatalf("got %+v, want its own message by topic id %d", p, told.TopicID)
		}
	})
}

// A REGISTER of the gateway whose topic id has not been stored was never sent.
func TestRestartBeforeATopicIDIsStored_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.subscribe("t/+", 1)
		r.store.StopCommits()
		r.publish("t/1", "x", 1)
		d.sendMessage(sn12.Register{MsgID: 7, TopicName: []byte("up")})
		d.sendMessage(sn12.Subscribe{MsgID: 8, TopicName: []byte("other")})
		d.wantQuiet("not committed")
		r.restart()
		if got := d.receive(20 * time.Second); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("got %q", got)
		}
		if id := d.register("up"); id == 0 {
			t.Fatal("REGISTER is repeated by the device, and answered")
		}
		d.subscribe("other", 0)
	})
}

func TestRestartPredefinedTopics_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "pump-7")
		d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 2})
		d.wantMessage("subscribed", sn12.SubAck{QoS: 1, TopicID: 2, MsgID: 1})
		alarm := d.register("site/alarm") // is given its predefined number as a normal id
		r.restart()
		got := r.observe()
		time.Sleep(time.Second)
		for _, typ := range []sn12.TopicIDType{sn12.TopicIDPredefined, sn12.TopicIDNormal} {
			d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: typ, TopicID: alarm, MsgID: 2, Data: []byte("x")})
			d.wantMessage("relayed", sn12.PubAck{TopicID: alarm, MsgID: 2})
		}
		got.want(t, "one topic", "pump-7 site/alarm x 1", "pump-7 site/alarm x 1")
		r.publish("site/cfg", "y", 1)
		d.wantMessage("the subscription goes on", sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 2, MsgID: 1, Data: []byte("y")})
	})
}

// Topic ids that a device was given mean the same though the predefined topics are others
// now, and no new topic is given a number that is predefined now.
func TestRestartWithOtherPredefinedTopics_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "pump-7")
		alarm, cfg, own := d.register("site/alarm"), d.register("site/cfg"), d.register("own")
		const message = "predefined topics changed since the last run"
		if strings.Contains(r.log.String(), message) {
			t.Error("a new store has no last run")
		}
		r.restart()
		if strings.Contains(r.log.String(), message) {
			t.Error("they have not changed")
		}
		r.crash()
		changed := *r.opts.Session
		var err error
		if changed.Predefined, err = topicreg.NewPredefined([]topicreg.Entry{
			{ID: alarm, Name: "site/cfg"}, {ID: 4, Name: "four"}, {ID: 5, Name: "five"},
		}); err != nil {
			t.Fatal(err)
		}
		r.opts.Session = &changed
		r.start()
		if strings.Count(r.log.String(), message) != 1 {
			t.Error("no line in the log")
		}
		got := r.observe()
		for id, name := range map[uint16]string{alarm: "site/alarm", cfg: "site/cfg", own: "own"} {
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: id, Data: []byte("x")})
			d.wantMessage("as before", sn12.PubAck{TopicID: id, MsgID: id})
			got.want(t, "as before", "pump-7 "+name+" x 1")
			if again := d.register(name); again != id {
				t.Errorf("%s has topic id %d now, had %d", name, again, id)
			}
		}
		d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: alarm, MsgID: 50, Data: []byte("x")})
		d.wantMessage("as predefined now", sn12.PubAck{TopicID: alarm, MsgID: 50})
		got.want(t, "as predefined now", "pump-7 site/cfg x 1")
		if id := d.register("new"); id <= 5 {
			t.Errorf("a new topic is given %d, which is in use or predefined", id)
		}
		r.restart()
		if strings.Count(r.log.String(), message) != 1 {
			t.Error("logged again though they have not changed again")
		}
	})
}
