package mqtt_test

import (
	"fmt"
	"net"

	"sngate/upstream/mqtt"
)

// A Decoder reads what a broker sends.
func ExampleDecoder() {
	gateway, broker := net.Pipe()
	defer gateway.Close()
	go func() {
		defer broker.Close()
		_, _ = broker.Write([]byte{0x20, 2, 0, 0}) // CONNACK
		_, _ = broker.Write(mqtt.AppendPublish(nil, "", "pumps/1/set", []byte("on"), 1, false, 7))
	}()

	var d mqtt.Decoder
	d.Reset(gateway, 1024)
	var p mqtt.Packet
	for {
		size, err := d.Next(&p)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(size, "octets:", &p)
	}
	// Output:
	// 4 octets: CONNACK session present false, return code 0
	// 19 octets: PUBLISH topic "pumps/1/set", QoS 1, packet id 7, payload 2 octets "on"
	// EOF
}
