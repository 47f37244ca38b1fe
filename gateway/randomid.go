package gateway

import (
	"crypto/rand"
	"encoding/binary"
)

// randomMsgID returns a MsgId that nobody can guess.
func randomMsgID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}
