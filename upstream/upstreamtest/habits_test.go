package upstreamtest_test

import (
	"context"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/upstreamtest"
)

// raw is a client that is written octet by octet.
type raw struct {
	t    *testing.T
	conn *upstreamtest.Conn
}

// dialRaw opens a connection and writes CONNECT with a client id and keep-alive 0.
func dialRaw(t *testing.T, b *upstreamtest.Broker, id string, clean bool) *raw {
	t.Helper()
	conn, err := b.Dial(context.Background(), "tcp", "memory")
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{t, conn.(*upstreamtest.Conn)}
	t.Cleanup(func() { conn.Close() })
	flags := "00"
	if clean {
		flags = "02"
	}
	n := byte(len(id))
	r.send("10", hex.EncodeToString([]byte{12 + n}), "00044d51545404", flags, "000000", hex.EncodeToString([]byte{n}), hex.EncodeToString([]byte(id)))
	return r
}

// send writes octets given in hex.
func (r *raw) send(octets ...string) {
	r.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(octets, ""), " ", ""))
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// got returns all that has come, in hex, and "closed" behind it if the connection has ended.
func (r *raw) got() string {
	synctest.Wait()
	octets := make([]byte, r.conn.Buffered())
	if _, err := io.ReadFull(r.conn, octets); len(octets) > 0 && err != nil {
		r.t.Fatal(err)
	}
	r.conn.SetReadDeadline(time.Now().Add(1)) // fake time
	defer r.conn.SetReadDeadline(time.Time{})
	end := ""
	if _, err := r.conn.Read(make([]byte, 1)); err == io.EOF {
		end = "closed"
	}
	return hex.EncodeToString(octets) + end
}

func (r *raw) want(why, want string) {
	r.t.Helper()
	if got := r.got(); got != strings.ReplaceAll(want, " ", "") {
		r.t.Errorf("%s: got %s, want %s", why, got, want)
	}
}

// Each habit, octet for octet. A client "c" is connected, subscribed to nothing, and has
// read CONNACK.
func TestHabitsOfBrokers(t *testing.T) {
	const (
		publishBad  = "320a 0005 6261642f74 0001 78" // QoS 1, "bad/t", id 1, "x"
		publishGood = "3208 0003 672f74 0002 78"     // QoS 1, "g/t", id 2
		publishTwo  = "3408 0003 672f74 0003 78"     // QoS 2, "g/t", id 3
		subscribe   = "8208 0004 0003 672f74 02"     // "g/t", QoS 2
		ping        = "c000"
		pong        = "d000"
	)
	retained := upstreamtest.Message{Topic: "g/t", Payload: []byte("r"), QoS: 1, Retain: true}
	for _, c := range []struct {
		name   string
		habits upstreamtest.Habits
		play   func(b *upstreamtest.Broker, r *raw)
	}{
		{"none", upstreamtest.Habits{}, func(b *upstreamtest.Broker, r *raw) {
			b.Publish(retained)
			r.send(publishBad, publishTwo)
			r.want("acknowledged", "40020001 50020003")
			r.send("62020003", subscribe)
			r.want("SUBACK, then what is retained", "70020003 9003000402 3308 0003672f74 0001 72")
		}},
		{"closes on a denied topic", upstreamtest.Habits{Deny: upstreamtest.DenyTopic("bad/t")}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood)
			r.want("allowed", "40020002")
			r.send(publishBad)
			r.want("denied", "closed")
		}},
		{"closes on retained messages", upstreamtest.Habits{Deny: upstreamtest.DenyRetained}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood)
			r.want("not retained", "40020002")
			r.send("33", publishGood[2:])
			r.want("retained", "closed")
		}},
		{"closes on QoS 2", upstreamtest.Habits{Deny: upstreamtest.DenyQoS2}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood)
			r.want("QoS 1", "40020002")
			r.send(publishTwo)
			r.want("QoS 2", "closed")
		}},
		{"closes on large messages", upstreamtest.Habits{Deny: upstreamtest.DenyLarger(1)}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood)
			r.want("small", "40020002")
			r.send("3209 0003 672f74 0002 7878")
			r.want("large", "closed")
		}},
		{"is ill and heals", upstreamtest.Habits{Deny: upstreamtest.DenyAll}, func(b *upstreamtest.Broker, r *raw) {
			r.send(publishGood)
			r.want("ill", "closed")
			b.SetHabits(upstreamtest.Habits{})
			again := dialRaw(r.t, b, "c", true)
			again.send(publishGood)
			again.want("well", "20020000 40020002")
		}},
		{"closes at more than so many PUBLISH a second", upstreamtest.Habits{PublishRate: 2}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood, publishGood)
			r.want("two", "40020002 40020002")
			time.Sleep(time.Second)
			r.send(publishGood, publishGood)
			r.want("two in the next second", "40020002 40020002")
			time.Sleep(999 * time.Millisecond)
			r.send(publishGood)
			r.want("three", "closed")
		}},
		{"treats QoS 2 as QoS 1", upstreamtest.Habits{QoS2WithPuback: true}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(subscribe)
			r.want("SUBACK", "9003000402")
			r.send(publishTwo)
			r.want("PUBACK, and the message with QoS 1", "40020003 3208 0003672f74 0001 78")
		}},
		{"writes plus for stars", upstreamtest.Habits{Topic: upstreamtest.StarsAsPlus}, func(b *upstreamtest.Broker, r *raw) {
			r.send("8206 0004 0001 23 01")
			r.want("SUBACK", "9003000401")
			b.Publish(upstreamtest.Message{Topic: "pl/s*r", Payload: []byte("bad"), QoS: 1})
			r.want("a topic that is none", "320d 0006706c2f732b72 0001 626164")
		}},
		{"refuses a filter", upstreamtest.Habits{Suback: upstreamtest.RefuseWith(0x8f, "g/t")}, func(b *upstreamtest.Broker, r *raw) {
			b.Publish(retained)
			r.send(subscribe)
			r.want("SUBACK 8f, nothing retained", "900300048f")
			b.Publish(upstreamtest.Message{Topic: "g/t"})
			r.want("not subscribed", "")
		}},
		{"grants less", upstreamtest.Habits{Suback: upstreamtest.GrantAtMost(1)}, func(b *upstreamtest.Broker, r *raw) {
			r.send(subscribe)
			r.want("SUBACK 1", "9003000401")
			b.Publish(upstreamtest.Message{Topic: "g/t", QoS: 2})
			r.want("QoS 1", "3207 0003672f74 0001")
		}},
		{"closes on a filter", upstreamtest.Habits{DenyFilter: func(_, filter string) bool { return filter == "g/t" }}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(subscribe)
			r.want("SUBSCRIBE", "closed")
		}},
		{"sends what is retained before SUBACK", upstreamtest.Habits{RetainedFirst: true}, func(b *upstreamtest.Broker, r *raw) {
			b.Publish(retained)
			r.send(subscribe)
			r.want("PUBLISH, then SUBACK", "3308 0003672f74 0001 72 9003000402")
		}},
		{"sends once for each subscription", upstreamtest.Habits{Overlap: true}, func(b *upstreamtest.Broker, r *raw) {
			r.send(subscribe, "8206 0005 0001 23 00")
			r.want("two SUBACKs", "9003000402 9003000500")
			b.Publish(upstreamtest.Message{Topic: "g/t", QoS: 2})
			r.want("twice", "3407 0003672f74 0001 3005 0003672f74")
		}},
		{"uses the lowest packet identifier", upstreamtest.Habits{LowestID: true}, func(b *upstreamtest.Broker, r *raw) {
			r.send(subscribe)
			r.want("SUBACK", "9003000402")
			for range 2 {
				b.Publish(upstreamtest.Message{Topic: "g/t", QoS: 1})
				r.want("id 1", "3207 0003672f74 0001")
				r.send("40020001")
				synctest.Wait()
			}
		}},
		{"ignores SUBSCRIBE", upstreamtest.Habits{Ignore: func(_ string, p packets.ControlPacket) bool {
			_, is := p.(*packets.SubscribePacket)
			return is
		}}, func(b *upstreamtest.Broker, r *raw) {
			r.send(subscribe, ping)
			r.want("PINGRESP only", pong)
			b.Publish(upstreamtest.Message{Topic: "g/t"})
			r.want("not subscribed", "")
		}},
		{"answers no PUBREL", upstreamtest.Habits{Withhold: upstreamtest.Only(packets.Pubcomp)}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishTwo)
			r.want("PUBREC", "50020003")
			r.send("62020003", ping)
			r.want("no PUBCOMP", pong)
		}},
		{"answers no SUBSCRIBE, no UNSUBSCRIBE, no PINGREQ", upstreamtest.Habits{
			Withhold: upstreamtest.Only(packets.Suback, packets.Unsuback, packets.Pingresp),
		}, func(b *upstreamtest.Broker, r *raw) {
			r.send(subscribe, ping)
			synctest.Wait()
			b.Publish(upstreamtest.Message{Topic: "g/t"})
			r.want("subscribed without an answer", "3005 0003672f74")
			r.send("a207 0005 0003 672f74")
			synctest.Wait()
			b.Publish(upstreamtest.Message{Topic: "g/t"})
			r.want("unsubscribed without an answer", "")
		}},
		{"answers late and in order", upstreamtest.Habits{Delay: upstreamtest.After(200*time.Millisecond, packets.Puback)}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood, publishBad, ping)
			r.want("at once", pong)
			time.Sleep(199 * time.Millisecond)
			r.want("too early", "")
			time.Sleep(time.Millisecond)
			r.want("after 200 ms", "40020002 40020001")
		}},
		{"says goodbye when it is stopped", upstreamtest.Habits{Goodbye: upstreamtest.GoodbyePlain()}, func(b *upstreamtest.Broker, r *raw) {
			b.Stop()
			r.want("DISCONNECT", "e000 closed")
		}},
		{"says goodbye to who is dropped", upstreamtest.Habits{Goodbye: upstreamtest.GoodbyeWithReason(0x8b)}, func(b *upstreamtest.Broker, r *raw) {
			b.Drop("c")
			r.want("DISCONNECT", "e0018b closed")
		}},
		{"says goodbye to who is taken over", upstreamtest.Habits{Goodbye: upstreamtest.GoodbyeWithReason(0x8e)}, func(b *upstreamtest.Broker, r *raw) {
			again := dialRaw(r.t, b, "c", true)
			r.want("DISCONNECT", "e0018e closed")
			again.want("CONNACK", "20020000")
		}},
		{"does not say goodbye for a fault", upstreamtest.Habits{Goodbye: upstreamtest.GoodbyePlain(), Deny: upstreamtest.DenyAll}, func(_ *upstreamtest.Broker, r *raw) {
			r.send(publishGood)
			r.want("denied", "closed")
		}},
		{"writes what it likes", upstreamtest.Habits{}, func(b *upstreamtest.Broker, r *raw) {
			b.Inject("c", 0xf0, 0x00)
			b.Inject("nobody", 0xff)
			r.want("octets", "f000")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := upstreamtest.NewBroker()
				defer b.Close()
				b.SetHabits(c.habits)
				r := dialRaw(t, b, "c", true)
				r.want("CONNACK", "20020000")
				c.play(b, r)
			})
		})
	}
}

func TestHabitsAtConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := upstreamtest.NewBroker()
		defer b.Close()
		b.SetHabits(upstreamtest.Habits{
			RefuseID: upstreamtest.RefuseIDsWith(".*> "),
			HangUp:   func(id string) bool { return id == "hung" },
			Present:  func(id string, present bool) bool { return id == "liar" != present },
		})
		for _, c := range []struct{ id, want string }{
			{"host.example", "20020002 closed"},
			{"host-example", "20020000"},
			{"hung", "closed"},
			{"liar", "20020100"},
			{"liar", "20020000"}, // the session of the line before is there
		} {
			r := dialRaw(t, b, c.id, false)
			r.want(c.id, c.want)
			r.conn.Close()
			synctest.Wait()
		}
	})
}

func TestHabitsAfterAReconnect(t *testing.T) {
	for _, c := range []struct {
		name       string
		habits     upstreamtest.Habits
		now, in30s string
	}{
		{"none", upstreamtest.Habits{}, "62020001 3c06 000174 0002 32", ""},
		{"new identifiers", upstreamtest.Habits{NewIDs: true}, "62020001 3c06 000174 0003 32", ""},
		{"new identifiers without DUP", upstreamtest.Habits{NewIDs: true, NoDUP: true}, "62020001 3406 000174 0003 32", ""},
		{"the same without DUP", upstreamtest.Habits{NoDUP: true}, "62020001 3406 000174 0002 32", ""},
		{"late", upstreamtest.Habits{RedeliverAfter: 30 * time.Second}, "", "62020001 3c06 000174 0002 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := upstreamtest.NewBroker()
				defer b.Close()
				b.SetHabits(c.habits)
				r := dialRaw(t, b, "c", false)
				r.send("8206 0004 0001 74 02")
				synctest.Wait()
				for _, payload := range []string{"1", "2"} {
					b.Publish(upstreamtest.Message{Topic: "t", Payload: []byte(payload), QoS: 2})
				}
				r.want("connected", "20020000 9003000402 3406 000174 0001 31 3406 000174 0002 32")
				r.send("50020001")
				r.want("the first is released", "62020001")
				r.conn.Close()
				synctest.Wait()
				again := dialRaw(t, b, "c", false)
				again.want("again", "20020100"+c.now)
				time.Sleep(30 * time.Second)
				again.want("30 s later", c.in30s)
			})
		})
	}
}

func TestHabitOfTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := upstreamtest.NewBroker()
		defer b.Close()
		b.SetHabits(upstreamtest.Habits{Window: 1})
		r := dialRaw(t, b, "c", false)
		r.send("8206 0004 0001 74 02")
		synctest.Wait()
		for range 2 {
			b.Publish(upstreamtest.Message{Topic: "t", QoS: 1})
		}
		r.want("one of two", "20020000 9003000402 3205 000174 0001")
		r.send("40020001")
		r.want("the other", "3205 000174 0002")
	})
}

func TestHabitOfTheWillAtATakeover(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := upstreamtest.NewBroker()
			defer b.Close()
			b.SetHabits(upstreamtest.Habits{NoWillAtTakeover: silent})
			published := 0
			b.Will = func(string, upstreamtest.Message) { published++ }
			conn, err := b.Dial(context.Background(), "tcp", "memory")
			if err != nil {
				t.Fatal(err)
			}
			r := &raw{t, conn.(*upstreamtest.Conn)}
			r.send("1013 00044d51545404 06 0000 000163 000177 000178")
			r.want("CONNACK", "20020000")
			dialRaw(t, b, "c", true).want("CONNACK", "20020000")
			if got := published == 0; got != silent {
				t.Errorf("%d wills are published", published)
			}
		})
	}
}

// A goodbye does not wait for ever for a client that reads nothing, and does not block the
// broker's other clients.
func TestGoodbyeToAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := upstreamtest.NewBroker()
		defer b.Close()
		b.SetHabits(upstreamtest.Habits{Goodbye: upstreamtest.GoodbyePlain()})
		deaf, other := dialRaw(t, b, "deaf", true), dialRaw(t, b, "other", true)
		b.Inject("deaf", slices.Repeat([]byte{0}, 1<<20)...)
		synctest.Wait()
		b.Drop("deaf")
		other.send("c000")
		other.want("served", "20020000 d000")
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := deaf.conn.Write([]byte{0}); err == nil {
			t.Error("the connection is still open after a second")
		}
	})
}
