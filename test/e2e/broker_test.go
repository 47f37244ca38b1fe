package e2e

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

func TestConnectWithoutBrokerIsRefusedInTime_Case23_152(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	broker.Stop()
	g := startGateway(t, broker.URL(), testgateway.Settings{"broker.connect_timeout": `"2s"`, "broker.reconnect_max": `"1s"`})
	testgateway.Eventually(t, "/readyz says that the broker is down, and why", func() bool {
		status, body := g.Get("/readyz")
		return status == 503 && strings.HasPrefix(body, "no connection to the broker "+broker.Addr()+": ") && strings.Contains(body, "connection refused")
	})
	n := testgateway.NewNode(t, g.Addr)
	begin := time.Now()
	for range 20 {
		if code := n.Connect(sn12.Connect{ClientID: []byte("early"), CleanSession: true, Duration: 60}); code != sn12.RejectedCongestion {
			t.Fatalf("CONNECT is answered by %v, want %v", code, sn12.RejectedCongestion)
		}
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("20 CONNECTs to a closed port take %v", took)
	}
	testgateway.Eventually(t, "no session is left behind", func() bool { return g.Metrics().Sum("sngate_sessions{") == 0 })

	broker.Restart()
	n.MustConnect("early", true, 60)
	g.AwaitReady(200)
}

func TestConnectToASilentBrokerIsRefusedAfterTheTimeout_Case24(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	g := startGateway(t, "tcp://"+silent.Addr().String(), testgateway.Settings{"broker.connect_timeout": `"1s"`})
	n := testgateway.NewNode(t, g.Addr)
	begin := time.Now()
	if code := n.Connect(sn12.Connect{ClientID: []byte("patient"), CleanSession: true, Duration: 60}); code != sn12.RejectedCongestion {
		t.Fatalf("CONNECT is answered by %v, want %v", code, sn12.RejectedCongestion)
	}
	if took := time.Since(begin); took < time.Second || took > 3*time.Second {
		t.Errorf("CONNACK came after %v, want broker.connect_timeout (1 s)", took)
	}
}

func TestWrongCredentialsAreRefused_Case22(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{Users: map[string]string{"gateway": "right"}})
	for _, c := range []struct {
		name     string
		settings testgateway.Settings
		want     sn12.ReturnCode
	}{
		{"right", testgateway.Settings{"broker.username": `"gateway"`, "broker.password": `"right"`}, sn12.Accepted},
		{"wrong password", testgateway.Settings{"broker.username": `"gateway"`, "broker.password": `"wrong"`}, sn12.RejectedNotSupported},
		{"unknown user", testgateway.Settings{"broker.username": `"nobody"`, "broker.password": `"right"`}, sn12.RejectedNotSupported},
		{"none", nil, sn12.RejectedNotSupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startGateway(t, broker.URL(), c.settings)
			n := testgateway.NewNode(t, g.Addr)
			if code := n.Connect(sn12.Connect{ClientID: []byte("d"), CleanSession: true, Duration: 60}); code != c.want {
				t.Errorf("CONNECT is answered by %v, want %v", code, c.want)
			}
		})
	}
}

// The broker stops in good order and comes back: connected devices notice nothing but a
// delay.
func TestDevicesStayConnectedOverACleanBrokerStop_Case151_152(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{Persistence: t.TempDir()})
	g := startGateway(t, broker.URL(), testgateway.Settings{"broker.reconnect_max": `"1s"`})
	g.AwaitReady(200)
	d := connect(t, g.Addr, snclient.Options{ClientID: "steady", CleanSession: true, KeepAlive: time.Minute})
	d.subscribe(snclient.Name("down/steady"), 2)
	sleeper := testgateway.NewNode(t, g.Addr)
	sleeper.MustConnect("dozer", false, 60)
	names := map[uint16]string{sleeper.Subscribe("down/dozer", 1).TopicID: "down/dozer"}
	sleeper.Sleep(120)

	for round := range 2 {
		text := string('a' + rune(round))
		other := testgateway.ConnectMQTT(t, broker.Addr())
		other.Send("down/dozer", []byte("held "+text), 1, false)
		g.Await("sngate_sleep_buffer_messages", 1)
		broker.Stop()
		g.AwaitReady(503)
		d.must(d.Ping(d.ctx)) // the gateway speaks for itself meanwhile
		published := make(chan error, 1)
		go func() { published <- d.Publish(d.ctx, snclient.Name("up/steady"), []byte(text), 1, true) }()
		g.Await(`sngate_messages_total{direction="in",type="PUBLISH"}`, float64(round+1))
		broker.Restart()
		if err := <-published; err != nil { // held while the broker was away
			t.Fatal(err)
		}
		g.AwaitReady(200)
		other = testgateway.ConnectMQTT(t, broker.Addr(), "up/#")
		for m := other.Receive(); string(m.Payload()) != text; m = other.Receive() {
			if !m.Retained() || round == 0 { // what the round before has left
				t.Fatalf("received %q on %s", m.Payload(), m.Topic())
			}
		}
		// The subscription of a clean session died with the connection and has to be made
		// anew: until then the broker has nobody to send to.
		testgateway.Eventually(t, "the subscription works again", func() bool {
			other.Send("down/steady", []byte("probe"), 2, false)
			return len(d.Messages()) > 0
		})
		other.Send("down/steady", []byte(text), 2, false)
		m := d.receive()
		for string(m.Payload) == "probe" {
			m = d.receive()
		}
		if string(m.Payload) != text || m.Topic.Name != "down/steady" {
			t.Fatalf("received %+v", m)
		}
		list := sleeper.Wake("dozer", names)
		// QoS 1: it comes twice if the broker has stopped before it had the PUBACK.
		list = slices.CompactFunc(list, func(a, b sn12.Publish) bool { return string(a.Data) == string(b.Data) })
		if len(list) != 1 || string(list[0].Data) != "held "+text {
			t.Fatalf("the sleeper gets %+v, want what was held before the broker stopped", list)
		}
	}
	select {
	case err := <-d.Lost():
		t.Errorf("the device was disconnected: %v", err)
	default:
	}
}
