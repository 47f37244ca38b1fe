package snclient

import (
	"context"
	"errors"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestConnectSaysWhatTheOptionsSay(t *testing.T) {
	script(t, Options{ClientID: "pump-7", CleanSession: true, KeepAlive: time.Minute}, func(g *gateway) {
		done := g.call(g.c.Connect)
		g.want("the first request", sn12.Connect{
			CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("pump-7"),
		})
		g.wantState("before the answer", Connecting)
		g.send(sn12.ConnAck{})
		done.want("Connect", nil)
		g.wantState("after the answer", Active)
	})
}

func TestConnectIsRepeatedThenGivenUp(t *testing.T) {
	script(t, Options{RetryCount: 2}, func(g *gateway) {
		connect := sn12.Connect{ProtocolID: 1, ClientID: []byte("dev")}
		done := g.call(g.c.Connect)
		g.want("the request", connect)
		g.wantAfter("first repetition", tretry, connect)
		g.wantAfter("second repetition", tretry, connect)
		g.quiet("Nretry is used up", tretry)
		done.want("Connect", ErrTimeout)
		g.wantState("without an answer", Disconnected)
	})
}

func TestNegativeRetryCountMeansNoRepetition(t *testing.T) {
	script(t, Options{RetryCount: -1}, func(g *gateway) {
		done := g.call(g.c.Connect)
		g.receive("the request", time.Second)
		g.quiet("no repetition", tretry)
		done.want("Connect", ErrTimeout)
	})
}

func TestConnectRefused(t *testing.T) {
	for _, code := range []sn12.ReturnCode{sn12.RejectedCongestion, sn12.RejectedNotSupported, 0x80} {
		script(t, Options{}, func(g *gateway) {
			done := g.call(g.c.Connect)
			g.receive("CONNECT", time.Second)
			g.send(sn12.ConnAck{ReturnCode: code})
			wantCode(t, done.get("Connect"), sn12.TypeConnect, code)
			g.wantState("refused", Disconnected)
		})
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	script(t, Options{}, func(g *gateway) {
		ctx, cancel := context.WithCancel(g.t.Context())
		done := g.call(func(context.Context) error { return g.c.Connect(ctx) })
		g.receive("CONNECT", time.Second)
		cancel()
		done.want("Connect", context.Canceled)
		g.wantState("cancelled", Disconnected)
		g.connect()
	})
}

func TestSecondConnectAtOnceIsBusy(t *testing.T) {
	script(t, Options{}, func(g *gateway) {
		done := g.call(g.c.Connect)
		g.receive("CONNECT", time.Second)
		g.call(g.c.Connect).want("a second one", ErrBusy)
		g.send(sn12.ConnAck{})
		done.want("the first one", nil)
	})
}

func TestWillDialogueSurvivesLossInEveryStep(t *testing.T) {
	will := &Will{Topic: "dead", Message: []byte("gone"), QoS: 1, Retain: true}
	script(t, Options{Will: will}, func(g *gateway) {
		connect := sn12.Connect{Will: true, ProtocolID: 1, ClientID: []byte("dev")}
		topic := sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("dead")}
		message := sn12.WillMsg{Message: []byte("gone")}
		done := g.call(g.c.Connect)
		g.want("the request", connect)
		g.wantAfter("WILLTOPICREQ was lost", tretry, connect)
		g.send(sn12.WillTopicReq{})
		g.want("the will topic", topic)
		g.send(sn12.WillTopicReq{})
		g.want("WILLTOPIC was lost", topic)
		g.wantAfter("WILLMSGREQ was lost", tretry, topic)
		g.send(sn12.WillMsgReq{})
		g.want("the will message", message)
		g.send(sn12.WillTopicReq{})
		g.want("a late prompt is answered", topic)
		g.wantAfter("a late prompt is no step back", tretry, message)
		g.send(sn12.ConnAck{})
		done.want("Connect", nil)
	})
}

func TestWillDialogueStartsAgainAfterDisconnect(t *testing.T) {
	script(t, Options{Will: &Will{Topic: "dead"}}, func(g *gateway) {
		done := g.call(g.c.Connect)
		connect := g.receive("CONNECT", time.Second)
		g.send(sn12.WillTopicReq{})
		g.receive("WILLTOPIC", time.Second)
		g.send(sn12.Disconnect{})
		g.wantAfter("the gateway has forgotten the dialogue", tretry, connect)
		g.send(sn12.ConnAck{})
		done.want("Connect", nil)
	})
}

func TestPromptWithoutAWillIsAnsweredWithTheEmptyTopic(t *testing.T) {
	script(t, Options{}, func(g *gateway) {
		done := g.call(g.c.Connect)
		g.receive("CONNECT", time.Second)
		g.send(sn12.WillTopicReq{})
		g.want("no will", sn12.WillTopic{Empty: true})
		g.send(sn12.ConnAck{})
		done.want("Connect", nil)
	})
}

func TestKeepAliveLeavesTimeForOneRepetition(t *testing.T) {
	connected(t, Options{KeepAlive: time.Minute}, func(g *gateway) {
		g.wantAfter("one Tretry early", 50*time.Second, sn12.PingReq{})
		g.send(sn12.PingResp{})
		g.wantAfter("again after the answer", 50*time.Second, sn12.PingReq{})
		g.wantAfter("unanswered", tretry, sn12.PingReq{})
		g.send(sn12.PingResp{})
		g.wantAfter("counted from the last datagram sent", 50*time.Second, sn12.PingReq{})
		for range defaultRetryCount {
			g.wantAfter("unanswered", tretry, sn12.PingReq{})
		}
		g.quiet("Nretry is used up", tretry)
		g.wantLost("no sign of life", ErrTimeout)
		g.wantState("lost", Disconnected)
		g.quiet("a lost client is silent", time.Hour)
	})
}

func TestShortKeepAlivePingsAtHalfTime(t *testing.T) {
	connected(t, Options{KeepAlive: 4 * time.Second}, func(g *gateway) {
		g.wantAfter("half of 4 s", 2*time.Second, sn12.PingReq{})
		g.send(sn12.PingResp{})
	})
}

func TestTrafficStandsInForKeepAlive_Case119(t *testing.T) {
	connected(t, Options{KeepAlive: time.Minute}, func(g *gateway) {
		for range 5 {
			g.quiet("not due yet", 40*time.Second)
			done := g.call(func(ctx context.Context) error {
				return g.c.Unsubscribe(ctx, Predefined(1))
			})
			m := g.receive("traffic", time.Second).(sn12.Unsubscribe)
			g.send(sn12.UnsubAck{MsgID: m.MsgID})
			done.want("Unsubscribe", nil)
		}
		g.wantAfter("counted from the last UNSUBSCRIBE", 50*time.Second, sn12.PingReq{})
		g.send(sn12.PingResp{})
	})
}

func TestUnansweredTrafficDoesNotStandInForKeepAlive(t *testing.T) {
	connected(t, Options{KeepAlive: time.Minute}, func(g *gateway) {
		g.quiet("not due yet", 40*time.Second-time.Nanosecond)
		for _, qos := range []uint8{0, sn12.QoSMinusOne} {
			done := g.call(func(ctx context.Context) error {
				return g.c.Publish(ctx, Predefined(1), nil, qos, false)
			})
			g.want("nobody can tell that it was lost", sn12.Publish{QoS: qos, TopicIDType: sn12.TopicIDPredefined, TopicID: 1, Data: []byte{}})
			done.want("Publish", nil)
		}
		g.wantAfter("counted from CONNECT", 10*time.Second, sn12.PingReq{})
		g.send(sn12.PingResp{})
	})
}

func TestPingFromTheGatewayIsAnswered_Case123(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.send(sn12.PingReq{})
		g.want("the answer", sn12.PingResp{})
	})
}

func TestPing(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.call(g.c.Ping)
		g.want("the request", sn12.PingReq{})
		g.wantAfter("unanswered", tretry, sn12.PingReq{})
		g.send(sn12.PingResp{})
		done.want("Ping", nil)
	})
}

func TestDisconnectIsRepeated(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.call(g.c.Disconnect)
		g.want("the request", sn12.Disconnect{})
		g.wantAfter("unanswered", tretry, sn12.Disconnect{})
		g.send(sn12.Disconnect{})
		done.want("Disconnect", nil)
		g.wantState("answered", Disconnected)
		g.call(g.c.Disconnect).want("again", ErrNotConnected)
	})
}

func TestUnansweredDisconnectIsNoLoss(t *testing.T) {
	connected(t, Options{RetryCount: -1}, func(g *gateway) {
		done := g.call(g.c.Disconnect)
		g.want("the request", sn12.Disconnect{})
		g.quiet("no answer", tretry)
		done.want("Disconnect", ErrTimeout)
		g.wantState("without an answer", Disconnected)
		select {
		case err := <-g.c.Lost():
			t.Errorf("a loss is reported: %v", err)
		default:
		}
	})
}

func TestDisconnectFromTheGatewayFailsWhatIsOpen(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.call(g.c.Ping)
		g.want("an open request", sn12.PingReq{})
		g.send(sn12.Disconnect{})
		done.want("the open request", ErrDisconnected)
		g.wantLost("DISCONNECT", ErrDisconnected)
		g.wantState("DISCONNECT", Disconnected)
	})
}

func TestCloseFailsWhatIsOpen(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		ping := g.call(g.c.Ping)
		g.want("an open request", sn12.PingReq{})
		search := g.call(func(ctx context.Context) error { _, err := g.c.SearchGateway(ctx, 0); return err })
		g.want("another", sn12.SearchGW{})
		if err := g.c.Close(); err != nil {
			t.Error(err)
		}
		ping.want("Ping", ErrClosed)
		search.want("SearchGateway", ErrClosed)
		g.call(g.c.Connect).want("a closed client", ErrClosed)
		g.call(func(ctx context.Context) error {
			return g.c.Publish(ctx, Predefined(1), nil, 1, false)
		}).want("a closed client", ErrClosed)
		g.conn.Close()
		g.rewire()
	})
}

func TestEndOfTheTransportIsALoss(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		g.conn.Close()
		g.wantLost("EOF", ErrClosed)
		g.rewire()
	})
}

func TestWillUpdates_Case49_50(t *testing.T) {
	connected(t, Options{}, func(g *gateway) {
		done := g.call(func(ctx context.Context) error {
			return g.c.UpdateWillTopic(ctx, &Will{Topic: "t", QoS: 2, Retain: true})
		})
		g.want("topic", sn12.WillTopicUpd{QoS: 2, Retain: true, Topic: []byte("t")})
		g.send(sn12.WillTopicResp{})
		done.want("UpdateWillTopic", nil)

		done = g.call(func(ctx context.Context) error { return g.c.UpdateWillTopic(ctx, nil) })
		g.want("no will", sn12.WillTopicUpd{Empty: true})
		g.send(sn12.WillTopicResp{ReturnCode: sn12.RejectedNotSupported})
		wantCode(t, done.get("UpdateWillTopic"), sn12.TypeWillTopicUpd, sn12.RejectedNotSupported)

		done = g.call(func(ctx context.Context) error { return g.c.UpdateWillMessage(ctx, []byte("m")) })
		g.want("message", sn12.WillMsgUpd{Message: []byte("m")})
		g.send(sn12.WillMsgResp{})
		done.want("UpdateWillMessage", nil)
	})
}

func TestSearchGateway(t *testing.T) {
	script(t, Options{}, func(g *gateway) {
		var found Gateway
		done := g.call(func(ctx context.Context) (err error) {
			found, err = g.c.SearchGateway(ctx, 1)
			return err
		})
		g.want("the search", sn12.SearchGW{Radius: 1})
		g.send(sn12.Advertise{GwID: 9, Duration: 900})
		g.wantAfter("unanswered", tretry, sn12.SearchGW{Radius: 1})
		g.send(sn12.GWInfo{GwID: 7, GwAdd: []byte{1, 2}})
		done.want("SearchGateway", nil)
		if found.ID != 7 || string(found.Address) != "\x01\x02" {
			t.Errorf("found %+v", found)
		}
	})
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no client id":         {},
		"keep-alive too long":  {ClientID: "x", KeepAlive: 65536 * time.Second},
		"keep-alive fraction":  {ClientID: "x", KeepAlive: 1500 * time.Millisecond},
		"keep-alive negative":  {ClientID: "x", KeepAlive: -time.Second},
		"will without a topic": {ClientID: "x", Will: &Will{}},
		"will with QoS 3":      {ClientID: "x", Will: &Will{Topic: "t", QoS: 3}},
		"window":               {ClientID: "x", Window: 1025},
		"packet size":          {ClientID: "x", MaxPacketSize: 65536},
		"retry interval":       {ClientID: "x", RetryInterval: -1},
		"buffer":               {ClientID: "x", Buffer: -1},
	} {
		if c, err := New(nil, o); err == nil {
			c.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestClosedPortFailsConnectAtOnce(t *testing.T) {
	c, err := Dial(t.Context(), closedPort(t), Options{ClientID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	if err := c.Connect(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the error of the socket before Tretry is over", err)
	}
}
