package gateway

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"sngate/snpacket/sn12"
)

// BenchmarkWrittenPerEvent measures the table in test/MEASURED.md: what a gateway hands
// to the store's file for an event of one device, which nothing else shares a transaction
// with. The devices take turns. Each has a session, 5 topic ids and a subscription.
func BenchmarkWrittenPerEvent(b *testing.B) {
	events := []struct {
		name  string
		event func(n *bench, device, i int)
	}{
		{"relayed QoS 1", (*bench).relayOne},
		{"PINGREQ", (*bench).pingOne},
		{"CONNECT and DISCONNECT, CleanSession=1", (*bench).visitClean},
		{"CONNECT and DISCONNECT, CleanSession=0", (*bench).visitKept},
		{"REGISTER", (*bench).registerOne},
		{"SUBSCRIBE", (*bench).subscribeOne},
		{"UNSUBSCRIBE", (*bench).unsubscribeOne},
		{"QoS 2 from the device", (*bench).sendQoS2},
		{"QoS 2 to the device", (*bench).receiveQoS2},
		{"sleep and CONNECT", (*bench).sleepOnce},
		{"sleep cycle", (*bench).wakeToNothing}, // the devices sleep from here on
		{"QoS 1 held", (*bench).wakeToQoS1},
		{"QoS 2 held", (*bench).wakeToQoS2},
	}
	for _, devices := range []int{50, 1000, 10000} {
		b.Run(fmt.Sprint(devices), func(b *testing.B) {
			s := openFile(b)
			n := newBench(b, 3*devices, s) // two thirds of them visit
			n.populate(devices)
			for _, e := range events {
				if e.name == "sleep cycle" {
					n.together(devices, n.fallAsleep)
				}
				i := 0
				b.Run(e.name, func(b *testing.B) {
					first, before := i, s.Stats()
					for b.Loop() {
						// Steps of a prime number come by all devices, far from each other.
						e.event(n, i*7919%devices, i)
						n.quiet()
						i++
					}
					after, done := s.Stats(), float64(i-first)
					b.ReportMetric(float64(after.Commits-before.Commits)/done, "commits/event")
					b.ReportMetric(float64(after.Written-before.Written)/done, "written-B/event")
				})
			}
			n.close()
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// together has devices do something, 64 at a time.
func (n *bench) together(devices int, do func(device int)) {
	var wg sync.WaitGroup
	for first := range 64 {
		wg.Go(func() {
			for device := first; device < devices; device += 64 {
				do(device)
			}
		})
	}
	wg.Wait()
	n.quiet()
}

func (n *bench) populate(devices int) {
	n.together(devices, func(device int) {
		n.connect(device, fmt.Sprint("dev-", device))
		for i := range 5 {
			n.registerOne(device, -1-i)
		}
		ask[sn12.SubAck](n, device, sn12.Subscribe{QoS: 2, MsgID: 1, TopicName: fmt.Append(nil, "t/", device)})
		n.visitKept(device, 0)
	})
}

// quiet waits until the shards and the store have nothing to do and the spool is empty.
func (n *bench) quiet() {
	for rounds := 0; rounds < 3; rounds++ { // a shard and the store may answer each other
		for _, s := range n.gateway.shards {
			done := make(chan struct{})
			s.queues.post(func() { close(done) })
			<-done
		}
		if n.gateway.opts.Store.Stats().Queued > 0 || n.gateway.limits.spooled.Load() > 0 {
			rounds = 0
			runtime.Gosched()
		}
	}
}

func (n *bench) relayOne(device, i int) { ask[sn12.PubAck](n, device, publishShort(uint16(i+1))) }

func (n *bench) pingOne(device, _ int) { ask[sn12.PingResp](n, device, sn12.PingReq{}) }

func (n *bench) visitClean(device, i int) {
	v := 2*len(n.answers)/3 + device // no kept session has this address
	ask[sn12.ConnAck](n, v, sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: fmt.Append(nil, "clean-", device, "-", i)})
	n.quiet() // a visit takes longer than a commit
	ask[sn12.Disconnect](n, v, sn12.Disconnect{})
}

func (n *bench) visitKept(device, _ int) {
	v := len(n.answers)/3 + device
	ask[sn12.ConnAck](n, v, sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: fmt.Append(nil, "kept-", device)})
	n.quiet()
	ask[sn12.Disconnect](n, v, sn12.Disconnect{})
}

func (n *bench) registerOne(device, i int) {
	ask[sn12.RegAck](n, device, sn12.Register{MsgID: 7, TopicName: fmt.Append(nil, "site/", device, "/", i)})
}

func (n *bench) subscribeOne(device, i int) {
	ask[sn12.SubAck](n, device, sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: fmt.Append(nil, "new/", device, "/", i)})
}

func (n *bench) unsubscribeOne(device, i int) {
	ask[sn12.UnsubAck](n, device, sn12.Unsubscribe{MsgID: 7, TopicName: fmt.Append(nil, "new/", device, "/", i)})
}

func (n *bench) sendQoS2(device, i int) {
	m := publishShort(uint16(i + 1))
	m.QoS = 2
	ask[sn12.PubRec](n, device, m)
	ask[sn12.PubComp](n, device, sn12.PubRel{MsgID: m.MsgID})
}

func (n *bench) receiveQoS2(device, i int) {
	n.fromBroker(device, 2, i)
	n.takeQoS2(device, n.next(device).(sn12.Publish))
	n.broker.client(fmt.Sprint("dev-", device)).wantAcked(1)
}

// fromBroker has the broker publish a message for a device.
func (n *bench) fromBroker(device int, qos byte, i int) {
	c := n.broker.client(fmt.Sprint("dev-", device))
	if err := c.publishQoS(fmt.Sprint("t/", device), []byte("on"), uint16(i%60000+1), qos); err != nil {
		n.tb.Error(err)
	}
}

// takeQoS2 is the device's part of an exchange.
func (n *bench) takeQoS2(device int, m sn12.Publish) {
	ask[sn12.PubRel](n, device, sn12.PubRec{MsgID: m.MsgID})
	n.send(device, sn12.PubComp{MsgID: m.MsgID})
}

func (n *bench) fallAsleep(device int) {
	ask[sn12.Disconnect](n, device, sn12.Disconnect{HasDuration: true, Duration: 3600})
}

func (n *bench) sleepOnce(device, _ int) {
	n.fallAsleep(device)
	n.connect(device, fmt.Sprint("dev-", device))
}

func (n *bench) wakeToNothing(device, _ int) {
	ask[sn12.PingResp](n, device, sn12.PingReq{ClientID: fmt.Append(nil, "dev-", device)})
}

func (n *bench) wakeToQoS1(device, i int) {
	n.fromBroker(device, 1, i)
	n.broker.client(fmt.Sprint("dev-", device)).wantAcked(1)
	n.wake(device, 1)
}

func (n *bench) wakeToQoS2(device, i int) {
	n.fromBroker(device, 2, i)
	n.broker.client(fmt.Sprint("dev-", device)).wantAcked(1)
	n.send(device, sn12.PingReq{ClientID: fmt.Append(nil, "dev-", device)})
	n.takeQoS2(device, n.next(device).(sn12.Publish))
	if _, ok := n.next(device).(sn12.PingResp); !ok {
		n.tb.Error("no PINGRESP at the end of a wake")
	}
}
