package session

import (
	"testing"
	"time"

	"sngate/internal/rate"
	"sngate/snpacket/sn12"
)

func limited(t *testing.T) (*rig, uint16) {
	t.Helper()
	cfg := testConfig()
	cfg.MessageRate = rate.PerSecond(10, 3)
	cfg.ByteRate = rate.PerSecond(1000, 1000)
	r := newRig(t, cfg)
	r.connect(true, 60)
	return r, r.register("t")
}

func TestPublishBeyondTheMessageRateIsRefused_Case160(t *testing.T) {
	r, id := limited(t)
	p := sn12.Publish{QoS: 1, TopicID: id, Data: []byte("x")}
	for i := range 3 {
		p.MsgID = uint16(1 + i)
		r.send(p)
		r.wantAction("within the burst", Action{Kind: ActionPublish, Topic: "t", Payload: p.Data, QoS: 1})
	}
	p.DUP, p.MsgID = true, 1
	r.send(p)
	r.wantQuiet("a repeat of what is in flight")
	r.wantDrop("and no new message")
	for _, qos := range []uint8{1, 2} {
		p = sn12.Publish{QoS: qos, TopicID: id, MsgID: 9, Data: []byte("x")}
		r.send(p)
		r.want("beyond the rate", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedCongestion})
		r.wantDrop("and counted", ReasonMessageRate)
	}
	r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
	r.wantQuiet("QoS 0 is not answered")
	r.wantDrop("but counted", ReasonMessageRate)
	r.send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("x")})
	r.wantQuiet("nor is QoS -1")
	r.wantDrop("counted", ReasonMessageRate)
	r.send(sn12.PingReq{})
	r.want("only PUBLISH counts", sn12.PingResp{})
	r.advance(100 * time.Millisecond)
	r.send(sn12.Publish{TopicID: id, Data: []byte("y")})
	r.wantAction("one has come back", Action{Kind: ActionPublish, Topic: "t", Payload: []byte("y")})
}

func TestPublishBeyondTheByteRateIsRefused_Case160(t *testing.T) {
	r, id := limited(t)
	big := make([]byte, 600)
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: big})
	r.wantAction("within the burst", Action{Kind: ActionPublish, Topic: "t", Payload: big, QoS: 1})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2, Data: big})
	r.want("beyond the rate", sn12.PubAck{TopicID: id, MsgID: 2, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("counted", ReasonByteRate)
	r.advance(200 * time.Millisecond)
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2, Data: big})
	r.wantAction("they have come back", Action{Kind: ActionPublish, Topic: "t", Payload: big, QoS: 1})
}

// A device that is refused for its rate does not lose its exchanges in flight, and what
// it may not publish at all does not use up its rate.
func TestRefusedPublishesAreNotCharged(t *testing.T) {
	r, id := limited(t)
	for i := range 10 {
		r.send(sn12.Publish{QoS: 1, TopicID: id + 1, MsgID: uint16(i + 1)})
		r.want("unknown topic id", sn12.PubAck{TopicID: id + 1, MsgID: uint16(i + 1), ReturnCode: sn12.RejectedInvalidTopicID})
	}
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 20})
	r.wantAction("the rate is untouched", Action{Kind: ActionPublish, Topic: "t", QoS: 1})
}
