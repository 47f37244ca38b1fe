package bolt

import (
	"time"

	"sngate/store"
)

// newFileStore takes over an open engine and starts its writer.
func newFileStore(e *engine) *fileStore {
	s := &fileStore{
		opts:   e.opts,
		wake:   make(chan struct{}, 1),
		gone:   make(chan struct{}),
		engine: e,
		pace:   pace{linger: e.opts.Linger},
		timer:  time.NewTimer(time.Hour),
	}
	s.timer.Stop()
	s.publish()
	go s.run()
	return s
}

// run is the writer: the only goroutine that touches the engine until Close.
func (s *fileStore) run() {
	defer close(s.gone)
	for {
		closing := s.wait()
		for s.turn() {
		}
		if closing {
			return
		}
		if s.failed != nil && !time.Now().Before(s.retryAt) {
			s.probe()
		}
	}
}

// wait blocks until there is something to do and reports whether the store is closing.
func (s *fileStore) wait() (closing bool) {
	if s.failed == nil {
		<-s.wake
	} else {
		t := time.NewTimer(time.Until(s.retryAt))
		select {
		case <-s.wake:
		case <-t.C:
		}
		t.Stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// turn serves what is in front of the queue: calls of LoadPrefix, or batches in one
// transaction. It reports false if there is nothing.
func (s *fileStore) turn() bool {
	s.linger()
	if !s.take() {
		return false
	}
	for i := range s.loads {
		s.serve(&s.loads[i])
	}
	clear(s.loads)
	if len(s.work) > 0 {
		s.commit()
		s.compact()
	}
	return true
}

// take moves requests of one kind from the queue: to loads, or batches to work, as many as a
// transaction may have and at least one. It reports false if there are none.
func (s *fileStore) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads, s.work = s.loads[:0], s.work[:0]
	ops, bytes := 0, 0
	for i := range s.queue {
		r := &s.queue[i]
		if r.load != nil && len(s.work) == 0 {
			s.loads = append(s.loads, *r)
			s.prompt--
			continue
		}
		ops += len(r.batch.Ops)
		bytes += r.size()
		if r.load != nil || len(s.loads) > 0 || len(s.work) > 0 && (ops > s.opts.TxOps || bytes > s.opts.TxBytes) {
			break
		}
		s.work = append(s.work, r.batch)
		if !r.batch.Lazy {
			s.prompt--
		}
	}
	s.queuedLoads -= len(s.loads)
	n := len(s.loads) + len(s.work)
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return n > 0
}

// commit writes the batches in work and answers them.
func (s *fileStore) commit() {
	s.work = s.rejectInvalid(s.work)
	switch {
	case len(s.work) == 0:
	case s.failed == nil:
		s.attempt()
	case !time.Now().Before(s.retryAt):
		if err := s.reopen(); err != nil {
			s.fail(err)
			s.answer(s.work, err)
		} else {
			s.attempt()
		}
	case s.deletesOK:
		s.refusePuts(s.failed)
		s.deletes()
	default:
		s.answer(s.work, s.failed)
	}
	clear(s.work)
}

// attempt writes work. When that fails, the batches that only delete are tried alone:
// on a full disk they are what makes room, and in one transaction with a message that
// does not fit they would never get through.
func (s *fileStore) attempt() {
	w, err := s.engine.commit(s.work, s.failed != nil)
	if err == nil {
		s.failed = nil
		s.committed(w)
		return
	}
	s.fail(err)
	s.refusePuts(err)
	if err := s.reopen(); err != nil {
		s.answer(s.work, s.failed)
		return
	}
	s.deletesOK = true
	s.deletes()
}

func (s *fileStore) deletes() {
	if len(s.work) == 0 {
		return
	}
	w, err := s.engine.commit(s.work, false)
	if err == nil {
		s.committed(w)
		return
	}
	s.fail(err)
	s.answer(s.work, err)
}

// probe finds out without a batch whether the file can be written again.
func (s *fileStore) probe() {
	err := s.reopen()
	if err == nil {
		s.work = s.work[:0]
		var w written
		if w, err = s.engine.commit(nil, true); err == nil {
			s.failed = nil
			s.committed(w)
			return
		}
	}
	s.fail(err)
}

func (s *fileStore) reopen() error {
	s.swap.Lock()
	defer s.swap.Unlock()
	return s.engine.reopen()
}

// fail notes that an attempt failed.
func (s *fileStore) fail(err error) {
	s.failed, s.retryAt, s.deletesOK = err, time.Now().Add(retryEvery), false
	s.mu.Lock()
	s.stats.Failures++
	s.health = err
	s.mu.Unlock()
}

// committed counts work as written and answers it.
func (s *fileStore) committed(w written) {
	s.mu.Lock()
	s.health = s.failed
	if w.bytes > 0 {
		s.stats.Commits++
		s.stats.Written += w.bytes
		s.stats.LastCommit = w.took
	}
	var all askers
	for i := range s.work {
		s.stats.Count(s.work[i])
		all.add(&s.work[i])
	}
	if w.bytes > 0 && all.some {
		s.pace.committed(w.began, s.inCompany(all))
	}
	s.mu.Unlock()
	s.publish()
	s.answer(s.work, nil)
}

// inCompany reports whether there are several, with those that wait by now. The lock is held.
func (s *fileStore) inCompany(a askers) bool {
	for i := 0; i < len(s.queue) && !a.several && s.prompt > 0; i++ {
		if s.queue[i].load != nil {
			return true
		}
		a.add(&s.queue[i].batch)
	}
	return a.several
}

// publish brings the sizes into the statistics.
func (s *fileStore) publish() {
	e := s.engine
	info, err := e.pin.Stat()
	s.mu.Lock()
	if err == nil {
		s.stats.FileBytes = info.Size()
	}
	s.stats.FreeBytes = e.free
	s.mu.Unlock()
}

// refusePuts answers the batches in work that store something with err, and leaves the
// others.
func (s *fileStore) refusePuts(err error) {
	s.work = s.partition(s.work, func(b store.Batch) error {
		if onlyDeletes(b) {
			return nil
		}
		return err
	})
}

func (s *fileStore) rejectInvalid(work []store.Batch) []store.Batch {
	return s.partition(work, store.Batch.Check)
}

// partition answers the batches for which reason gives one and returns the others, in
// order and in the same array.
func (s *fileStore) partition(work []store.Batch, reason func(store.Batch) error) []store.Batch {
	keep := work[:0]
	for i := range work {
		if err := reason(work[i]); err != nil {
			s.answer(work[i:i+1], err)
		} else {
			keep = append(keep, work[i])
		}
	}
	clear(work[len(keep):])
	return keep
}

// answer takes batches out of the queue's account and tells their owners.
func (s *fileStore) answer(batches []store.Batch, err error) {
	bytes := 0
	for _, b := range batches {
		bytes += b.Size()
	}
	s.mu.Lock()
	s.stats.Queued -= len(batches)
	s.stats.QueuedBytes -= bytes
	if err != nil {
		s.stats.Failed += uint64(len(batches))
	}
	s.mu.Unlock()
	for _, b := range batches {
		b.Answer(err)
	}
}

// compact gives space back when most of the file is free.
func (s *fileStore) compact() {
	if s.failed != nil || !s.engine.wasteful() || time.Now().Before(s.compactAt) {
		return
	}
	err := s.engine.compact(func(exchange func() error) error {
		s.swap.Lock()
		defer s.swap.Unlock()
		return exchange()
	})
	if err != nil {
		s.compactAt = time.Now().Add(compactRetry)
		if s.engine.db == nil {
			s.fail(err)
		}
		return
	}
	s.compactAt = time.Now().Add(compactEvery)
	s.mu.Lock()
	s.stats.Compactions++
	s.mu.Unlock()
	s.publish()
}

// onlyDeletes reports whether the batch needs no new space.
func onlyDeletes(b store.Batch) bool {
	for i := range b.Ops {
		if b.Ops[i].Kind == store.Put {
			return false
		}
	}
	return true
}

// linger waits for requests that may share the next transaction.
func (s *fileStore) linger() {
	if s.failed == nil {
		s.restFor(laziness*s.pace.linger, prompts)
		s.restFor(s.pace.wait(time.Now()), company)
	}
}

// restFor waits for d, or until what is queued ends that.
func (s *fileStore) restFor(d time.Duration, r rest) {
	if d <= 0 || !s.setRest(r) {
		return
	}
	s.timer.Reset(d)
	select {
	case <-s.wake:
	case <-s.timer.C:
	}
	s.timer.Stop()
	s.setRest(none)
	s.wakeUp() // what ended it may be for wait to see
}

// setRest says what wakeUp is to leave the writer alone for, and reports whether there is
// something to write that may wait for it.
func (s *fileStore) setRest(r rest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = none
	if len(s.queue) == 0 || s.ends(r) {
		return false
	}
	s.rest = r
	select {
	case <-s.wake: // left from before
	default:
	}
	return true
}
