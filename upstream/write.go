package upstream

import "time"

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
		n = len(l.wbuf.b)
	}
	if l.conn != nil {
		n += int(l.conn.backlog.Load())
	}
	return n
}

// buffer returns what Flush will write, to be appended to.
func (l *dedicated) buffer() *buffer {
	if l.wbuf == nil {
		l.wbuf = getBuffer()
		l.wbuf.b = l.wbuf.b[:0]
	}
	return l.wbuf
}

func (l *dedicated) dropBuffer() {
	if l.wbuf != nil {
		putBuffer(l.wbuf)
		l.wbuf = nil
	}
}

// put queues a packet that is a fixed header only.
func (l *dedicated) put(kind uint8) {
	b := l.buffer()
	b.b = appendBare(b.b, kind)
	l.d.stats.PacketsOut[kind].Add(1)
}

// putAck queues PUBACK, PUBREC, PUBREL or PUBCOMP. Nothing follows a DISCONNECT: what
// is not sent because of it is due again in the next connection.
func (l *dedicated) putAck(kind uint8, id uint16) {
	if l.state != stateUp {
		return
	}
	b := l.buffer()
	b.b = appendAck(b.b, kind, id)
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
		l.conn.write(l.wbuf.b)
		l.dropBuffer()
		l.keep.sentAt = now
		// Acknowledgements have no limit of their own: a broker that sends and does not
		// read would let them pile up.
		if l.state == stateUp && l.conn.backlog.Load() > int64(2*l.d.opt.WriteBuffer+maxPooled) {
			l.conn.fail(ErrCongested)
			return
		}
		l.pump()
	}
}
