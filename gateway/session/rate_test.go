package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestBucketHoldsItsRateAndBurst(t *testing.T) {
	var b bucket
	r := Rate{PerSecond: 10, Burst: 25}
	now := epoch
	taken := func(d Time, step Time, n int) (count int) {
		for end := now + d; now < end; now += step {
			if b.take(r, now, n) {
				count += n
			}
		}
		return count
	}
	if n := taken(time.Second, 10*time.Millisecond, 1); n < 34 || n > 35 {
		t.Errorf("%d in the first second, want the burst of 25 and 10", n)
	}
	if n := taken(10*time.Second, 10*time.Millisecond, 1); n < 99 || n > 101 {
		t.Errorf("%d in 10 s, want 100", n)
	}
	now += time.Hour
	if b.take(r, now, 26) {
		t.Error("more than the burst at once")
	}
	if !b.take(r, now, 25) || b.take(r, now, 1) {
		t.Error("a pause saves up the burst and no more")
	}
	b = bucket{}
	for range 1000 {
		if !b.take(Rate{}, now, 1<<30) {
			t.Fatal("no rate is no limit")
		}
	}
	if fast := (Rate{PerSecond: 1_000_000_000, Burst: 1_000_000_000}); !b.take(fast, now, 1_000_000_000) || b.take(fast, now, 1) {
		t.Error("the largest rate and burst are not kept")
	}
}

func limited(t *testing.T) (*rig, uint16) {
	t.Helper()
	cfg := testConfig()
	cfg.MessageRate = Rate{PerSecond: 10, Burst: 3}
	cfg.ByteRate = Rate{PerSecond: 1000, Burst: 1000}
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
