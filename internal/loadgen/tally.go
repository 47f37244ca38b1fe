package loadgen

import "encoding/binary"

// stamp is what every message begins with.
type stamp struct {
	sent   int64  // ns since the start of the run
	device uint32 // which publishes or is published to
	number uint32 // of the message in its stream, from 0
}

// put writes the stamp to the first MinPayload octets of b.
func (s stamp) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(s.sent))
	binary.BigEndian.PutUint32(b[8:], s.device)
	binary.BigEndian.PutUint32(b[12:], s.number)
}

// readStamp reads what put has written. b has at least MinPayload octets.
func readStamp(b []byte) stamp {
	return stamp{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])}
}

// tally counts what is sent and received in one direction: a stream of numbered messages for
// each device.
type tally struct {
	streams []stream

	sent, received        int64 // received: each message once
	duplicates, reordered int64
	stray                 int64 // what cannot have been sent
}

// stream is one device's messages in one direction.
type stream struct {
	next uint32   // number of the next message to be sent
	high uint32   // above the highest number received
	base uint32   // in words of 64: all numbers below are received
	bits []uint64 // from base on: what is received
}

func newTally(devices int) tally { return tally{streams: make([]stream, devices)} }

// number counts a message to be sent and returns its number.
func (t *tally) number(device int) uint32 {
	s := &t.streams[device]
	t.sent++
	s.next++
	return s.next - 1
}

// add counts a message received, and reports whether it is the first with its number.
func (t *tally) add(device, number uint32) bool {
	if int(device) >= len(t.streams) || number >= t.streams[device].next {
		t.stray++
		return false
	}
	s := &t.streams[device]
	if !s.mark(number) {
		t.duplicates++
		return false
	}
	t.received++
	if number < s.high {
		t.reordered++
	} else {
		s.high = number + 1
	}
	return true
}

// mark notes a number and reports whether it is new. Words that are full are forgotten, so
// that a stream without loss takes no memory.
func (s *stream) mark(number uint32) bool {
	word, bit := number/64, uint64(1)<<(number%64)
	if word < s.base {
		return false
	}
	for int(word-s.base) >= len(s.bits) {
		s.bits = append(s.bits, 0)
	}
	if s.bits[word-s.base]&bit != 0 {
		return false
	}
	s.bits[word-s.base] |= bit
	full := 0
	for full < len(s.bits) && s.bits[full] == ^uint64(0) {
		full++
	}
	if full > 0 {
		s.bits = s.bits[:copy(s.bits, s.bits[full:])]
		s.base += uint32(full)
	}
	return true
}

// incomplete returns how many devices miss messages.
func (t *tally) incomplete() (devices int) {
	for i := range t.streams {
		s := &t.streams[i]
		missing := s.next != s.high
		for n := s.base * 64; n < s.high && !missing; n++ {
			missing = s.bits[n/64-s.base]&(1<<(n%64)) == 0
		}
		if missing {
			devices++
		}
	}
	return devices
}
