package brokers

import (
	"slices"
	"strings"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

// scenarios are in this order, because the last ones restart the broker.
func scenarios() []scenario {
	return []scenario{
		{"up", upward},
		{"down", downward},
		{"many", many},
		{"wildcard", wildcard},
		{"strange topics", strangeTopics},
		{"retained up", retainedUp},
		{"retained down", retainedDown},
		{"will", will},
		{"sleep", sleep},
		{"queued", queued},
		{"denied publish", deniedPublish},
		{"denied filter", deniedFilter},
		{"taken over by a client", takenOverByClient},
		{"taken over by a gateway", takenOverByGateway},
		{"status", status},
		{"stop", func(s *stage) { outage(s, s.broker.Stop) }},
		{"kill", func(s *stage) { outage(s, s.broker.Kill) }},
	}
}

// upward publishes from a device with each QoS.
func upward(s *stage) {
	g := s.gateway(nil)
	c := s.client(s.topic("#"))
	d := s.device(g, snclient.Options{CleanSession: true})
	for qos := range uint8(3) {
		list := numbered(20)
		for _, p := range list {
			s.publish(d, s.topic("t"), p, qos)
		}
		s.want("QoS "+string('0'+rune(qos)), atClient(c), list, qos != 1)
	}
	s.fence(s.client(), s.topic("fence"))
	if more := s.collect(c); len(more) > 0 {
		s.Errorf("more copies arrived: %q", more)
	}
}

// downward publishes to a device with each QoS.
func downward(s *stage) {
	g := s.gateway(nil)
	c := s.client()
	d := s.device(g, snclient.Options{CleanSession: true})
	s.subscribe(d, s.topic("t"), 2)
	for qos := range uint8(3) {
		list := numbered(20)
		for _, p := range list {
			c.Send(s.topic("t"), []byte(p), qos, false)
		}
		s.want("QoS "+string('0'+rune(qos)), atDevice(d), list, qos != 1)
	}
}

// many publishes more than any broker's window, both ways.
func many(s *stage) {
	g := s.gateway(nil)
	c := s.client(s.topic("up"))
	d := s.device(g, snclient.Options{CleanSession: true, Window: 8})
	s.subscribe(d, s.topic("down"), 2)
	list := numbered(300)
	for _, p := range list {
		c.Send(s.topic("down"), []byte(p), 1, false)
	}
	s.want("to the device", atDevice(d), list, false)
	for _, p := range list {
		s.publish(d, s.topic("up"), p, 2)
	}
	s.want("to the broker", atClient(c), list, true)
}

func wildcard(s *stage) {
	g := s.gateway(nil)
	c := s.client()
	d := s.device(g, snclient.Options{CleanSession: true})
	s.subscribe(d, s.topic("+/state"), 1)
	s.subscribe(d, s.topic("tree/#"), 1)
	for _, topic := range []string{"a/state", "b/state", "tree/x", "tree/x/y", "a/state"} {
		c.Send(s.topic(topic), []byte(topic), 1, false)
		select {
		case m := <-d.Messages():
			if m.Topic.Name != s.topic(topic) || string(m.Payload) != topic {
				s.Fatalf("received %q on %s, want %s", m.Payload, m.Topic.Name, topic)
			}
		case <-time.After(testgateway.Patience):
			s.Fatalf("no message on %s", topic)
		}
	}
}

// strangeTopics has others publish on topics that brokers change on their way. The messages
// that a device can have come; one that is spoilt costs nothing but itself, now and after
// the next connect.
func strangeTopics(s *stage) {
	g := s.gateway(nil)
	d := s.device(g, snclient.Options{})
	s.subscribe(d, s.topic("#"), 1)
	for _, name := range []string{"a*b", "a.b", "a b", "a//b", "a>b", "ü"} {
		connectWire(s, s.broker, fresh("foreign"), true).answer(publishPacket(s.topic(name), "strange", 1, false, 3))
	}
	connectWire(s, s.broker, fresh("foreign"), true).answer(publishPacket(s.topic("good"), "good", 1, false, 3))
	s.wantGood(d)
	before := g.Value(connectsAccepted)
	s.must(d.Disconnect(s.Context()))
	s.must(d.Connect(s.Context()))
	connectWire(s, s.broker, fresh("foreign"), true).answer(publishPacket(s.topic("good"), "good", 1, false, 3))
	s.wantGood(d)
	if n := g.Value(connectsAccepted) - before; n != 1 {
		s.Errorf("%v connections were made for one CONNECT", n)
	}
}

// wantGood waits for the message that is good, whatever comes before.
func (s *stage) wantGood(d *snclient.Client) {
	s.Helper()
	next := atDevice(d)
	for {
		if p, ok := next(testgateway.Patience); !ok {
			s.Fatal("the good message does not arrive")
		} else if p == "good" {
			return
		}
	}
}

func retainedUp(s *stage) {
	g := s.gateway(nil)
	d := s.device(g, snclient.Options{CleanSession: true})
	s.must(d.Publish(s.Context(), snclient.Name(s.topic("t")), []byte("kept"), 1, true))
	time.Sleep(quiet) // some brokers keep it after they have answered
	if m := s.client(s.topic("t")).WantMessage(s.topic("t"), "kept"); !m.Retained() {
		s.Error("the message arrives without its retain flag")
	}
}

// retainedDown subscribes by name: SUBACK with an id, then PUBLISH with that id.
func retainedDown(s *stage) {
	g := s.gateway(nil)
	s.client().Send(s.topic("t"), []byte("kept"), 1, true)
	time.Sleep(quiet)
	for range 10 {
		n := testgateway.NewNode(s, g.Addr)
		n.MustConnect(s.id, true, 60)
		ack := n.Subscribe(s.topic("t"), 1)
		m := testgateway.Want[sn12.Publish](n)
		if m.TopicID != ack.TopicID || string(m.Data) != "kept" || !m.Retain {
			s.Fatalf("SUBACK %+v is followed by %+v", ack, m)
		}
		n.Acknowledge(m)
	}
}

func will(s *stage) {
	for _, keeper := range []string{"broker", "gateway"} {
		g := s.gateway(testgateway.Settings{"session.will_keeper": `"` + keeper + `"`})
		c := s.client(s.topic(keeper))
		lost := func(id string) *testgateway.Node {
			n := testgateway.NewNode(s, g.Addr)
			n.Send(sn12.Connect{Will: true, CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: 2, ClientID: []byte(id)})
			testgateway.Want[sn12.WillTopicReq](n)
			n.Send(sn12.WillTopic{QoS: 1, Topic: []byte(s.topic(keeper))})
			testgateway.Want[sn12.WillMsgReq](n)
			n.Send(sn12.WillMsg{Message: []byte(id)})
			if ack := testgateway.Want[sn12.ConnAck](n); ack.ReturnCode != sn12.Accepted {
				s.Fatalf("CONNECT with will is answered by %v", ack.ReturnCode)
			}
			return n
		}
		polite := lost("polite-" + keeper)
		polite.Send(sn12.Disconnect{})
		testgateway.Want[sn12.Disconnect](polite)
		lost("lost-" + keeper)
		c.WantMessage(s.topic(keeper), "lost-"+keeper)
		s.fence(s.client(), s.topic(keeper))
		if more := s.collect(c); len(more) > 0 {
			s.Errorf("will_keeper %s: more wills: %q", keeper, more)
		}
	}
}

// sleep sends a sleeping device messages of QoS 1 and 2, more than brokers' windows.
func sleep(s *stage) {
	g := s.gateway(nil)
	c := s.client()
	n := testgateway.NewNode(s, g.Addr)
	n.MustConnect(s.id, false, 60)
	n.Send(sn12.Subscribe{QoS: 2, MsgID: 2, TopicName: []byte(s.topic("t"))})
	names := map[uint16]string{testgateway.Want[sn12.SubAck](n).TopicID: s.topic("t")}
	for round := range 2 {
		n.Sleep(120)
		list := numbered(50)
		for i, p := range list {
			c.Send(s.topic("t"), []byte(p), uint8(1+i%2), false)
		}
		var got []string
		testgateway.Eventually(s, "all messages come", func() bool {
			for _, m := range n.Wake(s.id, names) {
				got = append(got, string(m.Data))
			}
			return len(got) >= len(list)
		})
		if !slices.Equal(got, list) {
			s.Fatalf("round %d: woken up, the device got %q", round, got)
		}
		n.MustConnect(s.id, false, 60)
	}
}

// queued has the broker keep messages for a device that has gone. They come in order, if
// the broker keeps it.
func queued(s *stage) {
	g := s.gateway(nil)
	c := s.client()
	d := s.device(g, snclient.Options{})
	s.subscribe(d, s.topic("t"), 2)
	for round := range 2 {
		s.must(d.Disconnect(s.Context()))
		list := numbered(30)
		for _, p := range list {
			c.Send(s.topic("t"), []byte(p), uint8(1+round), false)
		}
		s.must(d.Connect(s.Context()))
		if s.shuffles {
			s.wantAll("queued", atDevice(d), list)
		} else {
			s.want("queued", atDevice(d), list, round == 1 && s.maxQoS() == 2)
		}
		c.Send(s.topic("t"), []byte("live"), 1, false)
		s.want("live", atDevice(d), []string{"live"}, false)
	}
}

// deniedPublish publishes what some brokers close the connection for, among other traffic.
func deniedPublish(s *stage) {
	g := s.gateway(nil)
	c := s.client(s.topic("good"))
	for _, topic := range []string{"a b", "l/" + strings.Repeat("l/", 120) + "l"} { // at most 255 octets
		d := s.device(g, snclient.Options{CleanSession: true, ClientID: fresh("denied")})
		s.publish(d, s.topic("good"), "before", 1)
		begun := make(chan struct{})
		go func() {
			close(begun)
			_ = d.Publish(s.Context(), snclient.Name(s.topic(topic)), []byte("x"), 1, false) // may be refused
		}()
		<-begun
		list := append([]string{"before"}, numbered(5)...)
		for _, p := range list[1:] {
			s.publish(d, s.topic("good"), p, 1)
		}
		s.want("beside a PUBLISH to "+topic, atClient(c), list, false)
		d.Close()
	}
}

// deniedFilter subscribes to what some brokers refuse or close the connection for.
func deniedFilter(s *stage) {
	g := s.gateway(nil)
	c := s.client()
	for _, filter := range []string{levels(203), "a b", "$share/g/t", "$SYS/secret"} {
		n := testgateway.NewNode(s, g.Addr)
		n.MustConnect(fresh("filters"), false, 60) // so that nothing is lost while a connection is made anew
		names := n.Subscribe(s.topic("t"), 1).TopicID
		begin := time.Now()
		n.Send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte(filter)})
		ack := testgateway.Want[sn12.SubAck](n)
		if ack.ReturnCode != sn12.Accepted && ack.ReturnCode != sn12.RejectedNotSupported {
			s.Errorf("SUBSCRIBE to %.20q is answered by %v after %v", filter, ack.ReturnCode, time.Since(begin))
		}
		c.Send(s.topic("t"), []byte("x"), 1, false)
		if m := testgateway.Want[sn12.Publish](n); m.TopicID != names {
			s.Errorf("received %+v", m)
		}
	}
}

// patientReconnects is the default of a setting that the other scenarios shorten: a session that was
// taken over is tried again after half of it.
func patientReconnects() testgateway.Settings {
	return testgateway.Settings{"broker.reconnect_max": `"60s"`}
}

// takenOverByClient has an MQTT client connect with a device's id. It keeps the session
// until the device speaks.
func takenOverByClient(s *stage) {
	g := s.gateway(patientReconnects())
	d := s.device(g, snclient.Options{ClientID: s.id})
	s.subscribe(d, s.topic("t"), 1)
	before := g.Value(connectsAccepted)
	w := connectWire(s, s.broker, s.id, false)
	if got := w.next(4 * time.Second); got != nothing {
		s.Errorf("the client that took over gets %s", got)
	}
	if n := g.Value(connectsAccepted) - before; n != 0 {
		s.Errorf("the gateway has connected %v times though the device was silent", n)
	}
	w.close()
	s.must(d.Ping(s.Context()))
	s.client().Send(s.topic("t"), []byte("back"), 1, false)
	s.want("after the device has spoken", atDevice(d), []string{"back"}, false)
}

// takenOverByGateway has a device connect through another gateway. The first does not fight
// for it.
func takenOverByGateway(s *stage) {
	one := s.gateway(patientReconnects())
	settings := patientReconnects()
	settings["gateway.client_id"] = `"sngate-two"`
	two := s.gateway(settings)
	c := s.client()
	before := s.device(one, snclient.Options{})
	s.subscribe(before, s.topic("t"), 1)
	s.must(before.Close()) // it has moved, without a word
	d := s.device(two, snclient.Options{})
	s.subscribe(d, s.topic("t"), 1)
	connects := func() float64 { return one.Value(connectsAccepted) + two.Value(connectsAccepted) }
	begin := connects()
	list := numbered(10)
	for _, p := range list {
		c.Send(s.topic("t"), []byte(p), 1, false)
		time.Sleep(300 * time.Millisecond)
	}
	s.want("at the second gateway", atDevice(d), list, true)
	if n := connects() - begin; n != 0 {
		s.Errorf("%v more connections were made after the device had moved", n)
	}
}

// status reads the gateway's own status at the broker.
func status(s *stage) {
	topic := s.topic("gateway")
	g := s.gateway(testgateway.Settings{"gateway.status_topic": `"` + topic + `"`})
	testgateway.Eventually(s, "online is retained", func() bool {
		m := s.client(topic).ReceiveWithin(quiet)
		return m != nil && string(m.Payload()) == "online"
	})
	g.Stop()
	testgateway.Eventually(s, "offline is retained", func() bool {
		m := s.client(topic).ReceiveWithin(quiet)
		return m != nil && string(m.Payload()) == "offline"
	})
}

// outage ends the broker while devices are there, and brings it back.
func outage(s *stage, end func()) {
	r := testgateway.StartRelay(s, s.broker.Addr())
	g := s.gatewayAt(r.URL(), nil)
	d := s.device(g, snclient.Options{})
	s.subscribe(d, s.topic("down"), 1)
	time.Sleep(3 * time.Second) // for brokers that save after they have answered
	end()
	r.Up.Lock()
	r.Cut()
	list := numbered(10)
	for i, p := range list {
		s.publish(d, s.topic("up"), p, uint8(1+i%2)) // acknowledged from the store
	}
	s.broker.Restart()
	c := s.client(s.topic("up"))
	r.Up.Unlock()
	s.want("published during the outage", atClient(c), list, false)
	testgateway.Eventually(s, "the subscription works again", func() bool {
		c.Send(s.topic("down"), []byte("probe"), 1, false)
		_, ok := atDevice(d)(quiet)
		return ok
	})
}
