package e2e

import (
	"testing"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
)

// A device cannot make the gateway send what makes the broker close the connection:
// mosquitto refuses control characters in topics (MQTT 3.1.1 section 1.5.3 lets it).
func TestTopicsThatTheBrokerWouldCloseTheConnectionFor_Case58_79(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), settings{"session.hold": `"2s"`})
	g.awaitReady(200)

	// A stranger does not take the gateway's own connection down.
	stranger := newNode(t, g.addr)
	stranger.send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("\x01\x02")})
	stranger.send(sn12.PingReq{})
	want[sn12.Disconnect](stranger)
	subscriber := mqttConnect(t, broker.Addr(), "ok")
	stranger.send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ok"), Data: []byte("x")})
	subscriber.wantMessage("ok", "x")

	// A device does not take its own session down.
	n := newNode(t, g.addr)
	n.mustConnect("poison", true, 60)
	n.send(sn12.Register{MsgID: 1, TopicName: []byte("a\x01b")})
	if ack := want[sn12.RegAck](n); ack.ReturnCode != sn12.RejectedNotSupported {
		t.Errorf("REGISTER of a control character is answered by %v", ack.ReturnCode)
	}
	n.send(sn12.Publish{QoS: 1, MsgID: 3, TopicID: n.register("good"), Data: []byte("x")})
	if ack := want[sn12.PubAck](n); ack.ReturnCode != sn12.Accepted {
		t.Errorf("PUBLISH to a good topic is answered by %v after that", ack.ReturnCode)
	}
}
