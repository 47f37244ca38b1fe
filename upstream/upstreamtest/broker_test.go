package upstreamtest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// user is one Link with its own inbox, run by the test's goroutine.
type user struct {
	upstream.Link
	t      *testing.T
	inbox  upstreamtest.Inbox
	start  time.Time
	events []upstream.Event
	ack    bool // acknowledge every message
}

// with runs f in a bubble with a broker and a way to make users of it.
func with(t *testing.T, f func(b *upstreamtest.Broker, dial func(id string) *user)) {
	synctest.Test(t, func(t *testing.T) {
		b := upstreamtest.NewBroker()
		defer b.Close()
		d, err := upstream.NewDialer(upstream.Options{Address: "memory:1883", Dial: b.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		start := time.Now()
		f(b, func(id string) *user {
			u := &user{t: t, inbox: make(upstreamtest.Inbox, 64), start: start, ack: true}
			u.Link = d.NewLink(u.inbox, nil)
			return u
		})
	})
}

func (u *user) now() time.Duration { return time.Since(u.start) }

// run serves the link for d.
func (u *user) run(d time.Duration) {
	end := u.now() + d
	for {
		list := u.AppendEvents(nil)
		u.events = append(u.events, list...)
		if u.ack {
			for _, e := range u.events[len(u.events)-len(list):] {
				u.Ack(u.now(), e.Handle)
				if e.Kind == upstream.EventReleased {
					u.Complete(e.Identity)
				}
			}
		}
		u.Flush(u.now())
		select {
		case in := <-u.inbox:
			u.Input(u.now(), &in)
			continue
		case <-time.After(min(end, max(u.Deadline(), u.now())) - u.now()):
		}
		if u.now() >= end {
			return
		}
		u.Advance(u.now())
	}
}

// kinds runs the link a little and returns what it reported in short.
func (u *user) kinds() []string {
	u.run(time.Millisecond)
	var list []string
	for _, e := range u.events {
		switch e.Kind {
		case upstream.EventMessage:
			list = append(list, fmt.Sprintf("%s %s q%d r%v", e.Topic, e.Payload, e.QoS, e.Retain))
		default:
			list = append(list, fmt.Sprintf("kind%d %d %v", e.Kind, e.Token, e.SessionPresent))
		}
	}
	u.events = nil
	return list
}

func (u *user) want(why string, want ...string) {
	u.t.Helper()
	if diff := cmp.Diff(want, u.kinds()); diff != "" {
		u.t.Fatalf("%s: %s", why, diff)
	}
}

func TestBrokerDeliversWithTheLowerQoS(t *testing.T) {
	with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
		var observed []string
		b.Observe = func(id string, m upstreamtest.Message) {
			observed = append(observed, fmt.Sprintf("%s %s %s", id, m.Topic, m.Payload))
		}
		u := dial("u")
		u.Connect(u.now(), &upstream.Connect{ClientID: "u", CleanSession: true})
		u.want("CONNACK", "kind1 0 false")
		u.Subscribe(u.now(), 1, "a/+", 1)
		u.Subscribe(u.now(), 2, "b/#", 2)
		u.want("SUBACK", "kind7 1 false", "kind7 2 false")
		for qos := range uint8(3) {
			u.Publish(u.now(), upstream.Publish{Token: upstream.Token(10 + qos), Topic: "a/x", Payload: []byte{'0' + qos}, QoS: qos})
			u.want("a/+ grants 1", [][]string{
				{"kind5 10 false", "a/x 0 q0 rfalse"},
				{"kind5 11 false", "a/x 1 q1 rfalse"},
				{"a/x 2 q1 rfalse", "kind5 12 false"},
			}[qos]...)
		}
		b.Publish(upstreamtest.Message{Topic: "b/y/z", Payload: []byte("m"), QoS: 2, Retain: true})
		b.Publish(upstreamtest.Message{Topic: "c", Payload: []byte("m"), QoS: 2})
		u.want("b/# grants 2; already subscribed, so not marked retained", "b/y/z m q2 rfalse", "kind13 0 false")
		u.Subscribe(u.now(), 3, "b/+/z", 0)
		u.want("retained", "kind7 3 false", "b/y/z m q0 rtrue")
		u.Unsubscribe(u.now(), 4, "b/#")
		u.want("UNSUBACK", "kind8 4 false")
		if diff := cmp.Diff([]string{"u a/x 0", "u a/x 1", "u a/x 2"}, observed); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBrokerKeepsSessionsOverKillAndRedelivers(t *testing.T) {
	for _, keep := range []bool{true, false} {
		with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
			u := dial("u")
			u.ack = false
			u.Connect(u.now(), &upstream.Connect{ClientID: "u"})
			u.want("CONNACK", "kind1 0 false")
			u.Subscribe(u.now(), 1, "t", 2)
			u.want("SUBACK", "kind7 1 false")
			for i := range 30 {
				b.Publish(upstreamtest.Message{Topic: "t", Payload: fmt.Append(nil, i), QoS: byte(1 + i%2)})
			}
			if n := len(u.kinds()); n != 20 {
				t.Fatalf("%d messages unacknowledged, the window is 20", n)
			}
			b.Kill(keep)
			u.run(500 * time.Millisecond)
			b.Start()
			u.ack = true
			u.events = nil
			u.run(5 * time.Second)
			up := u.events[0]
			if up.Kind != upstream.EventUp || up.SessionPresent != keep {
				t.Fatalf("first event after the restart %+v, session kept %v", up, keep)
			}
			if waiting, _ := b.Pending("u"); keep && waiting != 30 || !keep && waiting != 0 {
				t.Errorf("%d messages wait; the user holds 20 unacknowledged", waiting)
			}
			if total, takeovers := b.Connects(); total != 2 || takeovers != 0 || b.Connected() != 1 {
				t.Errorf("%d connects, %d takeovers, %d connected", total, takeovers, b.Connected())
			}
		})
	}
}

func TestBrokerPublishesTheWillUnlessDisconnected(t *testing.T) {
	will := &upstream.Will{Topic: "will", Message: []byte("gone"), QoS: 1, Retain: true}
	for mode, want := range map[upstream.CloseMode]bool{upstream.CloseGraceful: false, upstream.CloseAbort: true} {
		with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
			u := dial("u")
			u.Connect(u.now(), &upstream.Connect{ClientID: "u", Will: will})
			u.kinds()
			u.Close(u.now(), mode)
			u.want("closed", "kind11 0 false")
			synctest.Wait()
			if m, ok := b.Retained("will"); ok != want || want && string(m.Payload) != "gone" {
				t.Errorf("close mode %d: will %v %q, want %v", mode, ok, m.Payload, want)
			}
		})
	}
}

func TestBrokerTakesOverAndRefuses(t *testing.T) {
	with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
		b.Refuse = func(id, _ string, _ []byte) byte {
			if id == "bad" {
				return 5
			}
			return 0
		}
		one, two := dial("u"), dial("u")
		one.Connect(one.now(), &upstream.Connect{ClientID: "u"})
		one.kinds()
		two.Connect(two.now(), &upstream.Connect{ClientID: "u"})
		two.want("the session is there", "kind1 0 true")
		one.want("taken over", "kind3 0 false")
		if _, n := b.Connects(); n != 1 {
			t.Errorf("%d takeovers", n)
		}
		one.Close(one.now(), upstream.CloseAbort)
		bad := dial("bad")
		bad.Connect(bad.now(), &upstream.Connect{ClientID: "bad"})
		bad.run(time.Millisecond)
		if e := bad.events[0]; e.Kind != upstream.EventRefused || e.Refusal.Kind != upstream.RefusedForGood {
			t.Errorf("got %+v", e)
		}
		b.Drop("u")
		two.want("dropped", "kind3 0 false")
	})
}

func TestBrokerDropsSilentClients(t *testing.T) {
	with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
		b.KeepAlive = true
		u := dial("u")
		u.Connect(u.now(), &upstream.Connect{ClientID: "u", KeepAlive: 10})
		u.kinds()
		u.run(time.Hour)
		if len(u.events) != 0 {
			t.Fatalf("a link that pings was dropped: %+v", u.events)
		}
		<-time.After(15 * time.Second) // nobody runs the link
		synctest.Wait()
		if b.Connected() != 0 {
			t.Error("a silent client is still connected")
		}
	})
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"#", "a/b", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "b", false},
		{"+", "a", true}, {"+", "a/b", false}, {"a/+/c", "a/b/c", true}, {"a/+", "a/", true},
		{"+/+", "/a", true}, {"/+", "/a", true}, {"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true},
	} {
		if got := upstreamtest.Match(c.filter, c.topic); got != c.want {
			t.Errorf("Match(%q, %q) is %v", c.filter, c.topic, got)
		}
	}
}

func TestPipeBuffersAndHasDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := upstreamtest.Pipe(10)
		if n, err := a.Write([]byte("0123456789")); n != 10 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write([]byte("x")); n != 0 || err != os.ErrDeadlineExceeded {
			t.Errorf("a full pipe: %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Time{})
		p := make([]byte, 20)
		if n, err := b.Read(p); n != 10 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		b.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := b.Read(p); !err.(net.Error).Timeout() {
			t.Errorf("an empty pipe: %v", err)
		}
		b.SetReadDeadline(time.Time{})
		a.Write([]byte("last"))
		a.Close()
		if rest, err := io.ReadAll(b); string(rest) != "last" || err != nil {
			t.Errorf("after Close: %q, %v", rest, err)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("wrote to a closed pipe")
		}
		b.Close()
	})
}

func TestLinkRecordsCallsAndReportsEvents(t *testing.T) {
	var l upstreamtest.Link
	l.Publish(0, upstream.Publish{Token: 3, Topic: "t", Payload: []byte("x"), QoS: 1, Retain: true})
	l.Pause()
	l.Ack(0, 9)
	want := []upstreamtest.Call{
		{Method: "Publish", Token: 3, Topic: "t", Payload: []byte("x"), QoS: 1, Retain: true},
		{Method: "Pause"},
		{Method: "Ack", Handle: 9},
	}
	if diff := cmp.Diff(want, l.Take()); diff != "" {
		t.Error(diff)
	}
	if len(l.Take()) != 0 || !l.IsPaused || l.Deadline() != upstream.Never {
		t.Error("the state of a used Link is wrong")
	}
	l.Queue(upstream.Event{Kind: upstream.EventUp}, upstream.Event{Kind: upstream.EventDown})
	if n := len(l.AppendEvents(nil)); n != 2 {
		t.Errorf("%d events", n)
	}
	if n := len(l.AppendEvents(nil)); n != 0 {
		t.Errorf("%d events again", n)
	}
}

// The scripted broker and the real one speak the same protocol.
func TestListenerHandsOutConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lis := upstreamtest.NewListener(0)
		near, err := lis.Dial(context.Background(), "tcp", "host:1")
		if err != nil || lis.Dialled() != 1 || <-lis.Addresses != "host:1" {
			t.Fatal("the dial was not noticed")
		}
		p := lis.Accept(t)
		packets.NewControlPacket(packets.Pingreq).Write(near)
		upstreamtest.Want[*packets.PingreqPacket](p, "what was written")
		p.WantQuiet("and no more")
		near.Close()
		p.WantEOF("closed")
	})
}
