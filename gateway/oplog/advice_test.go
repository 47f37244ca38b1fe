package oplog

import (
	"strings"
	"testing"

	"sngate/gateway/metrics"
	"sngate/gateway/session"
)

// TestAdviceNamesEveryCause: a reason with several causes has an advice that fits each.
func TestAdviceNamesEveryCause(t *testing.T) {
	for reason, causes := range map[session.Reason][]string{
		session.ReasonBrokerDown:  {"no connection to the broker", "did not answer in time"},
		session.ReasonMemoryLimit: {"gateway.memory_limit", "an eighth of store.max_bytes"},
	} {
		for _, cause := range causes {
			if !strings.Contains(adviceFor[reason], cause) {
				t.Errorf("the advice for %v, %q, leaves out %q", reason, adviceFor[reason], cause)
			}
		}
	}
}

func TestEveryReasonOfADropHasAnAdvice(t *testing.T) {
	for _, why := range metrics.DropReasons() {
		if advice := adviceFor[why]; len(advice) < 20 || len(advice) > 160 {
			t.Errorf("%s: %d octets of advice: %q", why, len(advice), advice)
		}
	}
	if len(adviceFor) != len(metrics.DropReasons()) {
		t.Errorf("%d advices for %d reasons", len(adviceFor), len(metrics.DropReasons()))
	}
}
