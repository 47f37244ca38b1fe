package gateway

import (
	"context"
	"flag"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// exchangeFiles are what gateways have left behind in the middle of QoS 2 exchanges with the
// broker, which remembers them by packet identifiers. They are made as storeFiles are, by
//
//	go test ./gateway -run TestExchangesOfAnEarlierVersionGoOn -write-exchange-file testdata/exchanges-NAME.db.gz
var exchangeFiles = []struct {
	path  string
	from  uint32 // as in storeFiles
	first uint16 // packet identifier of the first exchange of the device; the second follows
}{
	{"testdata/exchanges-schema2.db.gz", 2, 0x8001},
	{"testdata/exchanges-schema3.db.gz", 0, 0x8000},
}

var writeExchangeFile = flag.String("write-exchange-file", "", "make a store file with QoS 2 exchanges in progress, compressed, and test it")

// exchangeRig is a gateway whose broker is played by the test, and has a session of everybody.
type exchangeRig struct {
	*rig
	conns chan brokerConn
}

type brokerConn struct {
	clientID string
	peer     *upstreamtest.Peer
}

func newExchangeRig(t *testing.T, path string, from uint32) exchangeRig {
	t.Helper()
	r := exchangeRig{newStoreFileRig(t, path, from), make(chan brokerConn, 16)}
	lis := upstreamtest.NewListener(0)
	r.opts.Upstream.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := lis.Dial(ctx, network, address)
		if err == nil {
			go func() {
				p := lis.Accept(t)
				r.conns <- brokerConn{p.Accept(true).ClientIdentifier, p}
			}()
		}
		return conn, err
	}
	r.start()
	return r
}

// peers returns the broker's ends of connections, in the order of the client ids given.
func (r exchangeRig) peers(clientIDs ...string) (peers []*upstreamtest.Peer) {
	r.t.Helper()
	synctest.Wait()
	found := map[string]*upstreamtest.Peer{}
	for len(r.conns) > 0 {
		c := <-r.conns
		found[c.clientID] = c.peer
	}
	for _, id := range clientIDs {
		if found[id] == nil {
			r.t.Fatalf("%s has no connection to the broker", id)
		}
		peers = append(peers, found[id])
	}
	return peers
}

// respond sends a packet that has nothing but a packet identifier: by its first octet.
func respond(p *upstreamtest.Peer, first byte, id uint16) {
	p.SendRaw(first, 2, byte(id>>8), byte(id))
	synctest.Wait()
}

const firstPubrec, firstPubrel, firstPubcomp = 0x50, 0x62, 0x70

// fillExchangeFile makes the file. Of the device "up" the broker has got PUBREL of one message, and
// is to get the other; of the device "down" it has not got PUBREC.
func fillExchangeFile(t *testing.T, path string) {
	r := newExchangeRig(t, path, 0)
	up, down := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
	up.connectWith(false, 600, "up")
	down.connectWith(false, 600, "down")
	peers := r.peers("up", "down")
	topic := up.register("u")
	for i, text := range []string{"released", "published"} {
		up.sendMessage(sn12.Publish{QoS: 2, TopicID: topic, MsgID: uint16(i + 1), Data: []byte(text)})
		up.wantMessage("stored", sn12.PubRec{MsgID: uint16(i + 1)})
		id := upstreamtest.Want[*packets.PublishPacket](peers[0], text).MessageID
		if i == 0 {
			respond(peers[0], firstPubrec, id)
			upstreamtest.Want[*packets.PubrelPacket](peers[0], "released")
			t.Logf("the first exchange is %#x", id)
		}
	}
	down.sendMessage(sn12.Subscribe{QoS: 2, MsgID: 1, TopicName: []byte("t")})
	id := upstreamtest.Want[*packets.SubscribePacket](peers[1], "").MessageID
	peers[1].SendRaw(0x90, 3, byte(id>>8), byte(id), 2)
	down.wantMessage("subscribed", sn12.SubAck{QoS: 2, TopicID: 2, MsgID: 1})
	down.sleep(3600)
	peers[1].Publish("t", "x", 2, 5, false)
	upstreamtest.Want[*packets.PubrecPacket](peers[1], "stored")
	r.crash()
}

func TestExchangesOfAnEarlierVersionGoOn(t *testing.T) {
	if *writeExchangeFile != "" {
		path := filepath.Join(t.TempDir(), "sngate.db")
		synctest.Test(t, func(t *testing.T) { fillExchangeFile(t, path) })
		pack(t, path, *writeExchangeFile)
	}
	for _, f := range exchangeFiles {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sngate.db")
			unpack(t, f.path, path)
			synctest.Test(t, func(t *testing.T) { restoreExchangeFile(t, path, f.from, f.first) })
		})
	}
}

// restoreExchangeFile has the broker continue where it was.
func restoreExchangeFile(t *testing.T, path string, from uint32, first uint16) {
	r := newExchangeRig(t, path, from)
	peers := r.peers("up", "down")
	up, down := peers[0], peers[1]
	if rel := upstreamtest.Want[*packets.PubrelPacket](up, "it may be with the broker"); rel.MessageID != first {
		t.Errorf("PUBREL %#x, want %#x", rel.MessageID, first)
	}
	respond(up, firstPubcomp, first)
	second := upstreamtest.Want[*packets.PublishPacket](up, "and this as well")
	if second.MessageID != first+1 || !second.Dup || string(second.Payload) != "published" {
		t.Errorf("%v, want DUP and %#x", second, first+1)
	}
	respond(up, firstPubrec, first+1)
	if rel := upstreamtest.Want[*packets.PubrelPacket](up, "received"); rel.MessageID != first+1 {
		t.Errorf("PUBREL %#x", rel.MessageID)
	}
	respond(up, firstPubcomp, first+1)
	up.WantQuiet("both are with the broker")

	down.Publish("t", "x", 2, 5, true)
	synctest.Wait()
	if rec := upstreamtest.Want[*packets.PubrecPacket](down, "it is taken"); rec.MessageID != 5 {
		t.Errorf("PUBREC %d", rec.MessageID)
	}
	respond(down, firstPubrel, 5)
	if comp := upstreamtest.Want[*packets.PubcompPacket](down, "released"); comp.MessageID != 5 {
		t.Errorf("PUBCOMP %d", comp.MessageID)
	}
	down.Publish("t", "x", 2, 5, true)
	synctest.Wait()
	upstreamtest.Want[*packets.PubrecPacket](down, "another one, as it has been released")

	d := r.device("10.0.1.2:5000")
	go func() {
		for { // the barriers of the wake
			if _, err := packets.ReadPacket(down.Conn); err != nil {
				return
			}
			if _, err := down.Conn.Write([]byte{0xd0, 0}); err != nil {
				return
			}
		}
	}()
	if texts := d.wake("down"); !slices.Equal(texts, []string{"x", "x"}) {
		t.Errorf("the device gets %q, want the message and the one after it", texts)
	}
	time.Sleep(time.Second)
}
