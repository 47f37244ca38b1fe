package dial_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owner is an Inbox, and the owner of one Conn.
type owner chan dial.Input

func (o owner) Push(in *dial.Input, done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
	}
	select {
	case o <- *in:
		return true
	case <-done:
		return false
	}
}

// Deliver is for owners with a loop.
func (o owner) Deliver(*dial.Input) { panic("there is no loop") }

func (o owner) want(t *testing.T, kind dial.Kind, why string) dial.Input {
	t.Helper()
	synctest.Wait()
	select {
	case in := <-o:
		if in.Kind != kind {
			t.Fatalf("%s: %+v", why, in)
		}
		in.Done()
		return in
	default:
		t.Fatalf("%s: nothing", why)
	}
	return dial.Input{}
}

// bench runs f with a Dialer whose dials arrive at a Listener.
func bench(t *testing.T, o dial.Options, f func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats)) {
	synctest.Test(t, func(t *testing.T) {
		l := upstreamtest.NewListener(0)
		o.Addresses = []string{"a:1", "b:1"}
		o.Dial = l.Dial
		o.MaxWaiting = 10
		o.WriteTimeout = time.Second
		o.MaxPayload = 1024
		s := new(dial.Stats)
		d := dial.New(o, s)
		defer d.Close()
		f(d, l, s)
	})
}

// greet is for a connect without TLS.
func greet(hello []byte) dial.Greeter {
	return func(string) (dial.Greeting, error) { return dial.Greeting{Hello: says(hello)}, nil }
}

func says(hello []byte) func() ([]byte, string, error) {
	return func() ([]byte, string, error) { return hello, "", nil }
}

// begin starts a connect that is known by its CONNECT.
func begin(t *testing.T, d *dial.Dialer, id string, urgent bool) (*dial.Conn, owner) {
	t.Helper()
	o := make(owner, 8)
	c, err := d.Connect(&dial.Request{Greet: greet(mqtt.EncodeConnect(&mqtt.Connect{ClientID: id})), Inbox: o}, urgent)
	if err != nil {
		t.Fatal(err)
	}
	return c, o
}

// Slots go to connects that a device waits for, one of which may have been hurried, and one
// that is taken back never dials.
func TestSlotsGoToWhatADeviceWaitsFor(t *testing.T) {
	bench(t, dial.Options{MaxDials: 1}, func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats) {
		begin(t, d, "first", false)
		begin(t, d, "slow", false)
		hurried, _ := begin(t, d, "hurried", false)
		unwanted, _ := begin(t, d, "unwanted", true)
		begin(t, d, "urgent", true)
		hurried.Hurry()
		if !unwanted.Unqueue() || unwanted.Unqueue() {
			t.Error("a connect is taken back once")
		}
		var order []string
		for range 4 {
			p := l.Accept(t)
			order = append(order, p.Accept(false).ClientIdentifier)
			synctest.Wait()
		}
		if want := []string{"first", "urgent", "hurried", "slow"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if n := s.Open.Load(); n != 4 || s.DialsSucceeded.Load() != 4 || s.Waiting.Load() != 0 {
			t.Errorf("%d open, %d succeeded, %d wait", n, s.DialsSucceeded.Load(), s.Waiting.Load())
		}
	})
}

// A worker rests while connects wait for their time, and carries out the next; when none
// waits any more, however that comes, it ends.
func TestWorkersRestWhileConnectsWait(t *testing.T) {
	bench(t, dial.Options{MaxDials: 4, DialRate: 1}, func(d *dial.Dialer, l *upstreamtest.Listener, _ *dial.Stats) {
		resting := func(want int, why string) {
			t.Helper()
			synctest.Wait()
			if n := dial.Resting(d); n != want {
				t.Errorf("%d workers rest, want %d: %s", n, want, why)
			}
		}
		begin(t, d, "first", true)
		begin(t, d, "second", true)
		third, _ := begin(t, d, "third", true)
		resting(0, "it dials")
		l.Accept(t).Accept(false)
		resting(1, "the second waits for its time")
		<-time.After(time.Second)
		resting(0, "it carries out the second")
		l.Accept(t).Accept(false)
		resting(1, "the third waits")
		third.Unqueue()
		resting(0, "nobody waits")
		begin(t, d, "fourth", true)
		begin(t, d, "fifth", true)
		<-time.After(time.Second)
		l.Accept(t).Accept(false)
		resting(1, "the fifth waits")
		d.Close()
		resting(0, "closed")
	})
}

func TestQueuesAreBounded(t *testing.T) {
	bench(t, dial.Options{MaxDials: 1}, func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats) {
		for range 11 {
			begin(t, d, "dev", true)
		}
		if _, err := d.Connect(&dial.Request{}, true); !errors.Is(err, dial.ErrBusy) || s.DialsBusy.Load() != 1 {
			t.Errorf("one too many: %v", err)
		}
		d.Close()
		if _, err := d.Connect(&dial.Request{}, true); !errors.Is(err, dial.ErrCancelled) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// What a connection tells its owner: that it is accepted, what it reads, and, once, its end.
func TestAConnTellsItsOwner(t *testing.T) {
	bench(t, dial.Options{MaxDials: 1}, func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats) {
		c, o := begin(t, d, "dev", true)
		p := l.Accept(t)
		p.Accept(true)
		if in := o.want(t, dial.Accepted, "CONNACK"); in.Conn != c || !in.Packet.SessionPresent || c.Broker().Address() != "a:1" {
			t.Errorf("got %+v", in)
		}
		c.SetPaused(true)
		p.SendRaw(0x30, 3, 0, 1, 't') // the reader has it already in hand, or not: it waits
		p.SendRaw(0xd0, 0)
		synctest.Wait()
		if len(o) > 0 {
			t.Errorf("a paused connection reports %+v", <-o)
		}
		c.SetPaused(false)
		if in := o.want(t, dial.Received, "PUBLISH"); in.Packet.Topic != "t" {
			t.Errorf("got %+v", in)
		}
		o.want(t, dial.Received, "PINGRESP")
		c.Write(mqtt.AppendBare(nil, mqtt.TypePingreq))
		p.Read()
		p.Conn.Close()
		if in := o.want(t, dial.Ended, "the end"); in.Err == nil {
			t.Error("an end without a reason")
		}
		synctest.Wait()
		if len(o) > 0 || s.Open.Load() != 0 {
			t.Errorf("%d inputs after the end, %d open", len(o), s.Open.Load())
		}
	})
}

// The next broker is taken into use when connects fail for long enough, and only then.
func TestTheNextBrokerIsUsedAfterFailuresForAWhile(t *testing.T) {
	bench(t, dial.Options{MaxDials: 4}, func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats) {
		start := time.Now()
		fail := func() bool {
			c, box := begin(t, d, "dev", true)
			l.Accept(t).Conn.Close()
			box.want(t, dial.Refused, "the broker closes")
			return c.Failed(time.Since(start))
		}
		for range 5 {
			if fail() {
				t.Fatal("a moment is no reason")
			}
		}
		<-time.After(10 * time.Second)
		if !fail() {
			t.Error("another broker is in use now")
		}
		if i, address := d.InUse(); i != 1 || address != "b:1" || s.Failovers.Load() != 1 {
			t.Errorf("%d %s is in use", i, address)
		}
	})
}

// A connect that hangs is cancelled by its owner, and tells nothing more.
func TestAbandonedConnsAreSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan struct{})
		o := dial.Options{Addresses: []string{"a:1"}, MaxDials: 1, MaxWaiting: 1, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			close(cancelled)
			return nil, ctx.Err()
		}}
		d := dial.New(o, new(dial.Stats))
		defer d.Close()
		c, box := begin(t, d, "dev", true)
		synctest.Wait()
		c.Abandon()
		<-cancelled
		synctest.Wait()
		if len(box) > 0 {
			t.Errorf("got %+v", <-box)
		}
	})
}
