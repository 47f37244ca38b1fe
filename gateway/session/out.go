package session

import (
	"slices"

	"sngate/gateway/session/dialogue"
)

// Out collects what one step of a session produces: datagrams for the device,
// actions for the shell, drops to count. The shell owns it, carries it out after the
// step in the order datagrams, actions, and resets it for the next step; nothing is
// allocated once its slices have grown.
type Out struct {
	arena   []byte
	ends    []int // where each datagram ends in arena
	Actions []Action
	Drops   []Reason
	Retries []dialogue.Kind // messages sent again, to count
	abouts  []aboutDrop     // see About

	received dialogue.Message // what the step is for; here, so that it is not allocated for each

	// Records are changes to be stored together, as one batch. When Batch is not 0, its
	// result is awaited: EventStored.
	Records []Record
	Batch   Token
}

// Reset empties o and keeps its memory, unless a rare huge step has grown it.
func (o *Out) Reset() {
	const keep = 256 << 10
	if cap(o.arena) > keep {
		o.arena = nil
	}
	clear(o.Actions) // lets go of topics and payloads
	clear(o.Records)
	clear(o.abouts)
	o.Records, o.Batch = o.Records[:0], 0
	o.arena, o.ends = o.arena[:0], o.ends[:0]
	o.Actions, o.Drops, o.Retries, o.abouts = o.Actions[:0], o.Drops[:0], o.Retries[:0], o.abouts[:0]
}

// Datagrams returns how many datagrams there are to send.
func (o *Out) Datagrams() int { return len(o.ends) }

// Datagram returns the i-th datagram. It is valid until the next step.
func (o *Out) Datagram(i int) []byte {
	start := 0
	if i > 0 {
		start = o.ends[i-1]
	}
	return o.arena[start:o.ends[i]]
}

func (o *Out) do(a Action) { o.Actions = append(o.Actions, a) }

func (o *Out) drop(r Reason) { o.Drops = append(o.Drops, r) }

func (o *Out) retry(t dialogue.Kind) { o.Retries = append(o.Retries, t) }

// About says what a drop concerns, where neither the datagram nor the event that is being
// handled tells.
type About struct {
	Topic  string // name or filter; "": not known
	Octets int    // of the payload
}

// aboutDrop belongs to the drop at an index of Out.Drops.
type aboutDrop struct {
	index int
	About
}

// About returns what the i-th drop concerns.
func (o *Out) About(i int) About {
	n, found := slices.BinarySearchFunc(o.abouts, i, func(a aboutDrop, i int) int { return a.index - i })
	if !found {
		return About{}
	}
	return o.abouts[n].About
}

// dropOf is drop, with what it concerns.
func (o *Out) dropOf(r Reason, topic string, octets int) {
	o.abouts = append(o.abouts, aboutDrop{index: len(o.Drops), About: About{Topic: topic, Octets: octets}})
	o.drop(r)
}
