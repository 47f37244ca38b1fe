package gateway

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// Whatever the broker's order, and whether or not a store has to be waited for.
func TestSubAckComesBeforeWhatEachBrokerHasRetained(t *testing.T) {
	withBrokers(t, func(t *testing.T, r *rig, d *device, h upstreamtest.Habits) {
		r.broker.Publish(upstreamtest.Message{Topic: "cfg", Payload: []byte("kept"), QoS: 1, Retain: true})
		id := d.subscribe("cfg", 1)
		m, ok := d.next(5 * time.Second).(sn12.Publish)
		if !ok || m.TopicID != id || string(m.Data) != "kept" || !m.Retain {
			t.Errorf("SUBACK with the topic id %d is followed by %+v", id, m)
		}
	})
}
