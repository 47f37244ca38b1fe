// Package sn12 is the dialogue of MQTT-SN 1.2: its messages, which the codec snpacket/sn12 reads
// and writes, in the terms of package dialogue. What is peculiar to this version and to its
// clients, and concerns no other, belongs here.
package sn12

import (
	"sngate/gateway/session/dialogue"
	codec "sngate/snpacket/sn12"
)

// Dialogue implements dialogue.Dialogue.
type Dialogue struct{}

// codeOf reads a ReturnCode (MQTT-SN 1.2 section 5.3.10). The reserved ones reject as well.
func codeOf(c codec.ReturnCode) dialogue.Code {
	switch c {
	case codec.Accepted:
		return dialogue.Accepted
	case codec.RejectedCongestion:
		return dialogue.Congestion
	case codec.RejectedInvalidTopicID:
		return dialogue.InvalidTopicID
	}
	return dialogue.NotSupported
}

func returnCode(c dialogue.Code) codec.ReturnCode {
	switch c {
	case dialogue.Accepted:
		return codec.Accepted
	case dialogue.Congestion:
		return codec.RejectedCongestion
	case dialogue.InvalidTopicID:
		return codec.RejectedInvalidTopicID
	}
	return codec.RejectedNotSupported
}

// topicTypeOf reads two bits, and topicIDType writes them: the numbers are the same.
func topicTypeOf(t codec.TopicIDType) dialogue.TopicType { return dialogue.TopicType(t) }
func topicIDType(t dialogue.TopicType) codec.TopicIDType { return codec.TopicIDType(t) }
