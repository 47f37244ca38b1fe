package e2e

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/internal/snclient"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

const (
	trafficDevices = 20
	// saveWindow is what the broker may forget when it is killed in full flight: it saves
	// after it has answered. A millisecond would do; a busy machine takes longer.
	saveWindow = time.Second
)

// ledger compares what devices were told with what subscribers got.
type ledger struct {
	mu        sync.Mutex
	open      map[string]bool      // being published
	acked     map[string]time.Time // acknowledged to the device, and when
	arrived   map[string]int       // at the subscriber with the kept session
	witnessed map[string]int       // at the one with QoS 0
	excused   map[string]bool      // by the broker's saveWindow
}

func newLedger() *ledger {
	return &ledger{
		open: make(map[string]bool), acked: make(map[string]time.Time),
		arrived: make(map[string]int), witnessed: make(map[string]int), excused: make(map[string]bool),
	}
}

func (l *ledger) begin(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[text] = true
}

func (l *ledger) end(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, text)
	l.acked[text] = time.Now()
}

func (l *ledger) arrive(_ mqtt.Client, m mqtt.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived[string(m.Payload())]++
}

func (l *ledger) witness(_ mqtt.Client, m mqtt.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.witnessed[string(m.Payload())]++
}

// excuse takes note of a kill at the moment when: what was being published, and what
// was acknowledged just before.
func (l *ledger) excuse(when time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.excused, l.open)
	for text, at := range l.acked {
		if when.Sub(at) < saveWindow {
			l.excused[text] = true
		}
	}
}

// backlog is how many acknowledged messages have not arrived yet.
func (l *ledger) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked) - len(l.arrived)
}

func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// wantAll waits until everything has arrived that is acknowledged by now.
func (l *ledger) wantAll(t *testing.T) {
	t.Helper()
	now := time.Now()
	deadline := now.Add(testgateway.Patience)
	for {
		missing := l.missing(now)
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d acknowledged messages have not arrived: %q", len(missing), missing)
		}
		time.Sleep(testgateway.Tick)
	}
}

// missing lists what was acknowledged before the given time and has not arrived, with
// the time since it was acknowledged.
func (l *ledger) missing(before time.Time) (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text, at := range l.acked {
		if at.Before(before) && !l.excused[text] && l.arrived[text] == 0 {
			list = append(list, fmt.Sprintf("%s, %v before, seen by the witness: %v", text, before.Sub(at), l.witnessed[text] > 0))
		}
	}
	return list
}

// judge checks the QoS 2 messages for doubles and prints the counts.
func (l *ledger) judge(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var doubled1, doubled2, lost, repeated int
	for text, n := range l.witnessed {
		switch {
		case n == 1:
		case text[0] == '1':
			doubled1++
		case l.excused[text]:
			doubled2++
		default:
			t.Errorf("the QoS 2 message %q was published %d times", text, n)
		}
	}
	for text, n := range l.arrived {
		if n > 1 && l.witnessed[text] <= 1 {
			repeated++
		}
	}
	for text := range l.excused {
		if !l.acked[text].IsZero() && l.arrived[text] == 0 {
			lost++
		}
	}
	t.Logf("%d messages acknowledged to %d devices, %d of them seen by the witness; QoS 1 published twice: %d; "+
		"repeated by the broker to its subscriber: %d; within the broker's save window: %d, of those lost %d and QoS 2 doubled %d",
		len(l.acked), trafficDevices, len(l.witnessed), doubled1, repeated, len(l.excused), lost, doubled2)
}

// maxBacklog keeps the devices from running ahead of the subscriber: the broker saves
// all that waits for it with every change, and would soon do nothing else.
const maxBacklog = 300

// publishUntil publishes numbered messages, one after the other, until stop is closed.
func publishUntil(ctx context.Context, stop <-chan struct{}, d *snclient.Client, number int, l *ledger) error {
	qos := uint8(1 + number%2)
	topic := snclient.Name(fmt.Sprintf("traffic/%d", number))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if l.backlog() > maxBacklog {
			time.Sleep(testgateway.Tick)
			i--
			continue
		}
		text := fmt.Sprintf("%d from device %d, number %d", qos, number, i)
		l.begin(text)
		if err := d.Publish(ctx, topic, []byte(text), qos, false); err != nil {
			return fmt.Errorf("message %q: %w", text, err)
		}
		l.end(text)
	}
}

// The broker dies and returns under the traffic of 20 devices. What a device was told
// is published has to be there: at least once at QoS 1, exactly once at QoS 2.
//
// The broker has its share in that. It saves its state after it has answered, so a kill
// at any moment may cost it the last answers: such a message may be lost, or released
// twice, whatever the gateway does. In the rounds "held" the relay therefore holds the
// broker's answers back (in one of them also what the gateway sends), until the broker
// has saved what it did; then it is killed and the answers are lost. So the exchanges are
// torn at every step, and no excuse is needed. The last round kills at any moment and
// excuses what was under way then or acknowledged in the second before.
//
// Towards its subscribers the broker has doubts of its own after a restart: it sends again
// what it has not saved as delivered, with or without DUP. So a subscriber with a kept
// session shows that nothing is lost, and a witness with QoS 0, which the broker never
// sends anything twice, that nothing is doubled. After each restart both are back before
// the gateway is.
func TestNothingAcknowledgedIsLostWhenTheBrokerDies_Case152_173(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{Persistence: t.TempDir(), Extra: []string{
		"max_queued_messages 0", // no limit: the subscriber's share is not to be lost either
	}})
	r := testgateway.StartRelay(t, broker.Addr())
	g := startGateway(t, r.URL(), testgateway.Settings{"broker.reconnect_min": `"100ms"`, "broker.reconnect_max": `"500ms"`})
	g.AwaitReady(200)
	l := newLedger()
	watch := func() {
		testgateway.ConnectMQTTWith(t, broker.Addr(), func(o *mqtt.ClientOptions) {
			o.SetClientID("subscriber").SetCleanSession(false).SetDefaultPublishHandler(l.arrive)
		}, "traffic/#")
		witness := testgateway.ConnectMQTTWith(t, broker.Addr(), func(o *mqtt.ClientOptions) { o.SetDefaultPublishHandler(l.witness) })
		witness.Done(witness.Subscribe("traffic/#", 0, nil))
	}
	watch()

	stop, ended := make(chan struct{}), make(chan error, trafficDevices)
	for i := range trafficDevices {
		d := connect(t, g.Addr, snclient.Options{
			ClientID: fmt.Sprintf("traffic-%d", i), KeepAlive: time.Minute,
			RetryInterval: 2 * time.Second, RetryCount: 20,
		})
		go func() { ended <- publishUntil(d.ctx, stop, d.Client, i, l) }()
	}

	flows := func(when string) {
		before := l.acknowledged()
		testgateway.Eventually(t, "traffic flows "+when, func() bool { return l.acknowledged() >= before+20*trafficDevices })
	}
	// restart brings the broker back, and lets the gateway in after the watchers. It takes
	// r.up locked.
	restart := func() {
		r.Cut()
		broker.Restart()
		watch()
		r.Up.Unlock()
	}
	for _, upToo := range []bool{false, true, false} {
		flows("before a round held")
		r.Down.Lock()
		if upToo {
			r.Up.Lock()
		}
		settleBroker(t, broker, r)
		broker.Kill()
		if !upToo {
			r.Up.Lock()
		}
		r.Cut()
		r.Down.Unlock()
		restart()
	}
	flows("after the rounds held")
	l.wantAll(t)
	l.judge(t)

	broker.Kill() // at any moment
	l.excuse(time.Now())
	r.Up.Lock()
	restart()
	flows("in the end")
	close(stop)
	for range trafficDevices {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	l.wantAll(t)
	l.judge(t)
}

// settleBroker waits until the broker has got all that will come and has saved it: every
// device waits for an answer that is held back, and messages of an own client have gone
// through the broker's main loop since.
func settleBroker(t *testing.T, broker *mosquitto.Broker, r *testgateway.Relay) {
	t.Helper()
	testgateway.Eventually(t, "all devices wait", func() bool { return r.Quiet(200 * time.Millisecond) })
	fence := testgateway.ConnectMQTT(t, broker.Addr())
	for range 3 {
		fence.Send("fence", nil, 2, false)
	}
	fence.Disconnect(100)
}
