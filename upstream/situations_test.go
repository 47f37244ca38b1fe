package upstream_test

import (
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// This file says how each state of a Link is reached, and which inputs there are.

// stage is a Link in a situation, and the broker's end of its newest connection, if it
// has one.
type stage struct {
	*rig
	o *owned
	p *upstreamtest.Peer

	next *upstreamtest.Peer // of a connection that is to take the place of p's; nil: there is none
}

type situation struct {
	is    string
	state string // of upstream.StateOf
	peer  bool   // there is a broker's end
	opt   upstream.Options
	reach func(s *stage)
}

func situations() []situation {
	renewing := upstream.Options{PingInterval: 10 * time.Hour, PingTimeout: time.Hour, AnswerTimeout: time.Hour, Credentials: func(id string) (credential.Connect, error) {
		return credential.Connect{ClientID: id, Life: 5 * time.Minute}, nil
	}}
	moved := upstream.Options{Address: "a:1", Fallbacks: []string{"b:1"}, FailBack: 10 * time.Second, PingInterval: time.Hour, AnswerTimeout: time.Hour}
	return []situation{
		{is: "idle: new", state: "idle", reach: func(*stage) {}},
		{is: "idle: closed, and a QoS 1 message of the device is unacknowledged", state: "idle", reach: func(s *stage) {
			s.busy()
			s.o.Close(s.now(), upstream.CloseAbort)
			s.runUntilIdle()
			s.p = nil
		}},
		{is: "dormant: reopened, until the device speaks", state: "dormant", reach: func(s *stage) {
			s.o.Reopen(s.now(), persistent, upstream.ReopenWhenNudged)
		}},
		{is: "connecting: for the owner; CONNECT is sent", state: "connecting", peer: true, reach: func(s *stage) {
			s.o.Connect(s.now(), persistent)
			s.dialled()
		}},
		{is: "connecting: for the owner; it waits for a slot", state: "connecting", opt: upstream.Options{MaxDials: 1}, reach: func(s *stage) {
			s.takeSlot()
			s.o.Connect(s.now(), persistent)
		}},
		{is: "connecting: for the owner; it waits for a slot, and the broker answers others", state: "connecting", opt: upstream.Options{MaxDials: 1, SlotWait: time.Minute}, reach: func(s *stage) {
			other := s.takeSlot()
			s.link().Connect(s.now(), &upstream.Connect{ClientID: "before"})
			s.o.Connect(s.now(), persistent)
			s.pass(5 * time.Second)
			other.Accept(false)
			s.runUntilIdle()
			s.lis.Accept(s.t)
		}},
		{is: "connecting: CONNECT is sent, and a QoS 1 message of the device waits", state: "connecting", peer: true, reach: func(s *stage) {
			s.o.Connect(s.now(), persistent)
			s.o.Publish(s.now(), 10, "up/t", []byte("x"), 1, false)
			s.dialled()
		}},
		{is: "reconnecting: after a loss; CONNECT is sent, and a QoS 1 message of the device is unacknowledged", state: "reconnecting", peer: true, reach: func(s *stage) {
			s.lose()
			s.pass(2 * time.Second)
			s.dialled()
		}},
		{is: "reconnecting: reopened; it waits for a slot", state: "reconnecting", opt: upstream.Options{MaxDials: 1}, reach: func(s *stage) {
			s.takeSlot()
			s.o.Reopen(s.now(), persistent, upstream.ReopenNow)
		}},
		{is: "up: and nothing under way", state: "up", peer: true, reach: func(s *stage) { s.p = s.o.connect(persistent, false) }},
		{is: "up: QoS 1 message 10 of the device, request 11 and ping 12 are unanswered, and so is QoS 1 message 7 of the broker", state: "up", peer: true, reach: (*stage).busy},
		{is: "up: the same, draining", state: "up", peer: true, reach: func(s *stage) {
			s.busy()
			s.o.Close(s.now(), upstream.CloseDrain)
		}},
		{is: "backoff: lost with the same, before the next try", state: "backoff", reach: func(s *stage) { s.lose() }},
		{is: "backoff: the same, draining", state: "backoff", reach: func(s *stage) {
			s.lose()
			s.o.Close(s.now(), upstream.CloseDrain)
		}},
		{is: "backoff: the broker has said that another connection has the session", state: "backoff", reach: func(s *stage) {
			s.busy()
			s.p.SendRaw(0xe0, 1, 0x8e)
			s.runUntilIdle()
			s.p = nil
		}},
		{is: "parked: the broker has said that another connection has the session", state: "parked", reach: func(s *stage) {
			s.busy()
			s.p.SendRaw(0xe0, 1, 0x8e)
			s.p.Conn.Close()
			s.pass(3 * time.Second)
			s.p = nil
		}},
		{is: "up: at another broker than the preferred", state: "up", peer: true, opt: moved, reach: func(s *stage) {
			s.d.StartAt("b:1")
			s.p = s.o.connect(persistent, false)
		}},
		{is: "closing: DISCONNECT is sent, with the same under way", state: "closing", peer: true, reach: func(s *stage) {
			s.busy()
			s.o.Close(s.now(), upstream.CloseGraceful)
		}},
		{is: "closing: before CONNACK", state: "closing", peer: true, reach: func(s *stage) {
			s.o.Connect(s.now(), persistent)
			s.dialled()
			s.o.Close(s.now(), upstream.CloseGraceful)
		}},
		{is: "replacing: DISCONNECT is sent, with the same under way; then a connection for the owner", state: "replacing", peer: true, reach: func(s *stage) {
			s.busy()
			s.o.Connect(s.now(), persistent)
		}},
		{is: "moving: DISCONNECT is sent, with the same under way; then a connection to the broker in use", state: "moving", peer: true, opt: moved, reach: func(s *stage) {
			s.d.StartAt("b:1")
			s.busy()
			s.pass(10 * time.Second)
			s.lis.Accept(s.t).Accept(false) // the trial of the preferred broker
		}},
		{is: "up: its credentials are to be renewed, with the same under way", state: "up", peer: true, opt: renewing, reach: func(s *stage) {
			s.busy()
			s.pass(4*time.Minute - time.Second)
		}},
		{is: "moving: for a renewal: DISCONNECT is sent, with the same under way; the new connection is there", state: "moving", peer: true, opt: renewing, reach: (*stage).renew},
		{is: "reconnecting: for a renewal: CONNECT is sent, with the same under way", state: "reconnecting", peer: true, opt: renewing, reach: func(s *stage) {
			s.renew()
			s.p.Conn.Close()
			s.runUntilIdle()
			s.p, s.next = s.next, nil
		}},
	}
}

// renew begins to renew the credentials of a connection with everything under way.
func (s *stage) renew() {
	s.busy()
	s.pass(4 * time.Minute)
	s.next = s.lis.Accept(s.t)
}

// busy opens the connection and puts one of everything under way.
func (s *stage) busy() {
	s.p = s.o.connect(persistent, false)
	s.o.Publish(s.now(), 10, "up/t", []byte("x"), 1, false)
	s.o.Subscribe(s.now(), 11, "down/#", 1)
	s.o.Ping(s.now(), 12)
	s.p.Publish("down/t", "y", 1, 7, false)
	s.runUntilIdle()
}

func (s *stage) lose() {
	s.busy()
	s.p.Conn.Close()
	s.runUntilIdle()
	s.p = nil
}

// dialled takes the broker's end of the connect in progress.
func (s *stage) dialled() {
	s.runUntilIdle()
	s.p = s.lis.Accept(s.t)
	upstreamtest.Want[*packets.ConnectPacket](s.p, "a connection begins with CONNECT")
}

// takeSlot lets another Link have the only slot.
func (s *stage) takeSlot() *upstreamtest.Peer {
	other := s.link()
	other.Connect(s.now(), &upstream.Connect{ClientID: "other"})
	s.runUntilIdle()
	return s.lis.Accept(s.t)
}

type stateInput struct {
	name  string
	peer  bool // the broker does it
	moved bool // only at another broker than the preferred
	do    func(s *stage)
}

func stateInputs() []stateInput {
	long := strings.Repeat("x", 65536)
	clean := &upstream.Connect{ClientID: "dev", KeepAlive: 600, CleanSession: true}
	publish := func(m upstream.Publish) func(s *stage) {
		m.Topic, m.Payload = "up/n", []byte("n")
		return func(s *stage) { s.o.Link.Publish(s.now(), m) }
	}
	closes := func(mode upstream.CloseMode) func(s *stage) {
		return func(s *stage) { s.o.Close(s.now(), mode) }
	}
	send := func(b ...byte) func(s *stage) { return func(s *stage) { s.p.SendRaw(b...) } }
	return []stateInput{
		{name: "Connect", do: func(s *stage) { s.o.Connect(s.now(), persistent) }},
		{name: "Connect, clean session", do: func(s *stage) { s.o.Connect(s.now(), clean) }},
		{name: "Connect, client id too long", do: func(s *stage) { s.o.Connect(s.now(), &upstream.Connect{ClientID: long}) }},
		{name: "Reopen now", do: func(s *stage) { s.o.Reopen(s.now(), persistent, upstream.ReopenNow) }},
		{name: "Reopen when nudged", do: func(s *stage) { s.o.Reopen(s.now(), persistent, upstream.ReopenWhenNudged) }},
		{name: "Reopen, client id too long", do: func(s *stage) { s.o.Reopen(s.now(), &upstream.Connect{ClientID: long}, upstream.ReopenNow) }},
		{name: "Publish QoS 0", do: publish(upstream.Publish{})},
		{name: "Publish QoS 1", do: publish(upstream.Publish{Token: 20, QoS: 1})},
		{name: "Publish QoS 2", do: publish(upstream.Publish{Token: 20, QoS: 2})},
		{name: "Publish QoS 2, released", do: publish(upstream.Publish{Token: 20, QoS: 2, Exchange: 1, Released: true})},
		{name: "Cancel", do: func(s *stage) { s.o.Await(10, false) }},
		{name: "Subscribe", do: func(s *stage) { s.o.Subscribe(s.now(), 21, "down/n", 2) }},
		{name: "Unsubscribe", do: func(s *stage) { s.o.Unsubscribe(s.now(), 21, "down/n") }},
		{name: "Ack", do: func(s *stage) { s.o.Ack(s.now(), s.held()) }},
		{name: "Complete", do: func(s *stage) { s.o.Complete(unknown(9)) }},
		{name: "Ping", do: func(s *stage) { s.o.Ping(s.now(), 22) }},
		{name: "Nudge", do: func(s *stage) { s.o.Nudge(s.now()) }},
		{name: "Want", do: func(s *stage) { s.o.Want(s.now(), true) }},
		{name: "Pause", do: func(s *stage) { s.o.Pause() }},
		{name: "Close, graceful", do: closes(upstream.CloseGraceful)},
		{name: "Close, drain", do: closes(upstream.CloseDrain)},
		{name: "Close, abort", do: closes(upstream.CloseAbort)},
		{name: "the deadline", do: func(s *stage) {
			if at := s.o.Deadline(); at != upstream.Never {
				<-time.After(at - s.now())
				s.o.Advance(s.now())
			}
		}},
		{name: "the preferred broker is back", moved: true, do: func(s *stage) {
			s.pass(10 * time.Second)
			s.lis.Accept(s.t).Accept(false) // of the trial
		}},
		{name: "CONNACK", peer: true, do: send(0x20, 2, 0, 0)},
		{name: "CONNACK, session present", peer: true, do: send(0x20, 2, 1, 0)},
		{name: "CONNACK, server unavailable", peer: true, do: send(0x20, 2, 0, 3)},
		{name: "CONNACK, not authorized", peer: true, do: send(0x20, 2, 0, 5)},
		{name: "PUBLISH QoS 0", peer: true, do: send(0x30, 4, 0, 1, 't', 'z')},
		{name: "PUBLISH QoS 1", peer: true, do: send(0x32, 6, 0, 1, 't', 0, 8, 'z')},
		{name: "PUBLISH QoS 1, repeated", peer: true, do: func(s *stage) { s.p.Publish("down/t", "y", 1, 7, true) }},
		{name: "PUBACK", peer: true, do: send(0x40, 2, 0, 1)},
		{name: "PUBREC", peer: true, do: send(0x50, 2, 0, 1)},
		{name: "PUBREL", peer: true, do: send(0x62, 2, 0, 1)},
		{name: "PUBCOMP", peer: true, do: send(0x70, 2, 0, 1)},
		{name: "SUBACK", peer: true, do: send(0x90, 3, 0, 2, 1)},
		{name: "UNSUBACK", peer: true, do: send(0xb0, 2, 0, 2)},
		{name: "PINGRESP", peer: true, do: send(0xd0, 0)},
		{name: "DISCONNECT", peer: true, do: send(0xe0, 0)},
		{name: "the end of the connection", peer: true, do: func(s *stage) { s.p.Conn.Close() }},
	}
}
