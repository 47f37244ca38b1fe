package store

import "sync"

// InMemory returns a store that keeps nothing: batches are answered with nil, inside
// Submit and from the caller's goroutine, and Load and LoadPrefix find no records. With it the
// program holds its state in memory only, through the same interface.
func InMemory() Store { return &memory{} }

type memory struct {
	mu     sync.Mutex
	stats  Stats
	closed bool
}

func (m *memory) Durable() bool { return false }
func (m *memory) Health() error { return nil }

func (m *memory) Load(_ func(b Bucket, key, value []byte) error, buckets ...Bucket) error {
	_, err := Wanted(buckets)
	return err
}

func (m *memory) Submit(b Batch) bool {
	err := b.Check()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	if err == nil {
		m.stats.Count(b)
	} else {
		m.stats.Failed++
	}
	m.mu.Unlock()
	b.Answer(err)
	return true
}

func (m *memory) LoadPrefix(prefix []byte, done func([]Record, error)) bool {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if !closed {
		done(nil, CheckPrefix(prefix))
	}
	return !closed
}

func (m *memory) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
