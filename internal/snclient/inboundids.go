package snclient

import (
	"hash/crc32"
	"slices"
	"sngate/snpacket/sn12"
)

// inboundIDs remembers the MsgIds of QoS 2 messages that were delivered, so that a
// repetition is not delivered again: those between PUBREC and PUBREL, and the latest
// few after that. The latter because networks duplicate and reorder too: a copy of a
// PUBLISH may arrive after its exchange is over. As the MsgId is free again by then,
// only a message that is the same in all else is taken for a copy.
type inboundIDs struct {
	open   map[uint16]uint32 // MsgId -> checksum
	recent [recentIDs]finished
	next   int // in recent, which is a ring
}

// finished is an exchange that is over. MsgId 0x0000 is reserved: it marks a free entry.
type finished struct {
	id  uint16
	sum uint32
}

const (
	maxOpenIDs = 1024 // a gateway has one exchange open towards a client; more is its fault
	recentIDs  = 16
)

func (s *inboundIDs) knows(p sn12.Publish) bool {
	if _, ok := s.open[p.MsgID]; ok {
		return true
	}
	return p.MsgID != 0 && slices.Contains(s.recent[:], finished{p.MsgID, checksum(p)})
}

func (s *inboundIDs) full() bool { return len(s.open) >= maxOpenIDs }

func (s *inboundIDs) add(p sn12.Publish) {
	if s.open == nil {
		s.open = make(map[uint16]uint32)
	}
	s.open[p.MsgID] = checksum(p)
}

func (s *inboundIDs) release(id uint16) {
	sum, ok := s.open[id]
	if !ok {
		return
	}
	delete(s.open, id)
	s.recent[s.next] = finished{id, sum}
	s.next = (s.next + 1) % recentIDs
}

// forgetRecent is for a new connection: its gateway may count MsgIds from the start,
// and what it sends first must not be taken for a copy.
func (s *inboundIDs) forgetRecent() { s.recent = [recentIDs]finished{} }

func checksum(p sn12.Publish) uint32 {
	topic := [3]byte{byte(p.TopicIDType), byte(p.TopicID >> 8), byte(p.TopicID)}
	return crc32.Update(crc32.ChecksumIEEE(topic[:]), crc32.IEEETable, p.Data)
}
