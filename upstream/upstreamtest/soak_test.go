package upstreamtest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// tally is what the two users have seen.
type tally struct {
	published map[upstream.Token]int
	arrived   map[string]int // by payload, which is the number of the message
	newest    map[uint8]int  // number, by QoS
}

func (y *tally) event(t *testing.T, seed uint64, e upstream.Event) {
	switch e.Kind {
	case upstream.EventPublished:
		y.published[e.Token]++
	case upstream.EventPublishFailed:
		t.Fatalf("seed %d: %+v", seed, e)
	case upstream.EventMessage:
		if y.arrived[string(e.Payload)]++; y.arrived[string(e.Payload)] > 1 {
			return
		}
		var n int
		fmt.Sscan(string(e.Payload), &n)
		if n < y.newest[e.QoS] {
			t.Fatalf("seed %d: message %d arrived after %d", seed, n, y.newest[e.QoS])
		}
		y.newest[e.QoS] = n
	}
}

// A publisher and a subscriber go through broker restarts and dropped connections at
// random: every message is acknowledged once and arrives, QoS 2 exactly once, and no
// message overtakes another of its QoS when it comes first.
func TestLinkOverRandomLossesLosesAndDoublesNothing(t *testing.T) {
	for seed := range uint64(20) {
		with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			pub, sub := dial("pub"), dial("sub")
			users := []*user{pub, sub}
			pub.Connect(pub.now(), &upstream.Connect{ClientID: "pub"})
			pub.kinds()
			sub.Connect(sub.now(), &upstream.Connect{ClientID: "sub"})
			sub.kinds()
			sub.Subscribe(sub.now(), 1, "#", 2)
			sub.kinds()
			const total = 200
			published, arrived := make(map[upstream.Token]int), make(map[string]int)
			seen := tally{published, arrived, make(map[uint8]int)}
			next := upstream.Token(1)
			round := func() {
				for _, u := range users {
					u.Nudge(u.now())
					u.run(time.Duration(rnd.IntN(100)) * time.Millisecond)
					for _, e := range u.events {
						seen.event(t, seed, e)
					}
					u.events = nil
				}
			}
			for len(published) < total || len(arrived) < total {
				if pub.now() > time.Hour {
					t.Fatalf("seed %d: %d acknowledged and %d arrived of %d", seed, len(published), len(arrived), total)
				}
				for range rnd.IntN(6) {
					if next <= total && int(next)-len(published) < 60 {
						pub.Publish(pub.now(), upstream.Publish{Token: next, Topic: "t", Payload: fmt.Append(nil, next), QoS: uint8(1 + next%2)})
						next++
					}
				}
				switch rnd.IntN(12) {
				case 0:
					b.Kill(true)
					round()
					b.Start()
				case 1:
					b.Drop("pub")
				case 2:
					b.Drop("sub")
				}
				round()
			}
			for token := upstream.Token(1); token <= total; token++ {
				n := arrived[fmt.Sprint(token)]
				if published[token] != 1 || token%2 == 1 && n != 1 {
					t.Errorf("seed %d: message %d: acknowledged %d times, arrived %d times", seed, token, published[token], n)
				}
			}
			synctest.Wait()
		})
	}
}
