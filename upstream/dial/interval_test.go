package dial_test

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/upstreamtest"
)

// as begins a connect of a client id.
func as(t *testing.T, d *dial.Dialer, id string) (*dial.Conn, owner) {
	t.Helper()
	o := make(owner, 8)
	hello := mqtt.EncodeConnect(&mqtt.Connect{ClientID: id})
	c, err := d.Connect(&dial.Request{
		Greet: func(string) (dial.Greeting, error) {
			return dial.Greeting{Client: id, Hello: func() ([]byte, string, error) { return hello, id, nil }}, nil
		},
		Inbox: o,
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	return c, o
}

// connected plays the broker for the next connect, and returns who it is.
func connected(t *testing.T, l *upstreamtest.Listener) string {
	t.Helper()
	synctest.Wait()
	if l.Dialled() == 0 {
		t.Fatal("nothing has dialled")
	}
	p := l.Accept(t)
	defer p.Conn.Close()
	return p.Accept(false).ClientIdentifier
}

var spaced = dial.Options{MaxDials: 1, ConnectInterval: 3 * time.Second}

func TestAClientThatConnectsTooSoonWaitsWithoutASlot(t *testing.T) {
	bench(t, spaced, func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats) {
		time.Sleep(spaced.ConnectInterval)
		as(t, d, "dev")
		connected(t, l)
		time.Sleep(time.Second)
		c, _ := as(t, d, "dev")
		c.Hurry()
		synctest.Wait()
		if left, waiting := c.TimeLeft(time.Minute); left != time.Minute || !waiting || s.Waiting.Load() != 1 || s.Dialling.Load() != 0 {
			t.Errorf("time left %v, waiting %v", left, waiting)
		}
		as(t, d, "other")
		if id := connected(t, l); id != "other" {
			t.Fatalf("%q connects, and not the other client", id)
		}
		time.Sleep(2*time.Second - time.Nanosecond)
		synctest.Wait()
		if l.Dialled() > 0 {
			t.Fatal("too soon")
		}
		time.Sleep(time.Nanosecond)
		if id := connected(t, l); id != "dev" {
			t.Fatalf("%q connects", id)
		}
		if left, waiting := c.TimeLeft(time.Minute); left != time.Minute || waiting {
			t.Errorf("time left %v, waiting %v", left, waiting)
		}
		synctest.Wait()
		if s.DialsStarted.Load() != 3 || s.DialsSucceeded.Load() != 3 || s.Waiting.Load() != 0 || s.Dialling.Load() != 0 {
			t.Error("it is not counted as one connect")
		}
	})
}

func TestTheFirstConnectWaitsForThatOfAnEarlierProcess(t *testing.T) {
	bench(t, spaced, func(d *dial.Dialer, l *upstreamtest.Listener, _ *dial.Stats) {
		as(t, d, "dev")
		time.Sleep(spaced.ConnectInterval - 1)
		synctest.Wait()
		if l.Dialled() > 0 {
			t.Fatal("too soon")
		}
		time.Sleep(time.Nanosecond)
		connected(t, l)
	})
}

func TestAConnectThatIsPutOffCanBeTakenBack(t *testing.T) {
	bench(t, spaced, func(d *dial.Dialer, l *upstreamtest.Listener, s *dial.Stats) {
		c, _ := as(t, d, "dev")
		synctest.Wait()
		if !c.Unqueue() || c.Unqueue() || s.Waiting.Load() != 0 {
			t.Error("it is taken back once")
		}
		abandoned, _ := as(t, d, "dev")
		synctest.Wait()
		abandoned.Abandon()
		as(t, d, "left to Close")
		time.Sleep(spaced.ConnectInterval / 2)
		d.Close()
		time.Sleep(spaced.ConnectInterval)
		synctest.Wait()
		if l.Dialled() > 0 {
			t.Error("it has been dialled")
		}
	})
}

// Where two have one client id, and the way to the broker takes a time of its own.
func TestConnectsOfOneClientIDAreApartWhenTheyAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []time.Duration
		began, first := time.Now(), atomic.Bool{}
		l := upstreamtest.NewListener(0)
		d := dial.New(dial.Options{
			Addresses: []string{"a:1"}, MaxDials: 2, MaxWaiting: 10, MaxPayload: 100, ConnectInterval: time.Second,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if !first.Swap(true) {
					time.Sleep(2500 * time.Millisecond)
				}
				return l.Dial(ctx, network, address)
			},
		}, new(dial.Stats))
		defer d.Close()
		time.Sleep(time.Second)
		as(t, d, "dev")
		time.Sleep(2 * time.Second)
		as(t, d, "dev")
		for range 2 {
			p := l.Accept(t)
			p.Accept(false)
			sent = append(sent, time.Since(began))
		}
		if want := []time.Duration{3000 * time.Millisecond, 4000 * time.Millisecond}; !slices.Equal(sent, want) {
			t.Errorf("sent after %v, want %v", sent, want)
		}
	})
}
