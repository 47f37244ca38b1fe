package session

import (
	"fmt"
	"testing"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// predefinedConfig is testConfig with some predefined topics.
func predefinedConfig(t *testing.T, entries ...topicreg.Entry) *Config {
	t.Helper()
	p, err := topicreg.NewPredefined(entries)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Predefined = p
	return cfg
}

func TestRegisterGivesAnID_Case54(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("09 0a 0000 1234 612f62")
	r.wantHex("id 1, the MsgId of the request", "07 0b 0001 1234 00")
	if id := r.register("c/d"); id != 2 {
		t.Errorf("the second topic has id %d", id)
	}
	for i := range 200 {
		if id := r.register(fmt.Sprint("many/", i)); id == 0 || id == 0xFFFF {
			t.Fatalf("reserved id %#x", id)
		}
	}
}

func TestRegisterAgainGivesTheSameID_Case55(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	first := r.register("a/b")
	r.register("c/d")
	if again := r.register("a/b"); again != first {
		t.Errorf("id %d, then %d", first, again)
	}
}

func TestRegisteredTopicKeepsItsPredefinedID_Case56(t *testing.T) {
	r := newRig(t, predefinedConfig(t,
		topicreg.Entry{ID: 1, Name: "other"},
		topicreg.Entry{ID: 700, Name: "site/alarm"},
		topicreg.Entry{ID: 2, Name: "for/dev", Client: "dev"},
		topicreg.Entry{ID: 3, Name: "for/pumps", Client: "pump-*"}))
	r.connect(true, 60)
	if id := r.register("site/alarm"); id != 700 {
		t.Errorf("site/alarm has id %d, want 700", id)
	}
	if id := r.register("for/dev"); id != 2 {
		t.Errorf("for/dev has id %d, want 2", id)
	}
	if id := r.register("for/pumps"); id != 3 {
		// 1 and 2 are predefined for this device; 3 is not.
		t.Errorf("for/pumps has id %d, want the first free one", id)
	}
	r.send(sn12.Publish{TopicIDType: sn12.TopicIDNormal, TopicID: 700, Data: []byte("x")})
	r.wantAction("usable as a normal id", Action{Kind: ActionPublish, Topic: "site/alarm", Payload: []byte("x")})
	r.send(sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 700, Data: []byte("x")})
	r.wantAction("and as the predefined one", Action{Kind: ActionPublish, Topic: "site/alarm", Payload: []byte("x")})
}

func TestRegisterOfAnImpossibleNameIsRefused_Case58(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	for _, name := range []string{"", "a/#", "+", "a\x00", "\xff"} {
		r.send(sn12.Register{MsgID: 7, TopicName: []byte(name)})
		r.want(fmt.Sprintf("%q", name), sn12.RegAck{MsgID: 7, ReturnCode: sn12.RejectedNotSupported})
		r.wantDrop("", ReasonInvalidTopic)
	}
	r.sendHex("05 0a 0000 00")
	r.wantDrop("too short for a MsgId: cannot be answered", ReasonMalformed)
	r.wantState("", StateActive)
	if id := r.register("good"); id != 1 {
		t.Errorf("refused names have used up ids: the first is %d", id)
	}
}

func TestTopicLimit_Case59(t *testing.T) {
	cfg := testConfig()
	cfg.MaxTopics = 3
	r := newRig(t, cfg)
	r.connect(true, 60)
	ids := map[string]uint16{}
	for _, name := range []string{"a", "b", "c"} {
		ids[name] = r.register(name)
	}
	for range 3 {
		r.send(sn12.Register{MsgID: 9, TopicName: []byte("d")})
		r.want("", sn12.RegAck{MsgID: 9, ReturnCode: sn12.RejectedCongestion})
		r.wantDrop("", ReasonTopicsFull)
	}
	for name, id := range ids {
		if again := r.register(name); again != id {
			t.Errorf("%s: id %d, then %d", name, id, again)
		}
		r.send(sn12.Publish{TopicID: id})
		r.wantAction("the older ids still work", Action{Kind: ActionPublish, Topic: name})
	}
}

func TestRegisterWithoutConnection_Case61(t *testing.T) {
	r := newRig(t, nil)
	r.sendHex("07 0a 0000 0001 61")
	r.wantHex("never connected", "02 18")
	r.wantDrop("", ReasonUnknownSender)
	r.connect(false, 60)
	r.close()
	r.sendHex("07 0a 0000 0001 61")
	r.wantHex("not any more", "02 18")
}

func TestRegisterNeedsNoBroker(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.event(Event{Kind: EventDown})
	if id := r.register("a/b"); id != 1 {
		t.Errorf("id %d", id)
	}
}
