package session

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"sngate/snpacket/sn12"
)

// modelDevice is a device that keeps the rules: it repeats with DUP what is not answered,
// forgets nothing, and takes a QoS 2 message once.
type modelDevice struct {
	rng   *rand.Rand
	state deviceState
	clean bool
	out   []sn12.Message // to be sent

	sending *devicePublish // QoS 1 or 2
	msgID   uint16
	count   int // of messages published

	topicIDs map[string]uint16 // what it has been told
	names    map[uint16]string
	own      map[uint16]bool   // topic ids that it has asked for
	asking   map[uint16]string // REGISTER and SUBSCRIBE by MsgId
	exchange map[uint16]bool   // QoS 2 messages by MsgId, until PUBREL
	got      map[string]int    // by payload

	deaf  bool   // it does not answer REGISTER
	fault string // what the gateway has done wrong
}

type deviceState int

const (
	deviceOff deviceState = iota
	deviceConnecting
	deviceActive
	deviceFallingAsleep
	deviceAsleep
	deviceAwake
)

type devicePublish struct {
	m       sn12.Publish
	payload string
	topic   string
	release bool // PUBREC has come
}

func newModelDevice(rng *rand.Rand) *modelDevice {
	d := &modelDevice{rng: rng}
	d.forget()
	d.got = map[string]int{}
	return d
}

func (d *modelDevice) forget() {
	d.topicIDs, d.names = map[string]uint16{}, map[uint16]string{}
	d.own = map[uint16]bool{}
	d.asking, d.exchange = map[uint16]string{}, map[uint16]bool{}
}

func (d *modelDevice) send(m sn12.Message) { d.out = append(d.out, m) }

func (d *modelDevice) newMsgID() uint16 {
	d.msgID = d.msgID%200 + 1
	return d.msgID
}

// told notes a topic id. One that the device has asked for never means something else
// before a CONNECT with CleanSession=1; another one only by REGISTER.
func (d *modelDevice) told(id uint16, name string, register bool) {
	if old, known := d.names[id]; known && old != name && (d.own[id] || !register) {
		d.fault = fmt.Sprintf("topic id %d was %q and is %q now", id, old, name)
	}
	if old, known := d.topicIDs[name]; known && old != id && d.own[old] {
		d.fault = fmt.Sprintf("topic %q had id %d and has %d now", name, old, id)
	}
	if p := d.sending; p != nil && p.m.TopicIDType == sn12.TopicIDNormal && p.m.TopicID == id && p.topic != name {
		d.sending = nil // it cannot say any more what it means
	}
	if old := d.names[id]; old != name {
		delete(d.topicIDs, old)
	}
	d.names[id], d.topicIDs[name] = name, id
}

// receive takes a datagram of the gateway.
func (d *modelDevice) receive(b []byte) {
	m, err := sn12.Parse(b)
	if err != nil {
		d.fault = fmt.Sprintf("received %x: %v", b, err)
		return
	}
	if d.state == deviceOff || d.state == deviceAsleep {
		return // nobody listens
	}
	if _, isConnAck := m.(sn12.ConnAck); d.state == deviceConnecting && !isConnAck {
		return // of the connection before
	}
	switch m := m.(type) {
	case sn12.ConnAck:
		if d.state == deviceConnecting && m.ReturnCode == sn12.Accepted {
			d.state = deviceActive
		} else if d.state == deviceConnecting {
			d.state = deviceOff
		}
	case sn12.Disconnect:
		if d.state == deviceFallingAsleep {
			d.state = deviceAsleep
		} else {
			d.state = deviceOff
		}
	case sn12.PingResp:
		if d.state == deviceAwake {
			d.state = deviceAsleep
		}
	case sn12.RegAck:
		d.answered(m.MsgID, m.TopicID, m.ReturnCode)
	case sn12.SubAck:
		d.answered(m.MsgID, m.TopicID, m.ReturnCode)
	case sn12.Register:
		if d.deaf {
			return
		}
		d.told(m.TopicID, string(m.TopicName), true)
		d.send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case sn12.Publish:
		d.take(&m)
	case sn12.PingReq:
		d.send(sn12.PingResp{})
	case sn12.PubRel:
		delete(d.exchange, m.MsgID)
		d.send(sn12.PubComp{MsgID: m.MsgID})
	case sn12.PubAck, sn12.PubRec, sn12.PubComp:
		d.progress(m)
	}
}

func (d *modelDevice) answered(msgID, id uint16, code sn12.ReturnCode) {
	name, known := d.asking[msgID]
	delete(d.asking, msgID)
	if known && code == sn12.Accepted && id != 0 {
		d.told(id, name, false)
		d.own[id] = true
	}
}

func (d *modelDevice) take(m *sn12.Publish) {
	if m.TopicIDType == sn12.TopicIDNormal && d.names[m.TopicID] == "" {
		d.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: sn12.RejectedInvalidTopicID})
		return
	}
	if _, topic, _ := strings.Cut(string(m.Data), "@"); m.TopicIDType == sn12.TopicIDNormal && topic != d.names[m.TopicID] {
		d.fault = fmt.Sprintf("a message of %q came with topic id %d, which is %q", topic, m.TopicID, d.names[m.TopicID])
	}
	if strings.Contains(string(m.Data), "poison") {
		return
	}
	if m.QoS < 2 || !d.exchange[m.MsgID] {
		d.got[string(m.Data)]++
	}
	switch m.QoS {
	case 1:
		d.send(sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case 2:
		d.exchange[m.MsgID] = true
		d.send(sn12.PubRec{MsgID: m.MsgID})
	}
}

// progress takes an answer to the device's PUBLISH or PUBREL.
func (d *modelDevice) progress(m sn12.Message) {
	p := d.sending
	if p == nil {
		return
	}
	switch m := m.(type) {
	case sn12.PubAck:
		switch {
		case m.MsgID != p.m.MsgID:
		case m.ReturnCode == sn12.Accepted && p.m.QoS == 1, d.rng.IntN(2) == 0:
			d.sending = nil
		}
	case sn12.PubRec:
		if m.MsgID == p.m.MsgID && p.m.QoS == 2 {
			p.release = true
			d.send(sn12.PubRel{MsgID: m.MsgID})
		}
	case sn12.PubComp:
		if m.MsgID == p.m.MsgID && p.release {
			d.sending = nil
		}
	}
}

// act has the device do something of its own accord.
func (d *modelDevice) act() {
	switch d.state {
	case deviceOff:
		d.connect(d.rng.IntN(8) == 0)
	case deviceConnecting:
		d.connect(d.clean)
	case deviceActive:
		d.live()
	case deviceFallingAsleep:
		d.fallAsleep()
	case deviceAsleep, deviceAwake:
		if d.rng.IntN(6) == 0 {
			d.connect(d.clean)
			return
		}
		d.state = deviceAwake
		d.send(sn12.PingReq{ClientID: []byte("dev")})
	}
}

func (d *modelDevice) connect(clean bool) {
	if clean || d.clean {
		d.forget()
	}
	if clean || d.clean || d.rng.IntN(4) == 0 {
		d.sending = nil // gives it up
	}
	d.clean, d.state = clean, deviceConnecting
	d.send(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
}

func (d *modelDevice) fallAsleep() {
	d.state = deviceFallingAsleep
	d.send(sn12.Disconnect{HasDuration: true, Duration: 600})
}

// The device registers, subscribes to and publishes to some topics, and gets messages of
// others as well.
var (
	deviceTopics = []string{"t/1", "t/2", "t/3", "t/4"}
	lentTopics   = []string{"w/1", "w/2", "w/3", "w/4", "w/5", "w/6", "w/7", "w/8", "w/9"}
)

func (d *modelDevice) live() {
	topic := deviceTopics[d.rng.IntN(len(deviceTopics))]
	switch n := d.rng.IntN(41); {
	case n == 40:
		d.deaf = !d.deaf
	case n == 0:
		d.state = deviceOff
		d.send(sn12.Disconnect{})
	case n == 1:
		d.connect(d.clean)
	case n < 5:
		d.fallAsleep()
	case n < 8:
		id := d.newMsgID()
		d.asking[id] = topic
		d.send(sn12.Register{MsgID: id, TopicName: []byte(topic)})
	case n < 11:
		id := d.newMsgID()
		d.asking[id] = topic
		d.send(sn12.Subscribe{MsgID: id, QoS: uint8(d.rng.IntN(3)), TopicName: []byte(topic)})
	case n == 11:
		d.send(sn12.Unsubscribe{MsgID: d.newMsgID(), TopicName: []byte(topic)})
	case n < 14:
		d.publish(topic, 0)
	case d.sending == nil:
		d.publish(topic, uint8(1+d.rng.IntN(2)))
	default:
		d.repeat()
	}
}

func (d *modelDevice) publish(topic string, qos uint8) {
	d.count++
	if lent := lentTopics[d.rng.IntN(len(lentTopics))]; d.topicIDs[lent] != 0 && d.rng.IntN(10) == 0 {
		topic = lent // by the id that the gateway has told it
	}
	if d.topicIDs[topic] == 0 {
		topic = "ab"
	}
	payload := fmt.Sprintf("up%d-%d@%s", qos, d.count, topic)
	p := &devicePublish{payload: payload, topic: topic, m: sn12.Publish{QoS: qos, Data: []byte(payload)}}
	if p.m.TopicID = d.topicIDs[topic]; p.m.TopicID == 0 {
		p.m.TopicIDType, p.m.TopicID = sn12.TopicIDShort, sn12.ShortID("ab")
	}
	if qos > 0 {
		p.m.MsgID = d.newMsgID()
		d.sending = p
	}
	d.send(p.m)
}

func (d *modelDevice) repeat() {
	if d.sending.release {
		d.send(sn12.PubRel{MsgID: d.sending.m.MsgID})
		return
	}
	d.sending.m.DUP = true
	d.send(d.sending.m)
}
