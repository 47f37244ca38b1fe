package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// nameless is a CONNECT without a client id, CleanSession=1, keep-alive 60 s.
const nameless = "06 04 04 01 003c"

// assigning makes a gateway assign client ids that end in the numbers given, and then 1, 2
// and so on.
func assigning(numbers ...uint64) func(*Options) {
	next := uint64(0)
	return func(o *Options) {
		o.AssignClientIDs = true
		o.NewClientID = func() uint64 {
			if len(numbers) > 0 {
				n := numbers[0]
				numbers = numbers[1:]
				return n
			}
			next++
			return next
		}
	}
}

func (d *device) connectNameless() {
	d.r.t.Helper()
	d.send(nameless)
	d.want("CONNECT is accepted", "03 05 00")
}

// publishNameless publishes, so that the broker shows who the device is.
func (d *device) publishNameless() {
	d.r.t.Helper()
	d.send("08 0c 02 6162 0000 78")
}

func TestDeviceWithoutClientIDIsAssignedOne_Case29(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, assigning(7, 7, 7, 8))
		got := r.observe()
		a, b := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		a.connectNameless()
		a.publishNameless()
		got.want(t, "from the gateway and a number", "sngate-test-7-7 ab x 0")
		b.connectNameless()
		b.publishNameless()
		got.want(t, "no two have the same", "sngate-test-7-8 ab x 0")
		a.publishNameless()
		got.want(t, "nobody's session has changed", "sngate-test-7-7 ab x 0")
		r.wantSessions("both", 2)
		if log := r.log.String(); !strings.Contains(log, `"client_id":"sngate-test-7-8","addr":"10.0.1.2:5000","message":"client id assigned"`) {
			t.Errorf("the log does not tell: %s", log)
		}
	})
}

func TestDeviceWithoutClientIDThatGetsNone_Case29(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*Options)
		connect string
		why     session.Reason
	}{
		"CleanSession=0":      {nil, "06 04 00 01 003c", session.ReasonClientID},
		"switched off":        {func(o *Options) { o.AssignClientIDs = false }, nameless, session.ReasonClientID},
		"another protocol id": {nil, "06 04 04 02 003c", session.ReasonProtocolID},
		"not allowed":         {func(o *Options) { o.Session.Allow = []string{"pump-*"} }, nameless, session.ReasonClientNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) {
					assigning()(o)
					if tt.change != nil {
						tt.change(o)
					}
				})
				d := r.device("10.0.1.1:5000")
				d.send(tt.connect)
				d.want(name, "03 05 03")
				r.wantDropped(tt.why, 1)
				r.wantSessions("none", 0)
			})
		})
	}
	t.Run("allowed by a pattern", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) {
				assigning()(o)
				o.Session.Allow, o.Session.MaxClientID = []string{"sngate-test-7-*"}, 5
			})
			r.device("10.0.1.1:5000").connectNameless()
		})
	})
}

func TestRepeatedConnectWithoutClientIDIsOfTheSameDevice_Case25_29(t *testing.T) {
	for _, shards := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { assigning()(o); o.Shards = shards })
			got := r.observe()
			d := r.device("10.0.1.1:5000")
			before := r.connects()
			release := r.busy()
			d.send(nameless)
			d.send(nameless)
			release()
			d.want("accepted", "03 05 00")
			d.discard()
			time.Sleep(10 * time.Second)
			d.send(nameless)
			d.want("the CONNACK was lost", "03 05 00")
			r.wantSessions("one", 1)
			if n := r.connects() - before; n != 1 {
				t.Errorf("%d connections to the broker", n)
			}
			d.register("a/b")
			time.Sleep(10 * time.Second)
			d.send(nameless)
			d.want("it has restarted", "03 05 00")
			d.publishNameless()
			got.want(t, "and keeps its name", "sngate-test-7-1 ab x 0")
			r.wantSessions("one", 1)
			d.send("02 18")
			d.want("goodbye", "02 18")
			r.wantSessions("none", 0)
		})
	}
}

func TestSleeperWithAnAssignedClientIDIsKnownByItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, assigning())
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connectNameless()
		d.subscribe("a/b", 1)
		d.sleep(60)
		r.publish("a/b", "held", 1)
		d.wantQuiet("asleep")
		if payloads := d.wake(""); len(payloads) != 1 || payloads[0] != "held" {
			t.Fatalf("woken by its address: %q", payloads)
		}
		moved := r.device("10.0.1.1:5001")
		moved.send("02 16")
		moved.want("not found from another", "02 18")
		moved.connectNameless()
		moved.publishNameless()
		got.take()
		moved.publishNameless()
		got.want(t, "so it is another device", "sngate-test-7-2 ab x 0")
		r.wantSessions("the first has not gone yet", 2)
		time.Sleep(50 * time.Second)
		moved.send("02 16")
		time.Sleep(50 * time.Second)
		r.wantSessions("its sleep is over", 1)
	})
}

func TestSleeperWithAnAssignedClientIDEndsWithItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, assigning())
		d := r.device("10.0.1.1:5000")
		d.connectNameless()
		d.sleep(600)
		d.connect("named")
		r.wantSessions("nobody could find it", 1)
		d.sleep(600)
		d.connectNameless()
		r.wantSessions("one with a name can be found", 2)
	})
}

func TestAssignedClientIDOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, assigning())
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connectNameless()
		r.restart()
		d.ping("the session goes on")
		d.publishNameless()
		time.Sleep(time.Second)
		got.want(t, "", "sngate-test-7-1 ab x 0")
		time.Sleep(time.Second)
		d.connectNameless()
		d.publishNameless()
		got.want(t, "and is still the one of its address", "sngate-test-7-1 ab x 0")
		r.wantSessions("one", 1)
		r.opts.AssignClientIDs = false
		r.restart()
		r.wantSessions("the configuration does not allow it any more", 0)
	})
}

func TestWillDialogueWithoutClientID_Case29_40(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, assigning())
		d := r.device("10.0.1.1:5000")
		d.send("06 04 0c 01 003c")
		d.wantMessage("will topic", sn12.WillTopicReq{})
		d.sendMessage(sn12.WillTopic{Topic: []byte("w")})
		d.wantMessage("will message", sn12.WillMsgReq{})
		d.send("06 04 0c 01 003c")
		d.wantMessage("the same CONNECT: the step that is due", sn12.WillMsgReq{})
		d.sendMessage(sn12.WillMsg{Message: []byte("gone")})
		d.wantMessage("accepted", sn12.ConnAck{})
		r.wantSessions("one", 1)
		time.Sleep(2 * time.Minute)
		d.wantMessage("lost", sn12.Disconnect{})
		r.wantSessions("forgotten", 0)
	})
}
