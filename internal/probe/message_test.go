package probe

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"sngate/snpacket/sn12"
	"sngate/upstream/credential"
)

// topicMaps are some, with what becomes of the message "status" and of its subscription.
var topicMaps = []struct {
	name          string
	topics        credential.Topics
	topic, asked  string // of the broker
	deviceFilter  string
	nothingReturn bool
}{
	{"none", credential.Topics{}, "status", "status", "status", false},
	{"both ways", credential.Topics{Publish: "p/dev/", Subscribe: "p/dev/"}, "p/dev/status", "p/dev/status", "status", false},
	{"two places", credential.Topics{Publish: "up/", Subscribe: "down/"}, "up/status", "down/status", "status", true},
	{"one way", credential.Topics{Publish: "up/"}, "up/status", "status", "status", true},
	{"all on one topic", credential.Topics{Publish: "m/up/", Subscribe: "m/down/", DeliverAs: "all"}, "m/up/status", "m/down/#", "all", true},
	{"all on one topic, its own too", credential.Topics{Publish: "m/up/", Subscribe: "m/", DeliverAs: "all"}, "m/up/status", "m/#", "all", false},
}

// What has no way back is no failure.
func TestTopicsGoThroughTheTopicMap(t *testing.T) {
	for _, tc := range topicMaps {
		t.Run(tc.name, func(t *testing.T) {
			s := &script{suback: 1, deaf: tc.nothingReturn}
			b := brokerAt(serve(t, s.handle))
			who, _ := b.Identity()
			who.Topics = tc.topics
			b.Identity = func() (credential.Connect, error) { return who, nil }
			p := runAim(t, Aim{Broker: b, Topic: "status", Limits: Limits{MaxQoS: 1}, Timeout: patience})
			wantReturn(t, p, !tc.nothingReturn)
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Equal(s.filters, []string{tc.asked}) || len(s.messages) != 1 || s.messages[0].TopicName != tc.topic || s.messages[0].Retain {
				t.Errorf("SUBSCRIBE %q, PUBLISH %v", s.filters, s.messages)
			}
		})
	}
}

// A gateway is asked for what the device calls it.
func TestAGatewayIsAskedByTheTopicsOfTheDevice(t *testing.T) {
	for _, tc := range topicMaps {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			var seen []string
			a := works()
			register, subscribe, publish := a[sn12.TypeRegister], a[sn12.TypeSubscribe], a[sn12.TypePublish]
			a.with(sn12.TypeRegister, func(m sn12.Message) []sn12.Message {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, "REGISTER "+string(m.(sn12.Register).TopicName))
				return register(m)
			}).with(sn12.TypeSubscribe, func(m sn12.Message) []sn12.Message {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, "SUBSCRIBE "+string(m.(sn12.Subscribe).TopicName))
				if string(m.(sn12.Subscribe).TopicName) != "status" { // it is another topic, with an id of its own
					return []sn12.Message{sn12.SubAck{TopicID: 6, QoS: 1, MsgID: m.(sn12.Subscribe).MsgID}}
				}
				return subscribe(m)
			}).with(sn12.TypePublish, func(m sn12.Message) []sn12.Message {
				answers := publish(m)
				if tc.nothingReturn {
					return answers[1:]
				}
				return answers
			})
			g := &Gateway{Address: gatewayOf(t, a), ClientID: "dev", Topics: func() credential.Topics { return tc.topics }}
			wantReturn(t, runAim(t, Aim{Gateway: g, Topic: "status", Limits: Limits{MaxQoS: 1}, Timeout: patience}), !tc.nothingReturn)
			mu.Lock()
			defer mu.Unlock()
			if want := []string{"REGISTER status", "SUBSCRIBE " + tc.deviceFilter}; !slices.Equal(seen, want) {
				t.Errorf("%q, want %q", seen, want)
			}
		})
	}
}

// wantReturn wants a part that has worked, and its message back or said to have no way back.
func wantReturn(t *testing.T, p *Part, back bool) {
	t.Helper()
	s := p.step(StepReceive)
	switch {
	case p.Result != OK || p.step(StepSubscribe).Result != OK || p.step(StepPublish).Result != OK || p.step(StepDisconnect).Result != OK:
		t.Errorf("%+v", p)
	case back && (s.Result != OK || p.RoundTripSeconds == nil):
		t.Errorf("%+v", s)
	case !back && (s.Result != Skipped || p.RoundTripSeconds != nil || !strings.Contains(s.Text, "published and acknowledged; this broker sends nothing back")):
		t.Errorf("%+v", s)
	}
}

// Where nothing comes back on a topic, nothing is subscribed to and nothing waited for.
func TestAProbeCanPublishOnly(t *testing.T) {
	s := &script{deaf: true}
	forbidden := works().with(sn12.TypeSubscribe, func(m sn12.Message) []sn12.Message {
		return []sn12.Message{sn12.SubAck{MsgID: m.(sn12.Subscribe).MsgID, ReturnCode: sn12.RejectedNotSupported}}
	}).with(sn12.TypePublish, func(m sn12.Message) []sn12.Message {
		return []sn12.Message{sn12.PubAck{TopicID: 5, MsgID: m.(sn12.Publish).MsgID}}
	})
	for _, a := range []Aim{{Broker: brokerAt(serve(t, s.handle))}, {Gateway: &Gateway{Address: gatewayOf(t, forbidden), ClientID: "dev"}}} {
		a.Topic, a.NoReceive, a.Limits.MaxQoS, a.Timeout = "status", true, 1, patience
		p := runAim(t, a)
		if p.Result != OK || p.step(StepSubscribe).Result != Skipped || p.step(StepPublish).Result != OK ||
			p.step(StepReceive).Text != "published and acknowledged; nothing is to come back, as --no-receive says" {
			t.Errorf("%+v", p)
		}
	}
	if s.mu.Lock(); s.subscribed != 0 {
		t.Errorf("%q", s.filters)
	}
	s.mu.Unlock()
}

// What the gateway would keep from the broker is not sent.
func TestLimitsOfTheBrokerAreKept(t *testing.T) {
	const topic = "up/dev/status" // at the broker; 13 octets, 3 levels
	for _, tc := range []struct {
		limits       Limits
		step, reason string
		text         string
	}{
		{Limits{MaxTopicBytes: len(topic)}, "", "", ""},
		{Limits{MaxTopicBytes: len(topic) - 1}, StepPublish, "limits_max_topic_bytes", `"up/dev/status" is not sent: it has 13 octets, and broker.limits.max_topic_bytes is 12`},
		{Limits{MaxTopicBytes: 6}, StepPublish, "limits_max_topic_bytes", "is 6"},
		{Limits{MaxTopicBytes: 5}, StepSubscribe, "limits_max_topic_bytes", `"status" is not sent: it has 6 octets`},
		{Limits{MaxTopicLevels: 3}, "", "", ""},
		{Limits{MaxTopicLevels: 2}, StepPublish, "limits_max_topic_levels", "it has 3 levels, and broker.limits.max_topic_levels is 2"},
		{Limits{MaxQoS: 2}, "", "", ""},
		{Limits{MaxPayload: 10}, "", "", ""},
	} {
		s := &script{deaf: true}
		b := brokerAt(serve(t, s.handle))
		who, _ := b.Identity()
		who.Topics = credential.Topics{Publish: "up/dev/"}
		b.Identity = func() (credential.Connect, error) { return who, nil }
		p := runAim(t, Aim{Broker: b, Topic: "status", Limits: tc.limits, Timeout: patience})
		if f := p.step(p.FailedStep); p.FailedStep != tc.step || f.Reason != tc.reason || !strings.Contains(f.Text, tc.text) {
			t.Errorf("%+v: %s, %+v", tc.limits, p.FailedStep, f)
		}
		s.mu.Lock()
		for _, m := range s.messages {
			if tc.step != "" || m.Qos != min(tc.limits.MaxQoS, 1) || tc.limits.MaxPayload > 0 && len(m.Payload) > tc.limits.MaxPayload {
				t.Errorf("%+v: sent %v", tc.limits, m)
			}
		}
		if (len(s.messages) == 0) != (tc.step != "") {
			t.Errorf("%+v: %d messages", tc.limits, len(s.messages))
		}
		s.mu.Unlock()
	}
}

func TestTextsAreNeverTheSame(t *testing.T) {
	for _, most := range []int{0, 12, 1000} {
		a, b := newText(most), newText(most)
		if a == b || a == "" || most > 0 && len(a) > most {
			t.Errorf("%d: %q, %q", most, a, b)
		}
	}
}
