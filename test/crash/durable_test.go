package crash

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/test/mosquitto"
)

// durable is mosquitto behind a relay that passes on what the broker says only after the
// broker has saved the state in which it said it. Killed at any moment, such a broker comes back
// with everything it has ever been heard to say: mosquitto alone saves after it has answered
// and may forget its last answers.
//
// Saving is asked for by SIGUSR1, for all that waits together. mosquitto is one thread: in each round
// of its loop it waits for input, takes signals, handles the input, then saves if SIGUSR1 came. So when
// a PINGREQ has been answered that was sent after the signal, the signal has been taken, and when the
// next one is answered, the save is complete.
type durable struct {
	broker   *mosquitto.Broker
	database string // mosquitto's file
	listener *net.TCPListener
	fault    func(format string, args ...any)
	wg       sync.WaitGroup

	mu  sync.Mutex
	era *era // nil while the broker is down

	saves atomic.Int64
	spent atomic.Int64 // in saving, nanoseconds
}

// era is one run of the broker.
type era struct {
	*durable
	process *os.Process
	fence   net.Conn
	spoken  chan struct{} // holds one token when an octet waits to be saved

	mu    sync.Mutex // guards the following and every pipe's buffers
	pipes map[*pipe]bool
	over  bool
}

// pipe is one connection of a client.
type pipe struct {
	near, far *net.TCPConn
	held      []byte        // said by the broker, not known to be saved
	free      []byte        // saved, to be written to the client
	ready     chan struct{} // holds one token when free has become more
	gone      chan struct{} // closed when the connection is over
}

// newDurable starts the relay and the broker. The caller calls close.
func newDurable(dir string, broker *mosquitto.Broker, fault func(string, ...any)) (*durable, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	d := &durable{broker: broker, database: filepath.Join(dir, "mosquitto.db"), listener: l, fault: fault}
	d.wg.Go(d.accept)
	return d, d.open()
}

func (d *durable) addr() string { return d.listener.Addr().String() }

// kill ends the broker as a power cut would, with everything it has said and not saved. The
// clients lose it all at once; while it waits for the disk, a process can take half a second to die.
func (d *durable) kill() {
	d.mu.Lock()
	e := d.era
	d.era = nil
	d.mu.Unlock()
	e.cut()
	d.broker.Kill()
	e.end()
}

// cost tells how often the broker has saved and how long that took.
func (d *durable) cost() string {
	n := d.saves.Load()
	return fmt.Sprintf("the broker has saved %d times in %v each", n, time.Duration(d.spent.Load()/max(n, 1)).Round(10*time.Microsecond))
}

func (d *durable) restart() error {
	d.broker.Restart()
	return d.open()
}

// open begins an era. The broker is up.
func (d *durable) open() error {
	fence, err := net.Dial("tcp", d.broker.Addr())
	if err != nil {
		return err
	}
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion = "MQTT", 4
	hello.ClientIdentifier, hello.CleanSession = "fence", true
	if err := hello.Write(fence); err != nil {
		return err
	}
	if _, err := packets.ReadPacket(fence); err != nil {
		return err
	}
	e := &era{
		durable: d, process: d.broker.Process(), fence: fence,
		spoken: make(chan struct{}, 1), pipes: make(map[*pipe]bool),
	}
	d.wg.Go(e.commit)
	d.mu.Lock()
	d.era = e
	d.mu.Unlock()
	return nil
}

func (d *durable) close() {
	d.listener.Close()
	d.mu.Lock()
	e := d.era
	d.era = nil
	d.mu.Unlock()
	if e != nil {
		e.end()
	}
	d.wg.Wait()
}

func (d *durable) accept() {
	for {
		near, err := d.listener.AcceptTCP()
		if err != nil {
			return
		}
		d.mu.Lock()
		e := d.era
		d.mu.Unlock()
		if e == nil {
			near.Close()
			continue
		}
		far, err := net.Dial("tcp", d.broker.Addr())
		if err != nil {
			near.Close()
			continue
		}
		p := &pipe{near: near, far: far.(*net.TCPConn), ready: make(chan struct{}, 1), gone: make(chan struct{})}
		if !e.add(p) {
			near.Close()
			far.Close()
			continue
		}
		d.wg.Go(func() { e.speak(p) })
		d.wg.Go(func() { e.hear(p) })
		d.wg.Go(func() { e.deliver(p) })
	}
}

func (e *era) add(p *pipe) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.pipes[p] = true
	}
	return !e.over
}

// speak passes on at once what a client says. When the client is gone, the broker finds the
// end of what it says and can still write: mosquitto publishes a QoS 2 message once more after PUBREL if
// repeating PUBREL to a new connection has failed with an error.
func (e *era) speak(p *pipe) {
	_, _ = io.Copy(p.far, p.near) // ends with either connection
	p.near.Close()
	_ = p.far.CloseWrite() // fails if it is closed
}

// remove ends a connection whose broker's side has ended.
func (e *era) remove(p *pipe) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pipes[p] {
		delete(e.pipes, p)
		p.close()
	}
}

func (p *pipe) close() {
	close(p.gone)
	p.near.Close()
	p.far.Close()
}

// cut ends the connections of all clients. The broker may still be there, but is not asked to save
// any more.
func (e *era) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	for p := range e.pipes {
		p.near.Close()
	}
}

// end closes all connections with what is held back.
func (e *era) end() {
	e.fence.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	for p := range e.pipes {
		p.close()
	}
	clear(e.pipes)
	signal(e.spoken)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}

// hear takes what the broker says to one client.
func (e *era) hear(p *pipe) {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.far.Read(buf)
		if err != nil {
			// What it said last is not passed on: the client finds a broken connection.
			e.remove(p)
			return
		}
		e.mu.Lock()
		p.held = append(p.held, buf[:n]...)
		e.mu.Unlock()
		signal(e.spoken)
	}
}

// deliver passes on to one client what is saved. A client that does not read holds up nobody
// else.
func (e *era) deliver(p *pipe) {
	for {
		select {
		case <-p.ready:
		case <-p.gone:
			return
		}
		e.mu.Lock()
		b := p.free
		p.free = nil
		e.mu.Unlock()
		if _, err := p.near.Write(b); err != nil {
			return // the client is gone, which speak notices
		}
	}
}

// commit has the broker save whenever it has said something.
func (e *era) commit() {
	for range e.spoken {
		sizes, over := e.heard()
		if over {
			return
		}
		began := time.Now()
		if err := e.save(); err != nil {
			return // the broker is gone; kill ends the era
		}
		e.saves.Add(1)
		e.spent.Add(int64(time.Since(began)))
		e.release(sizes)
	}
}

// heard is how much has been said to each client by now.
func (e *era) heard() (sizes map[*pipe]int, over bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sizes = make(map[*pipe]int)
	for p := range e.pipes {
		if len(p.held) > 0 {
			sizes[p] = len(p.held)
		}
	}
	return sizes, e.over
}

func (e *era) release(sizes map[*pipe]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p, n := range sizes {
		p.free = append(p.free, p.held[:n]...)
		p.held = p.held[n:]
		signal(p.ready)
	}
}

// save returns when the broker has saved the state it has now.
func (e *era) save() error {
	before, _ := os.Stat(e.database) // nil before the first save
	if err := e.process.Signal(saveSignal); err != nil {
		return err
	}
	for range 2 {
		if _, err := e.fence.Write([]byte{0xC0, 0}); err != nil { // PINGREQ
			return err
		}
		var pingresp [2]byte
		if _, err := io.ReadFull(e.fence, pingresp[:]); err != nil {
			return err
		}
		if pingresp != [2]byte{0xD0, 0} {
			e.fault("the broker answers PINGREQ with % x", pingresp)
			return errors.New("no PINGRESP")
		}
	}
	// The broker writes a new file beside the old one and then puts it in its place.
	after, err := os.Stat(e.database)
	if err != nil || before != nil && os.SameFile(before, after) {
		e.fault("the broker has not saved its state when it was asked to (%v)", err)
		return fmt.Errorf("not saved: %w", err)
	}
	return nil
}
