package sn12_test

import (
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var discoverySamples = []sample{
	{"ADVERTISE", sn12.Advertise{GwID: 1, Duration: 900}, "0500010384"},
	{"SEARCHGW", sn12.SearchGW{Radius: 2}, "030102"},
	{"GWINFO from a gateway", sn12.GWInfo{GwID: 5}, "030205"},
	{"GWINFO from a client", sn12.GWInfo{GwID: 5, GwAdd: []byte{0x12, 0x34}}, "0502051234"},
}

func TestDiscoveryMessages(t *testing.T) { checkSamples(t, discoverySamples) }

func TestDiscoveryBodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypeAdvertise, exactly(3))
	checkBodyLens(t, sn12.TypeSearchGW, exactly(1))
	checkBodyLens(t, sn12.TypeGWInfo, atLeast(1))
}

func TestGWInfoTooLong(t *testing.T) {
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"GWINFO": sn12.GWInfo{GwAdd: make([]byte, 65531)},
	})
}
