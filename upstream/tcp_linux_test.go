package upstream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
)

// openFiles returns the number of descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// wantBack waits until no more goroutines and descriptors are in use than before.
func wantBack(t *testing.T, goroutines, files int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d files, before %d and %d", runtime.NumGoroutine(), openFiles(t), goroutines, files)
		}
		<-time.After(time.Millisecond)
	}
}

// refuseAll connects n links and waits until each has been refused.
func refuseAll(t *testing.T, opt upstream.Options, n int, check func(e upstream.Event)) {
	t.Helper()
	d, err := upstream.NewDialer(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	start := time.Now()
	inbox := make(chan upstream.Input, 64)
	links := make([]upstream.Link, n)
	for i := range links {
		links[i] = d.NewLink(pushTo(inbox), i)
		links[i].Connect(time.Since(start), &upstream.Connect{ClientID: fmt.Sprint(i)})
	}
	refused := 0
	look := func(l upstream.Link) {
		for _, e := range l.AppendEvents(nil) {
			refused++
			check(e)
		}
	}
	for refused < n {
		select {
		case in := <-inbox:
			in.Link.Input(time.Since(start), &in)
			look(in.Link)
		case <-time.After(10 * time.Millisecond):
		}
		for _, l := range links {
			if now := time.Since(start); l.Deadline() <= now {
				l.Advance(now)
				look(l)
			}
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d of %d refused", refused, n)
		}
	}
}

type pushTo chan upstream.Input

func (c pushTo) Push(in upstream.Input, done <-chan struct{}) bool {
	select {
	case c <- in:
		return true
	case <-done:
		return false
	}
}

func TestTCPRefusedLeavesNoGoroutineAndNoFile_Case23(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	refuseAll(t, upstream.Options{Address: address}, 1000, func(e upstream.Event) {
		if e.Kind != upstream.EventRefused || !errors.Is(e.Err, syscall.ECONNREFUSED) {
			t.Errorf("got %+v", e)
		}
	})
	wantBack(t, goroutines, files)
}

func TestTCPSilenceLeavesNoGoroutineAndNoFile_Case24(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	opt := upstream.Options{Address: l.Addr().String(), ConnectTimeout: 100 * time.Millisecond}
	refuseAll(t, opt, 1000, func(e upstream.Event) {
		if e.Kind != upstream.EventRefused || !errors.Is(e.Err, upstream.ErrTimeout) {
			t.Errorf("got %+v", e)
		}
	})
	wantBack(t, goroutines, files)
}

// accepting starts a broker that accepts every connection and hands it to serve.
func accepting(t testing.TB, serve func(c net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			packets.ReadPacket(c)
			c.Write([]byte{0x20, 2, 0, 0})
			serve(c)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// What a socket takes only in part must arrive whole and in order.
func TestTCPPartialWritesKeepTheStreamWhole(t *testing.T) {
	const n, size = 200, 50_000
	release := make(chan struct{})
	got := make(chan error, 1)
	address := accepting(t, func(c net.Conn) {
		<-release
		got <- func() error {
			last := -1
			for {
				cp, err := packets.ReadPacket(c)
				if err != nil {
					return err
				}
				if _, ok := cp.(*packets.DisconnectPacket); ok {
					return nil
				}
				m := cp.(*packets.PublishPacket)
				i := int(binary.BigEndian.Uint32(m.Payload))
				if len(m.Payload) != size || i <= last {
					return fmt.Errorf("message %d of %d bytes after %d", i, len(m.Payload), last)
				}
				last = i
			}
		}()
	})
	// A small socket buffer makes a partial write likely in every message.
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
		}
		return c, err
	}
	s := newShard(t, upstream.Options{Address: address, Dial: dial})
	o := s.connect(&upstream.Connect{ClientID: "dev"})
	payload := make([]byte, size)
	for i := range n {
		binary.BigEndian.PutUint32(payload, uint32(i))
		o.Publish(s.now(), upstream.Publish{Topic: "t", Payload: payload})
		o.Flush(s.now())
	}
	if s.d.Stats().DroppedCongested.Load() == 0 {
		t.Error("10 MB went into a broker that does not read: the test does not test")
	}
	o.Close(s.now(), upstream.CloseGraceful)
	o.Flush(s.now())
	close(release)
	s.until("closed", func() bool { return o.closed == 1 })
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestTCPStalledBrokerIsLost(t *testing.T) {
	release := make(chan struct{})
	address := accepting(t, func(net.Conn) { <-release })
	defer close(release)
	s := newShard(t, upstream.Options{Address: address, WriteTimeout: 100 * time.Millisecond, WriteBuffer: 1 << 20})
	o := s.connect(&upstream.Connect{ClientID: "dev"})
	for s.d.Stats().DroppedCongested.Load() == 0 {
		o.Publish(s.now(), upstream.Publish{Topic: "t", Payload: make([]byte, 60_000)})
		o.Flush(s.now())
	}
	s.until("lost", func() bool { return o.downs == 1 })
	if s.d.Stats().WriteStalls.Load() != 1 {
		t.Error("not counted as a stall")
	}
}

// The peer's machine has gone silent: what is written stays in full buffers until
// WriteTimeout. The other connections of the same owner do not wait for it.
func TestTCPStalledConnectionDelaysNoOther(t *testing.T) {
	const writeTimeout = time.Second
	release := make(chan struct{})
	addresses := make(chan string, 2) // in the order of the dials
	addresses <- accepting(t, func(net.Conn) { <-release })
	addresses <- accepting(t, func(c net.Conn) { echoAcks(c) })
	defer close(release)
	s := newShard(t, upstream.Options{
		Address: "broker:1883", WriteTimeout: writeTimeout, WriteBuffer: 1 << 20, ReconnectMin: time.Minute,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, <-addresses)
		},
	})
	stalled := s.connect(&upstream.Connect{ClientID: "stalled"})
	other := s.connect(&upstream.Connect{ClientID: "other"})
	for s.d.Stats().DroppedCongested.Load() == 0 {
		stalled.Publish(s.now(), upstream.Publish{Topic: "t", Payload: make([]byte, 60_000)})
		stalled.Flush(s.now())
	}
	full := s.now()
	var slowest time.Duration
	for token := upstream.Token(1); stalled.downs == 0; token++ {
		before := s.now()
		other.Publish(s.now(), upstream.Publish{Token: token, Topic: "t", Payload: []byte("x"), QoS: 1})
		s.until("answered", func() bool { return other.published[token] == 1 })
		slowest = max(slowest, s.now()-before)
		if s.now()-full > 10*time.Second {
			t.Fatal("the stalled connection is not given up")
		}
	}
	if slowest >= writeTimeout {
		t.Errorf("a round trip of the other connection took %v", slowest)
	}
	if other.downs != 0 {
		t.Error("the other connection was lost")
	}
}

// bareBroker accepts n MQTT connections on bare descriptors, which cost this process no
// memory of Go's.
func bareBroker(t testing.TB, n int) (address string, accepted <-chan []int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 128),
	); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan []int, 1)
	go func() {
		defer syscall.Close(fd)
		var list []int
		buf := make([]byte, 256)
		for range n {
			c, _, err := syscall.Accept(fd)
			if err != nil {
				break
			}
			syscall.Read(c, buf)
			syscall.Write(c, []byte{0x20, 2, 0, 0})
			list = append(list, c)
		}
		result <- list
	}()
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), result
}

type footprint struct{ heap, stack, goroutines float64 }

// measureIdle returns what each of n idle connections costs.
func measureIdle(t testing.TB, n int) footprint {
	t.Helper()
	look := func() (f footprint) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return footprint{float64(m.HeapAlloc), float64(m.StackInuse), float64(runtime.NumGoroutine())}
	}
	address, accepted := bareBroker(t, n)
	d, err := upstream.NewDialer(upstream.Options{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	inbox := make(pushTo, 64)
	links := make([]upstream.Link, n)
	before := look()
	start := time.Now()
	for i := range links {
		l := d.NewLink(inbox, nil)
		links[i] = l
		l.Connect(time.Since(start), &upstream.Connect{ClientID: "device-0000", KeepAlive: 60})
		in := <-inbox
		l.Input(time.Since(start), &in)
		if e := l.AppendEvents(nil); len(e) != 1 || e[0].Kind != upstream.EventConnected {
			t.Fatalf("got %+v", e)
		}
		l.Publish(time.Since(start), upstream.Publish{Topic: "t", Payload: []byte("x")}) // it has been in use
		l.Flush(time.Since(start))
	}
	for _, c := range <-accepted {
		defer syscall.Close(c)
	}
	after := look()
	runtime.KeepAlive(links)
	return footprint{(after.heap - before.heap) / float64(n), (after.stack - before.stack) / float64(n), (after.goroutines - before.goroutines) / float64(n)}
}

func TestIdleConnectionCostsOneGoroutineAndFewKilobytes(t *testing.T) {
	f := measureIdle(t, 1000)
	t.Logf("per idle connection: heap %.0f B, stack %.0f B, goroutines %.2f", f.heap, f.stack, f.goroutines)
	if f.goroutines > 1 {
		t.Errorf("%.2f goroutines", f.goroutines)
	}
	if !raceEnabled && f.heap+f.stack > 4608 {
		t.Errorf("%.0f bytes of heap and %.0f of stack", f.heap, f.stack)
	}
}

func BenchmarkIdleConnection(b *testing.B) {
	for b.Loop() {
		f := measureIdle(b, 1000)
		b.ReportMetric(f.heap, "heap-B/conn")
		b.ReportMetric(f.stack, "stack-B/conn")
		b.ReportMetric(f.goroutines, "goroutines/conn")
	}
}

// BenchmarkPublish is one PUBLISH from the owner's call to the socket, and for QoS 1
// back to EventPublished.
func BenchmarkPublish(b *testing.B) {
	for qos := range uint8(2) {
		b.Run(fmt.Sprintf("qos%d", qos), func(b *testing.B) {
			address := accepting(b, func(c net.Conn) { echoAcks(c) })
			d, err := upstream.NewDialer(upstream.Options{Address: address})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			inbox := make(pushTo, 64)
			l := d.NewLink(inbox, nil)
			l.Connect(0, &upstream.Connect{ClientID: "dev"})
			in := <-inbox
			l.Input(0, &in)
			events := l.AppendEvents(nil)
			payload := make([]byte, 32)
			b.ReportAllocs()
			for b.Loop() {
				l.Publish(0, upstream.Publish{Token: 1, Topic: "site/house/floor/temperature", Payload: payload, QoS: qos})
				l.Flush(0)
				for done := qos == 0; !done; {
					in := <-inbox
					l.Input(0, &in)
					events = l.AppendEvents(events[:0])
					done = len(events) == 1
				}
			}
		})
	}
}

// echoAcks answers QoS 1 PUBLISHes of less than 128 bytes, without allocating.
func echoAcks(c net.Conn) {
	buf := make([]byte, 64<<10)
	var ack [4]byte
	for have := 0; ; {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		at := 0
		for have-at >= 2 && have-at >= 2+int(buf[at+1]) {
			p := buf[at : at+2+int(buf[at+1])]
			if p[0]&6 == 2 {
				topic := int(binary.BigEndian.Uint16(p[2:]))
				ack = [4]byte{puback, 2, p[4+topic], p[5+topic]}
				if _, err := c.Write(ack[:]); err != nil {
					return
				}
			}
			at += len(p)
		}
		have = copy(buf, buf[at:have])
	}
}
