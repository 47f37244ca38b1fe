package upstream

import (
	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
)

// output is the connection of a Link and what waits to be written to it.
type output struct {
	d    *shared
	conn *dial.Conn // nil: none
	// open: the broker has accepted, and DISCONNECT has not been sent. Nothing follows a
	// DISCONNECT: what is not sent because of it is due again in the next connection.
	open bool
	// holding: another connection follows at once. What is for the broker waits for it: QoS 0
	// messages in held, and all else where it waits to be answered.
	holding bool
	held    *held        // nil: none
	buf     *mqtt.Buffer // to be written by flush; nil while empty
}

// held are QoS 0 messages that wait for another connection.
type held struct {
	raw    []byte
	number int
}

// congested reports that size more bytes would exceed what may wait for the broker. A
// message larger than that is taken when nothing else waits.
func (w *output) congested(size int) bool {
	waiting := w.waiting()
	return waiting > 0 && waiting+size > w.d.opt.WriteBuffer
}

// waiting returns the bytes not yet taken by the connection.
func (w *output) waiting() int {
	n := 0
	if w.held != nil {
		n = len(w.held.raw)
	}
	if w.buf != nil {
		n += len(w.buf.B)
	}
	if w.conn != nil {
		n += w.conn.Backlog()
	}
	return n
}

// buffer returns what flush will write, to be appended to: a packet of kind, which is counted.
func (w *output) buffer(kind uint8) *mqtt.Buffer {
	if w.buf == nil {
		w.buf = mqtt.GetBuffer()
		w.buf.B = w.buf.B[:0]
	}
	w.d.stats.PacketsOut[kind].Add(1)
	return w.buf
}

// put queues a packet that is a fixed header only.
func (w *output) put(kind uint8) {
	b := w.buffer(kind)
	b.B = mqtt.AppendBare(b.B, kind)
}

// putAck queues PUBACK, PUBREC, PUBREL or PUBCOMP.
func (w *output) putAck(kind uint8, id uint16) {
	if w.open {
		b := w.buffer(kind)
		b.B = mqtt.AppendAck(b.B, kind, id)
	}
}

// disconnect ends the use of the connection in good order.
func (w *output) disconnect() {
	w.put(mqtt.TypeDisconnect)
	w.open = false
}

// hold appends a QoS 0 message to those that wait for the next connection.
func (w *output) hold(raw []byte) {
	if w.held == nil {
		w.held = new(held)
	}
	w.held.raw = append(w.held.raw, raw...)
	w.held.number++
}

// forget drops the messages that waited, and returns how many there were.
func (w *output) forget() (dropped int) {
	if h := w.held; h != nil {
		dropped, w.held = h.number, nil
	}
	return dropped
}

// release ends holding: the messages that waited are written to a connection that is open, or
// dropped. It returns how many were dropped.
func (w *output) release() (dropped int) {
	h := w.held
	if w.holding, w.held = false, nil; h == nil {
		return 0
	}
	if !w.open {
		return h.number
	}
	b := w.buffer(mqtt.TypePublish)
	b.B = append(b.B, h.raw...)
	w.d.stats.PacketsOut[mqtt.TypePublish].Add(uint64(h.number - 1))
	return 0
}

// flush writes what is queued and reports whether there was something, and the connection
// goes on.
func (w *output) flush() bool {
	if w.buf == nil || w.conn == nil {
		return false
	}
	w.conn.Write(w.buf.B)
	w.drop()
	// Acknowledgements have no limit of their own: a broker that sends and does not
	// read would let them pile up.
	if w.open && w.conn.Backlog() > 2*w.d.opt.WriteBuffer+mqtt.MaxPooled {
		w.conn.Fail(ErrCongested)
		return false
	}
	return true
}

// detach forgets the connection.
func (w *output) detach() {
	w.conn, w.open = nil, false
	w.drop()
}

func (w *output) drop() {
	if w.buf != nil {
		w.buf.Free()
		w.buf = nil
	}
}
