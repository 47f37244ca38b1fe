package dial_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
	"sngate/upstream/upstreamtest"
)

// tlsDialer is a Dialer with what its connects need for TLS.
type tlsDialer struct {
	*dial.Dialer
	speaks *secure.TLS
}

func (d *tlsDialer) greet(hello []byte) dial.Greeter {
	return func(address string) (dial.Greeting, error) {
		secure, err := d.speaks.For(address, "dev")
		return dial.Greeting{Hello: says(hello), Secure: secure}, err
	}
}

// overTLS runs f with a Dialer whose broker speaks TLS: the ends of its connections, below TLS,
// come through a channel.
func overTLS(t *testing.T, f func(d *tlsDialer, accept <-chan *upstreamtest.Conn, peer *tls.Config, s *dial.Stats)) {
	synctest.Test(t, func(t *testing.T) {
		ca := securetest.NewCA(t, "ca")
		file := filepath.Join(t.TempDir(), "ca.pem")
		ca.Write(t, file)
		speaks, err := secure.New(secure.Options{Brokers: []string{"a:1"}, CAFile: file, MinVersion: tls.VersionTLS12}, new(secure.Stats))
		if err != nil {
			t.Fatal(err)
		}
		ends := make(chan *upstreamtest.Conn, 1)
		s := new(dial.Stats)
		d := dial.New(dial.Options{
			Addresses: []string{"a:1"}, MaxDials: 1, MaxWaiting: 10, WriteTimeout: time.Second, MaxPayload: 1024,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				a, b := upstreamtest.Pipe(8 << 10)
				ends <- b
				return a, nil
			},
		}, s)
		defer d.Close()
		peer := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, securetest.Certificate{DNS: []string{"a"}}).TLS(t)}}
		f(&tlsDialer{d, speaks}, ends, peer, s)
	})
}

// connectTLS returns an accepted connection and the broker's end of it.
func connectTLS(t *testing.T, d *tlsDialer, accept <-chan *upstreamtest.Conn, peer *tls.Config) (*dial.Conn, owner, *tls.Conn) {
	t.Helper()
	o := make(owner, 8)
	hello := mqtt.EncodeConnect(&mqtt.Connect{ClientID: "dev"})
	c, err := d.Connect(&dial.Request{Greet: d.greet(hello), Inbox: o}, true)
	if err != nil {
		t.Fatal(err)
	}
	broker := tls.Server(<-accept, peer)
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

func TestTLSTakesAllThatIsWrittenInOrder(t *testing.T) {
	overTLS(t, func(d *tlsDialer, accept <-chan *upstreamtest.Conn, peer *tls.Config, s *dial.Stats) {
		c, o, broker := connectTLS(t, d, accept, peer)
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
		if n := c.Backlog(); n != 0 {
			t.Errorf("%d octets wait", n)
		}
		if _, err := broker.Write(publishPacketTLS("down", "x")); err != nil {
			t.Fatal(err)
		}
		if in := o.want(t, dial.Received, "the other way"); in.Packet.Topic != "down" {
			t.Errorf("received %+v", in.Packet)
		}
		broker.Close()
		if in := o.want(t, dial.Ended, "the broker closes"); !errors.Is(in.Err, io.EOF) {
			t.Errorf("ended by %v", in.Err)
		}
		if n := s.Open.Load(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func publishPacketTLS(topic, payload string) []byte {
	return mqtt.AppendPublish(nil, "", topic, []byte(payload), 0, false, 0)
}

// Neither a broker that reads nothing nor one that does not finish the handshake holds up who
// ends the connection.
func TestTLSConnectionsEndWithoutTheBroker(t *testing.T) {
	overTLS(t, func(d *tlsDialer, accept <-chan *upstreamtest.Conn, peer *tls.Config, s *dial.Stats) {
		c, o, broker := connectTLS(t, d, accept, peer)
		c.Write(make([]byte, 64<<10))
		<-time.After(1500 * time.Millisecond)
		if in := o.want(t, dial.Ended, "the broker does not read"); !errors.Is(in.Err, dial.ErrTimeout) || s.WriteStalls.Load() != 1 {
			t.Errorf("ended by %v, %d stalls", in.Err, s.WriteStalls.Load())
		}
		broker.NetConn().Close()

		c, _, broker = connectTLS(t, d, accept, peer)
		c.Write(make([]byte, 64<<10))
		synctest.Wait()
		begin := time.Now()
		c.Abandon()
		synctest.Wait()
		if took := time.Since(begin); took != 0 || !broker.NetConn().(*upstreamtest.Conn).Ended() {
			t.Errorf("abandoned in %v", took)
		}
		broker.NetConn().Close()

		hanging, err := d.Connect(&dial.Request{Greet: d.greet([]byte{1}), Inbox: make(owner, 8)}, true)
		if err != nil {
			t.Fatal(err)
		}
		silent := <-accept
		synctest.Wait()
		if n := s.Dialling.Load(); n != 1 {
			t.Errorf("%d connects in progress: the handshake has the slot", n)
		}
		hanging.Abandon()
		synctest.Wait()
		if n := s.Dialling.Load(); n != 0 || !silent.Ended() {
			t.Errorf("%d connects in progress after the end", n)
		}
	})
}

func TestNothingIsDialledForAClientThatCannotConnect_Case171(t *testing.T) {
	overTLS(t, func(d *tlsDialer, accept <-chan *upstreamtest.Conn, _ *tls.Config, s *dial.Stats) {
		o := make(owner, 8)
		missing := func(string) (dial.Greeting, error) { return dial.Greeting{}, errors.New("no certificate") }
		if _, err := d.Connect(&dial.Request{Greet: missing, Inbox: o}, true); err != nil {
			t.Fatal(err)
		}
		if in := o.want(t, dial.Refused, "no certificate"); !errors.Is(in.Err, dial.ErrUnsent) {
			t.Errorf("refused by %v", in.Err)
		}
		if len(accept) != 0 || s.Dialling.Load() != 0 {
			t.Error("it has dialled")
		}
	})
}
