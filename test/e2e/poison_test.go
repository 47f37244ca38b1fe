package e2e

import (
	"testing"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// A device cannot make the gateway send what makes the broker close the connection:
// mosquitto refuses control characters in topics (MQTT 3.1.1 section 1.5.3 lets it).
func TestTopicsThatTheBrokerWouldCloseTheConnectionFor_Case58_79(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"session.hold": `"2s"`})
	g.AwaitReady(200)

	// A stranger does not take the gateway's own connection down.
	stranger := testgateway.NewNode(t, g.Addr)
	stranger.Send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("\x01\x02")})
	stranger.Send(sn12.PingReq{})
	testgateway.Want[sn12.Disconnect](stranger)
	subscriber := testgateway.ConnectMQTT(t, broker.Addr(), "ok")
	stranger.Send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ok"), Data: []byte("x")})
	subscriber.WantMessage("ok", "x")

	// A device does not take its own session down.
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("poison", true, 60)
	n.Send(sn12.Register{MsgID: 1, TopicName: []byte("a\x01b")})
	if ack := testgateway.Want[sn12.RegAck](n); ack.ReturnCode != sn12.RejectedNotSupported {
		t.Errorf("REGISTER of a control character is answered by %v", ack.ReturnCode)
	}
	n.Send(sn12.Publish{QoS: 1, MsgID: 3, TopicID: n.Register("good"), Data: []byte("x")})
	if ack := testgateway.Want[sn12.PubAck](n); ack.ReturnCode != sn12.Accepted {
		t.Errorf("PUBLISH to a good topic is answered by %v after that", ack.ReturnCode)
	}
}
