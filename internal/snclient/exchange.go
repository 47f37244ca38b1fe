package snclient

import (
	"fmt"
	"time"

	"sngate/snpacket/sn12"
)

// op is the kind of a request. Answers name their request by kind and MsgId.
type op uint8

const (
	opConnect op = iota + 1
	opRegister
	opPublish
	opSubscribe
	opUnsubscribe
	opPing
	opDisconnect
	opWillTopicUpd
	opWillMsgUpd
	opSearch
)

type key struct {
	op    op
	msgID uint16 // 0 for requests without one: at most one of the kind is open
}

// exchange is one open request. The goroutine that made it waits on done and
// repeats packet; the reading goroutine may replace packet when an answer takes the
// exchange a step further, and finishes it. Fields below done are guarded by
// Client.mu.
type exchange struct {
	key   key
	topic Topic         // REGISTER and SUBSCRIBE: what the answer's topic id stands for
	sleep time.Duration // DISCONNECT: 0, or the sleep it announces
	done  chan struct{} // closed when the exchange is over

	packet []byte    // the datagram to be repeated
	step   int       // how far the exchange has come, 0 at its start
	moved  time.Time // when the gateway last took it further: Tretry counts from there
	reply  sn12.Message
	err    error
}

func newExchange(k key, m sn12.Message) (*exchange, error) {
	packet, err := m.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", m.Type(), err)
	}
	return &exchange{key: k, packet: packet, done: make(chan struct{})}, nil
}

// headerLen is the length of the header, in its short or its long form.
func headerLen(packet []byte) int {
	if packet[0] == 0x01 {
		return 4
	}
	return 2
}

// unanswered reports whether packet is a PUBLISH of QoS 0 or -1. It may be lost without
// a sign, so the gateway need not have heard it and it must not put the PINGREQ off.
func unanswered(packet []byte) bool {
	header := headerLen(packet)
	if sn12.Type(packet[header-1]) != sn12.TypePublish {
		return false
	}
	qos := packet[header] >> 5 & 3
	return qos == 0 || qos == sn12.QoSMinusOne
}

// setDUP sets the DUP flag where the message has one: PUBLISH and SUBSCRIBE
// (MQTT-SN 1.2 section 5.3.4).
func setDUP(packet []byte) {
	header := headerLen(packet)
	switch sn12.Type(packet[header-1]) {
	case sn12.TypePublish, sn12.TypeSubscribe:
		packet[header] |= 0x80
	}
}
