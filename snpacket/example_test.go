package snpacket_test

import (
	"fmt"

	"sngate/snpacket"
)

func ExampleSplit() {
	for _, datagram := range [][]byte{
		{0x05, 0x16, 'd', 'e', 'v'},             // PINGREQ, one octet of length
		{0x01, 0x00, 0x07, 0x16, 'd', 'e', 'v'}, // the same with three
		{0x05, 0x16, 'd', 'e'},                  // cut off
	} {
		msgType, body, err := snpacket.Split(datagram)
		fmt.Printf("%#02x %q %v\n", msgType, body, err)
	}
	// Output:
	// 0x16 "dev" <nil>
	// 0x16 "dev" <nil>
	// 0x00 "" length field does not match the datagram
}
