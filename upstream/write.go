package upstream

import (
	"time"

	"sngate/upstream/mqtt"
)

// congested reports that size more bytes would exceed what may wait for the broker. A
// message larger than that is taken when nothing else waits.
func (l *dedicated) congested(size int) bool {
	waiting := l.waiting()
	return waiting > 0 && waiting+size > l.d.opt.WriteBuffer
}

// waiting returns the bytes not yet taken by the connection.
func (l *dedicated) waiting() int {
	n := 0
	if l.wbuf != nil {
		n = len(l.wbuf.B)
	}
	if l.conn != nil {
		n += l.conn.Backlog()
	}
	return n
}

// buffer returns what Flush will write, to be appended to.
func (l *dedicated) buffer() *mqtt.Buffer {
	if l.wbuf == nil {
		l.wbuf = mqtt.GetBuffer()
		l.wbuf.B = l.wbuf.B[:0]
	}
	return l.wbuf
}

func (l *dedicated) dropBuffer() {
	if l.wbuf != nil {
		l.wbuf.Free()
		l.wbuf = nil
	}
}

// put queues a packet that is a fixed header only.
func (l *dedicated) put(kind uint8) {
	b := l.buffer()
	b.B = mqtt.AppendBare(b.B, kind)
	l.d.stats.PacketsOut[kind].Add(1)
}

// putAck queues PUBACK, PUBREC, PUBREL or PUBCOMP. Nothing follows a DISCONNECT: what
// is not sent because of it is due again in the next connection.
func (l *dedicated) putAck(kind uint8, id uint16) {
	if l.state != stateUp {
		return
	}
	b := l.buffer()
	b.B = mqtt.AppendAck(b.B, kind, id)
	l.d.stats.PacketsOut[kind].Add(1)
}

// Flush implements Link.
func (l *dedicated) Flush(now time.Duration) {
	l.reclaim()
	l.now = now
	if l.state == stateUp {
		l.pump()
		l.watch(now)
	}
	for l.wbuf != nil && l.conn != nil {
		l.conn.Write(l.wbuf.B)
		l.dropBuffer()
		l.keep.sentAt = now
		// Acknowledgements have no limit of their own: a broker that sends and does not
		// read would let them pile up.
		if l.state == stateUp && l.conn.Backlog() > 2*l.d.opt.WriteBuffer+mqtt.MaxPooled {
			l.conn.Fail(ErrCongested)
			return
		}
		l.pump()
	}
}
