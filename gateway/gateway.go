// Package gateway is the shell around the session machines: UDP listeners, shards, the
// directory of addresses, discovery, metrics and the operator's HTTP server.
//
// A datagram goes from a listener's reader to the one shard that owns its session, which
// is chosen by the client id and never changes. The shard feeds the session, sends what
// it answers and passes on what it asks of its link to the broker; what the broker
// sends comes back to the same shard. All queues in between are bounded, and what does
// not fit is dropped and counted, or stays with the broker.
package gateway

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"sngate/gateway/admin"
	"sngate/gateway/discovery"
	"sngate/gateway/listen"
	"sngate/gateway/metrics"
	"sngate/gateway/oplog"
	"sngate/gateway/persist"
	"sngate/store"
	"sngate/upstream"
)

// maxUDPPayload is what fits into an IPv4 datagram beside its headers. A longer message
// could be made and never be sent, and its device would be taken for lost.
const maxUDPPayload = 65535 - 20 - 8

// poolLimit bounds the octets of datagrams in all queues.
const poolLimit = 64 << 20

// Start opens the listeners and starts to work. The broker need not be there yet.
func Start(opts Options) (*Gateway, error) {
	g := &Gateway{
		opts:      opts,
		start:     time.Now(),
		seed:      maphash.MakeSeed(),
		pool:      listen.NewPool(poolLimit),
		directory: newDirectory(),
		admission: newAdmission(opts.ConnectRates),
		limits:    newLimits(&opts),
		stopped:   make(chan struct{}),

		inspections: make(chan struct{}, maxInspections),
	}
	shared := *opts.Session
	shared.MaxPacketSize = min(shared.MaxPacketSize, maxUDPPayload)
	if g.opts.Store == nil {
		g.opts.Store = store.InMemory()
	}
	g.keeper = persist.New(g.opts.Store, g.now)
	shared.Durable = g.opts.Store.Durable()
	shared.Spool = shared.Spool && shared.Durable
	if shared.Spool && g.limits.spoolMax < opts.SpoolTotalBytes {
		g.opts.Log.Info().Int64("spool_total_bytes", opts.SpoolTotalBytes).Int64("memory_limit_bytes", opts.MemoryLimit).Int64("spool_bytes", g.limits.spoolMax).
			Msg("the spool may take half of the memory limit, which is less than what is configured for it")
	}
	g.opts.Session = &shared
	g.lines = oplog.New(opts.Log, g.now, shared.Predefined)
	if opts.Trace {
		g.tracer = oplog.NewTracer(opts.Log, opts.TraceClients, g.directory.clientID)
	}
	if g.opts.FirstMsgID == nil {
		g.opts.FirstMsgID = randomMsgID
	}
	if g.opts.NewClientID == nil {
		g.opts.NewClientID = rand.Uint64
	}
	g.broker = &broker{
		log: g.lines, keeper: g.keeper, clientID: opts.ClientID,
		preferred: opts.Upstream.Address, several: len(opts.Upstream.Fallbacks) > 0,
	}
	var err error
	if g.dialer, err = upstream.NewDialer(g.upstreamOptions()); err != nil {
		return nil, err
	}
	g.broker.dialer = g.dialer
	if err = g.open(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	g.started = true
	g.run()
	return g, nil
}

// open makes everything that can fail.
func (g *Gateway) open() error {
	var err error
	if g.metrics, err = metrics.New(g.observed()); err != nil {
		return err
	}
	count := newLoadCount(g.opts.Log)
	for range max(g.opts.Shards, 1) {
		g.shards = append(g.shards, newShard(g, len(g.shards), count))
	}
	open := g.opts.Listen
	if open == nil {
		open = listen.Open
	}
	for _, o := range g.opts.Listeners {
		l, err := open(o)
		if err != nil {
			return err
		}
		g.listeners = append(g.listeners, l)
		g.logListener(o, l)
	}
	if err := openLoops(g); err != nil {
		return err
	}
	if g.discoverer, err = discovery.New(g.discoveryOptions()); err != nil {
		return err
	}
	if g.opts.OpsAddress != "" {
		if g.ops, err = admin.Listen(g.opsOptions()); err != nil {
			return err
		}
	}
	return g.restore()
}

// run starts the goroutines: a shard each, a reader per listener, discovery, and one that
// watches the store.
func (g *Gateway) run() {
	startOwn(g.shards[0]) // before the first arrival can ask for it
	for _, s := range g.shards {
		if s.loop != nil {
			g.turning.Go(s.loop.run)
		} else {
			g.turning.Go(s.run)
		}
	}
	if g.opts.Store.Durable() {
		g.wg.Go(func() { g.keeper.Watch(g.opts.Log, g.stopped, g.storeFault, g.storeWorks) })
	}
	g.discoverer.Start()
	for i, l := range g.listeners {
		l.OnUnreachable(func(addr netip.AddrPort) { g.unreachable(i, addr) })
		r := newReceiver(g, i)
		if s := g.shards[i%len(g.shards)]; s.loop != nil {
			s.queues.post(func() { s.loop.read(i, r) })
			continue
		}
		loop := &listen.Loop{Conn: l.Conn, Listener: i, Pool: g.pool, Handle: r.handle, NoMemory: r.noMemory, Failed: r.failed, Done: g.stopped}
		g.wg.Go(loop.Run)
	}
}

// Addrs returns the addresses of the listeners.
func (g *Gateway) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(g.listeners))
	for i, l := range g.listeners {
		addrs[i] = l.Conn.LocalAddr()
	}
	return addrs
}

// OpsAddr returns the address of the operator's HTTP server, "" without one.
func (g *Gateway) OpsAddr() string {
	if g.ops == nil {
		return ""
	}
	return g.ops.Addr()
}

// Metrics returns the handler of /metrics, for a process that serves it by itself.
func (g *Gateway) Metrics() http.Handler { return g.metrics.Handler() }

// BrokerReady reports whether the gateway's own connection to the broker is up.
func (g *Gateway) BrokerReady() bool { return g.broker.ready.Load() }

// Stop takes no more work, ends the sessions of the devices or leaves them as they are
// (Options.OnStop), closes their MQTT connections without wills, for up to grace, and
// ends. Wills of devices that were lost before may still be published in that time. It
// may be called more than once.
func (g *Gateway) Stop(grace time.Duration) error {
	g.stop.once.Do(func() {
		g.stopping.Store(true)
		g.keeper.SaveClock()
		left := make(chan struct{}, len(g.shards))
		for _, s := range g.shards {
			s.queues.post(func() { s.stop(left) })
		}
		timeout := time.NewTimer(grace)
		defer timeout.Stop()
		for range g.shards {
			select {
			case <-left:
			case <-timeout.C:
				g.opts.Log.Warn().Msg("stopping: upstream connections not closed in time")
				g.stop.err = g.close()
				return
			}
		}
		g.stop.err = g.close()
	})
	return g.stop.err
}

// close ends all goroutines and closes all sockets.
func (g *Gateway) close() error {
	var errs []error
	close(g.stopped)
	if g.started {
		errs = append(errs, g.discoverer.Close())
	}
	for _, l := range g.listeners {
		if !g.started && l.Group != nil {
			errs = append(errs, l.Group.Close())
		}
		errs = append(errs, l.Conn.Close())
	}
	for _, s := range g.shards {
		s.queues.woke()
	}
	g.turning.Wait() // they read connections of the dialer
	g.dialer.Close()
	g.wg.Wait()
	errs = append(errs, closeLoops(g))
	if g.ops != nil {
		errs = append(errs, g.ops.Shutdown(time.Second))
	}
	return errors.Join(errs...)
}

// upstreamOptions returns the options of the dialer.
func (g *Gateway) upstreamOptions() upstream.Options {
	o := g.opts.Upstream
	o.Moved = g.broker.moved
	o.Habit = g.broker.habit
	if g.tracer != nil {
		o.Trace = func(owner any, sent bool) func(packet string) {
			clientID := g.opts.ClientID
			if e := owner.(*entry); !e.isOwn() {
				clientID = e.session.ClientID()
			}
			return g.tracer.Packet(clientID, sent)
		}
	}
	o.ProbeClientID, o.ProbeAs = g.opts.ClientID+"-probe", g.opts.ClientID
	o.TLS.Changed = g.broker.fileChanged
	return o
}

// storeWorks lets sessions use the store again after a failure.
func (g *Gateway) storeWorks() {
	if g.keeper.Works() {
		g.broker.save()
		g.savePredefined()
		for _, s := range g.shards {
			s.queues.post(s.repair)
		}
	}
}
