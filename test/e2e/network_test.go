package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

func TestIPv4AndIPv6ListenersServeAtOnce(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"listener": `[{address = "127.0.0.1:0"}, {address = "[::1]:0"}]`})
	if len(g.Addrs) != 2 || !strings.HasPrefix(g.Addrs[0], "127.0.0.1:") || !strings.HasPrefix(g.Addrs[1], "[::1]:") {
		t.Fatalf("the gateway listens on %v", g.Addrs)
	}
	other := testgateway.ConnectMQTT(t, broker.Addr(), "up/#")
	for i, addr := range g.Addrs {
		d := connect(t, addr, snclient.Options{ClientID: fmt.Sprint("d", i), CleanSession: true})
		text := "from " + addr
		d.publish(snclient.Name("up/t"), []byte(text), 1, false)
		other.WantMessage("up/t", text)
		d.subscribe(snclient.Name("down/"+strconv.Itoa(i)), 1)
	}
	g.Await(testgateway.SessionsIn("active"), 2)
	// One session moves from one listener to the other.
	d := connect(t, g.Addrs[1], snclient.Options{ClientID: "d0"})
	other.Send("down/1", []byte("x"), 1, false)
	d.publish(snclient.Name("up/t"), []byte("moved"), 2, false)
	other.WantMessage("up/t", "moved")
	g.Await(testgateway.SessionsIn("active"), 2)
}

// Two nodes behind one forwarder and one of them, asleep, behind another.
func TestNodesBehindForwarders_Case177_178_182(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	other := testgateway.ConnectMQTT(t, broker.Addr(), "up/#")
	first, second := startForwarder(t, g.Addr), startForwarder(t, g.Addr)
	a, b := first.node(t), first.node(t)
	a.MustConnect("node-a", true, 60)
	b.MustConnect("node-b", true, 60)
	for _, n := range []struct {
		*testgateway.Node
		name string
	}{{a, "a"}, {b, "b"}} {
		id := n.Register("up/" + n.name)
		n.Send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 3, Data: []byte(n.name)})
		testgateway.Want[sn12.PubAck](n.Node)
		other.WantMessage("up/"+n.name, n.name)
		n.Subscribe("down/"+n.name, 1)
	}
	other.Send("down/b", []byte("for b"), 1, false)
	m := testgateway.Want[sn12.Publish](b)
	b.Acknowledge(m)
	a.WantSilence("the message is for the other node")
	g.Await(testgateway.SessionsIn("active"), 2)

	a.Sleep(60)
	other.Send("down/a", []byte("for a"), 1, false)
	g.Await("sngate_sleep_buffer_messages", 1)
	moved := second.node(t)
	list := moved.Wake("node-a", make(map[uint16]string))
	if len(list) != 1 || string(list[0].Data) != "for a" {
		t.Errorf("behind the other forwarder the node gets %+v", list)
	}
	a.WantSilence("the node has moved")
}

func TestForwarderThatIsNotAllowedIsIgnored(t *testing.T) {
	t.Parallel()
	g := startGateway(t, mosquitto.Start(t, mosquitto.Options{}).URL(), testgateway.Settings{"forwarder.allow": `["192.0.2.7"]`})
	f := startForwarder(t, g.Addr)
	n := f.node(t)
	n.Send(sn12.Connect{ProtocolID: sn12.ProtocolID, CleanSession: true, ClientID: []byte("behind")})
	g.Await(testgateway.DropsFor("forwarder_not_allowed"), 1)
	n.WantSilence("the forwarder is not on the list")
	plain := testgateway.NewNode(t, g.Addr)
	plain.MustConnect("before", true, 60)
}

// forwarder is a forwarder (MQTT-SN 1.2 section 5.5): it encapsulates what its nodes
// send, each known by a number, and hands them what comes back.
type forwarder struct {
	near *net.UDPConn // towards the nodes
	far  net.Conn     // towards the gateway

	mu    sync.Mutex
	nodes []netip.AddrPort // the index is the wireless node id
}

func startForwarder(t *testing.T, gateway string) *forwarder {
	t.Helper()
	near, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("udp", gateway)
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{near: near, far: far}
	var wg sync.WaitGroup
	wg.Go(func() { f.forward(t) })
	wg.Go(func() { f.back(t) })
	t.Cleanup(func() {
		near.Close()
		far.Close()
		wg.Wait()
	})
	return f
}

// node makes a node that speaks to the forwarder.
func (f *forwarder) node(t *testing.T) *testgateway.Node {
	t.Helper()
	return testgateway.NewNode(t, f.near.LocalAddr().String())
}

// number returns the wireless node id of an address.
func (f *forwarder) number(addr netip.AddrPort) byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, a := range f.nodes {
		if a == addr {
			return byte(i)
		}
	}
	f.nodes = append(f.nodes, addr)
	return byte(len(f.nodes) - 1)
}

func (f *forwarder) forward(t *testing.T) {
	buf := make([]byte, 65536)
	for {
		n, from, err := f.near.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		b, err := sn12.Encapsulated{NodeID: []byte{0xA0, f.number(from)}, Inner: buf[:n]}.Append(nil)
		if err == nil {
			_, err = f.far.Write(b)
		}
		if err != nil {
			t.Errorf("forwarder: %v", err)
		}
	}
}

func (f *forwarder) back(t *testing.T) {
	buf := make([]byte, 65536)
	for {
		n, err := f.far.Read(buf)
		if err != nil {
			return
		}
		var m sn12.Encapsulated
		if err := m.Parse(buf[:n]); err != nil || len(m.NodeID) != 2 || m.NodeID[0] != 0xA0 {
			t.Errorf("forwarder: the gateway sends % x: %v", buf[:n], err)
			continue
		}
		f.mu.Lock()
		to := f.nodes[m.NodeID[1]]
		f.mu.Unlock()
		if _, err := f.near.WriteToUDPAddrPort(m.Inner, to); err != nil {
			t.Errorf("forwarder: %v", err)
		}
	}
}

func TestSearchByUnicastIsAnswered_Case15(t *testing.T) {
	t.Parallel()
	g := startGateway(t, mosquitto.Start(t, mosquitto.Options{}).URL(), testgateway.Settings{"gateway.id": "42"})
	d := dial(t, g.Addr, snclient.Options{ClientID: "seeker"})
	found, err := d.SearchGateway(d.ctx, 1)
	d.must(err)
	if found.ID != 42 || len(found.Address) != 0 {
		t.Errorf("GWINFO says %+v, want gateway 42 without an address", found)
	}
}

// A device on the group finds the gateway, hears ADVERTISE, and connects to where
// GWINFO came from.
func TestDiscoveryByMulticastOnLoopback_Case13_14(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	group := netip.MustParseAddr("239.83.78.71")
	port := testgateway.FreeUDPPort(t)
	lo := loopbackInterface(t)
	g := startGateway(t, broker.URL(), testgateway.Settings{
		"gateway.id":                   "7",
		"listener":                     fmt.Sprintf(`[{address = ":%d", multicast = "%s", multicast_interface = %q}]`, port, group, lo.Name),
		"discovery.advertise_interval": `"1s"`,
	})
	member := joinGroup(t, netip.AddrPortFrom(group, port), lo)
	buf := make([]byte, 1500)
	// next returns the next message of the gateway with the given type.
	next := func(kind sn12.Type) (sn12.Message, netip.AddrPort) {
		t.Helper()
		deadline := time.Now().Add(testgateway.Patience)
		if err := member.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		for {
			n, from, err := member.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatalf("waiting for %v: %v", kind, err)
			}
			m, err := sn12.Parse(bytes.Clone(buf[:n]))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type() == kind {
				return m, from
			}
		}
	}
	for range 2 {
		m, _ := next(sn12.TypeAdvertise)
		if a := m.(sn12.Advertise); a.GwID != 7 || a.Duration != 1 {
			t.Fatalf("received %+v, want gateway 7 every second", a)
		}
	}
	search, err := sn12.SearchGW{Radius: 1}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.WriteToUDPAddrPort(search, netip.AddrPortFrom(group, port)); err != nil {
		t.Fatal(err)
	}
	m, from := next(sn12.TypeGWInfo)
	if info := m.(sn12.GWInfo); info.GwID != 7 || from.Port() != port {
		t.Fatalf("received %+v from %v, want gateway 7 on port %d", info, from, port)
	}
	member.Close() // it has the gateway's port, and would get what is for it
	n := testgateway.NewNode(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	n.MustConnect("found", true, 60)
	g.Await(testgateway.SessionsIn("active"), 1) // discovery makes none
}

func loopbackInterface(t *testing.T) *net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Flags&net.FlagLoopback != 0 && all[i].Flags&net.FlagUp != 0 {
			return &all[i]
		}
	}
	t.Fatal("the machine has no loopback interface")
	return nil
}

// joinGroup makes a socket that hears the group and sends to it.
func joinGroup(t *testing.T, group netip.AddrPort, ifi *net.Interface) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenMulticastUDP("udp4", ifi, net.UDPAddrFromAddrPort(group))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := ipv4.NewPacketConn(conn)
	if err := p.SetMulticastInterface(ifi); err != nil {
		t.Fatal(err)
	}
	if err := p.SetMulticastLoopback(true); err != nil {
		t.Fatal(err)
	}
	return conn
}
