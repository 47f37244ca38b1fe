package embeddedbroker_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"sngate/embeddedbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 5 * time.Second

// quiet is long enough on loopback for a message that should not come.
const quiet = 100 * time.Millisecond

func start(t *testing.T, opts embeddedbroker.Options) *embeddedbroker.Broker {
	t.Helper()
	opts.Address = "127.0.0.1:0"
	b, err := embeddedbroker.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

type change func(*mqtt.ClientOptions)

// connect connects the stock client; the test ends it.
func connect(t *testing.T, b *embeddedbroker.Broker, id string, changes ...change) (mqtt.Client, error) {
	t.Helper()
	opts := mqtt.NewClientOptions().AddBroker("tcp://" + b.Addr().String()).SetClientID(id).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience)
	for _, c := range changes {
		c(opts)
	}
	client := mqtt.NewClient(opts)
	token := client.Connect()
	if !token.WaitTimeout(patience) {
		t.Fatal("no CONNACK")
	}
	if token.Error() == nil {
		t.Cleanup(func() { client.Disconnect(50) })
	}
	return client, token.Error()
}

func mustConnect(t *testing.T, b *embeddedbroker.Broker, id string, changes ...change) mqtt.Client {
	t.Helper()
	client, err := connect(t, b, id, changes...)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	return client
}

func done(t *testing.T, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatalf("%s: no answer", what)
	}
	if err := token.Error(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// subscribe subscribes and returns the code the broker granted.
func subscribe(t *testing.T, c mqtt.Client, filter string, qos byte, to chan<- mqtt.Message) byte {
	t.Helper()
	token := c.Subscribe(filter, qos, func(_ mqtt.Client, m mqtt.Message) {
		if to != nil {
			to <- m
		}
	})
	done(t, "subscribe "+filter, token)
	return token.(*mqtt.SubscribeToken).Result()[filter]
}

func next(t *testing.T, from <-chan mqtt.Message) mqtt.Message {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(patience):
		t.Fatal("no message")
		return nil
	}
}

func TestPublishReachesSubscriberAtEveryQoS(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	got := make(chan mqtt.Message, 10)
	receiver := mustConnect(t, b, "receiver")
	if code := subscribe(t, receiver, "site/+/temp", 2, got); code != 2 {
		t.Fatalf("granted %#x, want QoS 2", code)
	}
	sender := mustConnect(t, b, "sender")
	for qos := range byte(3) {
		payload := strings.Repeat("x", int(qos)*30_000)
		done(t, "publish", sender.Publish("site/7/temp", qos, false, payload))
		m := next(t, got)
		if m.Topic() != "site/7/temp" || string(m.Payload()) != payload || m.Qos() != qos || m.Retained() {
			t.Errorf("QoS %d: got %s QoS %d retained %v, %d bytes", qos, m.Topic(), m.Qos(), m.Retained(), len(m.Payload()))
		}
	}
}

func TestRetainedMessageIsKeptReplacedAndRemoved(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	sender := mustConnect(t, b, "sender")
	for _, payload := range []string{"first", "second"} {
		done(t, "publish", sender.Publish("cfg", 1, true, payload))
	}
	got := make(chan mqtt.Message, 10)
	subscribe(t, mustConnect(t, b, "late"), "cfg", 1, got)
	if m := next(t, got); string(m.Payload()) != "second" || !m.Retained() {
		t.Fatalf("got %q retained %v, want the newest, retained", m.Payload(), m.Retained())
	}
	done(t, "publish", sender.Publish("cfg", 1, true, ""))
	next(t, got) // PUBACK comes before the message goes to its subscribers: one that is late would be among them
	after := make(chan mqtt.Message, 10)
	subscribe(t, mustConnect(t, b, "later"), "cfg", 1, after)
	select {
	case m := <-after:
		t.Fatalf("got %q after it was removed", m.Payload())
	case <-time.After(quiet):
	}
}

func TestWillIsPublishedOnLossAndNotOnDisconnect(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	got := make(chan mqtt.Message, 10)
	watcher := mustConnect(t, b, "watcher")
	subscribe(t, watcher, "gone/#", 1, got)
	// The broker looks for retained messages after SUBACK: the will must not be there yet. It
	// answers this when it is done with that.
	done(t, "publish", watcher.Publish("other", 1, false, ""))

	polite := mustConnect(t, b, "polite", func(o *mqtt.ClientOptions) { o.SetWill("gone/polite", "bye", 1, false) })
	polite.Disconnect(50)
	lost := rawConnect(t, b, "lost", func(c *packets.ConnectPacket) {
		c.WillFlag, c.WillQos, c.WillRetain = true, 1, true
		c.WillTopic, c.WillMessage = "gone/lost", []byte("bye")
	})
	lost.Close()
	if m := next(t, got); m.Topic() != "gone/lost" || string(m.Payload()) != "bye" {
		t.Fatalf("got %s %q, want the will of the lost client", m.Topic(), m.Payload())
	}
	late := make(chan mqtt.Message, 1)
	subscribe(t, mustConnect(t, b, "late"), "gone/lost", 1, late)
	if m := next(t, late); !m.Retained() {
		t.Error("the will was not retained")
	}
	select {
	case m := <-got:
		t.Fatalf("unexpected message on %s", m.Topic())
	case <-time.After(quiet):
	}
}

func TestPortInUseIsAClearError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b, err := embeddedbroker.Start(embeddedbroker.Options{Address: taken.Addr().String()})
	if err == nil {
		b.Close()
		t.Fatal("started on a port in use")
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error %v is not EADDRINUSE", err)
	}
	for _, part := range []string{taken.Addr().String(), "in use", "broker.url", "embedded_broker.address"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}

func TestBadAddressIsAnError(t *testing.T) {
	if b, err := embeddedbroker.Start(embeddedbroker.Options{Address: "127.0.0.1:99999"}); err == nil {
		b.Close()
		t.Fatal("started on port 99999")
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1883": true, "127.8.9.1:1": true, "[::1]:1883": true, "localhost:1883": true,
		"[::ffff:127.0.0.1]:1883": true,
		":1883":                   false, "0.0.0.0:1883": false, "[::]:1883": false, "192.0.2.7:1883": false,
		"gateway.local:1883": false, "1883": false, "": false,
	} {
		if got := embeddedbroker.Loopback(address); got != want {
			t.Errorf("Loopback(%q) = %v, want %v", address, got, want)
		}
	}
}

func TestCloseEndsConnectionsWithAndWithoutConnectAndFreesThePort(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	mustConnect(t, b, "connected")
	raw, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	_ = raw.SetReadDeadline(time.Now().Add(patience))
	if _, err := raw.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("the silent connection is still open: %v", err)
	}
	again, err := embeddedbroker.Start(embeddedbroker.Options{Address: b.Addr().String()})
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClientsBeyondTheLimitAreRefusedUntilOneLeaves(t *testing.T) {
	var lines logLines
	b := start(t, embeddedbroker.Options{MaxClients: 2, Log: lines.add})
	first := mustConnect(t, b, "one")
	mustConnect(t, b, "two")
	if _, err := connect(t, b, "three"); err == nil {
		t.Fatal("a third client was let in")
	}
	lines.want(t, "too many clients")
	first.Disconnect(50)
	deadline := time.Now().Add(patience)
	for {
		if _, err := connect(t, b, "three"); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("no room after one has left: %v", err)
		}
	}
}

func TestSessionsOfAbsentClientsCountToTheLimit(t *testing.T) {
	b := start(t, embeddedbroker.Options{MaxClients: 3})
	for i := range 3 {
		c := mustConnect(t, b, fmt.Sprint("away-", i), func(o *mqtt.ClientOptions) { o.SetCleanSession(false) })
		subscribe(t, c, "x", 1, nil)
		c.Disconnect(50)
	}
	if _, err := connect(t, b, "new"); !errors.Is(err, packets.ErrorRefusedServerUnavailable) {
		t.Fatalf("a fourth session: %v, want %v", err, packets.ErrorRefusedServerUnavailable)
	}
	// One of the three may come back.
	mustConnect(t, b, "away-1", func(o *mqtt.ClientOptions) { o.SetCleanSession(false) })
}

func TestTakeoverSendsNoDisconnectToAnMQTT311Client(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	conn := rawConnect(t, b, "same", nil)
	mustConnect(t, b, "same")
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 16)); n != 0 || err == nil {
		t.Fatalf("read %d bytes, error %v; want the connection closed without a packet", n, err)
	}
}

func TestOversizedPacketCostsThatConnectionOnly(t *testing.T) {
	b := start(t, embeddedbroker.Options{})
	other := mustConnect(t, b, "other")
	conn := rawConnect(t, b, "big", nil)
	// PUBLISH that claims 256 MiB - 1.
	if _, err := conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x01, 't'}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection is still open")
	}
	done(t, "publish", other.Publish("t", 1, false, "x"))
}

// rawConnect connects without a client library.
func rawConnect(t *testing.T, b *embeddedbroker.Broker, id string, change func(*packets.ConnectPacket)) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion = "MQTT", 4
	connect.ClientIdentifier, connect.CleanSession = id, true
	if change != nil {
		change(connect)
	}
	send(t, conn, connect)
	if ack, ok := receive(t, conn).(*packets.ConnackPacket); !ok || ack.ReturnCode != 0 {
		t.Fatalf("CONNACK %v", ack)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, p packets.ControlPacket) {
	t.Helper()
	if err := p.Write(conn); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, conn net.Conn) packets.ControlPacket {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	p, err := packets.ReadPacket(conn)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// logLines collects what the broker logs.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(level slog.Level, message string, fields []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprint(level, " ", message, " ", fields))
}

func (l *logLines) want(t *testing.T, part string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			return
		}
	}
	t.Errorf("no log line contains %q: %q", part, l.lines)
}
