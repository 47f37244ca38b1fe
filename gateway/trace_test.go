package gateway

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket/sn12"
)

// traced returns what the log has of datagrams and packets, without those of the
// gateway's own connection.
func (r *rig) traced() (lines []string) {
	for _, message := range []string{"datagram from a device", "datagram to a device", "packet to the broker", "packet from the broker"} {
		for _, line := range r.logged(message, "level", "client_id", "packet") {
			if !strings.Contains(line, "| sngate-test-7 |") {
				lines = append(lines, strings.TrimPrefix(message, "datagram ")+": "+line)
			}
		}
	}
	return lines
}

func tracedExchange(r *rig) {
	d := r.device("10.0.1.1:5000")
	d.connect("pump-1")
	d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 1, MsgID: 2, Data: []byte("on")})
	r.device("10.0.1.2:5000").connect("meter-1")
	r.device("10.0.1.3:5000").send("02 16")
	r.device("10.0.1.4:5000").send("07 16")
}

var packetID = regexp.MustCompile(`packet id [0-9]+`)

func TestTraceShowsEveryDatagramAndPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Trace = true })
		tracedExchange(r)
		want := []string{
			`from a device: trace | pump-1 | CONNECT CleanSession = 1, ProtocolId 0x01, Duration 60 s (1m0s), keep-alive, ClientId "pump-1"`,
			`from a device: trace | pump-1 | PUBLISH QoS = 1, TopicIdType = 0b01 (pre-defined topic id), TopicId 0x0001 (1), MsgId 0x0002 (2), Data 2 octets, "on"`,
			`from a device: trace | meter-1 | CONNECT CleanSession = 1, ProtocolId 0x01, Duration 60 s (1m0s), keep-alive, ClientId "meter-1"`,
			`from a device: trace | <nil> | PINGREQ`,
			`from a device: trace | <nil> | PINGREQ; error at offset 0x0000: Length is 7, but only 2 octets are there: 5 missing`,
			`to a device: trace | pump-1 | CONNACK ReturnCode 0x00 accepted`,
			`to a device: trace | pump-1 | PUBACK TopicId 0x0001 (1), MsgId 0x0002 (2), ReturnCode 0x00 accepted`,
			`to a device: trace | meter-1 | CONNACK ReturnCode 0x00 accepted`,
			`to a device: trace | <nil> | DISCONNECT`,
			`packet to the broker: trace | pump-1 | CONNECT client id "pump-1", clean session true, keep-alive 60 s`,
			`packet to the broker: trace | pump-1 | PUBLISH topic "site/alarm", QoS 1, packet id 1, payload 2 octets "on"`,
			`packet to the broker: trace | meter-1 | CONNECT client id "meter-1", clean session true, keep-alive 60 s`,
			`packet from the broker: trace | pump-1 | CONNACK session present false, return code 0`,
			`packet from the broker: trace | pump-1 | PUBACK packet id 1`,
			`packet from the broker: trace | meter-1 | CONNACK session present false, return code 0`,
		}
		got := r.traced()
		for i := range got { // packet identifiers begin at a random one
			if strings.HasPrefix(got[i], "packet") {
				got[i] = packetID.ReplaceAllString(got[i], "packet id 1")
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if hex := r.logged("datagram from a device", "hex")[3]; hex != "0216" {
			t.Errorf("PINGREQ in hexadecimal: %q", hex)
		}
	})
}

// Patterns choose; who has no client id is not chosen by them.
func TestTraceClientsChoose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Trace, o.TraceClients = true, []string{"meter-?", "valve"} })
		tracedExchange(r)
		for _, line := range r.traced() {
			if !strings.Contains(line, "| meter-1 |") {
				t.Errorf("traced as well: %s", line)
			}
		}
		if n := len(r.traced()); n != 4 {
			t.Errorf("%d lines of meter-1", n)
		}
	})
}

func TestNothingIsTracedWithoutBeingAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		tracedExchange(r)
		if got := r.traced(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	})
}

// What a forwarder encapsulates is shown as what it is, with the node's address.
func TestTraceOfANodeBehindAForwarder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Trace = true })
		f := r.device("10.0.1.1:5000")
		f.send(node("a1a2", "07 04 04 01 003c 61"))
		f.discard()
		got := append(r.logged("datagram from a device", "client_id", "addr", "packet"), r.logged("datagram to a device", "client_id", "addr", "packet")...)
		want := []string{
			`a | 10.0.1.1:5000/"\xa1\xa2" | CONNECT CleanSession = 1, ProtocolId 0x01, Duration 60 s (1m0s), keep-alive, ClientId "a"`,
			`a | 10.0.1.1:5000/"\xa1\xa2" | CONNACK ReturnCode 0x00 accepted`,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}
