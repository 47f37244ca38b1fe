package outage

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

// away is a scene with one device and no broker.
func away(t *testing.T, change testgateway.Settings) (*scene, *device) {
	t.Helper()
	s := standard(t, change)
	d := s.device("d", false)
	s.broker.Stop()
	s.AwaitReady(503)
	return s, d
}

func TestFullSpoolRefuses_Case152(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]testgateway.Settings{
		"messages": {"spool.max_messages": "3"},
		"octets":   {"spool.max_bytes": "850"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := away(t, change)
			text := fmt.Sprintf("%0200d", 7)
			for range 3 {
				d.publish(1, text)
			}
			d.wantRefused(1, text)
			d.wantRefused(2, text)
			s.Await(testgateway.DropsFor("spool_full"), 2)
			s.brokerBack()
			s.wantUp("up/d", false, text, text, text)
			s.wantBothWays(d, "next")
		})
	}
}

func TestFullSpoolDropsTheOldest_Case152(t *testing.T) {
	t.Parallel()
	s, d := away(t, testgateway.Settings{"spool.max_messages": "3", "spool.full": `"drop_oldest"`})
	for i := range 5 {
		d.publish(uint8(1+i%2), fmt.Sprint(i))
	}
	s.Await(testgateway.DropsFor("spool_full"), 2)
	s.brokerBack()
	s.wantUp("up/d", false, "2", "3", "4")
	s.wantBothWays(d, "next")
}

// What one device has put in leaves no room for the others.
func TestFullSpoolOfAllRefuses_Case152(t *testing.T) {
	t.Parallel()
	s := standard(t, testgateway.Settings{"spool.max_bytes": "4096", "spool.total_bytes": "4096"})
	first, second := s.device("first", false), s.device("second", false)
	s.broker.Stop()
	s.AwaitReady(503)
	text := fmt.Sprintf("%01000d", 7)
	for range 3 {
		first.publish(1, text)
	}
	second.publish(1, text) // the one that fills it
	second.wantRefused(1, "x")
	first.wantRefused(2, "x")
	s.brokerBack()
	s.Await("sngate_spool_messages", 0)
	got := make(map[string]int)
	for range 4 {
		got[s.observer.Receive().Topic()]++
	}
	if got["up/first"] != 3 || got["up/second"] != 1 {
		t.Errorf("arrived: %v", got)
	}
	s.wantBothWays(first, "next")
	s.wantBothWays(second, "next")
}

func TestOldMessagesOfTheSpoolAreDropped_Case152(t *testing.T) {
	t.Parallel()
	s, d := away(t, testgateway.Settings{"spool.max_age": `"1s"`})
	d.publish(1, "old")
	s.Await(testgateway.DropsFor("spool_expired"), 1)
	s.broker.Restart()
	s.watch()
	d.publish(1, "new")
	s.wantUp("up/d", false, "new")
}

func TestQoS0IsSpooledWhereAsked_Case152(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			t.Parallel()
			s, d := away(t, testgateway.Settings{"spool.qos0": fmt.Sprint(on)})
			d.Send(sn12.Publish{TopicID: d.topicID, Data: []byte("0")})
			d.publish(1, "1")
			s.brokerBack()
			if on {
				s.wantUp("up/d", false, "0", "1")
				return
			}
			s.wantUp("up/d", false, "1")
			s.Await(testgateway.DropsFor("broker_down"), 1)
		})
	}
}

func TestSpoolOutlivesTheGoodbyeOfItsDevice_Case152(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	kept, clean := s.device("kept", false), s.device("clean", true)
	s.broker.Stop()
	s.AwaitReady(503)
	for _, d := range []*device{kept, clean} {
		d.publish(1, "1")
		d.publish(2, "2")
		d.Send(sn12.Disconnect{})
		testgateway.Want[sn12.Disconnect](d.Node)
	}
	kept.MustConnect("kept", false, 60) // accepted: the session is known
	kept.publish(1, "3")
	s.brokerBack()
	got := make(map[string]string)
	for range 5 {
		m := s.observer.Receive()
		got[m.Topic()] += string(m.Payload())
	}
	if got["up/kept"] != "123" || got["up/clean"] != "12" {
		t.Errorf("the broker got %v", got)
	}
}

// Without a place to keep messages the device has to keep them, and is told so when the
// broker has not been back for session.hold.
func TestWithoutASpoolTheDeviceIsToldAfterAWhile_Case152(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]testgateway.Settings{
		"no store": {"store.path": `""`},
		"no spool": {"spool.enabled": "false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change["session.hold"] = `"2s"`
			s, d := away(t, change)
			for qos := uint8(1); qos <= 2; qos++ {
				begin := time.Now()
				d.wantRefused(qos, "late")
				if took := time.Since(begin); took < 1900*time.Millisecond || took > 4*time.Second {
					t.Errorf("refused after %v", took)
				}
			}
			if code := d.Connect(sn12.Connect{ClientID: []byte("d"), Duration: 60}); code != sn12.Accepted {
				t.Errorf("the CONNECT of a connected device is answered by %v", code)
			}
			d.Send(sn12.Publish{QoS: 1, TopicID: d.topicID, MsgID: 9, Data: []byte("in time")})
			s.brokerBack()
			if ack := testgateway.Want[sn12.PubAck](d.Node); ack.ReturnCode != sn12.Accepted || ack.MsgID != 9 {
				t.Errorf("PUBLISH within session.hold is answered by %+v", ack)
			}
			s.wantUp("up/d", false, "in time")
		})
	}
}
