package outage

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// cast are the devices of an outage: one that keeps its session, one that does not, and one
// that sleeps with a message held for it.
type cast struct{ keeper, plain, sleeper *device }

func (s *scene) cast() *cast {
	s.t.Helper()
	c := &cast{s.device("keeper", false), s.device("plain", true), s.device("sleeper", false)}
	c.sleeper.Sleep(600)
	s.observer.Send("down/sleeper", []byte("before"), 1, false)
	s.held(1)
	testgateway.Eventually(s.t, "the broker is told that it is stored", func() bool {
		return strings.Contains(s.broker.Log(), "Received PUBACK from sleeper")
	})
	c.keeper.publish(1, "0")
	s.wantUp("up/keeper", false, "0")
	return c
}

// live is what the devices do while the broker is away, and what they are answered.
func (c *cast) live(s *scene) {
	s.t.Helper()
	atOnce(s.t, "an hour's work without the broker", func() {
		c.keeper.publish(1, "1")
		c.keeper.publish(2, "2")
		c.keeper.publish(1, "3")
		c.keeper.Ping()
		if id := c.keeper.Register("up/other"); id == 0 || id == c.keeper.topicID {
			s.t.Errorf("REGISTER gives topic id %d", id)
		}
		c.sleeper.wakeFor("before")
		c.plain.Ping()
	})
	late := s.node("late")
	if code := late.Connect(sn12.Connect{ClientID: []byte("late"), CleanSession: true, Duration: 60}); code != sn12.RejectedCongestion {
		s.t.Errorf("the CONNECT of an unknown device is answered by %v", code)
	}
	if code := c.keeper.Connect(sn12.Connect{ClientID: []byte("keeper"), Duration: 60}); code != sn12.Accepted {
		s.t.Errorf("the CONNECT of a known device is answered by %v", code)
	}
	c.plain.Send(sn12.Subscribe{QoS: 1, MsgID: 77, TopicName: []byte("down/new")})
}

// goOn is what holds when the broker is back: all is there in order, what was sent first
// first, and perhaps again.
func (c *cast) goOn(s *scene, again bool, first ...string) {
	s.t.Helper()
	s.wantUp("up/keeper", again, append(first, "1", "2", "3")...)
	if ack := testgateway.Want[sn12.SubAck](c.plain.Node); ack.MsgID != 77 || ack.ReturnCode != sn12.Accepted {
		s.t.Errorf("SUBSCRIBE is answered by %+v", ack)
	}
	s.wantBothWays(c.keeper, "4")
	s.wantBothWays(c.plain, "5")
	s.held(0) // of the others
	s.observer.Send("down/sleeper", []byte("after"), 1, false)
	s.held(1)
	c.sleeper.wakeFor("after")
}

func TestBrokerKilled_Case147_151_152(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	c := s.cast()
	s.broker.Kill()
	s.AwaitReady(503)
	c.live(s)
	s.brokerBack()
	c.goOn(s, false)
}

// The broker has nothing on its disk, so it has forgotten all sessions.
func TestBrokerRestarted_Case147_151_152(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mosquitto.Options{}, nil)
	c := s.cast()
	s.broker.Stop()
	s.AwaitReady(503)
	c.live(s)
	s.relay.Up.Lock() // until the observer has subscribed
	s.broker.Restart()
	s.watch()
	s.relay.Up.Unlock()
	s.AwaitReady(200)
	c.goOn(s, false)
}

func TestBrokerBlackHoled_Case151_152(t *testing.T) {
	t.Parallel()
	const ping = 2 * time.Second
	s := newScene(t, true, mosquitto.Options{Persistence: t.TempDir()}, testgateway.Settings{"broker.ping_interval": `"2s"`})
	c := s.cast()
	restore := s.relay.BlackHole(t)
	begin := time.Now()
	c.keeper.Send(sn12.Publish{QoS: 1, TopicID: c.keeper.topicID, MsgID: 50, Data: []byte("swallowed")})
	s.Await("sngate_upstream_connections", 0)
	if took := time.Since(begin); took > ping*3/2+time.Second {
		t.Errorf("the dead connections are noticed after %v, want 1.5 x %v", took, ping)
	}
	if ack := testgateway.Want[sn12.PubAck](c.keeper.Node); ack.MsgID != 50 || ack.ReturnCode != sn12.Accepted {
		t.Errorf("what was on its way is answered by %+v", ack)
	}
	c.live(s)
	restore()
	s.AwaitReady(200)
	c.goOn(s, true, "swallowed")
}

func TestBrokerSlow_Case175(t *testing.T) {
	t.Parallel()
	const slow = 5 * time.Second
	s := newScene(t, true, mosquitto.Options{}, testgateway.Settings{"broker.connect_timeout": `"20s"`, "broker.max_dials": "2"})
	known := s.device("known", true)
	s.relay.Slow(slow)
	begin := time.Now()
	waiting := s.node("waiting")
	waiting.Send(sn12.Connect{ProtocolID: sn12.ProtocolID, ClientID: []byte("waiting"), CleanSession: true, Duration: 60})
	n := 0
	for ; time.Since(begin) < slow-time.Second; n++ {
		atOnce(t, "QoS 1 and 2 of another device", func() {
			known.publish(1, "x")
			known.publish(2, "y")
		})
		s.wantUp("up/known", false, "x", "y")
		time.Sleep(50 * time.Millisecond) // within session.rate
	}
	if n < 10 {
		t.Errorf("%d rounds in %v", n, slow-time.Second)
	}
	if ack := testgateway.Want[sn12.ConnAck](waiting.Node); ack.ReturnCode != sn12.Accepted {
		t.Errorf("CONNECT is answered by %v", ack.ReturnCode)
	}
	if took := time.Since(begin); took < slow {
		t.Errorf("the broker has answered after %v: it was not slow", took)
	}
}

// refuse is a broker that answers every CONNECT with a return code and closes.
func refuse(t *testing.T, code byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := packets.ReadPacket(conn); err == nil {
				ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
				ack.ReturnCode = code
				_ = ack.Write(conn) // the gateway may have gone
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestBrokerRefuses_Case22(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code byte
		want sn12.ReturnCode
	}{
		{"server unavailable", 3, sn12.RejectedCongestion},
		{"not authorized", 5, sn12.RejectedNotSupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, true, mosquitto.Options{Persistence: t.TempDir()}, nil)
			d := s.device("steady", false)
			before := s.relay.Accepted()
			s.relay.Lead(refuse(t, c.code))
			s.relay.Cut()
			s.AwaitReady(503)
			begin := time.Now()
			d.publish(1, "1")
			d.publish(2, "2")
			for range 3 {
				late := s.node("late")
				if code := late.Connect(sn12.Connect{ClientID: []byte("late"), CleanSession: true, Duration: 60}); code != c.want {
					t.Errorf("CONNECT is answered by %v, want %v", code, c.want)
				}
			}
			d.Ping()
			time.Sleep(2 * time.Second) // for attempts to be counted
			tries, most := s.relay.Accepted()-before, 3+2*(4+int(time.Since(begin)/(250*time.Millisecond)))
			if tries < 4 || tries > most {
				t.Errorf("%d connects within %v, want 4 to %d", tries, time.Since(begin), most)
			}
			s.relay.Lead(s.broker.Addr())
			s.AwaitReady(200)
			s.wantUp("up/steady", false, "1", "2")
			s.wantBothWays(d, "3")
		})
	}
}

// The gateway starts before the broker, with a session in its store.
func TestNothingListensAtTheBrokersAddress_Case23_152(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	d := s.device("known", false)
	s.Stop()
	s.broker.Stop()
	s.Restart()
	if status, _ := s.Get("/readyz"); status != 503 {
		t.Errorf("/readyz answers %d", status)
	}
	atOnce(t, "what is known without the broker", func() {
		stranger := s.node("stranger")
		if code := stranger.Connect(sn12.Connect{ClientID: []byte("stranger"), Duration: 60}); code != sn12.RejectedCongestion {
			t.Errorf("the CONNECT of an unknown device is answered by %v", code)
		}
		d.publish(1, "1") // on the old topic id
		if code := d.Connect(sn12.Connect{ClientID: []byte("known"), Duration: 60}); code != sn12.Accepted {
			t.Errorf("the CONNECT of a known device is answered by %v", code)
		}
		d.publish(2, "2")
	})
	s.brokerBack()
	s.wantUp("up/known", false, "1", "2")
	s.wantBothWays(d, "3")
}
