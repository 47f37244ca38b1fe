package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

const (
	behavedDevices = 100
	behavedPause   = 200 * time.Millisecond // between two messages of a device
	attackRate     = 20_000                 // datagrams per second
	attackSockets  = 50
	// Windows of quiet and of attack follow each other, so that what else the machine has
	// to do is in both. goodRounds of at most maxRounds have to be as they should.
	window     = time.Second
	goodRounds = 2
	maxRounds  = 12
	// leastQuiet is taken for a quiet 99th percentile that is less: below it the
	// measurement is of the scheduler.
	leastQuiet = 5 * time.Millisecond
	// lostAfter is when a device sends a message again, and the time that this one counts.
	lostAfter = time.Second

	attackDials  = 100      // broker.dial_rate
	attackMemory = 16 << 20 // gateway.memory_limit
	// attackResident bounds the process: it has the sessions of those CONNECTs that were
	// let in, and of Go's heap as much again for the collector.
	attackResident = 256 << 20
)

// behaved are devices that publish with QoS 1 and measure how long the PUBACK takes.
type behaved struct {
	mu     sync.Mutex
	took   []time.Duration // in the window
	failed error
	done   chan struct{}
	wg     sync.WaitGroup
}

func startBehaved(t *testing.T, addr string) *behaved {
	t.Helper()
	b := &behaved{done: make(chan struct{})}
	for i := range behavedDevices {
		n := testgateway.NewNode(t, addr)
		n.MustConnect(fmt.Sprintf("behaved-%d", i), true, 600)
		b.wg.Go(func() { b.run(n.Conn, time.Duration(i)*behavedPause/behavedDevices) })
	}
	t.Cleanup(b.stop)
	return b
}

func (b *behaved) stop() {
	close(b.done)
	b.wg.Wait()
}

// run publishes until the end, beginning after offset so that devices do not speak in
// chorus.
func (b *behaved) run(conn net.Conn, offset time.Duration) {
	buf := make([]byte, 256)
	next := time.Now().Add(offset)
	for msgID := uint16(1); ; msgID = msgID%60_000 + 1 {
		select {
		case <-b.done:
			return
		case <-time.After(time.Until(next)):
		}
		next = next.Add(behavedPause)
		took, err := publishOnce(conn, buf, msgID)
		b.mu.Lock()
		b.took = append(b.took, took)
		b.failed = errors.Join(b.failed, err)
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// publishOnce sends one message until it is acknowledged and returns how long that took.
func publishOnce(conn net.Conn, buf []byte, msgID uint16) (time.Duration, error) {
	p := sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ok"), MsgID: msgID, Data: []byte("23.5")}
	start := time.Now()
	for range 10 {
		b, err := p.Append(buf[:0])
		if err == nil {
			_, err = conn.Write(b)
		}
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(lostAfter))
		}
		for err == nil {
			var n int
			if n, err = conn.Read(buf); err != nil {
				break
			}
			m, parseErr := sn12.Parse(buf[:n])
			if ack, ok := m.(sn12.PubAck); ok && parseErr == nil && ack.MsgID == msgID {
				if ack.ReturnCode != sn12.Accepted {
					return 0, fmt.Errorf("PUBACK %+v for a well-behaved device", ack)
				}
				return time.Since(start), nil
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		p.DUP = true
	}
	return 0, errors.New("no PUBACK after 10 repeats")
}

// p99 is the 99th percentile of the next window.
func (b *behaved) p99(t *testing.T) time.Duration {
	t.Helper()
	b.mu.Lock()
	b.took = nil
	b.mu.Unlock()
	time.Sleep(window)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		t.Fatal(b.failed)
	}
	if want := behavedDevices * int(window/behavedPause); len(b.took) < want/2 {
		t.Logf("only %d messages of %d in a window", len(b.took), want)
		return lostAfter
	}
	slices.Sort(b.took)
	return b.took[len(b.took)*99/100]
}

// attack sends what next returns at attackRate, over the sockets in turn, until stop is
// called, which returns how many were sent.
func attack(t *testing.T, conns []net.Conn, next func(i int) []byte) (stop func() int) {
	done, sent := make(chan struct{}), make(chan int)
	go func() {
		const tick = 2 * time.Millisecond
		i, start := 0, time.Now()
		for {
			select {
			case <-done:
				sent <- i
				return
			case <-time.After(tick):
			}
			// What is late is made up for, but not by more than a tenth of a second.
			due := int(time.Since(start) * attackRate / time.Second)
			for end := min(due, i+attackRate/10); i < end; i++ {
				_, _ = conns[i%len(conns)].Write(next(i)) // a full buffer is a datagram lost
			}
		}
	}()
	return func() int { close(done); return <-sent }
}

// underAttack measures devices in quiet and under an attack, and returns the gateway's
// metrics before and after it.
func underAttack(t *testing.T, prepare func(g *testgateway.Gateway) (conns []net.Conn, next func(i int) []byte)) (g *testgateway.Gateway, before, after testgateway.Metrics, elapsed time.Duration) {
	t.Helper()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g = testgateway.Start(t, built.plain, "tcp://"+broker.Addr(), testgateway.Settings{
		"broker.dial_rate": fmt.Sprint(attackDials), "gateway.memory_limit": fmt.Sprint(attackMemory),
		"session.message_rate": "100", "session.message_burst": "200", "log.level": `"info"`,
		"session.assign_client_ids": "false", // or CONNECTs without a client id would be in order
	})
	g.AwaitReady(200)
	devices := startBehaved(t, g.Addr)
	conns, next := prepare(g)
	before = g.Metrics()
	start, sent, attacked, good := time.Now(), 0, time.Duration(0), 0
	worst := leastQuiet // of the quiet windows
	for round := 0; good < goodRounds; round++ {
		if round == maxRounds {
			t.Errorf("of %d rounds %d had a p99 of at most three times %v, want %d", maxRounds, good, worst, goodRounds)
			break
		}
		quiet := devices.p99(t)
		worst = max(worst, quiet)
		began, stop := time.Now(), attack(t, conns, next)
		flooded := devices.p99(t)
		sent += stop()
		attacked += time.Since(began)
		if flooded <= 3*worst {
			good++
		}
		t.Logf("p99 in quiet %v, under attack %v", quiet, flooded)
	}
	elapsed = time.Since(start)
	after = g.Metrics()
	t.Logf("%.0f datagrams a second; %.1f s of processor time in %.1f s; resident %.1f MiB; held %v octets; lost in the socket %v",
		float64(sent)/attacked.Seconds(), after["process_cpu_seconds_total"]-before["process_cpu_seconds_total"], elapsed.Seconds(),
		after["process_resident_memory_bytes"]/(1<<20),
		after["sngate_memory_used_bytes"], after.Sum("sngate_socket_drops_total")-before.Sum("sngate_socket_drops_total"))
	for name, n := range after {
		if n > before[name] && strings.HasPrefix(name, "sngate_drops_total") {
			t.Logf("%s +%v", name, n-before[name])
		}
	}
	if n := after["process_resident_memory_bytes"]; n > attackResident {
		t.Errorf("the process has %.0f octets", n)
	}
	if n := after["sngate_memory_used_bytes"]; n > attackMemory {
		t.Errorf("%.0f octets are held, more than gateway.memory_limit", n)
	}
	begun := func(m testgateway.Metrics) float64 {
		return m.Sum("sngate_upstream_connects_total") + m["sngate_upstream_connects_in_progress"]
	}
	dials, most := begun(after)-begun(before), attackDials*(elapsed.Seconds()+0.2)+1
	t.Logf("%v connects to the broker in %v", dials, elapsed)
	if dials > most {
		t.Errorf("%v connects to the broker, more than the %.0f of broker.dial_rate", dials, most)
	}
	return g, before, after, elapsed
}

func attackers(t *testing.T, g *testgateway.Gateway) []net.Conn {
	conns := make([]net.Conn, attackSockets)
	for i := range conns {
		conns[i] = testgateway.NewNode(t, g.Addr).Conn
	}
	return conns
}

func TestDevicesUnderAFloodOfGarbage_Case158(t *testing.T) {
	_, before, after, _ := underAttack(t, func(g *testgateway.Gateway) ([]net.Conn, func(int) []byte) {
		random := rand.New(rand.NewPCG(158, 0))
		b := make([]byte, 64)
		return attackers(t, g), func(int) []byte {
			for i := 0; i < len(b); i += 8 {
				binary.LittleEndian.PutUint64(b[i:], random.Uint64())
			}
			n := 1 + random.IntN(len(b))
			if random.IntN(2) == 0 {
				b[0] = byte(n) // a frame of some type
				if n > 1 && b[1] == byte(sn12.TypeConnect) {
					b[1] = byte(sn12.TypePingReq)
				}
			}
			return b[:n]
		}
	})
	if n := after["sngate_upstream_connects_total{result=\"accepted\"}"] - before["sngate_upstream_connects_total{result=\"accepted\"}"]; n != 0 {
		t.Errorf("garbage has made %v connections", n)
	}
}

func TestDevicesUnderAFloodOfConnects_Case159(t *testing.T) {
	_, before, after, _ := underAttack(t, func(g *testgateway.Gateway) ([]net.Conn, func(int) []byte) {
		random := rand.New(rand.NewPCG(159, 0))
		var b []byte
		return attackers(t, g), func(i int) []byte {
			id := fmt.Appendf(nil, "%016x", random.Uint64())
			b, _ = sn12.Connect{CleanSession: true, Will: i%2 == 0, ProtocolID: 1, Duration: 60, ClientID: id}.Append(b[:0])
			return b
		}
	})
	if after[testgateway.DropsFor("connect_rate")] == before[testgateway.DropsFor("connect_rate")] {
		t.Error("no CONNECT was refused for its rate")
	}
}

func TestDevicesUnderAFloodFromOneDevice_Case160(t *testing.T) {
	g, before, after, elapsed := underAttack(t, func(g *testgateway.Gateway) ([]net.Conn, func(int) []byte) {
		n := testgateway.NewNode(t, g.Addr)
		n.MustConnect("flooder", true, 600)
		var b []byte
		return []net.Conn{n.Conn}, func(i int) []byte {
			b, _ = sn12.Publish{QoS: uint8(i % 2), TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("fl"), MsgID: uint16(i%60_000 + 1), Data: []byte("flood")}.Append(b[:0])
			return b
		}
	})
	const published = `sngate_upstream_packets_total{direction="out",type="PUBLISH"}`
	behavedMost := behavedDevices * (elapsed.Seconds()/behavedPause.Seconds() + 2)
	if n, most := after[published]-before[published], behavedMost+200+100*(elapsed.Seconds()+1); n > most {
		t.Errorf("%v messages went to the broker, more than the %.0f that the rates allow", n, most)
	}
	for _, reason := range []string{"message_rate", "datagram_rate"} {
		if after[testgateway.DropsFor(reason)] == before[testgateway.DropsFor(reason)] {
			t.Errorf("nothing was dropped for %s", reason)
		}
	}
	if n := g.Value(testgateway.SessionsIn("active")); n != behavedDevices+1 {
		t.Errorf("%v devices are connected, want all and the flooder", n)
	}
}
