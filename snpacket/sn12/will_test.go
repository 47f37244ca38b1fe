package sn12_test

import (
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var willSamples = []sample{
	{"WILLTOPICREQ", sn12.WillTopicReq{}, "0206"},
	{"WILLTOPIC", sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("w/t")}, "060730772f74"},
	{"WILLTOPIC empty", sn12.WillTopic{Empty: true}, "0207"},
	{"WILLTOPIC with QoS 3", sn12.WillTopic{QoS: 3, Topic: []byte("w")}, "04076077"},
	{"WILLMSGREQ", sn12.WillMsgReq{}, "0208"},
	{"WILLMSG", sn12.WillMsg{Message: []byte("bye")}, "0509627965"},
	{"WILLMSG without octets", sn12.WillMsg{}, "0209"},
	{"WILLTOPICUPD", sn12.WillTopicUpd{QoS: 2, Topic: []byte("w")}, "041a4077"},
	{"WILLTOPICUPD empty", sn12.WillTopicUpd{Empty: true}, "021a"},
	{"WILLTOPICRESP", sn12.WillTopicResp{ReturnCode: sn12.RejectedCongestion}, "031b01"},
	{"WILLMSGUPD", sn12.WillMsgUpd{Message: []byte{0}}, "031c00"},
	{"WILLMSGRESP", sn12.WillMsgResp{ReturnCode: sn12.Accepted}, "031d00"},
}

func TestWillMessages(t *testing.T) { checkSamples(t, willSamples) }

func TestWillBodySizes(t *testing.T) {
	flagsNeedTopic := func(n int) bool { return n != 1 }
	checkBodyLens(t, sn12.TypeWillTopicReq, exactly(0))
	checkBodyLens(t, sn12.TypeWillTopic, flagsNeedTopic)
	checkBodyLens(t, sn12.TypeWillMsgReq, exactly(0))
	checkBodyLens(t, sn12.TypeWillMsg, atLeast(0))
	checkBodyLens(t, sn12.TypeWillTopicUpd, flagsNeedTopic)
	checkBodyLens(t, sn12.TypeWillTopicResp, exactly(1))
	checkBodyLens(t, sn12.TypeWillMsgUpd, atLeast(0))
	checkBodyLens(t, sn12.TypeWillMsgResp, exactly(1))
}

func TestWillMessagesThatHaveNoEncoding(t *testing.T) {
	checkRefused(t, snpacket.ErrLayout, map[string]sn12.Message{
		"flags without a topic":                  sn12.WillTopic{QoS: 1},
		"QoS above two bits":                     sn12.WillTopic{QoS: 4, Topic: []byte("w")},
		"empty, with a topic that would be lost": sn12.WillTopic{Empty: true, Topic: []byte("w")},
		"empty, with a QoS that would be lost":   sn12.WillTopicUpd{Empty: true, QoS: 1},
		"empty, with a Retain that would be lost": sn12.WillTopicUpd{
			Empty: true, Retain: true,
		},
	})
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"WILLTOPIC":  sn12.WillTopic{Topic: make([]byte, 65531)},
		"WILLMSG":    sn12.WillMsg{Message: make([]byte, 65532)},
		"WILLMSGUPD": sn12.WillMsgUpd{Message: make([]byte, 65532)},
	})
}
