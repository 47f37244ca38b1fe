package gateway

import (
	"strings"
	"testing"

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
