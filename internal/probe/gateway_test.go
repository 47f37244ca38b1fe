package probe

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// answers is what a scripted gateway answers. A type without an answer is met with silence.
type answers map[sn12.Type]func(m sn12.Message) []sn12.Message

// works is a gateway that answers everything.
func works() answers {
	const id = 5
	return answers{
		sn12.TypeSearchGW: func(sn12.Message) []sn12.Message { return []sn12.Message{sn12.GWInfo{GwID: 9}} },
		sn12.TypeConnect:  func(sn12.Message) []sn12.Message { return []sn12.Message{sn12.ConnAck{}} },
		sn12.TypeRegister: func(m sn12.Message) []sn12.Message {
			return []sn12.Message{sn12.RegAck{TopicID: id, MsgID: m.(sn12.Register).MsgID}}
		},
		sn12.TypeSubscribe: func(m sn12.Message) []sn12.Message {
			return []sn12.Message{sn12.SubAck{TopicID: id, QoS: 1, MsgID: m.(sn12.Subscribe).MsgID}}
		},
		sn12.TypePublish: func(m sn12.Message) []sn12.Message {
			p := m.(sn12.Publish)
			return []sn12.Message{sn12.Publish{TopicID: id, Data: p.Data}, sn12.PubAck{TopicID: id, MsgID: p.MsgID}}
		},
		sn12.TypeDisconnect: func(sn12.Message) []sn12.Message { return []sn12.Message{sn12.Disconnect{}} },
	}
}

// with replaces one answer.
func (a answers) with(kind sn12.Type, f func(m sn12.Message) []sn12.Message) answers {
	a[kind] = f
	return a
}

// gatewayOf answers datagrams until the test ends.
func gatewayOf(t *testing.T, a answers) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for buf := make([]byte, 2048); ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := sn12.Parse(append([]byte(nil), buf[:n]...))
			if err != nil || a[m.Type()] == nil {
				continue
			}
			for _, answer := range a[m.Type()](m) {
				if b, err := answer.Append(nil); err == nil {
					_, _ = pc.WriteTo(b, from)
				}
			}
		}
	})
	t.Cleanup(func() {
		pc.Close()
		wg.Wait()
	})
	return pc.LocalAddr().String()
}

func visitAt(t *testing.T, g *Gateway, timeout time.Duration) *Part {
	t.Helper()
	return runAim(t, Aim{Gateway: g, Topic: "dev/probe", Limits: Limits{MaxQoS: 2}, Timeout: timeout})
}

func TestAGatewayThatWorks(t *testing.T) {
	p := visitAt(t, &Gateway{Address: gatewayOf(t, works()), ClientID: "dev"}, patience)
	if p.Result != OK || p.RoundTripSeconds == nil || !strings.Contains(p.step(StepSearch).Text, "gateway 9") || !strings.Contains(p.step(StepRegister).Text, "topic id 5") {
		t.Errorf("%+v", p)
	}
}

func TestAGatewayThatDoesNotRun(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := pc.LocalAddr().String()
	pc.Close()
	p := visitAt(t, &Gateway{Address: address, ClientID: "dev"}, patience)
	if s := p.step(StepConnect); p.Result != Failed || s.Reason != "refused" || !strings.Contains(s.Advice, "is the gateway running") {
		t.Errorf("%+v", p)
	}
	p = visitAt(t, &Gateway{Address: address, ClientID: "dev", Optional: true}, patience)
	if p.Result != Skipped || p.FailedStep != "" || !strings.Contains(p.Text, "no gateway is running at "+address) {
		t.Errorf("%+v", p)
	}
}

func TestFaultsOfAGateway(t *testing.T) {
	connack := func(code sn12.ReturnCode) answers {
		return works().with(sn12.TypeConnect, func(sn12.Message) []sn12.Message { return []sn12.Message{sn12.ConnAck{ReturnCode: code}} })
	}
	ends := func(sn12.Message) []sn12.Message { return []sn12.Message{sn12.Disconnect{}} }
	puback := func(code sn12.ReturnCode) answers {
		return works().with(sn12.TypePublish, func(m sn12.Message) []sn12.Message {
			return []sn12.Message{sn12.PubAck{TopicID: 5, MsgID: m.(sn12.Publish).MsgID, ReturnCode: code}}
		})
	}
	for _, tc := range []struct {
		name    string
		answers answers
		step    string
		reason  string
		text    string
		silent  bool
	}{
		{"says nothing", answers{}, StepConnect, "timeout", "a firewall on the way drops UDP", true},
		{"congestion", connack(sn12.RejectedCongestion), StepConnect, "rejected_congestion", "no connection to its broker", false},
		{"not supported", connack(sn12.RejectedNotSupported), StepConnect, "rejected_not_supported", "session.allow", false},
		{"another code", connack(0x77), StepConnect, "rejected_other", "log of the gateway", false},
		{"REGISTER refused", works().with(sn12.TypeRegister, func(m sn12.Message) []sn12.Message {
			return []sn12.Message{sn12.RegAck{MsgID: m.(sn12.Register).MsgID, ReturnCode: sn12.RejectedNotSupported}}
		}), StepRegister, "rejected_not_supported", "--topic", false},
		{"SUBSCRIBE refused", works().with(sn12.TypeSubscribe, func(m sn12.Message) []sn12.Message {
			return []sn12.Message{sn12.SubAck{MsgID: m.(sn12.Subscribe).MsgID, ReturnCode: sn12.RejectedInvalidTopicID}}
		}), StepSubscribe, "rejected_topic_id", "--topic", false},
		{"SUBSCRIBE unanswered", works().with(sn12.TypeSubscribe, nil), StepSubscribe, "timeout", "no answer to SUBSCRIBE", true},
		{"the session ends", works().with(sn12.TypeSubscribe, ends), StepSubscribe, "closed", "has ended the session after SUBSCRIBE", false},
		{"PUBLISH refused", puback(sn12.RejectedCongestion), StepPublish, "rejected_congestion", "lost its connection to the broker", false},
		{"no echo", puback(sn12.Accepted), StepReceive, "no_echo", "may not publish", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			timeout := patience
			if tc.silent {
				timeout = silence
			}
			p := visitAt(t, &Gateway{Address: gatewayOf(t, tc.answers), ClientID: "dev"}, timeout)
			s := p.step(p.FailedStep)
			if p.Result != Failed || s.Name != tc.step || s.Reason != tc.reason || !strings.Contains(s.Text+"\n"+s.Advice, tc.text) {
				t.Errorf("%s failed: %+v", p.FailedStep, s)
			}
		})
	}
}
