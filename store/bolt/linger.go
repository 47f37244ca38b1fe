package bolt

import (
	"time"

	"sngate/store"
)

// laziness is how many times the linger what is lazy waits for something that is not.
const laziness = 10

// lonely is how many transactions without company end the waiting for more.
const lonely = 4

// pace says when the next transaction may begin. It keeps transactions apart while requests
// come in company, so that several share one, and lets a request that comes alone begin at
// once: who waits for the answer before asking again would only wait.
type pace struct {
	linger  time.Duration // between the beginnings of two transactions; 0: none
	next    time.Time     // from when on a transaction may begin
	pending int           // transactions until company is given up, unless some comes
}

// committed notes a transaction that began at began. company is whether it was of several
// batches, or more requests have come while it was written.
func (p *pace) committed(began time.Time, company bool) {
	if company {
		p.pending = lonely
	} else if p.pending > 0 {
		p.pending--
	}
	p.next = time.Time{}
	if p.pending > 0 {
		p.next = began.Add(p.linger)
	}
}

// wait is how long a transaction has to wait that could begin at now; not positive: not at all.
// The time of a transaction counts: on a slow disk requests gather meanwhile, and none waits.
func (p *pace) wait(now time.Time) time.Duration { return p.next.Sub(now) }

// askers are those who wait for batches, as far as it matters: whether there are several. Who
// waits for none gains nothing by waiting, so a lazy batch is no company; nor is one's own next.
type askers struct {
	some    bool
	first   string // store.Batch.From; "": not known
	several bool
}

func (a *askers) add(b *store.Batch) {
	switch {
	case b.Lazy:
	case !a.some:
		a.some, a.first = true, b.From
	case b.From == "" || b.From != a.first:
		a.several = true
	}
}
