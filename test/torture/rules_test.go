package torture

import (
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/upstreamtest"
)

// The random worlds are worth something only if the ledger and the strict broker find what they are there to find.

// bench is a world without a gateway.
func bench(t *testing.T) (*world, *device) {
	w := &world{t: t, began: time.Now(), profile: profile{window: 10, lowestID: true}}
	w.ledger, w.broker = newLedger(w), &broker{w: w}
	d := &device{w: w, id: "dev0"}
	w.devices = []*device{d}
	return w, d
}

// wantOffence expects one offence of a kind, or with "" none.
func wantOffence(t *testing.T, w *world, kind string) {
	t.Helper()
	switch list := w.ledger.offences; {
	case kind == "" && len(list) > 0:
		t.Errorf("offences: %v", list)
	case kind != "" && (len(list) == 0 || list[0].kind != kind):
		t.Errorf("offences: %v, want %q", list, kind)
	}
}

func TestLedgerFindsWhatMustNotHappen(t *testing.T) {
	type steps func(l *ledger, d *device, s *stream)
	send := func(l *ledger, d *device, s *stream, qos byte) *message {
		m := l.send(s, d, qos)
		m.acked = true
		return m
	}
	arrive := func(l *ledger, m *message) { l.arrived(m.up, m.dev, m.topic, m.qos, m.payload) }
	for _, tt := range []struct {
		name, want string
		equal      bool
		do         steps
	}{
		{"QoS 0 lost", "", false, func(l *ledger, d *device, s *stream) { send(l, d, s, 0) }},
		{"QoS 1 twice", "", false, func(l *ledger, d *device, s *stream) {
			m := send(l, d, s, 1)
			arrive(l, m)
			arrive(l, m)
		}},
		{"QoS 1 lost", "lost", false, func(l *ledger, d *device, s *stream) { send(l, d, s, 1) }},
		{"QoS 2 lost", "lost", false, func(l *ledger, d *device, s *stream) { send(l, d, s, 2) }},
		{"not acknowledged and lost", "", false, func(l *ledger, d *device, s *stream) { l.send(s, d, 2) }},
		{"excused", "", false, func(l *ledger, d *device, s *stream) {
			send(l, d, s, 2)
			l.excuse("so", func(*message) bool { return true })
		}},
		{"QoS 2 twice", "doubled", false, func(l *ledger, d *device, s *stream) {
			m := send(l, d, s, 2)
			arrive(l, m)
			arrive(l, m)
		}},
		{"out of order", "order", false, func(l *ledger, d *device, s *stream) {
			m, n := send(l, d, s, 1), send(l, d, s, 2)
			arrive(l, n)
			arrive(l, m)
		}},
		{"out of order, and excused", "", false, func(l *ledger, d *device, s *stream) {
			m, n := send(l, d, s, 2), send(l, d, s, 1)
			l.excuse("so", func(o *message) bool { return o == m })
			l.excuseLate("so", d)
			arrive(l, n)
			arrive(l, m)
		}},
		{"excused, but not its order", "order", false, func(l *ledger, d *device, s *stream) {
			m, n := send(l, d, s, 2), send(l, d, s, 1)
			l.excuse("so", func(o *message) bool { return o == m })
			arrive(l, n)
			arrive(l, m)
		}},
		{"again after newer ones", "", false, func(l *ledger, d *device, s *stream) {
			m, n := send(l, d, s, 1), send(l, d, s, 1)
			arrive(l, m)
			arrive(l, n)
			arrive(l, m)
		}},
		{"another topic", "swapped", false, func(l *ledger, d *device, s *stream) {
			m := send(l, d, s, 1)
			l.stream(true, "other", false)
			l.arrived(true, d, "other", 1, m.payload)
		}},
		{"another QoS", "swapped", false, func(l *ledger, d *device, s *stream) {
			m := send(l, d, s, 1)
			l.arrived(true, d, m.topic, 2, m.payload)
		}},
		{"one of two equal ones lost", "lost", true, func(l *ledger, d *device, s *stream) {
			arrive(l, send(l, d, s, 2))
			send(l, d, s, 2)
		}},
		{"equal ones doubled", "doubled", true, func(l *ledger, d *device, s *stream) {
			m := send(l, d, s, 2)
			arrive(l, m)
			arrive(l, m)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, d := bench(t)
			tt.do(w.ledger, d, w.ledger.stream(true, "t", tt.equal))
			w.ledger.conclude()
			wantOffence(t, w, tt.want)
		})
	}
}

// client is the other end of a connection to the strict broker.
type client struct {
	w *world
	d *device
	c *brokerConn
}

func (k *client) takes(kind byte, id uint16) {
	p := packets.NewControlPacket(kind)
	switch p := p.(type) {
	case *packets.PubackPacket:
		p.MessageID = id
	case *packets.PubrecPacket:
		p.MessageID = id
	case *packets.PubrelPacket:
		p.MessageID = id
	case *packets.PubcompPacket:
		p.MessageID = id
	}
	k.c.take(p)
}

func (k *client) publishes(id uint16, qos byte, dup bool, payload string) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.MessageID, p.Qos, p.Dup, p.TopicName, p.Payload = id, qos, dup, "u", []byte(payload)
	k.c.take(p)
}

// reconnects begins a new connection.
func (k *client) reconnects() {
	near, far := upstreamtest.Pipe(0)
	k.w.t.Cleanup(func() { _ = near.Close() })
	k.c = &brokerConn{b: k.w.broker, far: far}
	k.c.rules.c = k.c
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ClientIdentifier = k.d.id
	k.c.take(p)
	k.writes()
}

// writes has the broker write all that waits.
func (k *client) writes() {
	for k.c.write(false) {
	}
}

func TestStrictBrokerFindsWhatAClientMustNotDo(t *testing.T) {
	const busy, early, order = "mqtt id", "mqtt acknowledgement of what was not sent", "mqtt order of acknowledgements"
	for _, tt := range []struct {
		name, want string
		sends      []byte // QoS of what the broker sends
		do         func(k *client)
	}{
		{"QoS 2 in good order", "", []byte{2}, func(k *client) {
			k.publishes(7, 2, false, "m0.2")
			k.writes()
			k.takes(packets.Pubrel, 7)
			k.writes()
			k.publishes(7, 2, false, "m1.2")
			k.takes(packets.Pubrec, 1)
			k.writes()
			k.takes(packets.Pubcomp, 1)
		}},
		{"identifier in use", busy, nil, func(k *client) {
			k.publishes(7, 1, false, "m0.2")
			k.publishes(7, 1, false, "m1.2")
		}},
		{"identifier in use by QoS 2", busy, nil, func(k *client) {
			k.publishes(7, 2, false, "m0.2")
			k.writes()
			k.publishes(7, 1, false, "m1.2")
		}},
		{"identifier 0", busy, nil, func(k *client) { k.publishes(0, 1, false, "m0.2") }},
		{"identifier free after PUBACK", "", nil, func(k *client) {
			k.publishes(7, 1, false, "m0.2")
			k.writes()
			k.publishes(7, 1, false, "m1.2")
		}},
		{"QoS 2 again without DUP", "mqtt DUP", nil, func(k *client) {
			k.publishes(7, 2, false, "m0.2")
			k.reconnects()
			k.publishes(7, 2, false, "m0.2")
		}},
		{"QoS 2 again with DUP", "", nil, func(k *client) {
			k.publishes(7, 2, false, "m0.2")
			k.reconnects()
			k.publishes(7, 2, true, "m0.2")
		}},
		{"QoS 2 identifier for another message", busy, nil, func(k *client) {
			k.publishes(7, 2, false, "m0.2")
			k.reconnects()
			k.publishes(7, 2, true, "m1.2")
		}},
		{"PUBREL before PUBREC", "mqtt PUBREL", nil, func(k *client) {
			k.publishes(7, 2, false, "m0.2")
			k.takes(packets.Pubrel, 7)
		}},
		{"PUBACK of nothing", early, nil, func(k *client) { k.takes(packets.Puback, 1) }},
		{"PUBACK before the broker repeats", early, []byte{1}, func(k *client) {
			k.c.end()
			near, far := upstreamtest.Pipe(0)
			t.Cleanup(func() { _ = near.Close() })
			s := k.c.s
			k.c = &brokerConn{b: k.w.broker, far: far, s: s}
			k.c.rules.c, s.conn = k.c, k.c
			k.takes(packets.Puback, 1)
		}},
		{"PUBACK twice", early, []byte{1}, func(k *client) {
			k.takes(packets.Puback, 1)
			k.takes(packets.Puback, 1)
		}},
		{"PUBACK of QoS 2", "mqtt acknowledgement", []byte{2}, func(k *client) { k.takes(packets.Puback, 1) }},
		{"PUBCOMP before PUBREL", "mqtt acknowledgement", []byte{2}, func(k *client) { k.takes(packets.Pubcomp, 1) }},
		{"PUBACKs out of order", order, []byte{1, 1}, func(k *client) { k.takes(packets.Puback, 2) }},
		{"PUBRECs out of order", order, []byte{2, 2}, func(k *client) { k.takes(packets.Pubrec, 2) }},
		{"PUBACK after the PUBREC of a later one", "", []byte{1, 2}, func(k *client) {
			k.takes(packets.Pubrec, 2)
			k.takes(packets.Puback, 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, d := bench(t)
			k := &client{w: w, d: d}
			up := w.ledger.stream(true, "u", false)
			for range 2 {
				w.ledger.send(up, d, 2)
			}
			k.reconnects()
			k.c.s.subs = []subscription{{"d", 2}}
			for _, qos := range tt.sends {
				w.broker.publish(d, "d", qos, false)
			}
			k.writes()
			tt.do(k)
			w.ledger.offences = slices.DeleteFunc(w.ledger.offences, func(o offence) bool { return o.kind == "swapped" }) // the streams are not the point
			wantOffence(t, w, tt.want)
		})
	}
}

func TestShrinkKeepsTheStepsThatMatter(t *testing.T) {
	tries := 0
	got := shrink(steps(nil).list(1500), time.Now().Add(time.Minute), func(s steps) bool {
		tries++
		return s.contains(3) && s.contains(700) && s.contains(1499)
	})
	if want := (steps{3, 700, 1499}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if tries > 300 {
		t.Errorf("%d tries", tries)
	}
}

func TestStepsAreReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"none", "0", "0-7,9", "3,700,1499"} {
		s, err := parseSteps(text)
		if err != nil || s.String() != text {
			t.Errorf("%q is read as %v, %v", text, s, err)
		}
	}
	if s, err := parseSteps(""); err != nil || !s.contains(17) {
		t.Errorf("no steps: %v, %v", s, err)
	}
	for _, text := range []string{"a", "1-", "-", "1,,2"} {
		if s, err := parseSteps(text); err == nil {
			t.Errorf("%q is read as %v", text, s)
		}
	}
}

// A seed is of use only if it leads to the same world.
func TestSameSeedSameWorld(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		p := newProfile(seed)
		if p.devices > 1 {
			continue
		}
		first, again := runWorld(t, seed, func(n int) bool { return n < 300 }), runWorld(t, seed, func(n int) bool { return n < 300 })
		for i := range min(len(first.trace), len(again.trace)) {
			if first.trace[i] != again.trace[i] {
				t.Errorf("seed %d, line %d:\n%s\n%s", seed, i, first.trace[i], again.trace[i])
				break
			}
		}
	}
}
