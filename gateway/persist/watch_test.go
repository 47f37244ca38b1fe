package persist

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A disk that comes and goes is logged at most twice a minute.
func TestStoreThatFailsNowAndThenDoesNotFillTheLog(t *testing.T) {
	var log strings.Builder
	w := watch{log: zerolog.New(&log)}
	for now := time.Duration(0); now < time.Hour; now += time.Second {
		var err error
		if now/time.Second%2 == 0 {
			err = errors.New("input/output error")
		}
		w.look(now, err)
	}
	if n := strings.Count(log.String(), "\n"); n < 100 || n > 121 {
		t.Errorf("%d lines in an hour", n)
	}
}
