package loadgen

import (
	"strconv"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// step is one request of a device in the plan of a phase.
type step uint8

const (
	connects   step = iota // CONNECT
	registers              // REGISTER of the topic it publishes to
	subscribes             // SUBSCRIBE to the topic it is published to
	sleeps                 // DISCONNECT with a duration
	wakes                  // PINGREQ with its client id
)

// echo is what a device waits for that publishes with QoS 0 in a closed loop: its message at
// the broker. Nothing of MQTT-SN has this number.
const echo = sn12.Type(0xff)

// sleepFor is how long devices say that they will sleep, in seconds.
const sleepFor = 3600

// device is one simulated device. The engine owns it.
type device struct {
	name           []byte // its client id
	upName, topic  string // the topics it publishes to and is published to
	topicID, msgID uint16
	doing          uint8 // index in the plan of the phase
	failed         bool  // takes no further part
	asleep         bool

	// The request or message that waits for an answer, see engine.waiting.
	awaits  sn12.Type // 0: none
	repeat  []byte    // the datagram
	tries   int       // repeats of it
	firstAt int64     // when it was sent for the first time

	owed    int     // messages of the open loop that wait for the one under way
	owedAt  float64 // when the first of them was due
	openID  uint16  // MsgId of a QoS 2 message between PUBREC and PUBREL, 0: none
	topicTo []byte  // the filter it subscribes to, as octets
}

func newDevices(tag string, count int) []device {
	devices := make([]device, count)
	for i := range devices {
		n := strconv.Itoa(i)
		down := "sngate-bench/" + tag + "/down/" + n
		devices[i] = device{
			name: []byte("bench-" + tag + "-" + n), upName: "sngate-bench/" + tag + "/up/" + n,
			topic: down, topicTo: []byte(down),
		}
	}
	return devices
}

// nextID returns a MsgId for a new request.
func (d *device) nextID() uint16 {
	if d.msgID++; d.msgID == 0 {
		d.msgID = 1
	}
	return d.msgID
}

// ask puts the datagram of a step into d.repeat.
func (d *device) ask(s step, o *Options) (err error) {
	b := d.repeat[:0]
	switch s {
	case connects:
		d.awaits = sn12.TypeConnAck
		b, err = sn12.Connect{CleanSession: true, ProtocolID: sn12.ProtocolID, Duration: o.KeepAlive, ClientID: d.name}.Append(b)
	case registers:
		d.awaits = sn12.TypeRegAck
		b, err = sn12.Register{MsgID: d.nextID(), TopicName: []byte(d.upName)}.Append(b)
	case subscribes:
		d.awaits = sn12.TypeSubAck
		b, err = sn12.Subscribe{QoS: o.QoS, MsgID: d.nextID(), TopicName: d.topicTo}.Append(b)
	case sleeps:
		d.awaits = sn12.TypeDisconnect
		b, err = sn12.Disconnect{HasDuration: true, Duration: sleepFor}.Append(b)
	case wakes:
		d.awaits = sn12.TypePingResp
		b, err = sn12.PingReq{ClientID: d.name}.Append(b)
	}
	d.repeat = b
	return err
}

// publish puts a PUBLISH into d.repeat.
func (d *device) publish(qos uint8, payload []byte) (err error) {
	id := uint16(0)
	switch qos {
	case 1:
		d.awaits, id = sn12.TypePubAck, d.nextID()
	case 2:
		d.awaits, id = sn12.TypePubRec, d.nextID()
	}
	d.repeat, err = sn12.Publish{QoS: qos, TopicID: d.topicID, MsgID: id, Data: payload}.Append(d.repeat[:0])
	return err
}

// markRepeated sets DUP in d.repeat where the message has it (MQTT-SN 1.2 section 5.3.4).
func (d *device) markRepeated() {
	kind, body, err := snpacket.Split(d.repeat)
	if err != nil {
		return
	}
	switch sn12.Type(kind) {
	case sn12.TypePublish:
		var m sn12.Publish
		if m.Parse(body) == nil {
			m.DUP = true
			d.repeat, _ = m.Append(d.repeat[:0]) // of the same size: m.Data stays where it is
		}
	case sn12.TypeSubscribe:
		var m sn12.Subscribe
		if m.Parse(body) == nil {
			m.DUP = true
			d.repeat, _ = m.Append(d.repeat[:0])
		}
	}
}

// outcome is what a datagram of the gateway means for what a device waits for.
type outcome uint8

const (
	unrelated outcome = iota
	accepted
	refused
	received // PUBREC: d.repeat is the PUBREL now
)

// answered compares a datagram with what the device waits for.
func (d *device) answered(kind sn12.Type, body []byte) outcome {
	if kind != d.awaits {
		return unrelated
	}
	code, id := sn12.Accepted, d.msgID
	var err error
	switch kind {
	case sn12.TypeConnAck:
		var m sn12.ConnAck
		err, code = m.Parse(body), m.ReturnCode
	case sn12.TypeRegAck:
		var m sn12.RegAck
		if err, code, id = m.Parse(body), m.ReturnCode, m.MsgID; id == d.msgID {
			d.topicID = m.TopicID
		}
	case sn12.TypeSubAck:
		var m sn12.SubAck
		err, code, id = m.Parse(body), m.ReturnCode, m.MsgID
	case sn12.TypePubAck:
		var m sn12.PubAck
		err, code, id = m.Parse(body), m.ReturnCode, m.MsgID
	case sn12.TypePubRec:
		var m sn12.PubRec
		if err, id = m.Parse(body), m.MsgID; err == nil && id == d.msgID {
			d.awaits, d.tries = sn12.TypePubComp, 0
			d.repeat, _ = sn12.PubRel{MsgID: id}.Append(d.repeat[:0]) // which cannot fail
			return received
		}
	case sn12.TypePubComp:
		var m sn12.PubComp
		err, id = m.Parse(body), m.MsgID
	}
	switch {
	case err != nil || id != d.msgID:
		return unrelated
	case code != sn12.Accepted:
		return refused
	}
	return accepted
}
