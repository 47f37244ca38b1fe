package gateway

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/admin"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/store/storetest"
)

// What a device sees that speaks while its session is being loaded: delay, and nothing else.
func TestDeviceThatSpeaksWhileItsSessionIsLoaded_Case148(t *testing.T) {
	short := sn12.ShortID("ab")
	hello := sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")}
	for name, tt := range map[string]struct {
		before func(r *rig, d *device)
		moved  bool // it speaks from another address
		speak  func(d *device)
		after  func(r *rig, d *device, got *published)
	}{
		"CONNECT": {
			speak: func(d *device) { d.sendMessage(hello) },
			after: func(_ *rig, d *device, _ *published) { d.wantMessage("accepted", sn12.ConnAck{}); d.ping("connected") },
		},
		"CONNECT, elsewhere": {
			moved: true,
			speak: func(d *device) { d.sendMessage(hello) },
			after: func(_ *rig, d *device, _ *published) { d.wantMessage("accepted", sn12.ConnAck{}); d.ping("connected") },
		},
		"CONNECT and more behind it, elsewhere": {
			moved: true,
			speak: func(d *device) {
				d.sendMessage(hello)
				d.sendMessage(sn12.PingReq{ClientID: []byte("dev")})
				d.sendMessage(sn12.Register{MsgID: 3, TopicName: []byte("up")})
			},
			after: func(_ *rig, d *device, _ *published) {
				d.wantMessage("accepted, and what came too early is not answered with DISCONNECT", sn12.ConnAck{})
				d.wantQuiet("as without a restart")
			},
		},
		"CONNECT with a will, elsewhere": {
			moved: true,
			speak: func(d *device) {
				c := hello
				c.Will = true
				d.sendMessage(c)
			},
			after: func(r *rig, d *device, got *published) {
				d.wantMessage("claims the session", sn12.WillTopicReq{})
				if len(r.gateway.shards[0].roster.claimed) != 1 {
					r.t.Error("no claim")
				}
			},
		},
		"wake with messages held": {
			before: func(r *rig, d *device) {
				d.subscribe("t", 1)
				d.sleep(600)
				r.publish("t", "a", 1)
				r.publish("t", "b", 2)
			},
			moved: true,
			speak: func(d *device) { d.sendMessage(sn12.PingReq{ClientID: []byte("dev")}) },
			after: func(r *rig, d *device, got *published) {
				if texts := d.receive(time.Second); !slices.Equal(texts, []string{"a", "b"}) {
					r.t.Fatalf("got %q", texts)
				}
			},
		},
		"PUBLISH of QoS 1": {
			speak: func(d *device) {
				for mid := range uint16(3) {
					d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: short, MsgID: mid + 1, Data: []byte{'a' + byte(mid)}})
				}
			},
			after: func(r *rig, d *device, got *published) {
				for mid := range uint16(3) {
					d.wantMessage("acknowledged", sn12.PubAck{TopicID: short, MsgID: mid + 1})
				}
				got.want(t, "in order", "dev ab a 1", "dev ab b 1", "dev ab c 1")
			},
		},
		"PUBLISH on an old topic id": {
			before: func(_ *rig, d *device) { d.register("old") },
			speak:  func(d *device) { d.sendMessage(sn12.Publish{QoS: 1, TopicID: 2, MsgID: 9, Data: []byte("x")}) },
			after: func(r *rig, d *device, got *published) {
				d.wantMessage("acknowledged", sn12.PubAck{TopicID: 2, MsgID: 9})
				got.want(t, "as its topic", "dev old x 1")
			},
		},
		"DISCONNECT": {
			speak: func(d *device) { d.sendMessage(sn12.Disconnect{}) },
			after: func(r *rig, d *device, got *published) {
				d.wantMessage("goodbye", sn12.Disconnect{})
				r.wantState("gone", session.StateDisconnected, 1)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inLoadingRig(t, nil, func(t *testing.T, r *rig) {
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 600, "dev")
				if tt.before != nil {
					tt.before(r, d)
				}
				time.Sleep(2 * time.Second)
				s := r.slowStart()
				got := r.observe()
				r.wantSessions("it is there", 1)
				if tt.moved {
					d = r.device("10.0.1.1:6000")
				}
				tt.speak(d)
				d.wantQuiet("its session is not there yet")
				if l := &r.gateway.shards[0].loads; len(l.waiting) != 1 {
					t.Errorf("datagrams of %d devices wait", len(l.waiting))
				}
				s.answer()
				tt.after(r, d, got)
				r.wantDropped(session.ReasonSessionLoading, 0)
				if len(r.gateway.shards[0].roster.claimed) == 0 {
					r.wantConsistent()
				}
			})
		})
	}
}

func TestNameOfADeviceWithoutOneWaitsForItsSession(t *testing.T) {
	inLoadingRig(t, func(o *Options) { o.AssignClientIDs = true }, func(t *testing.T, r *rig) {
		d := r.device("10.0.1.1:5000")
		d.connectNameless()
		s := r.slowStart()
		d.send(nameless)
		d.wantQuiet("its session is not there yet")
		s.answer()
		d.wantMessage("accepted", sn12.ConnAck{})
		r.wantSessions("it has the name that it had", 1)
	})
}

func TestMoreThanEightDatagramsOfALoadingSessionAreDropped(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		d := r.devices(1)[0]
		s := r.slowStart()
		got := r.observe()
		publish := func(mid uint16) {
			d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: mid, Data: []byte{'0' + byte(mid)}})
		}
		for mid := range uint16(8) {
			publish(mid + 1)
		}
		r.wantDropped(session.ReasonSessionLoading, 0)
		publish(9)
		r.wantDropped(session.ReasonSessionLoading, 1)
		if !slices.ContainsFunc(strings.Split(r.log.String(), "\n"), func(l string) bool {
			return strings.Contains(l, `"reason":"session_loading"`) && strings.Contains(l, `"client_id":"dev-00"`)
		}) {
			t.Error("it is not logged")
		}
		s.answer()
		for mid := range uint16(8) {
			d.wantMessage("those that have waited", sn12.PubAck{TopicID: sn12.ShortID("ab"), MsgID: mid + 1})
		}
		d.wantQuiet("the ninth is for the device to repeat")
		publish(9)
		d.wantMessage("repeated", sn12.PubAck{TopicID: sn12.ShortID("ab"), MsgID: 9})
		got.want(t, "each once, in order", "dev-00 ab 1 1", "dev-00 ab 2 1", "dev-00 ab 3 1", "dev-00 ab 4 1",
			"dev-00 ab 5 1", "dev-00 ab 6 1", "dev-00 ab 7 1", "dev-00 ab 8 1", "dev-00 ab 9 1")
		r.wantDropped(session.ReasonSessionLoading, 1)
	})
}

// The store is asked for a bounded number at a time, in the order in which sessions are taken up,
// and for one that speaks before the others.
func TestLoadsAreBoundedAndThoseThatSpeakComeFirst(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		devices := r.devices(loadsAtOnce + 4)
		var names []string
		for i := range devices {
			names = append(names, devName(i))
		}
		devices[3].send("02 18") // it has ended, and so comes last
		names = append(slices.Delete(slices.Clone(names), 3, 4), names[3])
		s := r.slowStart()
		r.wantCalls("at the start", s, names[:loadsAtOnce]...)
		devices[loadsAtOnce+2].send("02 16")
		devices[loadsAtOnce+2].send("02 16")
		r.wantCalls("no more at a time", s)
		s.answer(names[0])
		r.wantCalls("the one that has spoken", s, devName(loadsAtOnce+2))
		s.answer(devName(loadsAtOnce + 2))
		devices[loadsAtOnce+2].discard()
		r.wantCalls("then the next", s, names[loadsAtOnce])
		s.answer()
		rest := slices.DeleteFunc(slices.Clone(names[loadsAtOnce+1:]), func(id string) bool { return id == devName(loadsAtOnce+2) })
		r.wantCalls("the others, each once", s, rest...)
		r.wantSessions("all of them", len(devices))
		if l := &r.gateway.shards[0].loads; l.asked != 0 || len(l.waiting) != 0 || len(l.queue) != 0 || len(l.urgent) != 0 {
			t.Errorf("something is left: %+v", l)
		}
	})
}

// Whatever ends the gateway while sessions are being loaded, the next one has them all.
func TestEndWhileSessionsAreLoadedLosesNothing(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"crash":      func(r *rig) { r.crash() },
		"stop":       func(r *rig) { r.stop() },
		"stop, keep": func(r *rig) { r.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			inLoadingRig(t, func(o *Options) {
				if name == "stop, keep" {
					o.OnStop = StopKeep
				}
			}, func(t *testing.T, r *rig) {
				asleep, gone := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
				asleep.connectWith(false, 600, "asleep")
				asleep.subscribe("t", 1)
				asleep.sleep(600)
				r.publish("t", "a", 1)
				gone.connectWith(false, 600, "gone")
				gone.send("02 18")
				gone.wantMessage("goodbye", sn12.Disconnect{})
				time.Sleep(2 * time.Second)
				r.slowStart()
				before := sessionsOf(t, r.store)
				asleep.sendMessage(sn12.PingReq{ClientID: []byte("asleep")})
				for range 10 {
					gone.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("gone")})
				}
				time.Sleep(time.Minute)
				g := r.gateway
				end(r)
				if after := sessionsOf(t, r.store); !maps.Equal(before, after) {
					t.Errorf("the store has %q, had %q", after, before)
				}
				if name != "crash" {
					if n := g.shards[0].loads.waiting; n != nil {
						t.Errorf("%d devices have datagrams in the queue", len(n))
					}
					if n := g.metrics.Drops(session.ReasonStopping); n != 9 {
						t.Errorf("%d datagrams dropped by the stop, want 9", n)
					}
				}
				r.start()
				if got := asleep.wake("asleep"); !slices.Equal(got, []string{"a"}) {
					t.Errorf("got %q", got)
				}
				r.wantState("it is kept", session.StateDisconnected, 1)
			})
		})
	}
}

// The store answers when the shard has stopped its sessions.
func TestSessionThatIsLoadedTooLateIsLeftAlone(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		d := r.devices(1)[0]
		d.subscribe("t", 1)
		s := r.slowStart()
		before := sessionsOf(t, r.store)
		release := r.busy()
		stopped := make(chan error)
		go func() { stopped <- r.gateway.Stop(time.Second) }()
		synctest.Wait()
		s.answer()
		release()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if e := r.gateway.shards[0].roster.find(devName(0)); !e.loading.on || e.link != nil {
			t.Error("it has been taken up")
		}
		if after := sessionsOf(t, r.store); !maps.Equal(before, after) {
			t.Errorf("the store has %q, had %q", after, before)
		}
	})
}

func TestStoreThatFailsWhileSessionsAreLoaded(t *testing.T) {
	for name, ill := range map[string]func(s *slowLoads, is bool){
		"fails": func(s *slowLoads, is bool) {
			if s.fault = nil; is {
				s.fault = errors.New("bad sector")
			}
		},
		"refuses": func(s *slowLoads, is bool) { s.refuse = is },
	} {
		t.Run(name, func(t *testing.T) {
			inLoadingRig(t, nil, func(t *testing.T, r *rig) {
				devices := r.devices(3)
				r.crash()
				s := &slowLoads{Store: r.store, pending: make(map[string]func()), open: true}
				ill(s, true)
				r.opts.Store = s
				before := sessionsOf(t, r.store)
				r.start()
				r.wantSessions("they are there", 3)
				devices[1].send("02 16")
				devices[1].wantQuiet("its session cannot be read")
				s.calls()
				time.Sleep(999 * time.Millisecond)
				r.wantCalls("not again at once", s)
				time.Sleep(3 * time.Second)
				if name == "fails" {
					r.wantCalls("once a second, the one that has spoken first", s, devName(1), devName(0), devName(2),
						devName(1), devName(0), devName(2), devName(1), devName(0), devName(2))
					if len(r.logged("reading a session from the store failed, retrying")) == 0 {
						t.Error("it is not logged")
					}
				}
				if after := sessionsOf(t, r.store); !maps.Equal(before, after) {
					t.Error("the store has changed")
				}
				if !strings.Contains(r.readyz(), "loading sessions") {
					t.Errorf("ready: %q", r.readyz())
				}
				s.change(func() { ill(s, false) })
				time.Sleep(time.Second)
				devices[1].want("answered", "02 17")
				for _, d := range devices {
					d.ping("as if nothing had been")
				}
				r.wantSessions("all of them", 3)
			})
		})
	}
}

func TestReadyWhenAllSessionsAreLoaded(t *testing.T) {
	inLoadingRig(t, func(o *Options) { o.Shards = 3 }, func(t *testing.T, r *rig) {
		const message = "sessions restored"
		if r.readyz() != "ready\n" {
			t.Errorf("with an empty store: %q", r.readyz())
		}
		r.devices(5)
		r.crash()
		storetest.MustWrite(t, r.store, storetest.Put(store.Held, "dev-01\x00\x01", "no message"), storetest.Put(store.Sessions, "odd", ""))
		s := r.slowStart()
		if got := r.readyz(); got != "loading sessions\n" {
			t.Errorf("before: %q", got)
		}
		s.answer(devName(0), devName(1), devName(2), devName(3))
		if got := r.readyz(); got != "loading sessions\n" || len(r.logged(message)) != 0 {
			t.Errorf("before the last: %q, %q", got, r.logged(message))
		}
		s.answer()
		if got := r.readyz(); got != "ready\n" {
			t.Errorf("after the last: %q", got)
		}
		r.wantLogged(message, []string{"sessions"}, "5")
		r.wantLogged("ignoring corrupt records", []string{"records", "error"}, `2 | sessions "odd": malformed record of a session`)
	})
}

// A session that is being loaded is a session for whoever counts or looks.
func TestLoadingSessionIsCountedAndShown(t *testing.T) {
	inLoadingRig(t, func(o *Options) { o.Session.ProveAddress = true }, func(t *testing.T, r *rig) {
		d := r.device("10.0.1.1:5000")
		d.connectWill("dev", "will", "over")
		d.sleep(600)
		s := r.slowStart()
		r.wantState("as it is stored", session.StateAsleep, 1)
		r.wantSamples("in the metrics", map[string]float64{`sngate_sessions{state="asleep"}`: 1})
		var got admin.SessionDetail
		if status := r.ask("/api/v1/sessions/dev", &got); status != 200 || got.State != "asleep" || got.Address != "10.0.1.1:5000" || got.WillTopic != "will" || got.SleepSeconds != 600 {
			t.Errorf("status %d, %+v", status, got)
		}
		r.gateway.unreachable(0, d.conn.LocalAddr())
		r.wantDropped(session.ReasonUnreachable, 0)
		s.answer()
		r.wantState("the same", session.StateAsleep, 1)
		r.gateway.unreachable(0, d.conn.LocalAddr())
		r.wantDropped(session.ReasonUnreachable, 1)
		d.wake("dev")
	})
}
