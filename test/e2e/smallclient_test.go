package e2e

import (
	"slices"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

// smallClient is a device that behaves as the small client libraries of the field do. None
// of them has an answer to REGISTER, and each takes a PUBLISH for what its own table of
// subscriptions says. It reads only while it waits for something, as they do.
type smallClient struct {
	*testgateway.Node
	id     string
	nextID uint16            // MsgId of the next request
	subs   map[uint16]string // topic id to name
	got    []string          // "name payload" of what was taken
	codes  []sn12.ReturnCode // of the PUBACKs it has sent
	heard  []sn12.Type       // all that came, in order
	deaf   int               // so many PUBLISHes are lost on the way here

	// plainOnly refuses a PUBLISH with DUP, QoS 2 or a predefined id by PUBACK 0x03, as
	// RIOT's emcute does.
	plainOnly bool
	// swapsShort looks for a short name with its octets swapped, and so never finds it, as
	// RIOT's asymcute does on most machines.
	swapsShort bool
}

func newSmallClient(t testing.TB, addr, id string) *smallClient {
	return &smallClient{Node: testgateway.NewNode(t, addr), id: id, nextID: 0x1234, subs: make(map[uint16]string)}
}

// emcute is RIOT's emcute, asymcute its younger sister.
func emcute(t testing.TB, addr, id string) *smallClient {
	c := newSmallClient(t, addr, id)
	c.plainOnly = true
	return c
}

func asymcute(t testing.TB, addr, id string) *smallClient {
	c := newSmallClient(t, addr, id)
	c.swapsShort = true
	return c
}

// reboot forgets all and gets a new port.
func (c *smallClient) reboot(addr string) *smallClient {
	again := *c
	again.Node, again.nextID, again.subs = testgateway.NewNode(c.T, addr), 0x1234, make(map[uint16]string)
	again.got, again.codes, again.heard = nil, nil, nil
	return &again
}

func (c *smallClient) connect(clean bool) {
	c.T.Helper()
	c.Send(sn12.Connect{ProtocolID: sn12.ProtocolID, CleanSession: clean, Duration: 60, ClientID: []byte(c.id)})
	if ack := await[sn12.ConnAck](c); ack.ReturnCode != sn12.Accepted {
		c.T.Fatalf("CONNECT is answered by %v", ack.ReturnCode)
	}
}

func (c *smallClient) newID() uint16 {
	c.nextID++
	return c.nextID - 1
}

// subscribe notes the topic id of SUBACK. One that is 0 is ignored.
func (c *smallClient) subscribe(name string, qos uint8) sn12.SubAck {
	c.T.Helper()
	m := sn12.Subscribe{QoS: qos, MsgID: c.newID(), TopicName: []byte(name)}
	if len(name) == 2 {
		m.TopicName, m.TopicIDType, m.TopicID = nil, sn12.TopicIDShort, sn12.ShortID(name)
	}
	c.Send(m)
	ack := await[sn12.SubAck](c)
	if ack.ReturnCode != sn12.Accepted || ack.MsgID != m.MsgID {
		c.T.Fatalf("SUBSCRIBE to %s is answered by %+v", name, ack)
	}
	switch {
	case ack.TopicID == 0:
	case len(name) == 2 && c.swapsShort:
		c.subs[ack.TopicID>>8|ack.TopicID<<8] = name
	default:
		c.subs[ack.TopicID] = name
	}
	return ack
}

// publish registers a topic and publishes with QoS 1.
func (c *smallClient) publish(name, payload string) {
	c.T.Helper()
	c.Send(sn12.Register{MsgID: c.newID(), TopicName: []byte(name)})
	reg := await[sn12.RegAck](c)
	c.Send(sn12.Publish{QoS: 1, MsgID: c.newID(), TopicID: reg.TopicID, Data: []byte(payload)})
	if ack := await[sn12.PubAck](c); reg.ReturnCode != sn12.Accepted || ack.ReturnCode != sn12.Accepted {
		c.T.Fatalf("REGISTER and PUBLISH are answered by %v and %v", reg.ReturnCode, ack.ReturnCode)
	}
}

// ping asks the gateway whether it is there, as the keep-alive does.
func (c *smallClient) ping() {
	c.T.Helper()
	c.Send(sn12.PingReq{})
	await[sn12.PingResp](c)
}

// await serves what comes until it is an M.
func await[M sn12.Message](c *smallClient) M {
	c.T.Helper()
	for {
		m := c.Read(testgateway.Patience)
		if m == nil {
			var wanted M
			c.T.Fatalf("no %v within %v; got %q, answered %v, heard %v", wanted.Type(), testgateway.Patience, c.got, c.codes, c.heard)
		}
		if got, ok := m.(M); ok {
			c.heard = append(c.heard, m.Type())
			return got
		}
		c.serve(m)
	}
}

// listen serves what comes until done, with a PINGREQ each half second, and fails if that
// takes too long.
func (c *smallClient) listen(why string, done func() bool) {
	c.T.Helper()
	for end := time.Now().Add(testgateway.Patience); !done(); {
		if time.Now().After(end) {
			c.T.Fatalf("not within %v: %s; got %q, answered %v, heard %v", testgateway.Patience, why, c.got, c.codes, c.heard)
		}
		if m := c.Read(500 * time.Millisecond); m != nil {
			c.serve(m)
		} else {
			c.ping()
		}
	}
}

// listenFor serves what comes for so long.
func (c *smallClient) listenFor(d time.Duration) {
	c.T.Helper()
	end := time.Now().Add(d)
	c.listen("time passes", func() bool { return time.Now().After(end) })
}

func (c *smallClient) has(messages ...string) func() bool {
	return func() bool { return slices.Equal(c.got, messages) }
}

// serve does with m what the libraries do: nothing at all with REGISTER and DISCONNECT.
func (c *smallClient) serve(m sn12.Message) {
	c.T.Helper()
	if _, is := m.(sn12.Publish); is && c.deaf > 0 {
		c.deaf--
		return
	}
	c.heard = append(c.heard, m.Type())
	switch m := m.(type) {
	case sn12.PingReq:
		c.Send(sn12.PingResp{})
	case sn12.Publish:
		c.take(m)
	}
}

func (c *smallClient) take(m sn12.Publish) {
	code := sn12.Accepted
	name, known := c.subs[m.TopicID]
	switch {
	case c.plainOnly && (m.DUP || m.QoS > 1 || m.TopicIDType == sn12.TopicIDPredefined):
		code = sn12.RejectedNotSupported
	case !known:
		code = sn12.RejectedInvalidTopicID
	default:
		c.got = append(c.got, name+" "+string(m.Data))
	}
	if code != sn12.Accepted || m.QoS > 0 {
		c.codes = append(c.codes, code)
		c.Send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: code})
	}
}
