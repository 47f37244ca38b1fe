package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/upstreamtest"
)

func TestConnectPublishDisconnectReachTheBroker_Case21(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		d.send("0a 0a 0000 0001 612f62 78")
		d.want("registered", "07 0b 0002 0001 00")
		d.send("08 0c 20 0002 0002 79")
		d.want("acked", "07 0d 0002 0002 00")
		d.send("08 12 20 0003 772f23")
		d.want("suback", "08 13 20 0000 0003 00")
		r.broker.Publish(upstreamtest.Message{Topic: "w/x", Payload: []byte("z"), QoS: 1})
		d.want("register", "09 0a 0003 0001 772f78")
		d.send("07 0b 0003 0001 00")
		d.want("publish", "08 0c 20 0003 0002 7a")
		d.send("07 0d 0003 0002 00")
		d.wantQuiet("done")
		time.Sleep(89 * time.Second)
		d.wantQuiet("not lost yet")
		time.Sleep(2 * time.Second)
		d.want("lost", "02 18")
	})
}
