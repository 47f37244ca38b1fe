package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// maxWakes is how often a sleeping device wakes up until what it misses counts as lost.
const maxWakes = 3

// Run carries out what the options say and returns what it has measured. Gateway and broker
// have to be running. It returns the cause of ctx when that is done.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e, err := newEngine(&o, cancel)
	if err != nil {
		return nil, err
	}
	e.start(ctx)
	r, err := e.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // rather than what came of it
	}
	e.goodbye()
	cancel(nil)
	e.close()
	return r, err
}

// newEngine opens the connection to the broker and the sockets of the devices.
func newEngine(o *Options, cancel context.CancelCauseFunc) (*engine, error) {
	gateway, err := net.ResolveUDPAddr("udp", o.Gateway)
	if err != nil {
		return nil, fmt.Errorf("the gateway: %w", err)
	}
	to := netip.AddrPortFrom(gateway.AddrPort().Addr().Unmap(), gateway.AddrPort().Port())
	begin := time.Now()
	tag := strconv.FormatInt(begin.UnixMilli()&0xfffffff, 36) + strconv.FormatInt(int64(os.Getpid()&0xffff), 36) // several may begin at once
	e := &engine{
		o: o, begin: begin, stop: cancel,
		devices: newDevices(tag, o.Devices), waiting: newTimeouts(o.Devices), credit: newTimeouts(o.Devices),
		up: way{tally: newTally(o.Devices)}, down: way{tally: newTally(o.Devices)},
		random: rand.New(rand.NewPCG(o.Seed, o.Seed)), payload: make([]byte, o.Payload),
	}
	if o.Mode != Connect {
		filter := ""
		if o.up() {
			filter = "sngate-bench/" + tag + "/up/#"
		}
		if e.broker, err = dialBroker(o, "sngate-bench-"+tag, filter); err != nil {
			return nil, err
		}
	}
	if e.wire, err = openWire(to, o.Devices); err != nil {
		if e.broker != nil {
			e.broker.close()
		}
		return nil, fmt.Errorf("the sockets of the devices: %w", err)
	}
	return e, nil
}

// start starts the goroutines.
func (e *engine) start(ctx context.Context) {
	part := func(f func() error) {
		e.parts.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				e.stop(err)
			}
		})
	}
	part(func() error { e.clock(ctx); return nil })
	part(func() error { return e.wire.serve(e.take) })
	if e.broker != nil {
		part(func() error { return e.brokerFault(e.broker.read(e.published)) })
		part(func() error { return e.brokerFault(e.broker.write()) })
	}
}

func (e *engine) brokerFault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the connection to the broker: %w", err)
}

// close ends the goroutines. The clock has to be told to stop before.
func (e *engine) close() {
	e.wire.close()
	if e.broker != nil {
		e.broker.close()
	}
	e.parts.Wait()
}

func (e *engine) run(ctx context.Context) (*Result, error) {
	b := newObserver(e.o)
	r := &Result{Mode: e.o.Mode, Devices: e.o.Devices, QoS: e.o.QoS, Payload: e.o.Payload, Rate: e.o.Rate, Loss: e.o.Loss}
	if b.sees() {
		r.Gateway = &Gateway{}
	}
	before, err := b.measure(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.perform(ctx, "connecting", e.plan()...); err != nil {
		return nil, err
	}
	after, err := b.measure(ctx)
	if err != nil {
		return nil, err
	}
	e.locked(func() { r.connected(e, before, after) })
	r.devices(after)
	if r.Connect.Connected == 0 {
		return nil, errors.New("no device could connect: is the gateway there?")
	}
	switch e.o.Mode {
	case Connect:
		err = e.idle(ctx, b, r)
	case Sleep:
		err = e.sleepers(ctx, b, r)
	default:
		err = e.traffic(ctx, b, r)
	}
	if err != nil {
		return nil, err
	}
	last, err := b.measure(ctx)
	if err != nil {
		return nil, err
	}
	e.locked(func() { r.totals(e) })
	if r.Gateway != nil {
		r.Gateway.SocketDrops = last.socketDrops - before.socketDrops
	}
	return r, nil
}

// plan is what a device does before the first message.
func (e *engine) plan() []step {
	plan := []step{connects}
	if e.o.up() {
		plan = append(plan, registers)
	}
	if e.o.down() {
		plan = append(plan, subscribes)
	}
	if e.o.Mode == Sleep {
		plan = append(plan, sleeps)
	}
	return plan
}

// idle leaves the connected devices alone.
func (e *engine) idle(ctx context.Context, b *observer, r *Result) error {
	from, err := b.measure(ctx)
	if err == nil {
		err = e.wait(ctx, "idle", e.o.Hold, nil)
	}
	if err != nil {
		return err
	}
	to, err := b.measure(ctx)
	if err != nil {
		return err
	}
	if r.Gateway != nil {
		r.Gateway.IdleCores = cores(from.cpu, to.cpu, seconds(from, to))
	}
	r.others(from, to)
	r.devices(to)
	return nil
}

// traffic sends messages and measures a window of them.
func (e *engine) traffic(ctx context.Context, b *observer, r *Result) error {
	e.locked(e.startSending)
	if err := e.wait(ctx, "warming up", e.o.WarmUp, nil); err != nil {
		return err
	}
	from, err := b.measure(ctx)
	if err != nil {
		return err
	}
	var sent, received [2]int64
	e.locked(func() {
		e.measured, sent[0], received[0] = e.now(), e.up.sent+e.down.sent, e.up.received+e.down.received
	})
	if err := e.wait(ctx, "measuring", e.o.Duration, nil); err != nil {
		return err
	}
	to, err := b.measure(ctx)
	if err != nil {
		return err
	}
	e.locked(func() { e.running, sent[1], received[1] = false, e.up.sent+e.down.sent, e.up.received+e.down.received })
	r.window(from, to, sent[1]-sent[0], received[1]-received[0])
	r.memory(to)
	return e.drain(ctx)
}

// startSending begins the open loop, or sends the first messages of the closed one. Nothing is
// measured yet.
func (e *engine) startSending() {
	now := e.now()
	e.running, e.measured = true, math.MaxInt64
	if e.o.closed() {
		for i := range e.devices {
			if e.o.up() && !e.devices[i].failed {
				e.sendUp(i, now, now)
			}
			if e.o.down() {
				e.sendDown(i, now, now)
			}
		}
		return
	}
	rate := e.o.Rate
	if e.o.Mode == Mixed {
		rate /= 2
	}
	gap := float64(time.Second) / rate
	if e.o.up() {
		e.up.from, e.up.gap = now, gap
	}
	if e.o.down() {
		e.down.from, e.down.gap = now, gap
	}
}

// quiet is how long nothing has to arrive until what is missing of QoS 0 counts as lost.
const quiet = 2 * time.Second

// drain waits for what is under way.
func (e *engine) drain(ctx context.Context) error {
	last, since := int64(0), time.Now()
	return e.wait(ctx, "waiting for the rest", e.o.Drain, func() (done bool) {
		e.locked(func() {
			received := e.up.received + e.down.received
			if received != last {
				last, since = received, time.Now()
			}
			done = received == e.up.sent+e.down.sent && e.waiting.outstanding == 0 ||
				e.o.QoS == 0 && time.Since(since) >= quiet
		})
		return done
	})
}

// sleepers has messages held for the devices, which sleep, and wakes them up.
func (e *engine) sleepers(ctx context.Context, b *observer, r *Result) error {
	from, err := b.measure(ctx)
	if err != nil {
		return err
	}
	if err := e.publishAll(ctx); err != nil {
		return err
	}
	if err := e.wait(ctx, "sleeping", e.o.Hold, nil); err != nil {
		return err
	}
	held, err := b.measure(ctx)
	if err != nil {
		return err
	}
	r.memory(held)
	w := &Wakes{}
	for w.Wakes < maxWakes {
		w.Wakes++
		if err := e.perform(ctx, "waking up", wakes); err != nil {
			return err
		}
		complete := false
		e.locked(func() {
			complete = e.down.received == e.down.sent
			if w.Wakes == 1 {
				w.FirstWake = e.down.received - e.counts.early
			}
		})
		if complete {
			break
		}
	}
	to, err := b.measure(ctx)
	if err != nil {
		return err
	}
	e.locked(func() {
		w.Early, w.Wake, w.Incomplete = e.counts.early, e.times.wake.latency(), e.down.incomplete()
		if g := r.Gateway; g != nil {
			g.messages(from, to, e.down.received)
			g.BytesPerHeld = per(float64(held.rss-from.rss), e.down.sent-e.counts.early)
		}
	})
	r.others(from, to)
	r.Sleep = w
	return nil
}

// publishAll publishes what the sleeping devices are to get, at Rate or at once.
func (e *engine) publishAll(ctx context.Context) error {
	total := int64(e.o.Messages) * int64(e.o.Devices)
	e.locked(func() {
		e.measured = e.now()
		e.running, e.down.from, e.down.gap, e.down.last = true, e.now(), 1, total
		if e.o.Rate > 0 {
			e.down.gap = float64(time.Second) / e.o.Rate
		}
	})
	limit := time.Hour * 24
	return e.wait(ctx, "publishing", limit, func() (done bool) {
		e.locked(func() { done = e.down.n >= total })
		return done
	})
}
