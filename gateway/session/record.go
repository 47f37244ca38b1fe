package session

import (
	"encoding/binary"
	"errors"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// RecordKind says what a [Record] holds.
type RecordKind uint8

// The kinds of records. A session has at most one record of those without a key.
const (
	RecordSession      RecordKind = iota + 1 // no key: state, times, will
	RecordSubscription                       // key: the filter
	RecordExchange                           // key: packet identifier of the broker. A QoS 2 message of the broker that is ours
	RecordOutgoing                           // no key: the QoS 2 delivery to the device in progress
	RecordReceived                           // key: MsgId. A QoS 2 message of the device that is ours, until its PUBREL
	RecordReleased                           // key: number in the spool. Its PUBREL may have been sent to the broker
	RecordTopic                              // key: topic id
	RecordHeld                               // key: number, ascending: a message held for the device
	RecordSpool                              // key: number, ascending: a message of the device for the broker
)

// RecordOp says what is to be done with a [Record].
type RecordOp uint8

// What is to be done with a record.
const (
	PutRecord     RecordOp = iota
	DeleteRecord           // no error if there is none
	DeleteRecords          // all of its kind
)

// Record is one change of what is kept of a session over a restart of the gateway. Key
// and Value belong to the receiver.
type Record struct {
	Kind  RecordKind
	Op    RecordOp
	Key   []byte
	Value []byte
}

func (o *Out) put(kind RecordKind, key, value []byte) {
	o.Records = append(o.Records, Record{Kind: kind, Key: key, Value: value})
}

func (o *Out) remove(kind RecordKind, key []byte) {
	o.Records = append(o.Records, Record{Kind: kind, Op: DeleteRecord, Key: key})
}

func (o *Out) removeAll(kind RecordKind) {
	o.Records = append(o.Records, Record{Kind: kind, Op: DeleteRecords})
}

func key16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
func key32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// errRecord says that a record is not one this version has written.
var errRecord = errors.New("session: malformed record")

// fields reads what the append functions below have written. After the first mistake
// all that is read is zero, and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n < 0 || n > len(f.b) {
		f.bad = true
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) u8() uint8 {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if b := f.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text reads a string with its length before it.
func (f *fields) text() string { return string(f.take(int(f.u32()))) }

// rest reads all that is left, as a copy.
func (f *fields) rest() []byte {
	b := f.take(len(f.b))
	return append(make([]byte, 0, len(b)), b...)
}

// end reports whether all has been read, and no more than that.
func (f *fields) end() error {
	if f.bad || len(f.b) > 0 {
		return errRecord
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// Bits of the octet in which RecordSession keeps what is true or false.
const (
	bitClean    = 1 << iota
	bitKept     // the session
	bitWill     // the CONNECT had Will=1
	bitHasWill  // there is a will
	bitWillDue  // it is still to be published
	bitAssigned // the client id
	bitProven   // the device's address
)

// The same for other records.
const (
	bitRetain    = 1 << iota // a message
	bitAllotted              // a topic id from the sequence, not a predefined one
	bitTold                  // a topic id that the device knows, or will have asked for
	bitReleasing             // PUBREC has come
	bitLent                  // a topic id that is not the device's own
	bitMoved                 // a topic id that has stood for another name before
)

func bit(set bool, b uint8) uint8 {
	if set {
		return b
	}
	return 0
}

// appendSession writes RecordSession. Of times it has durations only: what silence
// means is counted anew after a restart.
func (s *Session) appendSession() []byte {
	bits := bit(s.clean, bitClean) | bit(s.kept, bitKept) | bit(s.accepted.will, bitWill) | bit(s.will != nil, bitHasWill) |
		bit(s.willDue, bitWillDue) | bit(s.assigned, bitAssigned) | bit(s.Proven(), bitProven)
	b := append(make([]byte, 0, 64), sn12.ProtocolID, bits, byte(s.lasting()))
	b = binary.BigEndian.AppendUint16(b, s.duration)
	b = binary.BigEndian.AppendUint16(b, s.sleepFor)
	b = binary.BigEndian.AppendUint16(b, s.accepted.duration)
	if w := s.will; w != nil {
		b = append(b, w.QoS, bit(w.Retain, bitRetain))
		b = appendText(b, w.Topic)
		b = append(b, w.Message...)
	}
	return b
}

// lasting is the state as it is kept: what a restart interrupts is not.
func (s *Session) lasting() State {
	switch s.state {
	case StateAwake:
		return StateAsleep
	case StateActive, StateAsleep, StateDisconnected, StateLost:
		return s.state
	}
	return s.durable.state
}

func (s *Session) loadSession(value []byte) error {
	f := fields{b: value}
	version, bits, state := f.u8(), f.u8(), State(f.u8())
	duration, sleepFor, accepted := f.u16(), f.u16(), f.u16()
	var w *Will
	if bits&bitHasWill != 0 {
		w = &Will{QoS: f.u8(), Retain: f.u8()&bitRetain != 0}
		w.Topic = f.text()
		w.Message = f.rest()
		f.bad = f.bad || w.QoS > 2
	}
	switch state {
	case StateActive, StateAsleep, StateDisconnected, StateLost:
	default:
		f.bad = true
	}
	if f.end() != nil || version != sn12.ProtocolID {
		return errRecord
	}
	s.clean, s.kept, s.willDue = bits&bitClean != 0, bits&bitKept != 0, bits&bitWillDue != 0
	s.assigned = bits&bitAssigned != 0
	s.duration, s.sleepFor, s.will, s.state = duration, sleepFor, w, state
	s.accepted = connectParams{clean: s.clean, will: bits&bitWill != 0, duration: accepted}
	if bits&bitProven != 0 {
		s.reach = nil
	}
	s.durable.known = true
	return nil
}

// appendMessage writes a message: RecordHeld and RecordSpool.
func appendMessage(b []byte, qos uint8, retain bool, topic string, payload []byte) []byte {
	b = append(b, qos, bit(retain, bitRetain))
	b = appendText(b, topic)
	return append(b, payload...)
}

func (f *fields) message() (qos uint8, retain bool, topic string, payload []byte) {
	qos = f.u8()
	retain = f.u8()&bitRetain != 0
	topic = f.text()
	payload = f.rest()
	f.bad = f.bad || qos > 2 || topic == ""
	return qos, retain, topic, payload
}

// putTopic keeps a topic id. told: the device knows it, or asks until it does.
func (s *Session) putTopic(id uint16, told bool, out *Out) {
	if name, ok := s.topics.Name(id); ok {
		state := s.topics.State(id)
		bits := bit(state.Allotted, bitAllotted) | bit(told, bitTold) | bit(!state.Own, bitLent) | bit(state.Moved, bitMoved)
		out.put(RecordTopic, key16(id), append([]byte{bits}, name...))
	}
}

func (s *Session) putSubscription(sub *subscription, out *Out) {
	out.put(RecordSubscription, []byte(sub.filter), []byte{sub.qos})
}

func (s *Session) putReceived(f *inflight, out *Out) {
	v := binary.BigEndian.AppendUint32(nil, f.sum)
	out.put(RecordReceived, key16(f.msgID), binary.BigEndian.AppendUint16(v, f.topicID))
}

// Load takes one record of the session back; records may come in any order, those of a
// kind in the order of their keys. key and value are not kept. Resume is called after
// the last one. A record that makes no sense is an error, and leaves the session as it is.
func (s *Session) Load(kind RecordKind, key, value []byte) error {
	d := s.durable
	k, f := fields{b: key}, fields{b: value}
	take := func() {}
	switch kind {
	case RecordSession:
		return s.loadSession(value)
	case RecordSubscription:
		sub := subscription{filter: string(k.rest()), qos: f.u8()}
		f.bad = f.bad || sub.filter == "" || sub.qos > 2
		take = func() {
			s.subs = append(s.subs, sub)
			s.filterOctets += int32(len(sub.filter))
		}
	case RecordTopic:
		return s.loadTopic(&k, &f)
	case RecordExchange:
		v := takenOver{packetID: k.u16(), sum: f.u64()}
		take = func() { d.taken = append(d.taken, v) }
	case RecordOutgoing:
		var v outgoingRecord
		v.load(&f)
		take = func() { d.outgoing = v }
	case RecordReceived:
		v := inflight{holdAt: Never, msgID: k.u16(), sum: f.u32(), topicID: f.u16(), qos: 2, stage: received, kept: true, old: true}
		take = func() { s.window = append(s.window, v) }
	case RecordReleased:
		number := k.u32()
		take = func() { d.releasedBefore = append(d.releasedBefore, number) }
	case RecordHeld:
		m := outgoing{number: k.u32(), saved: true}
		m.qos, m.retain, m.topic, m.payload = f.message()
		f.bad = f.bad || m.qos == 0 || m.number == 0
		take = func() {
			s.queue.push(m)
			d.lastHeld = m.number
		}
	case RecordSpool:
		m := spooled{number: k.u32(), packetID: f.u16(), stage: spoolWaiting, again: true}
		m.qos, m.retain, m.topic, m.payload = f.message()
		f.bad = f.bad || m.number == 0 || m.qos == 2 && m.packetID < firstPacketID
		take = func() { d.spool.push(m) }
	default:
		return errRecord
	}
	if k.end() != nil || f.end() != nil {
		return errRecord
	}
	take()
	return nil
}

func (s *Session) loadTopic(k, f *fields) error {
	id, bits := k.u16(), f.u8()
	name := string(f.rest())
	state := topicreg.State{
		Allotted: bits&bitAllotted != 0, Told: bits&bitTold != 0, Own: bits&bitLent == 0, Moved: bits&bitMoved != 0,
	}
	if f.bad || k.end() != nil || s.topics.Restore(id, name, state) != nil {
		return errRecord
	}
	return nil
}

// load reads RecordOutgoing.
func (o *outgoingRecord) load(f *fields) {
	*o = outgoingRecord{msgID: f.u16(), packetID: f.u16(), number: f.u32(), sum: f.u64(), releasing: f.u8()&bitReleasing != 0}
}

func (o *outgoingRecord) put(out *Out) {
	v := binary.BigEndian.AppendUint16(nil, o.msgID)
	v = binary.BigEndian.AppendUint16(v, o.packetID)
	v = binary.BigEndian.AppendUint32(v, o.number)
	v = binary.BigEndian.AppendUint64(v, o.sum)
	out.put(RecordOutgoing, nil, append(v, bit(o.releasing, bitReleasing)))
}
