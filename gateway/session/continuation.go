package session

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
