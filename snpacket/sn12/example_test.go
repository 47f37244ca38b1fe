package sn12_test

import (
	"fmt"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// A message is appended to a buffer of the caller's; a tool parses it without knowing what it
// is.
func ExampleParse() {
	datagram, err := sn12.Publish{QoS: 1, TopicID: 0x0102, MsgID: 7, Data: []byte("21.5")}.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% x\n", datagram)
	m, err := sn12.Parse(datagram)
	fmt.Printf("%v %+v %v\n", m.Type(), m, err)
	// Output:
	// 0b 0c 20 01 02 00 07 32 31 2e 35
	// PUBLISH {DUP:false QoS:1 Retain:false TopicIDType:normal TopicID:258 MsgID:7 Data:[50 49 46 53]} <nil>
}

// Where each message costs, nothing is allocated: the type says which struct to parse into.
func ExamplePublish_Parse() {
	msgType, body, err := snpacket.Split([]byte{0x09, 0x0c, 0x00, 0x00, 0x01, 0x00, 0x00, '2', '1'})
	if err != nil || sn12.Type(msgType) != sn12.TypePublish {
		fmt.Println("not a PUBLISH")
		return
	}
	var m sn12.Publish
	if err := m.Parse(body); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("topic id %d, QoS %d: %s\n", m.TopicID, m.QoS, m.Data)
	// Output:
	// topic id 1, QoS 0: 21
}
