package mosquitto

import "sync"

// tail is a writer that keeps the last bytes written to it: a broker with
// "log_type all" would otherwise fill the memory of a long test.
type tail struct {
	mu    sync.Mutex // the broker's output and the test's reads are concurrent
	buf   []byte
	limit int
}

func newTail(limit int) *tail { return &tail{limit: limit} }

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - l.limit; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
