package sn12_test

import (
	"errors"
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var connectSamples = []sample{
	{"CONNECT clean", sn12.Connect{CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: 60, ClientID: []byte("c1")}, "08040401003c6331"},
	{"CONNECT with will", sn12.Connect{Will: true, ProtocolID: sn12.ProtocolID, Duration: 0xFFFF, ClientID: []byte("c")}, "07040801ffff63"},
	{"CONNECT of another protocol", sn12.Connect{ProtocolID: 2, ClientID: []byte("c")}, "07040002000063"},
	{"CONNACK", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported}, "030503"},
	{"CONNACK with a reserved code", sn12.ConnAck{ReturnCode: 0x80}, "030580"},
	{"DISCONNECT", sn12.Disconnect{}, "0218"},
	{"DISCONNECT to sleep", sn12.Disconnect{HasDuration: true, Duration: 300}, "0418012c"},
	{"DISCONNECT with Duration 0", sn12.Disconnect{HasDuration: true}, "04180000"},
}

func TestConnectMessages(t *testing.T) { checkSamples(t, connectSamples) }

func TestConnectBodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypeConnect, atLeast(5))
	checkBodyLens(t, sn12.TypeConnAck, exactly(1))
	checkBodyLens(t, sn12.TypeDisconnect, func(n int) bool { return n == 0 || n == 2 })
}

// A session wants to tell this fault, which it can answer with a CONNACK, from the
// other layout faults, which it drops.
func TestConnectWithoutClientIDHasItsOwnError(t *testing.T) {
	var m sn12.Connect
	err := m.Parse([]byte{0x04, 0x01, 0x00, 0x3C})
	if !errors.Is(err, sn12.ErrNoClientID) || !errors.Is(err, snpacket.ErrLayout) {
		t.Errorf("Parse without a ClientId: %v; want %v, wrapping %v", err, sn12.ErrNoClientID, snpacket.ErrLayout)
	}
	if err := m.Parse([]byte{0x04, 0x01, 0x00}); errors.Is(err, sn12.ErrNoClientID) || !errors.Is(err, snpacket.ErrLayout) {
		t.Errorf("Parse of a cut CONNECT: %v; want %v alone", err, snpacket.ErrLayout)
	}
}

func TestConnectMessagesThatHaveNoEncoding(t *testing.T) {
	checkRefused(t, sn12.ErrNoClientID, map[string]sn12.Message{
		"CONNECT": sn12.Connect{ProtocolID: sn12.ProtocolID},
	})
	checkRefused(t, snpacket.ErrLayout, map[string]sn12.Message{
		"a Duration that would be lost": sn12.Disconnect{Duration: 1},
	})
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"CONNECT": sn12.Connect{ClientID: make([]byte, 65528)},
	})
}
