package gateway

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// TestDenyLocksNobodyOut: a device that has restarted behind another port has its session
// after the time of a request and its repeats; one that answers keeps it.
func TestDenyLocksNobodyOut_Case164(t *testing.T) {
	for _, will := range []bool{false, true} {
		t.Run(fmt.Sprintf("will=%v", will), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.AddressChange = AddressChangeDeny })
				old, young := r.device("10.0.1.1:5000"), r.device("10.0.1.1:5001")
				old.connectWith(true, 65535, "dev")
				connect := sn12.Connect{CleanSession: true, Will: will, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
				begin := time.Now()
				for {
					young.sendMessage(connect)
					m := young.next(time.Second)
					if _, refused := m.(sn12.Disconnect); !refused {
						if will {
							if _, ok := m.(sn12.WillTopicReq); !ok {
								t.Fatalf("got %v", m)
							}
							young.sendMessage(sn12.WillTopic{Topic: []byte("w")})
							young.wantMessage("will", sn12.WillMsgReq{})
							young.sendMessage(sn12.WillMsg{Message: []byte("gone")})
							m = young.next(time.Second)
						}
						if _, ok := m.(sn12.ConnAck); !ok {
							t.Fatalf("got %v", m)
						}
						break
					}
					time.Sleep(time.Second)
				}
				if took := time.Since(begin); took < 40*time.Second || took > 42*time.Second {
					t.Errorf("it took %v, want 40 s", took)
				}
				for range 4 {
					old.wantMessage("the old address is asked", sn12.PingReq{})
				}
				old.wantQuiet("and then sent nothing")
				r.wantSessions("one", 1)
			})
		})
	}
}

func TestDenyLeavesTheSessionToWhoAnswers_Case164(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.AddressChange = AddressChangeDeny })
		owner, thief := r.device("10.0.1.1:5000"), r.device("10.0.9.9:6666")
		owner.connectWith(false, 65535, "dev")
		owner.subscribe("t", 1)
		for range 200 {
			thief.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
			thief.wantMessage("refused", sn12.Disconnect{})
			if _, asked := owner.next(time.Second).(sn12.PingReq); asked {
				owner.sendMessage(sn12.PingResp{})
			}
		}
		r.publish("t", "x", 1)
		if got := owner.receive(time.Second); !slices.Equal(got, []string{"x"}) {
			t.Errorf("the owner gets %q", got)
		}
	})
}

// TestDenyDoesNotDefendAWillDialogue: a forged CONNECT with Will=1, every 40 s, would
// lock the device out.
func TestDenyDoesNotDefendAWillDialogue_Case164(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.AddressChange = AddressChangeDeny })
		forged, d := r.device("10.0.9.9:6666"), r.device("10.0.1.1:5000")
		forged.sendMessage(sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		forged.wantMessage("will", sn12.WillTopicReq{})
		d.connect("dev")
	})
}

// TestConnectWithWillMovesALiveSessionWhenItsDialogueIsFinished: until then the device is
// undisturbed where it is, active or asleep.
func TestConnectWithWillMovesALiveSessionWhenItsDialogueIsFinished_Case153(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
		r := newRig(t, nil)
		owner, forged := r.device("10.0.1.1:5000"), r.device("10.0.9.9:6666")
		owner.connectWill("dev", "will", "gone")
		owner.subscribe("t", 1)
		connect := sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
		forged.sendMessage(connect)
		forged.wantMessage("will", sn12.WillTopicReq{})
		r.publish("t", "x", 1)
		if got := owner.receive(time.Second); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("the owner gets %q", got)
		}
		owner.ping("the owner is connected")
		forged.sendMessage(connect)
		forged.wantMessage("the prompt again", sn12.WillTopicReq{})
		forged.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("will")})
		forged.wantMessage("will", sn12.WillMsgReq{})
		owner.ping("the owner is connected")
		for range 4 {
			time.Sleep(10 * time.Second)
			owner.ping("the owner is connected")
		}
		for range 3 {
			forged.wantMessage("repeated", sn12.WillMsgReq{})
		}
		forged.wantQuiet("forgotten without a word")
		r.wantWill("nobody is lost", "will", "")
		if n := len(r.gateway.shards[0].roster.claimed); n != 0 {
			t.Errorf("%d claims", n)
		}
		owner.sleep(600)
		r.publish("t", "y", 1)
		forged.sendMessage(connect)
		forged.wantMessage("will", sn12.WillTopicReq{})
		if got := owner.wake("dev"); !slices.Equal(got, []string{"y"}) {
			t.Errorf("the sleeper gets %q", got)
		}
		forged.discard()

		// The real one, from a new port.
		moved := r.device("10.0.1.1:5001")
		moved.sendMessage(connect)
		moved.wantMessage("will", sn12.WillTopicReq{})
		moved.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("will")})
		moved.wantMessage("will", sn12.WillMsgReq{})
		moved.sendMessage(sn12.WillMsg{Message: []byte("moved")})
		moved.wantMessage("accepted", sn12.ConnAck{})
		moved.sendMessage(sn12.WillMsg{Message: []byte("moved")})
		moved.wantMessage("the last step again", sn12.ConnAck{})
		owner.send("02 16")
		owner.want("a stranger here", "02 18")
		owner.wantQuiet("nothing more")
		r.wantSessions("one", 1)
		r.wantWill("none", "will", "")
		time.Sleep(91 * time.Second)
		r.wantWill("the new will", "will", "moved")
	})
}

// TestClaimIsOvertaken: the newest CONNECT of a client id counts, and a session that has
// ended meanwhile is made anew.
func TestClaimIsOvertaken_Case153(t *testing.T) {
	connect := sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
	finish := func(d *device) {
		d.sendMessage(sn12.WillTopic{Topic: []byte("w")})
		d.wantMessage("will", sn12.WillMsgReq{})
		d.sendMessage(sn12.WillMsg{Message: []byte("m")})
	}
	for name, tt := range map[string]func(t *testing.T, r *rig, owner, claimant, third *device){
		"by another claim": func(t *testing.T, r *rig, owner, claimant, third *device) {
			third.sendMessage(connect)
			third.wantMessage("will", sn12.WillTopicReq{})
			claimant.sendMessage(sn12.WillTopic{Topic: []byte("w")})
			claimant.wantMessage("it is a stranger now", sn12.Disconnect{})
			finish(third)
			third.wantMessage("accepted", sn12.ConnAck{})
		},
		"by a CONNECT without will": func(t *testing.T, r *rig, owner, claimant, third *device) {
			third.connect("dev")
			claimant.sendMessage(sn12.WillTopic{Topic: []byte("w")})
			claimant.wantMessage("it is a stranger now", sn12.Disconnect{})
			third.ping("connected")
		},
		"by itself without will": func(t *testing.T, r *rig, owner, claimant, third *device) {
			claimant.connect("dev")
			claimant.ping("connected")
		},
		"by another client id": func(t *testing.T, r *rig, owner, claimant, third *device) {
			claimant.connect("guest")
			claimant.ping("connected")
			owner.ping("connected")
		},
		"by the end of the session": func(t *testing.T, r *rig, owner, claimant, third *device) {
			owner.sendMessage(sn12.Disconnect{})
			owner.wantMessage("goodbye", sn12.Disconnect{})
			finish(claimant)
			claimant.wantMessage("accepted", sn12.ConnAck{})
			r.wantSessions("one", 1)
		},
		"by a will that is refused": func(t *testing.T, r *rig, owner, claimant, third *device) {
			claimant.sendMessage(sn12.WillTopic{Topic: []byte("w/#")})
			claimant.wantMessage("no topic name", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
			owner.ping("connected")
		},
		"by an empty will": func(t *testing.T, r *rig, owner, claimant, third *device) {
			claimant.sendMessage(sn12.WillTopic{Empty: true})
			claimant.wantMessage("accepted", sn12.ConnAck{})
			claimant.ping("connected")
		},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
				r := newRig(t, func(o *Options) { o.Shards = 3 })
				owner, claimant, third := r.device("10.0.1.1:5000"), r.device("10.0.9.9:6666"), r.device("10.0.8.8:6666")
				owner.connect("dev")
				claimant.sendMessage(connect)
				claimant.wantMessage("will", sn12.WillTopicReq{})
				tt(t, r, owner, claimant, third)
				synctest.Wait()
				byState := make([]int64, len(session.StateNames()))
				r.gateway.shards.count(byState)
				if n := byState[session.StateWillTopic] + byState[session.StateWillMsg]; n != 0 {
					t.Errorf("%d sessions are counted in a will dialogue", n)
				}
				for _, s := range r.gateway.shards {
					if len(s.roster.claimed) != 0 || s.spares.halfOpen.Len() != 0 {
						t.Errorf("%d claims, %d half-open sessions", len(s.roster.claimed), s.spares.halfOpen.Len())
					}
				}
			})
		})
	}
}

// TestClaimDuringADialogueOfTheOwner: the will of one is not mixed with that of the other.
func TestClaimDuringADialogueOfTheOwner_Case153(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		owner, claimant := r.device("10.0.1.1:5000"), r.device("10.0.9.9:6666")
		connect := sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
		owner.connect("dev")
		owner.sendMessage(connect)
		owner.wantMessage("will", sn12.WillTopicReq{})
		owner.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("owner")})
		owner.wantMessage("will", sn12.WillMsgReq{})
		claimant.sendMessage(connect)
		claimant.wantMessage("will", sn12.WillTopicReq{})
		claimant.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("claimant")})
		claimant.wantMessage("will", sn12.WillMsgReq{})
		claimant.sendMessage(sn12.WillMsg{Message: []byte("m")})
		claimant.wantMessage("accepted", sn12.ConnAck{})
		time.Sleep(91 * time.Second)
		r.wantWill("not the owner's", "owner", "")
		r.wantWill("its own", "claimant", "m")
		if n := r.dropped(session.ReasonMalformed); n != 0 {
			t.Errorf("%d malformed", n)
		}
	})
}
