package upstream

import (
	"encoding/binary"
	"hash/crc32"
)

// An Identity is the packet identifier of a QoS 2 message and the sum of its content: a broker
// that was killed may give an identifier to another message that is in use here. It is in the
// files of stores, so neither may change.

func identityOf(id uint16, sum uint64) (x Identity) {
	binary.BigEndian.PutUint16(x[:], id)
	binary.BigEndian.PutUint64(x[2:], sum)
	return x
}

func (x *Identity) id() uint16  { return binary.BigEndian.Uint16(x[:]) }
func (x *Identity) sum() uint64 { return binary.BigEndian.Uint64(x[2:]) }

// contentSum tells a message from others with its packet identifier, in any process.
func contentSum(topic string, payload []byte) uint64 {
	return uint64(stringSum(topic))<<32 | uint64(crc32.ChecksumIEEE(payload))
}

// stringSum is crc32.ChecksumIEEE without an allocation for a conversion.
func stringSum(s string) uint32 {
	sum := ^uint32(0)
	for i := range len(s) {
		sum = crc32.IEEETable[byte(sum)^s[i]] ^ sum>>8
	}
	return ^sum
}
