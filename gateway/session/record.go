package session

import (
	"errors"
	"fmt"

	"sngate/internal/binrec"
)

// RecordKind says what a [Record] holds.
type RecordKind uint8

// The kinds of records. A session has at most one record of those without a key.
const (
	RecordSession      RecordKind = iota + 1 // no key: state, times, will
	RecordSubscription                       // key: the filter
	RecordExchange                           // key: slot. A QoS 2 message of the broker that is ours, until its PUBREL
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

func key16(n uint16) []byte { return binrec.New(2).U16(n) }
func key32(n uint32) []byte { return binrec.New(4).U32(n) }

// recordVersion is the version of the form of all records of a session. It is the first octet of
// RecordSession; the other kinds carry none, because a store never has records of two versions:
// it migrates those of an older one when it is opened, before [Session.Load] sees any. Whoever
// changes the form of any kind adds a version and a [Migration].
//
//	1  The first octet was protocolSN12.
//	2  protocolSN12 follows the version.
//	3  RecordExchange and RecordOutgoing have an Identity, RecordSpool has the number of the exchange.
const recordVersion = 3

// protocolSN12 is the ProtocolId in CONNECT of MQTT-SN 1.2, the only one of stored sessions.
const protocolSN12 = 1

// errRecord says that a record is not one that a program with this version has written.
var errRecord = errors.New("session: malformed record")

// ErrRecordVersion says that only another version of the program can read a record. It is
// no rubbish, so whoever gets this must leave what is stored as it is.
var ErrRecordVersion = errors.New("session: record of another version")

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
	bits := bit(s.clean, bitClean) | bit(s.kept, bitKept) | bit(s.presence.accepted.will, bitWill) | bit(s.wills.current != nil, bitHasWill) |
		bit(s.wills.due, bitWillDue) | bit(s.assigned, bitAssigned) | bit(s.Proven(), bitProven)
	b := binrec.New(64).U8(recordVersion, protocolSN12, bits, byte(s.lasting())).U16(s.presence.duration).U16(s.presence.sleepFor).U16(s.presence.accepted.duration)
	if w := s.wills.current; w != nil {
		b = b.U8(w.QoS, bit(w.Retain, bitRetain)).Text32(w.Topic).Octets(w.Message)
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
	return s.journal.state
}

func (s *Session) loadSession(value []byte) error {
	f := binrec.NewReader(value)
	if version := f.U8(); version != recordVersion && !f.Malformed() {
		return fmt.Errorf("%w: it has version %d, this program reads %d", ErrRecordVersion, version, recordVersion)
	}
	protocol, bits, state := f.U8(), f.U8(), State(f.U8())
	duration, sleepFor, accepted := f.U16(), f.U16(), f.U16()
	var w *Will
	if bits&bitHasWill != 0 {
		w = &Will{QoS: f.U8(), Retain: f.U8()&bitRetain != 0, Topic: f.Text32(), Message: copyOf(f.Rest())}
		f.Check(w.QoS <= 2)
	}
	switch state {
	case StateActive, StateAsleep, StateDisconnected, StateLost:
	default:
		f.Check(false)
	}
	if !f.Done() || protocol != protocolSN12 {
		return errRecord
	}
	s.clean, s.kept, s.assigned, s.state = bits&bitClean != 0, bits&bitKept != 0, bits&bitAssigned != 0, state
	s.presence.load(connectParams{clean: s.clean, will: bits&bitWill != 0, duration: accepted}, duration, sleepFor)
	s.wills.load(w, bits&bitWillDue != 0)
	if bits&bitProven != 0 {
		s.addr.loadProven()
	}
	s.journal.found()
	return nil
}

// appendMessage writes a message: RecordHeld and RecordSpool.
func appendMessage(b binrec.Writer, qos uint8, retain bool, topic string, payload []byte) binrec.Writer {
	return b.U8(qos, bit(retain, bitRetain)).Text32(topic).Octets(payload)
}

func readMessage(f *binrec.Reader) (qos uint8, retain bool, topic string, payload []byte) {
	qos, retain, topic, payload = f.U8(), f.U8()&bitRetain != 0, f.Text32(), copyOf(f.Rest())
	f.Check(qos <= 2 && topic != "")
	return qos, retain, topic, payload
}

// copyOf makes the session's own of a part of a record. It is never nil.
func copyOf(part []byte) []byte { return append(make([]byte, 0, len(part)), part...) }

// Load takes one record of the session back; records may come in any order, those of a
// kind in the order of their keys. key and value are not kept. Resume is called after
// the last one. A record that makes no sense is an error, and leaves the session as it is; so
// is one of another version, [ErrRecordVersion].
func (s *Session) Load(kind RecordKind, key, value []byte) error {
	k, f := binrec.NewReader(key), binrec.NewReader(value)
	var take func()
	switch kind {
	case RecordSession:
		return s.loadSession(value)
	case RecordSubscription:
		sub := subscription{filter: string(k.Rest()), qos: f.U8()}
		f.Check(sub.filter != "" && sub.qos <= 2)
		take = func() {
			s.subs.list = append(s.subs.list, sub)
			s.subs.filterOctets += int32(len(sub.filter))
		}
	case RecordTopic:
		return s.ids.load(&k, &f)
	case RecordExchange:
		v := takenOver{slot: k.U16(), identity: readIdentity(&f)}
		take = func() { s.custody.load(v) }
	case RecordOutgoing:
		var v outgoingRecord
		v.load(&f)
		take = func() { s.custody.outgoing = v }
	case RecordReceived:
		v := inflight{holdAt: Never, msgID: k.U16(), sum: f.U32(), topicID: f.U16(), qos: 2, stage: upAnswered, kept: true, old: true}
		take = func() { s.up.window = append(s.up.window, v) }
	case RecordReleased:
		number := k.U32()
		take = func() { s.up.spool.before = append(s.up.spool.before, number) }
	case RecordHeld:
		m := outgoing{number: k.U32(), keeper: ours}
		m.qos, m.retain, m.topic, m.payload = readMessage(&f)
		f.Check(m.qos != 0 && m.number != 0)
		take = func() {
			s.down.queue.push(m)
			s.custody.lastHeld = m.number
		}
	case RecordSpool:
		m := spooled{number: k.U32(), exchange: f.U16(), stage: upWaiting, again: true}
		m.qos, m.retain, m.topic, m.payload = readMessage(&f)
		f.Check(m.number != 0 && m.exchange <= MaxExchanges && (m.qos != 2 || m.exchange != 0))
		take = func() { s.up.spool.push(m) }
	default:
		return errRecord
	}
	if !k.Done() || !f.Done() {
		return errRecord
	}
	take()
	return nil
}
