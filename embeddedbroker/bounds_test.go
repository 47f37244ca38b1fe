package embeddedbroker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

func testRules(t *testing.T) (*rules, *mqtt.Client) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server := mqtt.New(&mqtt.Options{Logger: log, Capabilities: capabilities(10)})
	return newRules(server, 10, log), server.NewClient(nil, listenerID, "c", false)
}

func TestRetainedBytesAreBoundedAndGivenBack(t *testing.T) {
	r, cl := testRules(t)
	publish := func(topic string, payload int) bool {
		t.Helper()
		pk, err := r.OnPublish(cl, packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true},
			TopicName:   topic, Payload: make([]byte, payload),
		})
		if err != nil {
			t.Fatal(err)
		}
		return pk.FixedHeader.Retain
	}
	kept := 0
	for publish(fmt.Sprint("topic/", kept), maxPacketBytes) {
		kept++
	}
	if want := maxRetainedBytes / maxPacketBytes; kept < want-want/50 || kept > want {
		t.Fatalf("%d messages of the largest size were kept, want about %d", kept, want)
	}
	if !publish("topic/0", maxPacketBytes-1) {
		t.Error("a smaller message cannot replace the one its topic has")
	}
	will, err := r.OnWill(cl, mqtt.Will{TopicName: "will", Payload: make([]byte, maxPacketBytes), Retain: true})
	if err != nil || will.Retain {
		t.Errorf("a will was kept beyond the bound (error %v)", err)
	}
	if !publish("topic/1", 0) || !publish("new", maxPacketBytes-1) {
		t.Error("removing a message does not make room for another")
	}
	r.OnRetainedExpired("topic/2")
	if !publish("new2", maxPacketBytes-1) {
		t.Error("an expired message does not make room for another")
	}
	for topic := range r.retained {
		r.retain(topic, 0)
	}
	if r.retainedBytes != 0 || len(r.retained) != 0 {
		t.Errorf("%d bytes in %d topics after all were removed", r.retainedBytes, len(r.retained))
	}
}

func TestSubscriptionsOfASessionAreBounded(t *testing.T) {
	r, cl := testRules(t)
	for i := range maxSubscriptions - 1 {
		filter := fmt.Sprint("f/", i)
		cl.State.Subscriptions.Add(filter, packets.Subscription{Filter: filter})
	}
	pk := r.OnSubscribe(cl, packets.Packet{Filters: packets.Subscriptions{
		{Filter: "f/0"}, {Filter: "new"}, {Filter: "too/many"}, {Filter: "f/1"},
	}})
	var got []string
	for _, sub := range pk.Filters {
		got = append(got, sub.Filter)
	}
	if diff := cmp.Diff([]string{"f/0", "new", "", "f/1"}, got); diff != "" {
		t.Errorf("filters (-want +got):\n%s", diff)
	}
}

func TestExpiredSessionLeavesNoSubscription(t *testing.T) {
	r, cl := testRules(t)
	sub := packets.Subscription{Filter: "a/#"}
	r.server.Topics.Subscribe(cl.ID, sub)
	cl.State.Subscriptions.Add(sub.Filter, sub)
	r.OnClientExpired(cl)
	if n := len(r.server.Topics.Subscribers("a/b").Subscriptions); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}

func TestLogIsQuietBoundedAndHoldsNoPackets(t *testing.T) {
	var lines []string
	h := newLogHandler(func(level slog.Level, message string, fields []any) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintln(append([]any{level, message}, fields...)...)))
	})
	log := slog.New(h).With("listener", "tcp")
	log.Info("not shown")
	log.Warn(mqtt.ErrMinimumKeepalive.Error(), "keepalive", 3)
	log.Warn("fault", "error", errors.New("bad"), "n", uint16(7),
		"pk", packets.Packet{Connect: packets.ConnectParams{Password: []byte("secret")}}, "p", &packets.Packet{})
	log.Error("long", "client", strings.Repeat("x", 70_000))
	if len(lines) != 2 || lines[0] != "WARN fault listener tcp error bad n 7" {
		t.Fatalf("lines %q", lines)
	}
	if n := len(lines[1]); n > 2*maxLoggedValueBytes {
		t.Errorf("a line of %d bytes", n)
	}
}

func TestLogLimitRefillsWithTimeAndCountsWhatItDropped(t *testing.T) {
	l := newLogLimit()
	now := time.Unix(1_000_000, 0)
	for i := range logBurst {
		if _, ok := l.take(now); !ok {
			t.Fatalf("line %d of the burst was dropped", i)
		}
	}
	for range 5 {
		if _, ok := l.take(now); ok {
			t.Fatal("a line beyond the burst was let through")
		}
	}
	now = now.Add(time.Minute / logPerMinute)
	if dropped, ok := l.take(now); !ok || dropped != 5 {
		t.Errorf("take = %d, %v; want 5 dropped lines reported", dropped, ok)
	}
	now = now.Add(24 * time.Hour)
	for range logBurst {
		l.take(now)
	}
	if _, ok := l.take(now); ok {
		t.Error("the bucket grew beyond the burst")
	}
}

func TestPanicOfAConnectionEndsOnlyThatConnection(t *testing.T) {
	var line string
	log := slog.New(newLogHandler(func(_ slog.Level, message string, fields []any) { line = fmt.Sprint(message, fields) }))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(tcp, 1, log)
	defer l.Close(nil)
	near, far := net.Pipe()
	if !l.add(near) {
		t.Fatal("the connection was refused")
	}
	l.handle(near, func(string, net.Conn) error { panic("boom") })
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want the connection closed", err)
	}
	if !strings.Contains(line, "boom") {
		t.Errorf("log %q does not say why", line)
	}
	if len(l.conns) != 0 {
		t.Error("the connection is still counted")
	}
}
