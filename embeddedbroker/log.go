package embeddedbroker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"sngate/internal/rate"
)

// logHandler hands the broker's warnings and errors to a function. Most of them
// can be caused from the network, so their number is limited, and of their
// fields only plain values are kept: the broker also logs whole packets, with
// payloads and passwords.
type logHandler struct {
	to     func(level slog.Level, message string, fields []any)
	limit  *logLimit // shared with the handlers that WithAttrs makes of this one
	fields []any     // from With
}

var _ slog.Handler = (*logHandler)(nil)

func newLogHandler(to func(slog.Level, string, []any)) *logHandler {
	return &logHandler{to: to, limit: newLogLimit()}
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.to != nil && level >= slog.LevelWarn
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	// A keep-alive of a few seconds is the client's choice and no fault; the
	// broker warns of it at each such CONNECT.
	if r.Message == mqtt.ErrMinimumKeepalive.Error() {
		return nil
	}
	dropped, ok := h.limit.take(r.Time)
	if !ok {
		return nil
	}
	fields := append([]any(nil), h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendPlain(fields, a)
		return true
	})
	if dropped > 0 {
		fields = append(fields, "lines_dropped", dropped)
	}
	h.to(r.Level, r.Message, fields)
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.fields = append([]any(nil), h.fields...)
	for _, a := range attrs {
		with.fields = appendPlain(with.fields, a)
	}
	return &with
}

// WithGroup does nothing; the broker uses no groups.
func (h *logHandler) WithGroup(string) slog.Handler { return h }

// appendPlain adds a field if its value is a string, number, truth value, time
// or error, cut to a sensible length.
func appendPlain(fields []any, a slog.Attr) []any {
	v := a.Value.Resolve()
	var plain any
	switch v.Kind() {
	case slog.KindString:
		plain = cut(v.String())
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool, slog.KindDuration, slog.KindTime:
		plain = v.Any()
	default:
		err, ok := v.Any().(error)
		if !ok {
			return fields
		}
		plain = cut(err.Error())
	}
	return append(fields, a.Key, plain)
}

func cut(s string) string {
	if len(s) <= maxLoggedValueBytes {
		return s
	}
	return s[:maxLoggedValueBytes] + "..."
}

// logLimit bounds the lines. It takes its time from the records.
type logLimit struct {
	mu      sync.Mutex // records come from every connection's goroutine
	limiter rate.Limiter
	began   time.Time // the first record's time
	dropped int       // lines since the last one let through
}

func newLogLimit() *logLimit {
	const every = time.Minute / logPerMinute
	return &logLimit{limiter: rate.NewLimiter(rate.Every(every, every*logBurst))}
}

// take reports whether a line at time now may be logged, and how many were
// dropped before it.
func (l *logLimit) take(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() {
		l.began = now
	}
	if !l.limiter.Allow(now.Sub(l.began)) {
		l.dropped++
		return 0, false
	}
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
