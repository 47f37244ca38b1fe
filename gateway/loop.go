package gateway

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/oplog"
	"sngate/internal/eventloop"
)

// openLoops gives each shard an event loop, unless one of the listeners cannot be waited for.
func openLoops(g *Gateway) error {
	if g.opts.NoEventLoop {
		return nil
	}
	for _, s := range g.shards {
		l, err := openLoop(s)
		if errors.Is(err, errors.ErrUnsupported) {
			err := closeLoops(g)
			for _, other := range g.shards {
				other.loop, other.queues.looper, other.queues.wake = nil, nil, nil
			}
			return err
		}
		if err != nil {
			return err
		}
		s.loop, s.queues.looper, s.queues.wake = l, s, l.Wake
	}
	return nil
}

func openLoop(s *shard) (*eventLoop, error) {
	open := s.gw.opts.NewEventLoop
	if open == nil {
		open = eventloop.New
	}
	loop, err := open(s.gw.start)
	if err != nil {
		return nil, err
	}
	l := &eventLoop{Loop: loop, s: s}
	for i := range s.gw.listeners {
		socket, err := s.gw.listeners[i].Socket(i, s.gw.pool)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		if socket == nil {
			return nil, errors.Join(errors.ErrUnsupported, l.close())
		}
		l.sockets = append(l.sockets, socket)
		fd, ok := loop.Descriptor(socket.Conn())
		if !ok { // of a simulated network
			return nil, errors.Join(errors.ErrUnsupported, l.close())
		}
		l.fds = append(l.fds, fd)
	}
	l.Found = func() { s.now = s.gw.now() }
	return l, nil
}

// closeLoops lets go of all loops. Their shards have ended, but the store may still answer, and
// so wake them.
func closeLoops(g *Gateway) (errs error) {
	for _, s := range g.shards {
		if s.loop != nil {
			errs = errors.Join(errs, s.loop.close())
		}
	}
	return errs
}

// takeStranger takes one datagram of a stranger, if there is one.
func takeStranger(s *shard) {
	select {
	case box := <-s.queues.strangers:
		a := s.queues.unbox(box)
		s.arrive(&a)
	default:
	}
}

func (l *eventLoop) close() error {
	errs := []error{l.Loop.Close()}
	for _, s := range l.sockets {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// run is the goroutine of the shard: the handlers of the loop have what comes from outside, and
// the queues what comes from other goroutines. Strangers come one in a turn.
func (l *eventLoop) run() {
	s := l.s
	for {
		s.beginTurn()
		until := s.now
		if !s.queues.waiting() {
			until += untilNext(s)
		}
		if err := l.Wait(s.now, until); err != nil {
			s.gw.lines.At(oplog.Faults, zerolog.ErrorLevel, err.Error()).Err(err).Msg("waiting for the network failed")
			<-time.After(readPause) // not to turn for nothing: nothing else can be done
		}
		if s.queues.waiting() {
			s.now = s.gw.now()
			s.takeMore()
			s.queues.posted.run()
			takeStranger(s)
		}
		select {
		case <-s.gw.stopped:
			return
		default:
		}
	}
}

// read has the shard read a listener, whose datagrams r takes.
func (l *eventLoop) read(listener int, r *receiver) {
	r.own, r.socket = l.s, l.sockets[listener]
	u := &udpReader{s: l.s, r: r, socket: r.socket, fd: l.fds[listener], handle: r.handle, noMemory: r.noMemory}
	if err := l.Add(u.fd, u); err != nil {
		r.failed(err)
	}
}

// readPause is how long a socket that fails time and again is left alone, and readFailures how
// often in a row that is: an ICMP error is news of one peer, and read through at once.
const (
	readPause    = 100 * time.Millisecond
	readFailures = 16
)

// udpReader reads the socket of a listener in a loop.
type udpReader struct {
	s        *shard
	r        *receiver
	socket   listen.Socket
	fd       int // of it
	failures int // in a row

	// Of r, made once.
	handle   func(*listen.Datagram)
	noMemory func(n int)
}

// Ready implements eventloop.Handler.
func (u *udpReader) Ready(bool, bool) {
	_, err := u.socket.Read(u.handle, u.noMemory)
	if err == nil {
		u.failures = 0
		return
	}
	u.r.failed(err)
	if u.failures++; u.failures < readFailures {
		return
	}
	u.failures = 0
	_ = u.s.loop.Want(u.fd, false, false)
	time.AfterFunc(readPause, func() {
		u.s.queues.post(func() { _ = u.s.loop.Want(u.fd, true, false) })
	})
}

// Loop implements upstream.Looper.
func (q *queues) Loop() *eventloop.Loop {
	if q.looper == nil {
		return nil
	}
	return q.looper.loop.Loop
}

// Now implements upstream.Looper.
func (q *queues) Now() time.Duration { return q.looper.now }

// Read implements upstream.Looper.
func (q *queues) Read(owner any) { q.looper.endStep(owner.(*entry)) }
