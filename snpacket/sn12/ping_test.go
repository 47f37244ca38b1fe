package sn12_test

import (
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var pingSamples = []sample{
	{"PINGREQ", sn12.PingReq{}, "0216"},
	{"PINGREQ of a waking client", sn12.PingReq{ClientID: []byte("c1")}, "04166331"},
	{"PINGRESP", sn12.PingResp{}, "0217"},
}

func TestPingMessages(t *testing.T) { checkSamples(t, pingSamples) }

func TestPingBodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypePingReq, atLeast(0))
	checkBodyLens(t, sn12.TypePingResp, exactly(0))
}

func TestPingReqTooLong(t *testing.T) {
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"PINGREQ": sn12.PingReq{ClientID: make([]byte, 65532)},
	})
}
