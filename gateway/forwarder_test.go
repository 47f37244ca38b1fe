package gateway

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
)

// node writes a message of the node with a two-octet id as its forwarder sends it.
func node(id, message string) string { return "05 fe 00 " + id + message }

func TestForwardedDevicesAreAnsweredThroughTheirForwarder_Case177(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f := r.device("10.0.1.1:5000")
		f.send(node("a1a2", "0a 04 04 01 003c 6e6f6465"))
		f.want("CONNACK for the node", node("a1a2", "03 05 00"))
		f.send("07 fe 03 a1a20000" + "02 16")
		f.want("another node id is another node", "07 fe 00 a1a20000 02 18")
		f.send(node("a1a2", "02 16"))
		f.want("PINGRESP for the node", node("a1a2", "02 17"))
		f.send("02 16")
		f.want("the forwarder itself is a stranger", "02 18")
		f.send("0a 04 04 01 003c 73656c66")
		f.want("it may be a device of its own", "03 05 00")
		r.wantSessions("two", 2)
	})
}

func TestNodesOfOneForwarderAreDevicesOfTheirOwn_Case178(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f := r.device("10.0.1.1:5000")
		for _, id := range []string{"0001", "0002"} {
			f.send(node(id, "08 04 04 01 003c 6e3"+id[3:]))
			f.want("CONNACK", node(id, "03 05 00"))
			f.send(node(id, "06 12 20 0001 74"))
			f.want("SUBACK", node(id, "08 13 20 0002 0001 00"))
		}
		r.wantSessions("two", 2)
		f.send(node("0001", "02 18"))
		f.want("DISCONNECT", node("0001", "02 18"))
		r.publish("t", "x", 1)
		f.want("only for the node that is connected", node("0002", "08 0c 20 0002 0001 78"))
		f.send(node("0002", "07 0d 0002 0001 00"))
		f.wantQuiet("done")
	})
}

func TestForwardedSleeperWakesThroughAnotherForwarder_Case182(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f, g := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		f.send(node("a1a2", "09 04 04 01 003c 646576"))
		f.want("CONNACK", node("a1a2", "03 05 00"))
		f.send(node("a1a2", "06 12 20 0001 74"))
		f.want("SUBACK", node("a1a2", "08 13 20 0002 0001 00"))
		f.send(node("a1a2", "04 18 0258"))
		f.want("asleep", node("a1a2", "02 18"))
		r.publish("t", "x", 1)
		time.Sleep(time.Minute)
		g.send(node("b1b2", "05 16 646576"))
		g.want("there, with the node id it has there", node("b1b2", "08 0c 20 0002 0001 78"))
		g.send(node("b1b2", "07 0d 0002 0001 00"))
		g.want("PINGRESP", node("b1b2", "02 17"))
		f.wantQuiet("nothing at the first forwarder")
		r.wantSessions("one", 1)
	})
}

func TestOnlyDeclaredForwardersMayEncapsulate(t *testing.T) {
	tests := []struct {
		name    string
		enabled bool
		allow   []string
		ok      bool
	}{
		{"any", true, nil, true},
		{"its address", true, []string{"192.0.2.0/24", "10.0.1.1/32"}, true},
		{"its network", true, []string{"10.0.0.0/16"}, true},
		{"others", true, []string{"10.0.1.2/32", "2001:db8::/32"}, false},
		{"switched off", false, []string{"10.0.1.1/32"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) {
					o.Forwarders = tt.enabled
					for _, p := range tt.allow {
						o.AllowForwarders = append(o.AllowForwarders, netip.MustParsePrefix(p))
					}
				})
				f := r.device("10.0.1.1:5000")
				f.send(node("a1a2", "09 04 04 01 003c 646576"))
				if tt.ok {
					f.want("accepted", node("a1a2", "03 05 00"))
					return
				}
				f.wantQuiet("dropped")
				r.wantDropped(session.ReasonForwarderNotAllowed, 1)
				r.wantSessions("none", 0)
				f.connect("itself") // without encapsulation it is a device like others
			})
		})
	}
}

func TestEncapsulationThatIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f := r.device("10.0.1.1:5000")
		connect := "09 04 04 01 003c 646576"
		f.send("03 fe 00" + connect)
		r.wantDropped(session.ReasonEncapsulation, 1) // no node id
		f.send("04 fe 00 01" + "04 fe 00 02" + connect)
		r.wantDropped(session.ReasonEncapsulation, 2) // nested
		deep := ""
		for range 10_000 {
			deep += "04fe0001"
		}
		f.send(deep + hex.EncodeToString([]byte{2, 0x16}))
		r.wantDropped(session.ReasonEncapsulation, 3)
		f.send("04 fe 00 01" + "0a 04 04 01 003c 646576")
		r.wantDropped(session.ReasonMalformed, 1) // the message inside
		f.wantQuiet("nothing is answered")
		r.wantSessions("none", 0)
	})
}

func TestLongestNodeID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f := r.device("10.0.1.1:5000")
		id := fmt.Sprintf("%0504x", 1) // 252 octets
		f.send("ff fe 00" + id + "09 04 04 01 003c 646576")
		f.want("accepted", "ff fe 00"+id+"03 05 00")
	})
}
