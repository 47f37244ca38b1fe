package session

import (
	"math"
	"slices"
)

// journal is what a session tells the store, and what waits for the store's answers. Before
// its first accepted CONNECT a session has nothing there, and without a store it never has:
// then its journal keeps nothing, and nothing waits for it.
type journal struct {
	known   bool  // the store has a RecordSession, or is going to
	dirty   bool  // it says something else than is so
	state   State // in it
	last    Token // of the batches
	saveAt  Time  // when it is put out at the latest, while dirty
	waiting []continuation
}

// policy says what becomes of something that waits for the store while that is down.
type policy uint8

const (
	// refuseWhenDown: it waits all the same, for an answer that says it has failed. Where it
	// can still be refused before it has begun, see refuses.
	refuseWhenDown policy = iota
	// bypassWhenDown: it is carried out at once, as without a store.
	bypassWhenDown
)

// maxWaiting bounds what of one device waits for the store at once, but for what has to.
const maxWaiting = 64

// laziness is how long a change of RecordSession that nothing waits for may take to be
// stored: a device must not cost a commit with each datagram.
const laziness = Time(1e9)

// begin has a session stored from now on: it has been accepted.
func (j *journal) begin(durable bool) {
	j.known = durable
	j.mustSave()
}

// accepts reports whether the store works, and something more may wait for it.
func (j *journal) accepts(st *step) bool { return j.known && j.well(st) }

// refuses reports whether there is a store that does not accept what has to be in it.
func (j *journal) refuses(st *step) bool { return j.known && !j.well(st) }

// works reports whether the store is all right, if there is one.
func (j *journal) works(st *step) bool { return st.StoreOK }

func (j *journal) well(st *step) bool { return j.works(st) && len(j.waiting) < maxWaiting }

// longestKey is how long a filter, which is a part of a key in the store, may be.
func (j *journal) longestKey() int {
	if j.known {
		return 30_000
	}
	return math.MaxInt
}

// wait has c carried out when the records of this step are in the store. It reports false
// if c does not wait for that.
func (j *journal) wait(st *step, p policy, c continuation) bool {
	if !j.known || p == bypassWhenDown && !j.well(st) {
		return false
	}
	if st.Batch == 0 {
		if j.last++; j.last == 0 {
			j.last++
		}
		st.Batch = j.last
	}
	c.batch = st.Batch
	j.waiting = append(j.waiting, c)
	return true
}

// next takes the oldest continuation of a batch out.
func (j *journal) next(batch Token) (c continuation, ok bool) {
	for i := range j.waiting {
		if c = j.waiting[i]; c.batch == batch {
			j.remain(append(j.waiting[:i], j.waiting[i+1:]...))
			return c, true
		}
	}
	return continuation{}, false
}

func (j *journal) remain(rest []continuation) {
	if j.waiting = rest; len(rest) == 0 {
		j.waiting = nil
	}
}

// forget drops the continuations of which gone says so.
func (j *journal) forget(gone func(*continuation) bool) {
	j.remain(slices.DeleteFunc(j.waiting, func(c continuation) bool { return gone(&c) }))
}

// awaits reports whether a continuation of some kind waits.
func (j *journal) awaits(kind continuationKind) bool {
	for i := range j.waiting {
		if j.waiting[i].kind == kind {
			return true
		}
	}
	return false
}

func (j *journal) put(st *step, kind RecordKind, key, value []byte) {
	j.record(st, Record{Kind: kind, Key: key, Value: value})
}

func (j *journal) remove(st *step, kind RecordKind, key []byte) {
	j.record(st, Record{Kind: kind, Op: DeleteRecord, Key: key})
}

func (j *journal) removeAll(st *step, kind RecordKind) {
	j.record(st, Record{Kind: kind, Op: DeleteRecords})
}

func (j *journal) record(st *step, r Record) {
	if j.known {
		st.Records = append(st.Records, r)
	}
}

// changed notes that RecordSession is out of date.
func (j *journal) changed() {
	if j.known && !j.dirty {
		j.dirty, j.saveAt = true, Never
	}
}

// mustSave is changed, for what is stored at once: that a session begins, sleeps or ends.
func (j *journal) mustSave() {
	j.changed()
	j.hurry()
}

// due reports whether RecordSession is to be put out at the end of a step: it has waited
// for long enough, or the step stores something anyway.
func (j *journal) due(st *step) bool {
	if !j.dirty {
		return false
	}
	if j.saveAt == Never {
		j.saveAt = st.Now + laziness
	}
	return st.Now >= j.saveAt || len(st.Records) > 0
}

// deadline is when a change has waited for long enough.
func (j *journal) deadline() Time {
	if !j.dirty {
		return Never
	}
	return j.saveAt
}

// answer tells that what waits for a topic id to be in the store is to be REGACK.
func (j *journal) answer(id, msgID uint16) bool {
	c := j.allotment(id)
	switch {
	case c == nil:
		return false
	case c.kind == thenRegAck:
		c.msgID = msgID // the device has asked again
	case len(j.waiting) < maxWaiting:
		j.waiting = append(j.waiting, continuation{batch: c.batch, kind: thenRegAck, id: id, allots: c.allots, owns: c.owns, msgID: msgID})
	}
	return true
}

// allotment finds what goes on when a topic id, or that it is the device's own, is in the
// store; nil if that is there already. A REGISTER of the device goes before the rest.
func (j *journal) allotment(id uint16) (found *continuation) {
	for i := range j.waiting {
		switch c := &j.waiting[i]; {
		case c.id != id:
		case c.kind == thenRegAck:
			return c
		case c.kind == thenAllotted, c.kind == thenSubAck:
			found = c
		}
	}
	return found
}

// announces reports whether a SUBACK waits of a subscription that a message on topic belongs
// to.
func (j *journal) announces(topic string) bool {
	for i := range j.waiting {
		if c := &j.waiting[i]; c.kind == thenSubAck && c.req.announces(topic) {
			return true
		}
	}
	return false
}

// save puts RecordSession out.
func (j *journal) save(st *step, state State, value []byte) {
	j.dirty, j.state = false, state
	j.put(st, RecordSession, nil, value)
}

// hurry has a change of RecordSession, if there is one, put out now.
func (j *journal) hurry() { j.saveAt = 0 }

// found notes that the store has a RecordSession.
func (j *journal) found() { j.known = true }

// loaded notes the state that has been found in the store.
func (j *journal) loaded(state State) { j.state = state }

// dropAnswers drops the answers to the device that wait for the store: it has disconnected,
// or begins anew and counts its MsgIds from the start.
func (j *journal) dropAnswers() {
	j.forget(func(c *continuation) bool { return c.kind.answers() })
	for i := range j.waiting {
		switch c := &j.waiting[i]; c.kind {
		case thenRegAck:
			c.kind = thenAllotted
		case thenSubAck:
			c.req.quiet = true
		}
	}
}

// continuation is what is to be done when a batch is in the store.
type continuation struct {
	batch    Token
	kind     continuationKind
	msgID    uint16
	id       uint16 // topic id
	number   uint32 // of a message
	granted  uint8  // QoS
	fresh    bool   // a new subscription
	allots   bool   // id is new as well
	owns     bool   // id is the device's own from now on
	identity Identity
	req      request
}

type continuationKind uint8

const (
	thenRegAck        continuationKind = iota + 1
	thenSubAck                         //
	thenAllotted                       // the gateway's own REGISTER
	thenPublish                        // the first PUBLISH of QoS 2 to the device
	thenRelease                        // PUBREL to the device, PUBREC to the broker
	thenAckHeld                        // acknowledgement to the broker
	thenAckSpooled                     // PUBACK or PUBREC to the device
	thenRelSpooled                     // PUBREL to the broker
	thenPubComp                        // PUBCOMP to the broker
	thenSleep                          // the answer to DISCONNECT with duration
	thenConnAck                        //
	thenUnsubAck                       //
	thenWillTopicResp                  //
	thenWillMsgResp                    //
	thenGoodbye                        // the answer to DISCONNECT
	thenResubscribe                    // the repeated SUBSCRIBEs
)

// answers reports whether a continuation is an answer to the device, and nothing else.
func (k continuationKind) answers() bool {
	switch k {
	case thenConnAck, thenUnsubAck, thenWillTopicResp, thenWillMsgResp, thenGoodbye:
		return true
	}
	return false
}
