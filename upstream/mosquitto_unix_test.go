//go:build unix

package upstream_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// mosquitto is a real broker on a free loopback port, with its state on disk.
type mosquitto struct {
	t       *testing.T
	address string
	config  string
	cmd     *exec.Cmd
}

func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	l.Close()
	dir := t.TempDir()
	m := &mosquitto{t: t, address: address.String(), config: filepath.Join(dir, "mosquitto.conf")}
	config := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\n"+
		"max_queued_messages 0\nuser root\n", address.Port, dir)
	if err := os.WriteFile(m.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(func() { m.stop(syscall.SIGKILL) })
	return m
}

// start runs the broker and waits until it accepts connections.
func (m *mosquitto) start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			m.t.Fatalf("mosquitto is not installed: %v", err)
		}
	}
	m.cmd = exec.Command(path, "-c", m.config)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp", m.address, time.Second)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("mosquitto does not accept connections: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (m *mosquitto) signal(sig syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		m.t.Fatal(err)
	}
}

// stop sends sig and waits for the end of the process.
func (m *mosquitto) stop(sig syscall.Signal) {
	if m.cmd != nil {
		m.cmd.Process.Signal(sig)
		m.cmd.Wait()
		m.cmd = nil
	}
}

// shard owns real Links on the real clock.
type shard struct {
	t     *testing.T
	d     *upstream.Dialer
	inbox upstreamtest.Inbox
	start time.Time
	links []*device
}

type device struct {
	upstream.Link
	connected bool
	present   bool
	closed    int
	released  int
	published map[upstream.Token]int
	granted   []uint8
	got       map[string]int // topic, QoS and payload
	downs     int
	pongs     int
}

func newShard(t *testing.T, opt upstream.Options) *shard {
	t.Helper()
	d, err := upstream.NewDialer(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &shard{t: t, d: d, inbox: make(upstreamtest.Inbox, 64), start: time.Now()}
}

func (s *shard) now() time.Duration { return time.Since(s.start) }

func (s *shard) device() *device {
	o := &device{published: make(map[upstream.Token]int), got: make(map[string]int)}
	o.Link = s.d.NewLink(s.inbox, o)
	s.links = append(s.links, o)
	return o
}

func (s *shard) connect(c *upstream.Connect) *device {
	s.t.Helper()
	o := s.device()
	o.Connect(s.now(), c)
	s.until("connected", func() bool { return o.connected })
	return o
}

// collect notes what o has reported and acknowledges every message.
func (s *shard) collect(o *device) {
	for _, e := range o.AppendEvents(nil) {
		switch e.Kind {
		case upstream.EventConnected, upstream.EventUp:
			o.connected, o.present = true, e.SessionPresent
		case upstream.EventDown:
			o.connected = false
			o.downs++
		case upstream.EventPublished:
			o.published[e.Token]++
		case upstream.EventSubscribed:
			if e.Refusal.Kind == upstream.NotRefused {
				o.granted = append(o.granted, e.Granted)
			}
		case upstream.EventMessage:
			o.got[messageKey(e.Topic, e.QoS, e.Payload, e.Retain)]++
			defer o.Ack(s.now(), e.Handle) // not while the events are being read
		case upstream.EventPong:
			o.pongs++
		case upstream.EventClosed:
			o.closed++
		case upstream.EventRepeated, upstream.EventForgotten:
		case upstream.EventReleased:
			defer o.Complete(e.Identity)
			o.released++
		default:
			s.t.Errorf("event %+v", e)
		}
	}
}

// messageKey keeps the keys of large payloads small.
func messageKey(topic string, qos uint8, payload []byte, retain bool) string {
	if len(payload) > 20 {
		payload = fmt.Appendf(nil, "%d bytes, %x", len(payload), payload[len(payload)-1])
	}
	return fmt.Sprintf("%s q%d r%v %s", topic, qos, retain, payload)
}

// until serves the links until ok says so.
func (s *shard) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := s.now() + 20*time.Second
	for {
		due := deadline
		for _, o := range s.links {
			s.collect(o)
			o.Flush(s.now())
			s.collect(o)
			due = min(due, o.Deadline())
		}
		if ok() {
			return
		}
		select {
		case in := <-s.inbox:
			in.Owner.(*device).Input(s.now(), &in)
		case <-time.After(due - s.now()):
		}
		if s.now() >= deadline {
			s.t.Fatalf("%s: not within 20 s", what)
		}
		for _, o := range s.links {
			if o.Deadline() <= s.now() {
				o.Advance(s.now())
			}
		}
	}
}

func TestMosquittoAllQoSBothWays_Case63_64_65(t *testing.T) {
	m := startMosquitto(t)
	s := newShard(t, upstream.Options{Address: m.address})
	pub := s.connect(&upstream.Connect{ClientID: "pub", CleanSession: true, KeepAlive: 60})
	sub := s.connect(&upstream.Connect{ClientID: "sub", CleanSession: true})
	for qos := range uint8(3) {
		sub.Subscribe(s.now(), upstream.Token(qos), fmt.Sprintf("d/%d/+", qos), qos)
	}
	s.until("subscribed", func() bool { return len(sub.granted) == 3 })
	token := upstream.Token(0)
	want := make(map[string]int)
	for _, size := range []int{0, 1, 247, 260, 1200, 60_000} {
		for qos := range uint8(3) {
			token++
			payload := make([]byte, size)
			topic := fmt.Sprintf("d/%d/%d", qos, size)
			want[messageKey(topic, qos, payload, false)]++
			pub.Publish(s.now(), upstream.Publish{Token: token, Topic: topic, Payload: payload, QoS: qos, Retain: size == 1})
			s.until("published", func() bool { return qos == 0 || pub.published[token] == 1 })
		}
	}
	s.until("received", func() bool { return len(sub.got) >= len(want) })
	for key := range want {
		if sub.got[key] != 1 {
			t.Errorf("%s: %d times", key, sub.got[key])
		}
	}
	s.until("the broker's PUBREL for each of QoS 2 is reported", func() bool { return sub.released == 6 })
	late := s.connect(&upstream.Connect{ClientID: "late", CleanSession: true})
	late.Subscribe(s.now(), 9, "d/#", 1)
	s.until("retained", func() bool { return len(late.got) == 3 })
	if n := late.got[messageKey("d/2/1", 1, []byte{0}, true)]; n != 1 {
		t.Errorf("retained: %v", late.got)
	}
	for _, o := range s.links {
		o.Close(s.now(), upstream.CloseGraceful)
	}
	s.until("closed", func() bool { return pub.closed+sub.closed+late.closed == 3 })
}

// pair is a publisher and a subscriber whose sessions survive the broker.
func pair(t *testing.T, m *mosquitto) (s *shard, pub, sub *device) {
	t.Helper()
	opt := upstream.Options{Address: m.address, ReconnectMin: 100 * time.Millisecond, ReconnectMax: 400 * time.Millisecond}
	s = newShard(t, opt)
	pub = s.connect(&upstream.Connect{ClientID: "pub"})
	sub = s.connect(&upstream.Connect{ClientID: "sub"})
	sub.Subscribe(s.now(), 1, "t", 2)
	s.until("subscribed", func() bool { return len(sub.granted) == 1 })
	return s, pub, sub
}

// publish sends the messages from..to, QoS 1 and 2 in turn.
func (s *shard) publish(pub *device, from, to upstream.Token) {
	for token := from; token <= to; token++ {
		pub.Publish(s.now(), upstream.Publish{Token: token, Topic: "t", Payload: fmt.Append(nil, token), QoS: uint8(1 + token%2)})
	}
}

// arrived returns how often the message of token has come.
func (o *device) arrived(token upstream.Token) int {
	return o.got[messageKey("t", uint8(1+token%2), fmt.Append(nil, token), false)]
}

// all waits until the messages 1..n are acknowledged and have arrived, and checks that
// none was acknowledged twice and no QoS 2 message came twice.
func (s *shard) all(pub, sub *device, n upstream.Token) {
	s.t.Helper()
	s.until("everything acknowledged and received", func() bool {
		for token := upstream.Token(1); token <= n; token++ {
			if pub.published[token] == 0 || sub.arrived(token) == 0 {
				return false
			}
		}
		return true
	})
	for token := upstream.Token(1); token <= n; token++ {
		if pub.published[token] != 1 || token%2 == 1 && sub.arrived(token) != 1 {
			s.t.Errorf("message %d: acknowledged %d times, arrived %d times", token, pub.published[token], sub.arrived(token))
		}
	}
	if !sub.present || !pub.present {
		s.t.Error("the broker has lost the sessions")
	}
}

func TestMosquittoRestartedMidTrafficLosesAndDoublesNothing_Case152(t *testing.T) {
	m := startMosquitto(t)
	s, pub, sub := pair(t, m)
	s.publish(pub, 1, 20)
	s.until("some are acknowledged", func() bool { return len(pub.published) >= 3 })
	m.stop(syscall.SIGTERM) // it saves the sessions as they are
	s.until("lost", func() bool { return !pub.connected && !sub.connected })
	s.publish(pub, 21, 40)
	m.start()
	s.publish(pub, 41, 60)
	s.all(pub, sub, 60)
	if pub.downs != 1 || sub.downs != 1 {
		t.Errorf("%d and %d losses, want one each", pub.downs, sub.downs)
	}
}

// kill -9 loses what the broker has acknowledged and not saved, which nobody else can
// make good. So the broker is made to save, then frozen: what is sent from then on it
// has not acknowledged, and must arrive.
func TestMosquittoKilledLosesNothingUnacknowledged_Case152(t *testing.T) {
	m := startMosquitto(t)
	s, pub, sub := pair(t, m)
	s.publish(pub, 1, 10)
	s.until("received", func() bool { return len(pub.published) == 10 && len(sub.got) == 10 })
	for i := 1; i <= 2; i++ { // first PUBREL has come, then PUBCOMP is with the broker
		sub.Ping(s.now(), 1)
		s.until("barrier", func() bool { return sub.pongs == i })
	}
	m.signal(syscall.SIGUSR1)
	saved := filepath.Join(filepath.Dir(m.config), "mosquitto.db")
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if _, err := os.Stat(saved); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	m.signal(syscall.SIGSTOP)
	s.publish(pub, 11, 30)
	pub.Flush(s.now())
	m.stop(syscall.SIGKILL)
	s.until("lost", func() bool { return !pub.connected && !sub.connected })
	s.publish(pub, 31, 40)
	m.start()
	s.all(pub, sub, 40)
}

func TestMosquittoPublishesTheWillOnAbortOnly_Case40_47(t *testing.T) {
	m := startMosquitto(t)
	s := newShard(t, upstream.Options{Address: m.address})
	watch := s.connect(&upstream.Connect{ClientID: "watch", CleanSession: true})
	watch.Subscribe(s.now(), 1, "will/+", 1)
	s.until("subscribed", func() bool { return len(watch.granted) == 1 })
	for i := range 20 {
		mode := upstream.CloseGraceful
		if i%2 == 1 {
			mode = upstream.CloseAbort
		}
		topic := fmt.Sprintf("will/%d", i)
		o := s.connect(&upstream.Connect{
			ClientID: topic[5:] + "x", CleanSession: true,
			Will: &upstream.Will{Topic: topic, Message: []byte("gone"), QoS: 1},
		})
		o.Close(s.now(), mode)
		s.until("closed", func() bool { return o.closed == 1 })
	}
	s.until("wills", func() bool { return len(watch.got) >= 10 })
	// What comes after a message published now was not under way before it.
	watch.Publish(s.now(), upstream.Publish{Token: 99, Topic: "will/end", Payload: []byte("end"), QoS: 1})
	s.until("end", func() bool { return watch.got[messageKey("will/end", 1, []byte("end"), false)] == 1 })
	for i := range 20 {
		n := watch.got[messageKey(fmt.Sprintf("will/%d", i), 1, []byte("gone"), false)]
		if n != i%2 {
			t.Errorf("connection %d: %d wills, want %d", i, n, i%2)
		}
	}
}
