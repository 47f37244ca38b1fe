package sn12_test

import (
	"testing"

	"sngate/snpacket/sn12"
)

// The numbers do not follow the order of the exchange: PUBCOMP 0x0E comes first.
var pubRecSamples = []sample{
	{"PUBREC", sn12.PubRec{MsgID: 0x0102}, "040f0102"},
	{"PUBREL", sn12.PubRel{MsgID: 0x0102}, "04100102"},
	{"PUBCOMP", sn12.PubComp{MsgID: 0x0102}, "040e0102"},
	{"PUBREC with MsgId 0", sn12.PubRec{}, "040f0000"},
}

func TestQoS2Messages(t *testing.T) { checkSamples(t, pubRecSamples) }

func TestQoS2BodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypePubRec, exactly(2))
	checkBodyLens(t, sn12.TypePubRel, exactly(2))
	checkBodyLens(t, sn12.TypePubComp, exactly(2))
}
