package upstream

// How long the broker may take to answer, before the Link ends the connection.

import "time"

// watch notes what the broker has to answer next, and since when.
func (w *window) watch(now time.Duration) {
	what := uint32(0)
	for i := range w.out.list {
		if m := &w.out.list[i]; m.qos > 0 && m.awaitsBroker() {
			what = 1<<16 | uint32(m.id)
			if m.phase != publishing {
				what |= 1 << 17
			}
			break
		}
	}
	w.care.message.set(what, now)
	what = 0
	for i := range w.requests {
		if r := &w.requests[i]; r.sent {
			what = 1<<16 | uint32(r.id)
			break
		}
	}
	w.care.request.set(what, now)
}

// answerDue is when the broker has to have answered; Never if it owes no answer.
func (w *window) answerDue() time.Duration {
	at := Never
	for _, a := range []awaited{w.care.message, w.care.request} {
		if a.what != 0 {
			at = min(at, a.since+w.d.opt.AnswerTimeout)
		}
	}
	return at
}

// answerAdvance reports whether the connection is to be ended because the broker does not
// answer. A paused connection does not hear the answer, so its time begins anew.
func (w *window) answerAdvance(now time.Duration, paused bool) (over bool) {
	if paused {
		w.care.message.since, w.care.request.since = now, now
	}
	if now < w.answerDue() {
		return false
	}
	w.d.stats.AnswerTimeouts.Add(1)
	var silent *outgoing
	if m := w.care.message; m.what != 0 && now >= m.since+w.d.opt.AnswerTimeout {
		if i := w.out.find(uint16(m.what)); i >= 0 {
			silent = &w.out.list[i]
		}
	}
	w.blame(now, silent)
	return true
}
