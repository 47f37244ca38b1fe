package session

import (
	"testing"

	"sngate/gateway/session/dialogue"
	"sngate/snpacket/sn12"
)

// disposition is what becomes of a vector whose layer is "semantic", sent by a device
// that is connected and knows the topic id 1 ("t/1").
type disposition struct {
	by   string     // "" the session; otherwise who decides before a session sees it
	in   State      // another state than active
	reg  bool       // the device is being sent REGISTER with MsgId 1
	want string     // the answer in hex; "" for none
	drop Reason     // what is counted
	act  ActionKind // what is asked of the link; 0: nothing
}

// semanticDispositions is the decision about each of them. What can be answered is
// answered with the code that fits; no connected device is thrown out for one.
func semanticDispositions() map[string]disposition {
	const check = "CheckConnect"
	return map[string]disposition{
		"connect-protocol-02": {by: check, drop: ReasonProtocolID},
		"connect-protocol-ff": {by: check, drop: ReasonProtocolID},
		"connect-24char-id":   {by: check, drop: ReasonNone}, // as long as MaxClientID allows
		"connect-id-bad-utf8": {by: check, drop: ReasonClientID},
		"connect-id-nul":      {by: check, drop: ReasonClientID},

		"publish-type11": {want: "07 0d 0001 0001 03", drop: ReasonInvalidTopic},
		// Outside a connection it cannot be resolved; in one it can.
		"publish-qosm1-normal": {act: ActionPublish},
		// Read as topic id 5, which is not registered. QoS -1 is never answered.
		"publish-qosm1-longname-ext": {drop: ReasonQoSMinusOneLongName},
		"publish-qos1-msgid0":        {want: "07 0d 0001 0000 03", drop: ReasonInvalidMessageID},
		"publish-qos0-dup":           {act: ActionPublish}, // DUP has no meaning here and is ignored
		"publish-short-hash":         {want: "07 0d 6123 0000 02", drop: ReasonInvalidTopic},
		"publish-short-nul":          {want: "07 0d 0061 0001 02", drop: ReasonInvalidTopic},
		"publish-short-bad-utf8":     {want: "07 0d c361 0001 02", drop: ReasonInvalidTopic},

		"register-wildcard":       {want: "07 0b 0000 0001 03", drop: ReasonInvalidTopic},
		"register-overlong-utf8":  {want: "07 0b 0000 0001 03", drop: ReasonInvalidTopic},
		"register-surrogate":      {want: "07 0b 0000 0001 03", drop: ReasonInvalidTopic},
		"register-truncated-utf8": {want: "07 0b 0000 0001 03", drop: ReasonInvalidTopic},
		"register-nul":            {want: "07 0b 0000 0001 03", drop: ReasonInvalidTopic},
		// A client's TopicId is not looked at: it is the gateway that gives ids.
		"register-client-topicid": {want: "07 0b 0002 0001 00"},
		"register-gw-topic-0000":  {want: "07 0b 0002 0001 00"}, // right in this direction
		"register-gw-topic-ffff":  {want: "07 0b 0002 0001 00"},
		// One REGISTER at a time: the device can match the answer all the same.
		"register-msgid0": {want: "07 0b 0002 0000 00"},
		// A reserved code is a rejection: the message is given up, and not sent again.
		"regack-rc04": {reg: true, drop: ReasonClientRejected, act: ActionAck},
		"suback-rc83": {drop: ReasonUnexpectedMessage}, // devices do not send SUBACK

		"willtopic-qos3":     {in: StateWillTopic, want: "03 05 03", drop: ReasonWill},
		"willtopic-wildcard": {in: StateWillTopic, want: "03 05 03", drop: ReasonWill},
		"willtopic-bad-utf8": {in: StateWillTopic, want: "03 05 03", drop: ReasonWill},

		"subscribe-qos3":            {want: "08 13 00 0000 0001 03", drop: ReasonNotSupported},
		"subscribe-type11":          {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		"subscribe-msgid0":          {want: "08 13 00 0000 0000 03", drop: ReasonInvalidMessageID},
		"subscribe-hash-middle":     {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		"subscribe-hash-in-level":   {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		"subscribe-plus-in-level":   {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		"subscribe-bad-utf8":        {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		"subscribe-nul":             {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		"subscribe-predefined-0000": {want: "08 13 00 0000 0001 02", drop: ReasonUnknownTopicID},
		"subscribe-predefined-ffff": {want: "08 13 00 0000 0001 02", drop: ReasonUnknownTopicID},
		"subscribe-short-wildcard":  {want: "08 13 00 0000 0001 03", drop: ReasonInvalidTopic},
		// UNSUBACK has no return code, and such a subscription cannot exist.
		"unsubscribe-type11": {want: "04 15 0001", drop: ReasonInvalidTopic},

		"disconnect-duration-from-gateway": {want: "02 18"}, // right in this direction: sleep

		// What is encapsulated is unwrapped before it comes to a session; to the session
		// itself the length is wrong.
		"encap-nested":       {by: "the shell", drop: ReasonMalformed},
		"encap-empty-nodeid": {by: "the shell", drop: ReasonMalformed},

		"pubrec-msgid0": {drop: ReasonUnexpectedMessage}, // the gateway sends nothing under MsgId 0
		// Answered like any MsgId that is not in flight, so that the device can go on.
		"pubrel-msgid0": {want: "04 0e 0000"},
	}
}

func TestSemanticVectors_Case11_29_31_32(t *testing.T) {
	table := semanticDispositions()
	for _, v := range loadSemanticVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			d, ok := table[v.Name]
			if !ok {
				t.Fatalf("nobody has decided about this vector: %s", v.Why)
			}
			delete(table, v.Name)
			if d.by == "CheckConnect" {
				checkSemanticConnect(t, v, d)
				return
			}
			r := semanticRig(t, d)
			r.sendHex(v.Hex)
			if d.want != "" {
				r.wantHex(v.Why, d.want)
			}
			if d.drop != ReasonNone {
				r.wantDrop(v.Why, d.drop)
			} else {
				r.wantDrop(v.Why)
			}
			if d.act != 0 {
				if len(r.acts) != 1 || r.acts[0].Kind != d.act {
					t.Fatalf("actions are %v, want one of kind %d", r.acts, d.act)
				}
				r.acts = nil
			}
			r.wantQuiet(v.Why)
		})
	}
	for name := range table {
		t.Errorf("%s: there is no such vector", name)
	}
}

func semanticRig(t *testing.T, d disposition) *rig {
	t.Helper()
	r := newRig(t, nil)
	if d.in == StateWillTopic {
		r.send(connectMsg(true, true, 60))
		r.want("", sn12.WillTopicReq{})
		return r
	}
	r.connect(true, 60)
	if id := r.register("t/1"); id != 1 {
		t.Fatalf("the first topic id is %d", id)
	}
	if d.reg {
		r.event(fromBroker("new/topic", "x", 1, 1))
		r.want("", sn12.Register{TopicID: 2, MsgID: 1, TopicName: []byte("new/topic")})
	}
	return r
}

func checkSemanticConnect(t *testing.T, v semanticVector, d disposition) {
	t.Helper()
	c := parsed(t, unhex(t, v.Hex))
	if c.Kind != dialogue.Connect || c.Fault == dialogue.Malformed {
		t.Fatalf("does not parse: %+v", c)
	}
	code, why := CheckConnect(testConfig(), &c)
	if why != d.drop || (code == dialogue.Accepted) != (why == ReasonNone) {
		t.Errorf("%s: %v because of %v, want %v", v.Why, code, why, d.drop)
	}
}
