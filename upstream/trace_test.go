package upstream_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
)

// traced keeps what is traced.
type traced struct {
	mu    sync.Mutex
	lines []string
}

func (l *traced) trace(_ any, sent bool) func(string) {
	return func(packet string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if sent {
			packet = "> " + packet
		} else {
			packet = "< " + packet
		}
		l.lines = append(l.lines, packet)
	}
}

func TestEveryPacketIsTracedWithoutPasswords(t *testing.T) {
	var log traced
	opt := upstream.Options{Username: "gateway", Password: []byte("open-sesame"), Trace: log.trace}
	bubble(t, opt, func(r *rig) {
		l, b := r.up(&upstream.Connect{ClientID: "dev", CleanSession: true, KeepAlive: 60, Will: &upstream.Will{Topic: "lost", Message: []byte("gone"), QoS: 1}}, false)
		l.Subscribe(r.now(), 1, "cmd/#", 1)
		l.Publish(r.now(), 2, "up/t", []byte("21.5"), 1, true)
		l.Publish(r.now(), 0, "up/b", []byte{0, 1}, 0, false)
		l.Ping(r.now(), 3)
		l.Flush(r.now())
		for range 4 {
			b.Read()
		}
		m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		m.TopicName, m.Payload, m.Qos, m.MessageID = "cmd/x", []byte("open"), 1, 7
		b.Send(m)
		b.Send(packets.NewControlPacket(packets.Pingresp))
		r.runUntilIdle()
		l.Close(r.now(), upstream.CloseGraceful)
		l.Flush(r.now())
		r.runUntilIdle()
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	want := []string{
		`> CONNECT client id "dev", clean session true, keep-alive 60 s, will topic "lost", will message 4 octets, will QoS 1, will retain false, user name ***, password ***`,
		`< CONNACK session present false, return code 0`,
		`> SUBSCRIBE packet id 1, filter "cmd/#", QoS 1`,
		`> PUBLISH topic "up/t", QoS 1, retain, packet id 2, payload 4 octets "21.5"`,
		`> PUBLISH topic "up/b", QoS 0, payload 2 octets`,
		`> PINGREQ`,
		`< PUBLISH topic "cmd/x", QoS 1, packet id 7, payload 4 octets "open"`,
		`< PINGRESP`,
		`> DISCONNECT`,
	}
	if !slices.Equal(log.lines, want) {
		t.Errorf("traced:\n%s\nwant:\n%s", strings.Join(log.lines, "\n"), strings.Join(want, "\n"))
	}
}
