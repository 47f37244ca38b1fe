package upstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func (o *owned) wantMessage(payload string, why string) upstream.Event {
	o.r.t.Helper()
	e := o.want(upstream.EventMessage, why)
	if string(e.Payload) != payload {
		o.r.t.Fatalf("%s: payload %q, want %q", why, e.Payload, payload)
	}
	return e
}

func TestMessagesAreReportedAndAcknowledgedByTheOwner(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t/0", "zero", 0, 0, false)
		p.Publish("t/1", "one", 1, 7, false)
		p.Publish("t/2", "", 2, 8, false)
		if e := o.wantMessage("zero", "QoS 0"); e.Handle != 0 || e.Topic != "t/0" || e.QoS != 0 {
			t.Errorf("got %+v", e)
		}
		one := o.wantMessage("one", "QoS 1")
		two := o.wantMessage("", "QoS 2")
		if one.QoS != 1 || two.QoS != 2 || one.Handle == 0 || two.Handle == 0 || one.Handle == two.Handle {
			t.Errorf("got %+v and %+v", one, two)
		}
		p.WantQuiet("nothing is acknowledged unasked")
		o.Ack(r.now(), two.Handle)
		o.Ack(r.now(), two.Handle)
		r.runUntilIdle()
		if a := upstreamtest.Want[*packets.PubrecPacket](p, "QoS 2"); a.MessageID != 8 {
			t.Errorf("PUBREC %d", a.MessageID)
		}
		p.WantQuiet("once")
		ack(p, pubrel, 8)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubcompPacket](p, "PUBREL is answered")
		o.Ack(r.now(), one.Handle)
		o.Ack(r.now(), 0)
		o.Ack(r.now(), one.Handle)
		r.runUntilIdle()
		if a := upstreamtest.Want[*packets.PubackPacket](p, "QoS 1"); a.MessageID != 7 {
			t.Errorf("PUBACK %d", a.MessageID)
		}
		p.WantQuiet("once")
	})
}

func TestQoS2IsDeliveredOnce(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", "x", 2, 5, false)
		first := o.wantMessage("x", "first")
		h := first.Handle
		p.Publish("t", "x", 2, 5, true)
		p.Publish("t", "x", 2, 5, false)
		o.wantQuiet("held by the owner")
		p.WantQuiet("not acknowledged")
		ack(p, pubrel, 5) // wrong: there was no PUBREC
		o.wantQuiet("it stays held")
		p.WantQuiet("and is not completed")
		o.Ack(r.now(), h)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrecPacket](p, "acknowledged")
		p.Publish("t", "x", 2, 5, true)
		o.wantQuiet("acknowledged already")
		upstreamtest.Want[*packets.PubrecPacket](p, "again")
		ack(p, pubrel, 5)
		ack(p, pubrel, 5)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubcompPacket](p, "done")
		upstreamtest.Want[*packets.PubcompPacket](p, "a repetition is answered")
		for _, message := range []upstream.Identity{first.Identity, unknown(5)} {
			if e := o.want(upstream.EventReleased, "each is reported"); e.Identity != message {
				t.Errorf("got %+v", e)
			}
		}
		p.Publish("t", "new", 2, 5, false)
		o.wantMessage("new", "the identifier is free again")
	})
}

func TestRedeliveryAfterReconnectKeepsTheOwnersHandle_Case173(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", "one", 1, 1, false)
		p.Publish("t", "two", 2, 2, false)
		h1, h2 := o.wantMessage("one", "first").Handle, o.wantMessage("two", "second").Handle
		p = o.reconnect(p, true)
		p.Publish("t", "one", 1, 1, true)
		p.Publish("t", "two", 2, 2, true)
		o.wantQuiet("the owner still holds both")
		p.WantQuiet("and has acknowledged neither")
		o.Ack(r.now(), h1)
		o.Ack(r.now(), h2)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubackPacket](p, "one")
		upstreamtest.Want[*packets.PubrecPacket](p, "two")
		p.Publish("t", "one", 1, 1, true)
		o.wantMessage("one", "QoS 1 whose PUBACK was lost may come twice")
		if n := r.d.Stats().Duplicates.Load(); n != 2 {
			t.Errorf("%d duplicates counted", n)
		}
	})
}

func TestAckWhileDownAnswersTheRedelivery_Case173(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", "one", 1, 1, false)
		p.Publish("t", "two", 2, 2, false)
		h1, h2 := o.wantMessage("one", "first").Handle, o.wantMessage("two", "second").Handle
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		o.Ack(r.now(), h1)
		o.Ack(r.now(), h2)
		r.pass(time.Second)
		p = o.accept(true)
		o.want(upstream.EventUp, "back")
		p.Publish("t", "one", 1, 1, true)
		p.Publish("t", "two", 2, 2, true)
		o.wantQuiet("the device has both")
		upstreamtest.Want[*packets.PubackPacket](p, "one")
		upstreamtest.Want[*packets.PubrecPacket](p, "two")
		p.Publish("t", "other", 1, 1, false)
		o.wantMessage("other", "a new message with the old identifier")
	})
}

// A broker that was killed may come back with the session as it was some time ago, and
// give identifiers out again that are still in use here.
func TestOtherContentWithTheSameIdentifierIsAnotherMessage(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", "one", 1, 1, false)
		p.Publish("t", "two", 2, 2, false)
		h1, two := o.wantMessage("one", "first").Handle, o.wantMessage("two", "second")
		o.Ack(r.now(), two.Handle)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrecPacket](p, "two")
		p = o.reconnect(p, true)
		p.Publish("t", "three", 1, 1, true)
		p.Publish("t", "four", 2, 2, false)
		h3 := o.wantMessage("three", "not one").Handle
		if e := o.want(upstream.EventForgotten, "two will not come again"); e.Identity != two.Identity {
			t.Errorf("got %+v", e)
		}
		h4 := o.wantMessage("four", "not two").Handle
		o.Ack(r.now(), h1)
		r.runUntilIdle()
		p.WantQuiet("the handle of one is stale")
		o.Ack(r.now(), h3)
		o.Ack(r.now(), h4)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubackPacket](p, "three")
		upstreamtest.Want[*packets.PubrecPacket](p, "four")
	})
}

func TestWithoutSessionTheHandlesAreStale(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", "old", 1, 1, false)
		old := o.wantMessage("old", "first").Handle
		p = o.reconnect(p, false)
		o.Ack(r.now(), old)
		r.runUntilIdle()
		p.WantQuiet("the broker knows nothing of it")
		p.Publish("t", "new", 1, 1, false)
		h := o.wantMessage("new", "same identifier, another message").Handle
		o.Ack(r.now(), old)
		r.runUntilIdle()
		p.WantQuiet("the old handle does not acknowledge the new message")
		o.Ack(r.now(), h)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubackPacket](p, "the new one does")
	})
}

// A message of the old session is in the reader's hands while the connection is
// replaced: it must not be taken for one of the new.
func TestInputsOfAnOldConnectionAreIgnored(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		r.stuck = true
		p.Publish("t", "late", 1, 1, false)
		r.runUntilIdle()
		o.Close(r.now(), upstream.CloseAbort)
		r.runUntilIdle()
		r.stuck = false
		o.want(upstream.EventClosed, "closed")
		o.wantQuiet("the message was never seen")
	})
}

func TestOversizeIsSkippedUnreadAndAcknowledged_Case7(t *testing.T) {
	bubble(t, upstream.Options{MaxPayload: 1000}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", string(make([]byte, 1000)), 1, 1, false)
		if e := o.want(upstream.EventMessage, "just fits"); e.Oversize || len(e.Payload) != 1000 {
			t.Errorf("got %v, %d bytes", e.Oversize, len(e.Payload))
		} else {
			o.Ack(r.now(), e.Handle)
			r.runUntilIdle()
			upstreamtest.Want[*packets.PubackPacket](p, "acknowledged")
		}
		p.Publish("t", string(make([]byte, 30_000)), 1, 2, false)
		e := o.want(upstream.EventMessage, "too large")
		if !e.Oversize || e.Payload != nil || e.Topic != "t" {
			t.Errorf("got %+v", e)
		}
		o.Ack(r.now(), e.Handle)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubackPacket](p, "acknowledged like any other")
		p.Publish("t", "next", 0, 0, false)
		o.wantMessage("next", "the stream goes on")
		if n := r.d.Stats().Oversize.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestPauseStopsTheReaderAndResumeLosesNothing(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Pause()
		o.Pause()
		for i := range 100 {
			p.Publish("t", fmt.Sprint(i), 1, uint16(i+1), false)
		}
		r.pass(24 * time.Hour)
		o.wantQuiet("paused; and not lost for it")
		o.Resume()
		o.Resume()
		for i := range 100 {
			o.wantMessage(fmt.Sprint(i), "resumed")
		}
	})
}

// A device whose broker sends faster than its owner works must leave room in the
// inbox for the others.
func TestReaderStopsWhenItsInputsAreNotTaken(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		r.stuck = true
		for i := range 100 {
			p.Publish("t", fmt.Sprint(i), 0, 0, false)
		}
		r.runUntilIdle()
		if n := len(r.inbox); n != 32 {
			t.Errorf("%d inputs in the inbox, want 32", n)
		}
		r.stuck = false
		for i := range 100 {
			o.wantMessage(fmt.Sprint(i), "all of them, in order")
		}
		r.stuck = true
		for range 7 {
			p.Publish("t", string(make([]byte, 60_000)), 0, 0, false)
			r.runUntilIdle()
		}
		if n := len(r.inbox); n != 5 {
			t.Errorf("%d large inputs in the inbox, want 5: 256 KiB and one more", n)
		}
	})
}

// A client acknowledges in the order in which the messages came (MQTT 3.1.1 section 4.6).
func TestAcknowledgementsKeepTheOrderOfTheMessages(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		var handles []upstream.Handle
		for i, qos := range []byte{1, 2, 1, 2} {
			p.Publish("t", fmt.Sprint(i), qos, uint16(i+1), false)
			handles = append(handles, o.want(upstream.EventMessage, "taken").Handle)
		}
		for _, i := range []int{2, 3} {
			o.Ack(r.now(), handles[i])
		}
		r.runUntilIdle()
		p.WantQuiet("the first of each are not acknowledged")
		o.Ack(r.now(), handles[1])
		r.runUntilIdle()
		wantRaw(p, []byte{0x50, 2, 0, 2}, "QoS 2")
		wantRaw(p, []byte{0x50, 2, 0, 4}, "QoS 2")
		o.Ack(r.now(), handles[0])
		r.runUntilIdle()
		wantRaw(p, []byte{0x40, 2, 0, 1}, "QoS 1")
		wantRaw(p, []byte{0x40, 2, 0, 3}, "QoS 1")
	})
}

// What was acknowledged in the connection before is not answered in the next one until it
// has come there: the broker would be answered twice, and the repeat taken for a new message.
func TestAcknowledgementAheadOfTheRepeat_Case173(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o, p := r.up(persistent, false)
			p.Publish("t", "x", qos, 1, false)
			h := o.want(upstream.EventMessage, "taken").Handle
			p = o.reconnect(p, true)
			o.Ack(r.now(), h)
			r.runUntilIdle()
			p.WantQuiet("the broker has not asked")
			p.Publish("t", "x", qos, 1, true)
			r.runUntilIdle()
			wantRaw(p, []byte{0x30 + 0x10*qos, 2, 0, 1}, "now")
			o.wantQuiet("it is no new message")
			if o.repeated != 1 {
				t.Errorf("%d repeats reported", o.repeated)
			}
		})
	}
}
