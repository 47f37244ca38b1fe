package outage

import (
	"testing"

	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

// rest leaves the devices in the middle of things: one between PUBREC and PUBREL, one asleep
// with messages held, one with CleanSession=1.
func (s *scene) rest() (c *cast, half uint16) {
	s.t.Helper()
	c = s.cast()
	s.observer.Send("down/sleeper", []byte("second"), 2, false)
	s.held(2)
	if m := c.keeper.send(2, "half"); m != sn12.Message(sn12.PubRec{MsgID: c.keeper.msgID}) {
		s.t.Fatalf("PUBLISH is answered by %v %+v", m.Type(), m)
	}
	s.wantUp("up/keeper", false, "half")
	return c, c.keeper.msgID
}

// carryOn is what devices do that know nothing of a restart.
func (s *scene) carryOn(c *cast, half uint16) {
	s.t.Helper()
	for _, d := range []*device{c.keeper, c.plain, c.sleeper} {
		d.WantSilence("it is not told")
	}
	c.keeper.release(half)
	c.keeper.publish(2, "1")
	s.wantUp("up/keeper", false, "1")
	s.AwaitReady(200)
	s.Await(`sngate_upstream_connections`, 4) // the gateway's own, and each device's
	s.wantBothWays(c.keeper, "2")
	s.wantBothWays(c.plain, "3")
	c.sleeper.wakeFor("before", "second")
	c.sleeper.publish(1, "4")
	s.wantUp("up/sleeper", false, "4")
}

func TestGatewayKilled_Case148(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	c, half := s.rest()
	s.Crash()
	s.Restart()
	s.carryOn(c, half)
}

func TestGatewayStoppedAndStarted_Case20_148(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	c, half := s.rest()
	s.Stop()
	s.Restart()
	s.carryOn(c, half)
}

// With on_stop = "disconnect" devices are told; sessions with CleanSession=0 are kept.
func TestGatewayStoppedWithDisconnect_Case20(t *testing.T) {
	t.Parallel()
	s := standard(t, testgateway.Settings{"gateway.on_stop": `"disconnect"`})
	c := s.cast()
	s.Stop()
	testgateway.Want[sn12.Disconnect](c.keeper.Node)
	testgateway.Want[sn12.Disconnect](c.plain.Node)
	s.Restart()
	c.keeper.MustConnect("keeper", false, 60)
	s.wantBothWays(c.keeper, "1")
	c.plain.Send(sn12.Publish{QoS: 1, TopicID: c.plain.topicID, MsgID: 5, Data: []byte("lost")})
	testgateway.Want[sn12.Disconnect](c.plain.Node)
}

// Both are killed, and the gateway is back first: what is in the spool and what is held
// outlives it.
func TestGatewayAndBrokerKilled_Case148_152(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	c, half := s.rest()
	s.broker.Kill()
	s.AwaitReady(503)
	c.keeper.publish(1, "1")
	c.keeper.publish(2, "2")
	s.Crash()
	s.Restart()
	s.Await("sngate_spool_messages", 2) // they are counted as they are read from the store
	c.keeper.release(half)
	c.keeper.publish(1, "3")
	c.sleeper.wakeFor("before", "second")
	s.brokerBack()
	s.wantUp("up/keeper", false, "1", "2", "3")
	s.wantBothWays(c.keeper, "4")
}
