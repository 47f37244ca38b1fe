package session

import (
	"fmt"

	"sngate/internal/binrec"
)

// Migration converts a record of one version to the next, and returns its value. Where that is the
// same, it is the value given. A RecordSession of another version is [ErrRecordVersion]. Records
// that make no sense stay as they are, and Load refuses them.
type Migration func(kind RecordKind, key, value []byte) ([]byte, error)

// MigrateFrom1 is the [Migration] from version 1 to version 2.
func MigrateFrom1(kind RecordKind, _, value []byte) ([]byte, error) {
	switch {
	case kind != RecordSession || len(value) == 0:
		return value, nil
	case value[0] != protocolSN12:
		return nil, fmt.Errorf("%w: it has version %d, not 1", ErrRecordVersion, value[0])
	}
	return binrec.New(1 + len(value)).U8(2).Octets(value), nil
}

// MigrateFrom2 is the [Migration] from version 2 to version 3. Version 2 knew packet identifiers
// of MQTT. With the sum of the content that of a message of the broker is its Identity; that of
// a message in the spool is beyond all exchanges by their number.
func MigrateFrom2(kind RecordKind, key, value []byte) ([]byte, error) {
	k, f := binrec.NewReader(key), binrec.NewReader(value)
	b := binrec.New(len(value) + len(Identity{}))
	switch kind {
	case RecordSession:
		if version := f.U8(); version != 2 && !f.Malformed() {
			return nil, fmt.Errorf("%w: it has version %d, not 2", ErrRecordVersion, version)
		}
		b = b.U8(3).Octets(f.Rest())
	case RecordExchange: // key: packet identifier. Sum
		b = b.U16(k.U16()).U64(f.U64())
	case RecordOutgoing: // MsgId, packet identifier or 0, number, sum, bits
		msgID, packetID, number, sum, bits := f.U16(), f.U16(), f.U32(), f.U64(), f.U8()
		if b = b.U16(msgID).U16(packetID); packetID != 0 {
			b = b.U64(sum)
		} else {
			b = b.U64(0)
		}
		b = b.U32(number).U64(sum).U8(bits)
	case RecordSpool: // packet identifier or 0, message
		const beyond = 0x7FFF
		b = b.U16(max(f.U16(), beyond) - beyond).Octets(f.Rest())
	default:
		return value, nil
	}
	if !f.Done() || k.Malformed() {
		return value, nil
	}
	return b, nil
}
