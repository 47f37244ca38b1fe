package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// wantConsistent checks what must hold between shards and the directory while all are
// idle: an address belongs to one session, and a session has one address.
func (r *rig) wantConsistent() {
	r.t.Helper()
	synctest.Wait()
	held := make(map[listen.Peer]*entry)
	for _, s := range r.gateway.shards {
		for id, e := range s.roster.byID {
			if e.gone || e.shard != s || e.session.ClientID() != id || s != r.gateway.shardOf([]byte(id)) {
				r.t.Fatalf("%s is in the wrong place", id)
			}
			if !e.bound {
				if e.session.State() == session.StateActive {
					r.t.Fatalf("%s is active and has no address", id)
				}
				continue
			}
			if other := held[e.peer]; other != nil {
				r.t.Fatalf("%s and %s have the address %s", id, other.session.ClientID(), e.peer)
			}
			held[e.peer] = e
			if r.gateway.directory.find(e.peer) != e {
				r.t.Fatalf("%s has the address %s, the directory says otherwise", id, e.peer)
			}
		}
	}
	n := 0 // each of held is there, so it is those, or there are more
	for i := range r.gateway.directory.stripes {
		stripe := &r.gateway.directory.stripes[i]
		n += len(stripe.byKey) + len(stripe.byPeer)
	}
	if n != len(held) {
		r.t.Fatalf("%d addresses in the directory, %d sessions with one", n, len(held))
	}
}

func TestClientsAreSpreadOverTheShardsAndStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		r := newRig(t, func(o *Options) { o.Listen, o.Shards = c.listen, 4 })
		for round := range 2 {
			for i := range 400 {
				c.sendMessage(t, source(i+round*1000), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: clientID(i)})
			}
			synctest.Wait()
			r.wantSessions("one each, wherever they come from", 400)
		}
		for i, s := range r.gateway.shards {
			if n := len(s.roster.byID); n < 40 || n > 200 {
				t.Errorf("%d of 400 sessions in shard %d", n, i)
			}
		}
		r.wantConsistent()
	})
}

// Devices whose sessions are in different shards connect, sleep, wake and leave from
// addresses they take from each other all the time.
func TestDevicesExchangeAddressesBetweenShards(t *testing.T) {
	for seed := range uint64(scale(20, 5)) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { exchangeAddresses(t, seed) })
		})
	}
}

func exchangeAddresses(t *testing.T, seed uint64) {
	const ids, addresses, senders, rounds = 12, 6, 4, 300
	c := newCrowd()
	r := newRig(t, func(o *Options) { o.Listen, o.Shards = c.listen, 4 })
	got := r.observe()
	for range 5 {
		var wg sync.WaitGroup
		for sender := range senders {
			random := rand.New(rand.NewPCG(seed, uint64(sender)))
			wg.Go(func() {
				for range rounds {
					id, from := clientID(random.IntN(ids)), source(random.IntN(addresses))
					switch random.IntN(12) {
					case 0:
						c.sendMessage(t, from, sn12.Disconnect{})
					case 1:
						c.sendMessage(t, from, sn12.Disconnect{HasDuration: true, Duration: 600})
					case 2, 3:
						c.sendMessage(t, from, sn12.PingReq{ClientID: id})
					case 4:
						c.sendMessage(t, from, sn12.PingReq{})
					case 5:
						time.Sleep(time.Millisecond)
					default:
						c.sendMessage(t, from, sn12.Connect{CleanSession: random.IntN(2) == 0, ProtocolID: 1, Duration: 600, ClientID: id})
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(5 * time.Second) // connects and closes in progress
		r.wantConsistent()
	}
	// Each address speaks for the client that has it, and for nobody else.
	got.take()
	for i := range addresses {
		p := listen.Peer{Addr: source(i)}
		c.sendMessage(t, source(i), sn12.Publish{QoS: 1, MsgID: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte{'0' + byte(i)}})
		synctest.Wait()
		e, list := r.gateway.directory.find(p), got.take()
		connected := e != nil && connected(e.session.State())
		if !connected && len(list) == 0 {
			continue
		}
		if want := fmt.Sprintf("%s ab %d 1", e.session.ClientID(), i); len(list) != 1 || list[0] != want {
			t.Fatalf("published as %q, want %q", list, want)
		}
	}
}

// The word that an address was taken is still on its way to another shard when its
// owner comes back to the address.
func TestAddressTakenAndTakenBackBetweenShards_Case27(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd()
			answers := make(chan string, 1000)
			c.sent = func(b []byte, _ netip.AddrPort) { answers <- fmt.Sprintf("%x", b) }
			r := newRig(t, func(o *Options) { o.Listen, o.Shards = c.listen, 4 })
			a, b := []byte("a"), []byte("b")
			for i := 0; r.gateway.shardOf(a) == r.gateway.shardOf(b); i++ {
				b = clientID(i)
			}
			connect := func(id []byte) {
				c.sendMessage(t, source(0), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: id})
			}
			connect(a)
			synctest.Wait()
			for range 20 {
				connect(b)
				connect(a)
			}
			time.Sleep(5 * time.Second)
			r.wantConsistent()
			r.wantSessions("one of them has the address", 1)
			for len(answers) > 0 {
				<-answers
			}
			c.sendMessage(t, source(0), sn12.PingReq{})
			synctest.Wait()
			if got := <-answers; got != "0217" {
				t.Fatalf("PINGREQ is answered with %s", got)
			}
		})
	}
}

// clientIDs returns one client id of a shard after the other, of so many octets.
func (r *rig) clientIDs(shard, size int) func() []byte {
	i := 0
	return func() []byte {
		for {
			id := bytes.Repeat([]byte("x"), size)
			copy(id, clientID(i))
			if i++; r.gateway.shardOf(id) == r.gateway.shards[shard] {
				return id
			}
		}
	}
}

// A shard that is busy for long loses datagrams beyond its queue, and counts them. It is not the
// one that reads the listener: what that does not read waits in the socket.
func TestFullShardDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		r := newRig(t, func(o *Options) { o.Listen, o.Shards = c.listen, 2 })
		c.sendMessage(t, source(0), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: r.clientIDs(1, 8)()})
		synctest.Wait()
		block, blocked := make(chan struct{}), make(chan struct{})
		r.gateway.shards[1].queues.post(func() { close(blocked); <-block })
		<-blocked
		for range arrivalQueue + 100 {
			c.sendMessage(t, source(0), sn12.PingReq{})
		}
		r.wantDropped(session.ReasonShardFull, 100)
		var pongs int
		c.sent = func([]byte, netip.AddrPort) { pongs++ }
		close(block)
		synctest.Wait()
		if pongs != arrivalQueue {
			t.Fatalf("%d of the others are answered", pongs)
		}
	})
}

// Known devices go before strangers: of thousands of strangers in line no more than a few
// are served before them. The shard is not the one that reads the listener: that reads both from
// the socket in their order, and serves a stranger for each batch.
func TestKnownDevicesGoBeforeStrangers_Case159(t *testing.T) {
	for _, size := range []int{20, 60_000} { // octets of a stranger's datagram
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd()
			r := newRig(t, func(o *Options) { o.Listen, o.Shards = c.listen, 2 })
			const known = 20
			id := r.clientIDs(1, 8)
			for i := range known {
				c.sendMessage(t, source(i), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: id()})
			}
			synctest.Wait()
			r.wantSessions("connected", known)
			block, blocked := make(chan struct{}), make(chan struct{})
			r.gateway.shards[1].queues.post(func() { close(blocked); <-block })
			<-blocked
			flood := strangerQueue + 100
			stranger := r.clientIDs(1, size)
			for i := range flood {
				c.sendMessage(t, source(1000+i), sn12.PingReq{ClientID: stranger()})
			}
			for range 5 {
				for i := range known {
					c.sendMessage(t, source(i), sn12.PingReq{})
				}
			}
			dropped := uint64(100)
			if size > 2048 {
				dropped = uint64(flood - poolLimit/2/65535)
			}
			r.wantDropped(session.ReasonStrangersFull, dropped)
			r.wantDropped(session.ReasonShardFull, 0)
			var pongs, before, strangers int
			c.sent = func(b []byte, _ netip.AddrPort) {
				if m, _ := sn12.Parse(b); m == (sn12.PingResp{}) {
					pongs++
					before = strangers
				} else {
					strangers++
				}
			}
			close(block)
			synctest.Wait()
			if want := min(flood-int(dropped), replyBurst); pongs != 5*known || strangers != want {
				t.Fatalf("%d known devices and %d strangers answered, want %d and %d", pongs, strangers, 5*known, want)
			}
			// 100 datagrams are four turns, each of which a stranger may begin.
			if before > 4 {
				t.Fatalf("%d strangers were served before known devices", before)
			}
		})
	}
}

// A power cut brings devices back within milliseconds, in which the shard handles none of them.
// Each is connected by its first CONNECT.
func TestDevicesThatComeUpTogetherAreAllHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		accepted := 0
		c.sent = func(b []byte, _ netip.AddrPort) {
			if m, _ := sn12.Parse(b); m == (sn12.ConnAck{}) {
				accepted++
			}
		}
		const devices = 5000
		r := newRig(t, func(o *Options) { o.Listen, o.MaxSessions = c.listen, devices })
		release := r.busy()
		for i := range devices {
			c.sendMessage(t, source(i), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: clientID(i)})
		}
		release()
		synctest.Wait()
		r.wantDropped(session.ReasonStrangersFull, 0)
		r.wantSessions("all are connected", devices)
		if accepted != devices {
			t.Fatalf("%d devices have CONNACK, want %d", accepted, devices)
		}
	})
}

// As above, with the word certainly late: the last to connect has the address. The
// shard that is late is not the one that reads the listener.
func TestLastToConnectHasTheAddress_Case27(t *testing.T) {
	for range 20 { // the late shard takes CONNECT or the word first, by chance
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd()
			r := newRig(t, func(o *Options) { o.Listen, o.Shards = c.listen, 4 })
			a, b := r.clientIDs(1, 8)(), r.clientIDs(2, 8)()
			connect := func(id []byte) {
				c.sendMessage(t, source(0), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: id})
				synctest.Wait()
			}
			connect(a)
			block := make(chan struct{})
			r.gateway.shardOf(a).queues.post(func() { <-block })
			synctest.Wait()
			connect(b)
			connect(a)
			close(block)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			e := r.gateway.directory.find(listen.Peer{Addr: source(0)})
			if e == nil || e.session.ClientID() != string(a) || e.session.State() != session.StateActive {
				t.Fatal("a, which has connected last, does not have the address")
			}
			r.wantConsistent()
			r.wantSessions("b is lost", 1)
		})
	}
}
