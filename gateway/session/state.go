package session

import "sngate/gateway/session/dialogue"

// State is the state of a device as the gateway sees it (MQTT-SN 1.2 section 6.14).
type State uint8

// The states. The package documentation has the table of transitions.
const (
	StateNew          State = iota // made, no CONNECT handled yet
	StateWillTopic                 // WILLTOPICREQ sent
	StateWillMsg                   // WILLMSGREQ sent
	StateConnecting                // waiting for the broker's CONNACK
	StateActive                    //
	StateAsleep                    //
	StateAwake                     // a sleeper that is being sent what was held for it
	StateDisconnected              // ended by the device; kept while CleanSession is 0
	StateLost                      // ended by silence; kept while CleanSession is 0

	numStates
)

var stateNames = [numStates]string{
	"new", "will_topic", "will_msg", "connecting", "active", "asleep", "awake", "disconnected", "lost",
}

// String is the state's name in logs and metrics.
func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return "unknown"
}

// StateNames lists the names of all states, indexed by State.
func StateNames() []string { return append([]string(nil), stateNames[:]...) }

// stray tells why a message of kind k has no meaning to a session in any state. It is
// not answered: its sender may be a gateway, which would answer in turn.
func stray(k dialogue.Kind) Reason {
	switch k {
	case dialogue.Advertise, dialogue.SearchGW, dialogue.GWInfo, dialogue.ConnAck, dialogue.WillTopicReq,
		dialogue.WillMsgReq, dialogue.SubAck, dialogue.UnsubAck, dialogue.WillTopicResp, dialogue.WillMsgResp,
		dialogue.Encapsulated:
		return ReasonUnexpectedMessage
	case dialogue.Reserved:
		return ReasonMalformed
	}
	return ReasonNone
}
