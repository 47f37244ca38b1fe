package sn12_test

import (
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var registerSamples = []sample{
	{"REGISTER by a client", sn12.Register{MsgID: 1, TopicName: []byte("a/b")}, "090a00000001612f62"},
	{"REGISTER by a gateway", sn12.Register{TopicID: 0x1234, MsgID: 0xFFFF, TopicName: []byte("a")}, "070a1234ffff61"},
	// Empty names parse: the session owes the client a rejecting REGACK.
	{"REGISTER of an empty name", sn12.Register{MsgID: 1}, "060a00000001"},
	{"REGACK", sn12.RegAck{TopicID: 1, MsgID: 2, ReturnCode: sn12.RejectedInvalidTopicID}, "070b0001000202"},
}

func TestRegisterMessages(t *testing.T) { checkSamples(t, registerSamples) }

func TestRegisterBodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypeRegister, atLeast(4))
	checkBodyLens(t, sn12.TypeRegAck, exactly(5))
}

func TestRegisterTooLong(t *testing.T) {
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"REGISTER": sn12.Register{TopicName: make([]byte, 65528)},
	})
}
