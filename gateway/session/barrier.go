package session

// What others tell the wake of a sleeper.

// owe notes that the broker may have more for the device, which so many PINGREQs bring.
func (wk *waking) owe(rounds uint8) { wk.barrier.rounds = max(wk.barrier.rounds, rounds) }

// sent counts a delivery that has begun.
func (wk *waking) sent() { wk.barrier.sent++ }

// subscribed ends the wait for a SUBACK: it has come.
func (wk *waking) subscribed() {
	if wk.barrier.token == 0 {
		wk.barrier.at = Never
	}
}

// end ends the wake, if it is one, and forgets what the broker owes.
func (wk *waking) end() { wk.barrier = barrier{at: Never} }

// giveUp ends the wake without waiting for the broker.
func (b *barrier) giveUp() {
	b.at, b.token, b.done = Never, 0, true
}
