package session

import (
	"errors"

	"sngate/internal/binrec"
)

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

// Record is one change of what the store has of a session. Key
// and Value belong to the receiver.
type Record struct {
	Kind  RecordKind
	Op    RecordOp
	Key   []byte
	Value []byte
}

// RecordOp says what is to be done with a [Record].
type RecordOp uint8

func key16(n uint16) []byte { return binrec.New(2).U16(n) }

func key32(n uint32) []byte { return binrec.New(4).U32(n) }

func bit(set bool, b uint8) uint8 {
	if set {
		return b
	}
	return 0
}

// messageHead is how many octets appendMessage writes beside the topic and the payload.
const messageHead = 6

// appendMessage writes a message: RecordHeld and RecordSpool.
func appendMessage(b binrec.Writer, qos uint8, retain bool, topic string, payload []byte) binrec.Writer {
	return b.U8(qos, bit(retain, bitRetain)).Text32(topic).Octets(payload)
}

// The same for other records.
const (
	bitRetain    = 1 << iota // a message
	bitAllotted              // a topic id from the sequence, not a predefined one
	bitTold                  // a topic id that the device knows, or will have asked for
	bitReleasing             // PUBREC has come
	bitLent                  // a topic id that is not the device's own
	bitMoved                 // a topic id that has stood for another name before
)

// errRecord says that a record is not one that a program with this version has written.
var errRecord = errors.New("session: malformed record")

// What is to be done with a record.
const (
	PutRecord     RecordOp = iota
	DeleteRecord           // no error if there is none
	DeleteRecords          // all of its kind
)

func readMessage(f *binrec.Reader) (qos uint8, retain bool, topic string, payload []byte) {
	qos, retain, topic, payload = f.U8(), f.U8()&bitRetain != 0, f.Text32(), copyOf(f.Rest())
	f.Check(qos <= 2 && topic != "")
	return qos, retain, topic, payload
}

// copyOf makes the session's own of a part of a record. It is never nil.
func copyOf(part []byte) []byte { return append(make([]byte, 0, len(part)), part...) }
