package e2e

import (
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/test/mosquitto"
)

// The retained status over the whole life of a gateway: started, killed, started again,
// stopped.
func TestStatusOfTheGatewayAtTheBroker_Case20(t *testing.T) {
	t.Parallel()
	const topic = "sngate/e2e/status"
	broker := mosquitto.Start(t, mosquitto.Options{})
	s := settings{"gateway.status_topic": `"` + topic + `"`, "gateway.client_id": `"own"`}
	watcher := mqttConnect(t, broker.Addr(), topic)
	retained := func(want string) {
		t.Helper()
		late := mqttConnectWith(t, broker.Addr(), func(*mqtt.ClientOptions) {}, topic)
		if m := late.wantMessage(topic, want); !m.Retained() || m.Qos() != 1 {
			t.Errorf("%q is retained: %v, QoS %d; want true and 1", want, m.Retained(), m.Qos())
		}
	}

	first := startGateway(t, broker.URL(), s)
	watcher.wantMessage(topic, "online")
	retained("online")
	first.crash()
	watcher.wantMessage(topic, "offline")
	retained("offline")

	second := startGateway(t, broker.URL(), s)
	watcher.wantMessage(topic, "online")
	second.stop()
	watcher.wantMessage(topic, "offline")
	retained("offline")
	eventually(t, "the connection ended in good order", func() bool {
		return strings.Contains(broker.Log(), "Received DISCONNECT from own")
	})
	watcher.wantNothingBefore(topic)
}
