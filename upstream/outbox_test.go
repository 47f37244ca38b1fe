package upstream

import (
	"fmt"
	"testing"

	"sngate/upstream/mqtt"
)

// Every step of an exchange, and all that can happen to it.
func TestExchangeSteps(t *testing.T) {
	names := map[phase]string{publishing: "publishing", awaitingRelease: "held", releasing: "releasing"}
	does := []struct {
		name string
		f    func(m *outgoing) (ends bool)
	}{
		{"PUBACK", func(m *outgoing) bool { return m.ends(mqtt.TypePuback) }},
		{"PUBREC", func(m *outgoing) bool {
			if m.qos == 2 {
				m.pubrec()
			}
			return m.ends(mqtt.TypePubrec)
		}},
		{"PUBCOMP", func(m *outgoing) bool { return m.ends(mqtt.TypePubcomp) }},
		{"release", func(m *outgoing) bool { m.release(); return false }},
		{"session lost", func(m *outgoing) bool { m.restart(false); return false }},
		{"session kept", func(m *outgoing) bool { m.restart(true); return false }},
	}
	for _, c := range []struct {
		qos   uint8
		owned bool
		at    phase
		want  [6]string // for each of does
	}{
		{1, false, publishing, [6]string{"end", "end", "publishing", "publishing", "publishing", "publishing"}},
		{2, false, publishing, [6]string{"end", "releasing", "publishing", "publishing", "publishing", "publishing"}},
		{2, false, releasing, [6]string{"releasing", "releasing", "end", "releasing", "publishing", "releasing"}},
		{2, true, publishing, [6]string{"end", "held", "publishing", "publishing", "publishing", "publishing"}},
		{2, true, awaitingRelease, [6]string{"held", "held", "held", "releasing", "publishing", "held"}},
		{2, true, releasing, [6]string{"releasing", "releasing", "end", "releasing", "publishing", "releasing"}},
	} {
		for i, do := range does {
			m := outgoing{id: 1, qos: c.qos, phase: c.at}
			if c.owned {
				m.id = exchangeID(1)
			}
			got := "end"
			if !do.f(&m) {
				got = names[m.phase]
			}
			if got != c.want[i] {
				t.Errorf("%s: got %s, want %s", fmt.Sprintf("QoS %d, owned %t, %s, %s", c.qos, c.owned, names[c.at], do.name), got, c.want[i])
			}
		}
	}
}
