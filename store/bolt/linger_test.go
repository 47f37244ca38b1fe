package bolt

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sngate/store"
)

const testLinger = 4 * time.Millisecond

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	type commit struct {
		after   time.Duration // the beginning, since that of the one before
		company bool
	}
	none, some := commit{ms, false}, commit{ms, true}
	for _, tt := range []struct {
		name    string
		commits []commit
		now     time.Duration // since the last one has begun
		want    time.Duration // not positive: at once
	}{
		{"the first request of all", nil, 0, 0},
		{"one that follows a lone one", []commit{none}, ms, 0},
		{"one that follows some together", []commit{some}, ms, 3 * ms},
		{"after a transaction that took longer", []commit{some}, 5 * ms, -ms},
		{"company is not given up after one without", []commit{some, none}, ms, 3 * ms},
		{"company is not given up after three", []commit{some, none, none, none}, ms, 3 * ms},
		{"company is given up after four", []commit{some, none, none, none, none}, ms, 0},
		{"it counts from the last that had some", []commit{some, none, none, some, none, none}, ms, 3 * ms},
		{"and is found again", []commit{some, none, none, none, none, some}, ms, 3 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, began := pace{linger: testLinger}, time.Unix(1000, 0)
			for _, c := range tt.commits {
				began = began.Add(c.after)
				p.committed(began, c.company)
			}
			if got := max(p.wait(began.Add(tt.now)), -ms); got != tt.want && (got > 0 || tt.want > 0) {
				t.Errorf("waits %v, want %v", got, tt.want)
			}
			off := pace{}
			for _, c := range tt.commits {
				off.committed(began, c.company)
			}
			if got := off.wait(began.Add(tt.now)); got > 0 {
				t.Errorf("waits %v without a linger", got)
			}
		})
	}
}

// crowd is a store in a bubble, where a transaction takes no time, and what was answered when.
type crowd struct {
	*testing.T
	*fileStore
	answers atomic.Int64
	n       int
}

// inBubble runs a test with a new store.
func inBubble(t *testing.T, opts Options, test func(c *crowd)) {
	t.Helper()
	opts.Linger = testLinger
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, filepath.Join(t.TempDir(), "db"), opts)
		test(&crowd{T: t, fileStore: s})
	})
}

// inCompany runs a test with a store that has just committed two batches in one transaction.
func inCompany(t *testing.T, opts Options, test func(c *crowd)) {
	t.Helper()
	inBubble(t, opts, func(c *crowd) {
		release := block(c, c)
		c.ask(2)
		release()
		c.want("at first", 2, 1)
		test(c)
	})
}

// ask submits batches.
func (c *crowd) ask(batches int) {
	c.Helper()
	for range batches {
		c.n++
		if !c.Submit(store.Batch{Ops: []store.Op{put(store.Held, fmt.Sprint(c.n), "v")}, Done: c.answer}) {
			c.Fatal("refused")
		}
	}
}

// dawdle submits lazy batches.
func (c *crowd) dawdle(batches int) {
	c.Helper()
	for range batches {
		c.n++
		if !c.Submit(store.Batch{Ops: []store.Op{put(store.Held, fmt.Sprint(c.n), "v")}, Done: c.answer, Lazy: true}) {
			c.Fatal("refused")
		}
	}
}

// alone submits batches that one client waits for.
func (c *crowd) alone(batches int) {
	c.Helper()
	for range batches {
		c.n++
		if !c.Submit(store.Batch{Ops: []store.Op{put(store.Held, fmt.Sprint(c.n), "v")}, Done: c.answer, From: "one"}) {
			c.Fatal("refused")
		}
	}
}

// load calls LoadPrefix.
func (c *crowd) load() {
	c.Helper()
	if !c.LoadPrefix([]byte("1"), func(_ []store.Record, err error) { c.answer(err) }) {
		c.Fatal("refused")
	}
}

func (c *crowd) answer(err error) {
	if err != nil {
		c.Error(err)
	}
	c.answers.Add(1)
}

// want expects so many answers and transactions by now.
func (c *crowd) want(when string, answers int, commits uint64) {
	c.Helper()
	synctest.Wait()
	if got := c.Stats().Commits; int(c.answers.Load()) != answers || got != commits {
		c.Errorf("%s: %d answers and %d transactions, want %d and %d", when, int(c.answers.Load()), got, answers, commits)
	}
}

func TestRequestsThatComeInCompanyShareATransaction(t *testing.T) {
	inCompany(t, Options{}, func(c *crowd) {
		for i := range 3 {
			time.Sleep(testLinger / 4)
			c.want("while the writer waits", 2, 1)
			c.ask(1 + i)
		}
		time.Sleep(testLinger/4 - time.Nanosecond)
		c.want("just before the end", 2, 1)
		time.Sleep(time.Nanosecond)
		c.want("at the end", 8, 2)
	})
}

func TestLoneRequestIsCommittedAtOnce(t *testing.T) {
	inCompany(t, Options{}, func(c *crowd) {
		time.Sleep(testLinger)
		c.ask(1)
		c.want("after a pause", 3, 2)
		for i := range lonely - 1 { // each waits for company once
			time.Sleep(testLinger / 4)
			c.ask(1)
			c.want("too early", 3+i, 2+uint64(i))
			time.Sleep(3 * testLinger / 4)
			c.want("after waiting", 4+i, 3+uint64(i))
		}
		answers, commits := int(c.answers.Load()), c.Stats().Commits
		for i := range 20 { // who asks when the last answer is here
			c.ask(1)
			c.want("alone", answers+1+i, commits+1+uint64(i))
		}
	})
}

func TestNothingElseIsDelayedByLinger(t *testing.T) {
	oneBatch := store.Batch{Ops: []store.Op{put(store.Held, "k", "v")}}.Size()
	for _, tt := range []struct {
		name string
		opts Options
		do   func(c *crowd)
	}{
		{"as many batches as the queue takes", Options{QueueBatches: 5}, func(c *crowd) { c.ask(4) }},
		{"as many bytes as the queue takes", Options{QueueBytes: 5 * oneBatch}, func(c *crowd) { c.ask(4) }},
		{"as many batches as a transaction takes", Options{TxOps: 5}, func(c *crowd) { c.ask(4) }},
		{"as many bytes as a transaction takes", Options{TxBytes: 5 * oneBatch}, func(c *crowd) { c.ask(4) }},
		{"a call of LoadPrefix behind a batch", Options{}, func(c *crowd) {
			found := func(records []store.Record, err error) {
				if len(records) != 1 {
					err = errors.Join(err, fmt.Errorf("found %v", records))
				}
				c.answer(err)
			}
			if !c.LoadPrefix([]byte("3"), found) {
				c.Error("refused")
			}
		}},
		{"Close", Options{}, func(c *crowd) { closeStore(c.T, c.fileStore) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, submit := range []func(*crowd, int){(*crowd).ask, (*crowd).dawdle} {
				inCompany(t, tt.opts, func(c *crowd) {
					submit(c, 1)
					c.want("one waits", 2, 1)
					tt.do(c)
					synctest.Wait()
					if n := c.Stats().Queued; int(c.answers.Load()) < c.n || n != 0 {
						t.Errorf("%d answers for %d batches, %d queued", int(c.answers.Load()), c.n, n)
					}
				})
			}
		})
	}
}

func TestLoadPrefixAloneDoesNotWait(t *testing.T) {
	inCompany(t, Options{}, func(c *crowd) {
		c.load()
		c.want("at once", 3, 1)
		c.ask(1)
		c.want("a batch after it waits", 3, 1)
	})
}

// What comes while a transaction is written is company, although it is not in it.
func TestRequestsBehindATransactionAreCompany(t *testing.T) {
	inBubble(t, Options{}, func(c *crowd) {
		release := block(c, c)
		c.ask(1)
		c.load() // ends the transaction
		c.ask(1)
		release()
		c.want("the first transaction", 2, 1)
		time.Sleep(testLinger)
		c.want("the second one", 3, 2)
	})
}

// Close does not wait either if it comes before the writer begins to linger.
func TestCloseBeforeTheLinger(t *testing.T) {
	inBubble(t, Options{}, func(c *crowd) {
		first, second := block(c, c), make(chan struct{})
		c.ask(1)
		c.Submit(store.Batch{Ops: []store.Op{put(store.Held, "k", "v")}, Done: func(error) { <-second }})
		first()
		c.want("the writer answers", 1, 1)
		c.ask(1)
		begin, closed := time.Now(), make(chan struct{})
		go func() {
			defer close(closed)
			closeStore(c, c)
		}()
		synctest.Wait()
		close(second)
		<-closed
		if waited := time.Since(begin); waited > 0 || int(c.answers.Load()) != 2 {
			c.Errorf("closed after %v with %d answers", waited, int(c.answers.Load()))
		}
	})
}

func TestLazyRequestsWaitForCompany(t *testing.T) {
	inBubble(t, Options{}, func(c *crowd) {
		c.dawdle(1)
		time.Sleep(laziness*testLinger - 2*time.Nanosecond)
		c.dawdle(2)
		c.want("just before the end", 0, 0)
		time.Sleep(2 * time.Nanosecond)
		c.want("at the end", 3, 1)
		c.ask(1)
		c.want("they were no company: one alone is committed at once", 4, 2)
		c.dawdle(20)
		c.want("some wait", 4, 2)
		c.ask(1)
		c.want("until there is one that does not, which is still alone", 25, 3)
		c.ask(1)
		c.want("the next one", 26, 4)
	})
}

// A client that asks several things at once, and the next before the answer, waits for nobody
// else.
func TestTheRequestsOfOneClientAreNoCompany(t *testing.T) {
	inBubble(t, Options{}, func(c *crowd) {
		for n := 1; n <= 5; n++ {
			release := block(c, c)
			c.alone(3)
			release()
			c.want("at once", 3*n, uint64(n))
		}
		release := block(c, c)
		c.alone(1)
		c.ask(1)
		release()
		c.want("another one asks as well", 17, 6)
		c.alone(1)
		c.want("who may come again", 17, 6)
		time.Sleep(testLinger)
		c.want("but need not", 18, 7)
	})
}

func TestLazyRequestsDoNotHurryOthers(t *testing.T) {
	inCompany(t, Options{}, func(c *crowd) {
		c.ask(1)
		c.dawdle(1)
		c.want("both wait", 2, 1)
		time.Sleep(testLinger)
		c.want("as long as the one that is not lazy", 4, 2)
		c.dawdle(1)
		time.Sleep(testLinger / 2)
		c.ask(1)
		c.want("the linger is still on", 4, 2)
		time.Sleep(testLinger / 2)
		c.want("when it ends", 6, 3)
	})
}

func TestLazyRequestsDoNotWaitWithoutLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{})
		c := &crowd{T: t, fileStore: s}
		c.dawdle(1)
		c.want("at once", 1, 1)
	})
}

// A store that fails refuses at once, and what makes room waits for nobody.
func TestFailingStoreDoesNotLinger(t *testing.T) {
	inCompany(t, Options{MaxBytes: 128 << 10}, func(c *crowd) {
		if err := write(c, c, put(store.Held, "big", strings.Repeat("x", 1<<20))); err == nil {
			t.Fatal("the file is not full")
		}
		release := block(c, c)
		for i := range 2 {
			c.Submit(store.Batch{Ops: []store.Op{del(store.Held, fmt.Sprint(1+i))}, Done: c.answer})
		}
		release()
		c.want("two that make room", 4, 2)
		refused := false
		c.Submit(store.Batch{Ops: []store.Op{put(store.Held, "k", "v")}, Done: func(err error) { refused = err != nil }})
		synctest.Wait()
		if !refused {
			c.Error("a batch is not refused at once")
		}
	})
}
