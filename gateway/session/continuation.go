package session

import "sngate/snpacket/sn12"

// continuation is something that goes on when a batch is in the store.
type continuation struct {
	batch  Token
	kind   continuationKind
	msgID  uint16
	id     uint16 // topic id, or packet identifier of the broker
	number uint32 // of a message
	code   uint8  // granted QoS
	fresh  bool   // a new subscription
	allots bool   // id is new as well
	claims bool   // id is the device's own from now on
	req    request
}

type continuationKind uint8

const (
	thenRegAck        continuationKind = iota + 1
	thenSubAck                         //
	thenAllotted                       // the gateway's own REGISTER
	thenPublish                        // the first PUBLISH of QoS 2 to the device
	thenRelease                        // PUBREL to the device, PUBREC to the broker
	thenAckHeld                        // acknowledgement to the broker
	thenAckSpooled                     // PUBACK or PUBREC to the device
	thenRelSpooled                     // PUBREL to the broker
	thenPubComp                        // PUBCOMP to the broker
	thenSleep                          // the answer to DISCONNECT with duration
	thenConnAck                        //
	thenUnsubAck                       //
	thenWillTopicResp                  //
	thenWillMsgResp                    //
	thenGoodbye                        // the answer to DISCONNECT
	thenRestore                        // the repeated SUBSCRIBEs
)

// answers reports whether a continuation is an answer to the device, and nothing else.
func (k continuationKind) answers() bool {
	switch k {
	case thenConnAck, thenUnsubAck, thenWillTopicResp, thenWillMsgResp, thenGoodbye:
		return true
	}
	return false
}

// after carries c out when the records of this step are in the store; at once if it does
// not wait for that.
func (s *Session) after(st *step, p policy, c continuation) {
	if !s.journal.wait(st, p, c) {
		s.goOn(st, &c, true)
	}
}

// onStored goes on with what waited for a batch.
func (s *Session) onStored(st *step, ev *Event) {
	for c, ok := s.journal.next(ev.Token); ok; c, ok = s.journal.next(ev.Token) {
		s.goOn(st, &c, !ev.Failed)
	}
}

// goOn carries a continuation out. ok: what it has waited for is in the store.
func (s *Session) goOn(st *step, c *continuation, ok bool) {
	switch c.kind {
	case thenRegAck:
		s.ids.onRegisterStored(st, c, ok)
	case thenSubAck:
		s.subs.onSubscribeStored(st, c, ok)
	case thenAllotted:
		s.ids.allotted(st, c, ok)
		s.goOnRegistering(st, c.id)
	case thenPublish:
		s.onOutgoingStored(st, c)
	case thenRelease:
		s.onReleasingStored(st, c)
	case thenAckHeld:
		s.onHeldStored(st, c, ok)
	case thenAckSpooled:
		s.up.onSpoolStored(st, c, ok)
	case thenRelSpooled:
		if ok {
			s.up.onReleasedStored(st, c.number)
		}
	case thenPubComp:
		s.complete(st, c.id)
	case thenSleep:
		if s.state == StateAsleep { // or it would take it for the end of what it has begun since
			send(st, sn12.Disconnect{})
		}
	case thenConnAck:
		s.onConnectStored(st)
	case thenUnsubAck:
		send(st, sn12.UnsubAck{MsgID: c.msgID})
	case thenWillTopicResp:
		send(st, sn12.WillTopicResp{})
	case thenWillMsgResp:
		send(st, sn12.WillMsgResp{})
	case thenGoodbye:
		s.onGoodbyeStored(st)
	case thenRestore:
		s.subs.beginRestore(st)
	}
}
