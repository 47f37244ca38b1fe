package dial_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/upstreamtest"
	"sngate/upstream/websocket"
	"sngate/upstream/websocket/websockettest"
)

// webDialer is a Dialer with what its connects need for WebSocket.
type webDialer struct {
	*dial.Dialer
	web *websocket.WebSocket
}

func (d *webDialer) greet(hello []byte) dial.Greeter {
	return func(address string) (dial.Greeting, error) {
		return dial.Greeting{Hello: says(hello), Secure: d.web.For(address)}, nil
	}
}

// overWebSocket runs f with a Dialer whose broker is reached by WebSocket, and through a proxy if
// env names one: the ends of its connections, below all that, come through a channel.
func overWebSocket(t *testing.T, env string, f func(t *testing.T, d *webDialer, accept <-chan *upstreamtest.Conn, s *dial.Stats)) {
	synctest.Test(t, func(t *testing.T) {
		web, err := websocket.New(websocket.Options{
			Brokers: map[string]*url.URL{"a:80": {Scheme: "ws", Host: "a", Path: "/mqtt"}}, Proxies: websocket.ReadProxies([]string{env}),
		}, new(websocket.Stats))
		if err != nil {
			t.Fatal(err)
		}
		ends := make(chan *upstreamtest.Conn, 1)
		s := new(dial.Stats)
		d := dial.New(dial.Options{
			Addresses: []string{"a:80"}, MaxDials: 1, MaxWaiting: 10, WriteTimeout: time.Second, MaxPayload: 64 << 10,
			Dial: web.Dial(func(context.Context, string, string) (net.Conn, error) {
				a, b := upstreamtest.Pipe(8 << 10)
				ends <- b
				return a, nil
			}),
		}, s)
		defer d.Close()
		f(t, &webDialer{d, web}, ends, s)
	})
}

// connectWeb returns an accepted connection and the broker's end of it.
func connectWeb(t *testing.T, d *webDialer, accept <-chan *upstreamtest.Conn, paused bool) (*dial.Conn, owner, *websockettest.Conn) {
	t.Helper()
	o := make(owner, 64)
	hello := mqtt.EncodeConnect(&mqtt.Connect{ClientID: "dev"})
	c, err := d.Connect(&dial.Request{Greet: d.greet(hello), Inbox: o, Paused: paused}, true)
	if err != nil {
		t.Fatal(err)
	}
	broker, err := websockettest.Accept(<-accept)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(broker, got); err != nil || !bytes.Equal(got, hello) {
		t.Fatalf("the broker has %x, %v", got, err)
	}
	if _, err := broker.Write([]byte{0x20, 2, 0, 0}); err != nil {
		t.Fatal(err)
	}
	o.want(t, dial.Accepted, "CONNACK")
	return c, o, broker
}

func TestWebSocketTakesAllThatIsWrittenInOrder(t *testing.T) {
	overWebSocket(t, "", func(t *testing.T, d *webDialer, accept <-chan *upstreamtest.Conn, s *dial.Stats) {
		c, o, broker := connectWeb(t, d, accept, false)
		var want []byte
		for i := range 300 {
			p := mqtt.AppendPublish(nil, "", "t", bytes.Repeat([]byte{byte(i)}, i), 0, false, 0)
			want = append(want, p...)
			c.Write(p)
		}
		synctest.Wait()
		if n := c.Backlog(); n < len(want)-16<<10 || n > len(want) {
			t.Errorf("%d of %d octets wait for a broker that does not read", n, len(want))
		}
		c.WantWritable()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(broker, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the broker reads something else: %v", err)
		}
		o.want(t, dial.Writable, "all is written")
		down := publishPacketTLS("down", "x")
		for _, part := range [][]byte{down[:1], down[1:4], append(down[4:len(down):len(down)], down...)} {
			if _, err := broker.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if in := o.want(t, dial.Received, "split and joined"); in.Packet.Topic != "down" {
				t.Errorf("received %+v", in.Packet)
			}
		}
		broker.Frames.Close()
		if in := o.want(t, dial.Ended, "the broker closes"); !errors.Is(in.Err, io.EOF) {
			t.Errorf("ended by %v", in.Err)
		}
		if n := s.Open.Load(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

// Who is paused lets the broker wait, and loses nothing.
func TestAPausedWebSocketPushesBack(t *testing.T) {
	overWebSocket(t, "", func(t *testing.T, d *webDialer, accept <-chan *upstreamtest.Conn, _ *dial.Stats) {
		c, o, broker := connectWeb(t, d, accept, true)
		sent := make(chan int, 1)
		const messages = 40
		go func() {
			n := 0
			for ; n < messages; n++ {
				if _, err := broker.Write(publishPacketTLS(strconv.Itoa(n), string(make([]byte, 1000)))); err != nil {
					break
				}
			}
			sent <- n
		}()
		synctest.Wait()
		if len(o) > 0 || len(sent) > 0 {
			t.Fatalf("%d packets are told while paused, and the broker could send %d messages", len(o), len(sent))
		}
		c.SetPaused(false)
		for n := range messages {
			if in := o.want(t, dial.Received, "after the pause"); in.Packet.Topic != strconv.Itoa(n) {
				t.Fatalf("message %d is %s", n, in.Packet.Topic)
			}
		}
		if n := <-sent; n != messages {
			t.Errorf("the broker could send %d messages", n)
		}
		c.Abandon()
		broker.Close()
	})
}

// Neither a broker nor a proxy that does not answer has more than the slot of the connect, and
// both give it back at once to who no longer waits.
func TestWebSocketConnectionsEndWithoutTheBroker(t *testing.T) {
	for _, env := range []string{"", "HTTP_PROXY=http://proxy"} {
		overWebSocket(t, env, func(t *testing.T, d *webDialer, accept <-chan *upstreamtest.Conn, s *dial.Stats) {
			hanging, err := d.Connect(&dial.Request{Greet: d.greet([]byte{1}), Inbox: make(owner, 8)}, true)
			if err != nil {
				t.Fatal(err)
			}
			silent := <-accept
			synctest.Wait()
			if n := s.Dialling.Load(); n != 1 || silent.Buffered() == 0 {
				t.Errorf("%d connects in progress, %d octets asked", n, silent.Buffered())
			}
			hanging.Abandon()
			synctest.Wait()
			if n := s.Dialling.Load(); n != 0 || !silent.Ended() {
				t.Errorf("%d connects in progress after the end", n)
			}
		})
	}
	overWebSocket(t, "", func(t *testing.T, d *webDialer, accept <-chan *upstreamtest.Conn, s *dial.Stats) {
		c, o, broker := connectWeb(t, d, accept, false)
		c.Write(make([]byte, 64<<10))
		<-time.After(1500 * time.Millisecond)
		if in := o.want(t, dial.Ended, "the broker does not read"); !errors.Is(in.Err, dial.ErrTimeout) || s.WriteStalls.Load() != 1 {
			t.Errorf("ended by %v, %d stalls", in.Err, s.WriteStalls.Load())
		}
		broker.Close()
		c, _, broker = connectWeb(t, d, accept, false)
		c.Write(make([]byte, 64<<10))
		synctest.Wait()
		begin := time.Now()
		c.Abandon()
		synctest.Wait()
		if took := time.Since(begin); took != 0 || !broker.Conn.(*upstreamtest.Conn).Ended() {
			t.Errorf("abandoned in %v", took)
		}
		broker.Close()
	})
}
