package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

func TestAddressReusedByAnotherClient_Case27(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		got := r.observe()
		d := r.device("10.0.1.1:5000")
		d.connectWill("old", "will", "gone")
		d.subscribe("for/old", 1)
		d.connect("new")
		r.wantWill("the old session is lost", "will", "gone")
		r.wantSessions("the old one has gone", 1)
		r.publish("for/old", "x", 1)
		d.wantQuiet("nothing of the old id")
		d.sendMessage(sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("x")})
		got.want(t, "the address is the new client's", "new ab x 0")
	})
}

func TestAddressOfASleeperReused_Case27(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sleeper := r.device("10.0.1.1:5000")
		sleeper.connectWill("sleeper", "will", "gone")
		sleeper.subscribe("t", 1)
		sleeper.sleep(600)
		sleeper.connect("guest") // another device with the same address of a NAT
		r.wantSessions("the sleeper is kept", 2)
		r.publish("t", "x", 1)
		time.Sleep(time.Minute)
		sleeper.wantQuiet("nothing for the guest")
		sleeper.ping("the guest is connected")
		elsewhere := r.device("10.0.1.1:5001")
		if held := elsewhere.wake("sleeper"); !slices.Equal(held, []string{"x"}) {
			t.Fatalf("the sleeper wakes from elsewhere and gets %q", held)
		}
		sleeper.wantQuiet("nothing of it at the old address")
		r.wantWill("none", "will", "")
	})
}

// A sleeper whose address has been taken has no address: what would be sent to it, such
// as DISCONNECT when it is lost, is dropped.
func TestLossOfASleeperWithoutAddressIsSilent_Case27(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connect("sleeper")
		d.sleep(60)
		d.connectWith(true, 0, "guest")
		time.Sleep(91 * time.Second)
		d.wantQuiet("the guest hears nothing of it")
		r.wantSessions("the guest", 1)
		r.wantDropped(session.ReasonNoAddress, 1)
	})
}

func TestDisconnectIsAnsweredEachTime_Case150(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.connectWith(clean, 60, "dev")
				for range 3 {
					d.send("02 18")
					d.want("DISCONNECT", "02 18")
				}
				if n := r.broker.Connected(); n != 1 {
					t.Fatalf("%d clients at the broker, want the gateway's own", n)
				}
			})
		})
	}
}

func TestActiveDeviceMovesByConnect_Case153(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				a, b := r.device("10.0.1.1:5000"), r.device("10.0.2.2:6000")
				a.connectWill("dev", "will", "gone")
				b.connectWith(clean, 60, "dev")
				b.subscribe("t", 1)
				r.publish("t", "x", 1)
				if held := b.receive(time.Second); !slices.Equal(held, []string{"x"}) {
					t.Fatalf("B gets %q", held)
				}
				a.wantQuiet("nothing more for A")
				r.wantWill("none", "will", "")
				if n := r.broker.Connected(); n != 2 {
					t.Fatalf("%d clients at the broker, want one session and the gateway's own", n)
				}
				if _, takeovers := r.broker.Connects(); takeovers != 0 {
					t.Fatalf("%d takeovers at the broker", takeovers)
				}
				r.wantSessions("one", 1)
				a.send("02 16")
				a.want("A is a stranger now", "02 18")
				b.ping("B is not troubled")
			})
		})
	}
}

func TestSleeperWakesFromAnotherAddress_Case146(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		a, b := r.device("10.0.1.1:5000"), r.device("10.0.1.1:5001")
		a.connect("dev")
		a.subscribe("t", 1)
		a.sleep(600)
		r.publish("t", "x", 1)
		if held := b.wake("dev"); !slices.Equal(held, []string{"x"}) {
			t.Fatalf("got %q", held)
		}
		a.wantQuiet("nothing goes to the old address")
		a.send("02 16")
		a.want("which belongs to nobody", "02 18")
	})
}

func TestAddressChangePolicies_Case146_164(t *testing.T) {
	tests := []struct {
		name          string
		policy        AddressChange
		wake, connect bool // whether the message moves the session
	}{
		{"allow", AddressChangeAllow, true, true},
		{"connect", AddressChangeConnect, false, true},
		{"deny", AddressChangeDeny, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.AddressChange = tt.policy })
				owner, other := r.device("10.0.1.1:5000"), r.device("10.0.9.9:6666")
				owner.connect("dev")
				owner.subscribe("t", 1)
				owner.sleep(600)
				r.publish("t", "x", 1)
				if !tt.wake {
					other.send("05 16 646576")
					other.want("PINGREQ from elsewhere is refused", "02 18")
				}
				if !tt.connect {
					other.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
					other.want("CONNECT from elsewhere is refused", "02 18")
				}
				refused := 0
				for _, allowed := range []bool{tt.wake, tt.connect} {
					if !allowed {
						refused++
					}
				}
				r.wantDropped(session.ReasonAddressChange, uint64(refused))
				if held := owner.wake("dev"); !slices.Equal(held, []string{"x"}) {
					t.Fatalf("the owner gets %q", held)
				}
				if tt.connect {
					other.connect("dev")
					r.wantSessions("moved", 1)
				}
			})
		})
	}
}

// With "deny", a device that has said goodbye or is lost may come from anywhere.
func TestDenyAllowsSessionsThatHaveEnded_Case164(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.AddressChange = AddressChangeDeny })
		a, b, c := r.device("10.0.1.1:5000"), r.device("10.0.1.1:5001"), r.device("10.0.1.1:5002")
		a.connectWith(false, 60, "dev")
		a.send("02 18")
		a.want("goodbye", "02 18")
		b.connectWith(false, 60, "dev")
		time.Sleep(91 * time.Second)
		b.want("lost", "02 18")
		c.connectWith(false, 60, "dev")
		r.wantSessions("the same", 1)
	})
}

// A device moves to a second gateway with the same broker. The first one does not fight
// for the session, sends the device nothing and forgets it.
func TestDeviceMovesToAnotherGateway_Case157(t *testing.T) {
	for _, asleep := range []bool{false, true} {
		t.Run(fmt.Sprintf("asleep=%v", asleep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { moveToAnotherGateway(t, asleep) })
		})
	}
}

func moveToAnotherGateway(t *testing.T, asleep bool) {
	var opts Options
	r := newRig(t, func(o *Options) { opts = *o })
	opts.ClientID, opts.ID = "sngate-test-8", 8
	opts.Listeners = []listen.Options{{Address: "10.0.0.2:1883"}}
	second, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Stop(4 * time.Second)
	r.device("10.0.3.1:5000").connectWith(true, 0, "company")

	d := r.device("10.0.1.1:5000")
	d.connectWill("dev", "will", "gone")
	d.subscribe("t", 1)
	if asleep {
		d.sleep(120)
	}
	r.wantWill("none yet", "will", "")
	toFirst := r.addr
	var fromFirst []gatewaytest.Sent
	r.net.Tap(func(s gatewaytest.Sent) {
		// An active device may be asked whether it is here.
		if s.From == toFirst && s.To == d.conn.LocalAddr() && (asleep || string(s.Payload) != "\x02\x16") {
			fromFirst = append(fromFirst, s)
		}
	})
	r.addr = netip.MustParseAddrPort("10.0.0.2:1883")
	d.connectWith(true, 60, "dev")
	d.subscribe("t", 1)
	// The takeover itself makes an MQTT 3.1.1 broker publish the will. That is all.
	r.wantWill("the broker's doing", "will", "gone")
	r.broker.Publish(upstreamtest.Message{Topic: "will", Retain: true})
	before := r.connects()
	for range 20 { // ten minutes
		time.Sleep(30 * time.Second)
		synctest.Wait()
		d.discard() // the first gateway may ask whether it is there
		d.ping("through the second gateway")
		r.publish("t", "x", 1)
		if held := d.receive(100 * time.Millisecond); !slices.Equal(held, []string{"x"}) {
			t.Fatalf("got %q", held)
		}
	}
	if n := r.connects() - before; n > 1 {
		t.Fatalf("%d MQTT CONNECTs in ten minutes: the gateways fight for the session", n)
	}
	synctest.Wait()
	if len(fromFirst) != 0 {
		t.Fatalf("the first gateway has sent the device %x", fromFirst[0].Payload)
	}
	r.wantSessions("the first gateway has forgotten the device", 1)
	r.wantWill("the first gateway has it not published again", "will", "")
}
