package gateway

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// Every line that somebody else can cause is within the limits: with nothing left of them,
// the worst that devices, strangers and the broker do writes nothing.
func TestNobodyCanWriteLinesBeyondTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Log = o.Log.Level(zerolog.InfoLevel)
			o.MaxSessions, o.DatagramRate, o.StatusTopic = 5, 100, "status"
			o.ConnectRates = ConnectRates{Rate: 100, Burst: 100, SourceRate: 50, SourceBurst: 50}
			o.Session.Allow = []string{"ok*"}
		})
		var code atomic.Uint32
		r.broker.Refuse = func(string, string, []byte) byte { return byte(code.Load()) }
		r.device("10.0.3.1:5000").connect("ok-first")
		before := r.log.Len()
		r.gateway.lines.Exhaust()
		strangers := func(d *device, i int) {
			for _, h := range []string{"", "07 16", "02 03", "ff", "05 fe 00 a1 02", "04 0c 00 00", "02 18", "03 05 00", "07 04 04 02 003c 61", "08 0c 62 00 01 00 00 41",
				"08 0c 61 00 09 00 00 41", "06 fe 00 a1 a2 a3 02 16", "04 16 7a 7a", "03 01 00", "03 00 01"} {
				d.send(h)
			}
			d.connectUnanswered(fmt.Sprintf("no-%d", i))
			d.connectUnanswered(fmt.Sprintf("ok-%d", i))
		}
		devices := func(d *device) {
			d.sendMessage(sn12.Publish{TopicID: 9})
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: 9, MsgID: 1})
			d.sendMessage(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/#/b")})
			d.sendMessage(sn12.Register{MsgID: 1, TopicName: []byte("+")})
			d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: 60})
			for range 300 {
				d.send("02 16")
			}
		}
		for i := range 60 {
			d := r.device(fmt.Sprintf("10.0.2.%d:5000", 1+i))
			strangers(d, i)
			devices(d)
			if i%2 == 0 { // the others are lost
				d.sendMessage(sn12.Disconnect{})
			}
			if i%10 == 9 {
				r.broker.Drop("ok-first")
				r.broker.Drop("sngate-test-7")
				code.Store(uint32(i % 6))
			}
			time.Sleep(10 * time.Second)
		}
		r.broker.Kill(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if more := r.log.String()[before:]; more != "" {
			t.Errorf("written:\n%s", more)
		}
		for _, why := range []session.Reason{session.ReasonMalformed, session.ReasonUnknownTopicID, session.ReasonUnknownSender, session.ReasonClientNotAllowed,
			session.ReasonMaxSessions, session.ReasonDatagramRate, session.ReasonInvalidTopic, session.ReasonProtocolID} {
			if r.dropped(why) == 0 {
				t.Errorf("%v has not happened: the test is not what it should be", why)
			}
		}
	})
}
