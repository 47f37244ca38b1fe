package e2e

import (
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// The retained status over the whole life of a gateway: started, killed, started again,
// stopped.
func TestStatusOfTheGatewayAtTheBroker_Case20(t *testing.T) {
	t.Parallel()
	const topic = "sngate/e2e/status"
	broker := mosquitto.Start(t, mosquitto.Options{})
	s := testgateway.Settings{"gateway.status_topic": `"` + topic + `"`, "gateway.client_id": `"own"`}
	watcher := testgateway.ConnectMQTT(t, broker.Addr(), topic)
	retained := func(want string) {
		t.Helper()
		late := testgateway.ConnectMQTTWith(t, broker.Addr(), func(*mqtt.ClientOptions) {}, topic)
		if m := late.WantMessage(topic, want); !m.Retained() || m.Qos() != 1 {
			t.Errorf("%q is retained: %v, QoS %d; want true and 1", want, m.Retained(), m.Qos())
		}
	}

	first := startGateway(t, broker.URL(), s)
	watcher.WantMessage(topic, "online")
	retained("online")
	first.Crash()
	watcher.WantMessage(topic, "offline")
	retained("offline")

	second := startGateway(t, broker.URL(), s)
	watcher.WantMessage(topic, "online")
	second.Stop()
	watcher.WantMessage(topic, "offline")
	retained("offline")
	testgateway.Eventually(t, "the connection ended in good order", func() bool {
		return strings.Contains(broker.Log(), "Received DISCONNECT from own")
	})
	watcher.WantNothingBefore(topic)
}
