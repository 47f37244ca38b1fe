package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sngate/test/mosquitto"
)

// patience is how long the test waits for what should happen at once.
const patience = 20 * time.Second

// The clients at the broker's side.
const (
	observer = "observer"
	sender   = "sender"
)

// world is all that takes part in one run.
type world struct {
	t     *testing.T
	seed  uint64
	dir   string // with configuration, stores, logs and trace; kept when the run fails
	began time.Time

	ctx    context.Context // ends the run
	cancel context.CancelFunc
	wg     sync.WaitGroup // of devices and clients
	quiet  atomic.Bool    // no new messages

	ledger   *ledger
	trace    *trace
	broker   *durable
	gateway  *gateway
	sender   *mqttClient
	devices  []*device
	people   []person
	receiver []*subscriber
}

// person is what a device does.
type person interface {
	begin() // before the first kill
	live()  // until the end of the run
}

// newWorld starts everything and returns when every device is connected, registered and
// subscribed. The caller calls end, also after a failure.
func newWorld(t *testing.T, seed uint64) (*world, error) {
	dir, err := os.MkdirTemp("", "sngate-crash-")
	if err != nil {
		return nil, err
	}
	w := &world{t: t, seed: seed, dir: dir, began: time.Now()}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	w.ledger = newLedger(w.now)
	if w.trace, err = newTrace(filepath.Join(dir, "trace.log"), w.now); err != nil {
		return w, err
	}
	// mosquitto counts a QoS 2 message as in flight until PUBREC when it runs, and until PUBCOMP when it
	// reads its file. What is then above the limit it queues as if it had never been sent: it
	// comes to the client twice, or late. So the limit is out of reach; 0 would be the lowest.
	broker := mosquitto.Start(t, mosquitto.Options{MaxInflight: 20000, Extra: []string{
		"persistence true",
		"persistence_location " + dir + string(filepath.Separator),
		"autosave_interval 0", // when it is asked to
		"max_queued_messages 0",
		"log_dest file " + filepath.Join(dir, "mosquitto.log"),
	}})
	if w.broker, err = newDurable(dir, broker, w.fault); err != nil {
		return w, err
	}
	if w.gateway, err = newGateway(dir, w.broker.addr()); err != nil {
		return w, err
	}
	if err = w.gateway.start(w.now()); err == nil {
		err = w.gateway.ready()
	}
	if err != nil {
		return w, err
	}
	return w, w.populate()
}

func (w *world) populate() error {
	watch := newMQTTClient(w, observer, "up/#", func(topic string, qos uint8, payload []byte) {
		w.ledger.arrived(observer, topic, qos, payload)
	})
	w.sender = newMQTTClient(w, sender, "", nil)
	w.wg.Go(watch.run)
	w.wg.Go(w.sender.run)
	for _, c := range []*mqttClient{watch, w.sender} {
		if !w.await(c.up) {
			return fmt.Errorf("%s is not connected within %v", c.id, patience)
		}
	}
	for _, kind := range []struct {
		prefix string
		number int
		make   func(*device) person
	}{
		{"p", publishers, func(d *device) person { return newPublisher(d) }},
		{"s", subscribers, func(d *device) person { return w.receive(newSubscriber(d, false)) }},
		{"z", sleepers, func(d *device) person { return w.receive(newSubscriber(d, true)) }},
		{"c", changers, func(d *device) person { return &changer{d} }},
	} {
		for i := range kind.number {
			d, err := newDevice(w, fmt.Sprintf("%s%02d", kind.prefix, i), uint64(len(w.devices)+1))
			if err != nil {
				return err
			}
			w.devices = append(w.devices, d)
			w.people = append(w.people, kind.make(d))
		}
	}
	begun := make(chan struct{})
	var wg sync.WaitGroup
	for _, p := range w.people {
		wg.Go(p.begin)
	}
	w.wg.Go(func() {
		wg.Wait()
		close(begun)
	})
	if !w.await(begun) {
		return fmt.Errorf("not every device is connected and subscribed within %v", patience)
	}
	return nil
}

func (w *world) receive(s *subscriber) person {
	w.receiver = append(w.receiver, s)
	return s
}

// live begins the traffic.
func (w *world) live() {
	for _, p := range w.people {
		w.wg.Go(p.live)
	}
	for i, s := range w.receiver {
		w.wg.Go(func() { w.feed(s, rand.New(rand.NewPCG(w.seed, uint64(1000+i)))) })
	}
}

// feed sends to one subscriber, one message after the other, so that their order is certain.
func (w *world) feed(to *subscriber, rng *rand.Rand) {
	for w.ctx.Err() == nil && !w.ending() {
		s := to.streams[rng.IntN(len(to.streams))]
		if w.ledger.backlog(s) < maxBacklog {
			w.sendDown(s, uint8(rng.IntN(5)+1)/2)
		}
		w.pause(time.Duration(20+rng.IntN(60)) * time.Millisecond)
	}
}

// sendDown sends the next message of a stream and waits until the broker has acknowledged it.
func (w *world) sendDown(s *stream, qos uint8) {
	m, payload := w.ledger.send(s, qos)
	w.trace.note(sender, "publishes QoS %d %s %q", qos, s.topic, payload)
	select {
	case <-w.sender.publish(s.topic, qos, payload):
		if qos > 0 {
			w.trace.note(sender, "is acknowledged %q", payload)
			w.ledger.acked(m)
		}
	case <-w.ctx.Done():
	}
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// ending reports whether no new messages are wanted.
func (w *world) ending() bool { return w.quiet.Load() }

// fault ends the run for something the gateway has no part in.
func (w *world) fault(format string, args ...any) {
	if w.ctx.Err() == nil {
		w.t.Errorf("the test itself: "+format, args...)
		w.cancel()
	}
}

func (w *world) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}

func (w *world) await(c <-chan struct{}) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
	case <-w.ctx.Done():
	}
	return false
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end stops everything. What the run has left behind is kept if it failed.
func (w *world) end() {
	w.cancel()
	w.wg.Wait()
	for _, d := range w.devices {
		d.conn.Close()
	}
	if w.gateway != nil {
		_ = w.gateway.kill() // it may have ended
		w.gateway.log.Close()
	}
	if w.broker != nil {
		w.broker.close()
	}
	if w.trace != nil {
		if err := w.trace.close(); err != nil {
			w.t.Error(err)
		}
	}
	if w.t.Failed() {
		w.t.Logf("logs, trace and store are kept in %s", w.dir)
		return
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Error(err)
	}
}
