package listen

import "testing"

func TestKernelDropsAreCounted(t *testing.T) {
	c, _ := listenForTest(t, udpOptions{Address: "127.0.0.1:0", ReceiveBuffer: 4096})
	sender, _ := listenForTest(t, udpOptions{Address: "127.0.0.1:0"})
	drops, ok := c.(*udpConn).KernelDrops()
	if !ok || drops != 0 {
		t.Fatalf("drops = %d, %t on a new socket", drops, ok)
	}
	for range 200 {
		if _, err := sender.WriteTo(make([]byte, 500), c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	drops, ok = c.(*udpConn).KernelDrops()
	if !ok || drops < 100 || drops >= 200 {
		t.Errorf("drops = %d, %t of 200 datagrams into a buffer of 4096", drops, ok)
	}
}
