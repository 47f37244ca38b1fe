package upstream

// linkState is where a Link is in the life of its connection. These are the legal transitions
// of one call; "=" stands for staying:
//
//	idle          =, dormant, connecting, reconnecting
//	dormant       =, idle, connecting, reconnecting
//	connecting    =, idle, reconnecting, up, closing, replacing
//	reconnecting  =, idle, connecting, up, backoff, closing, replacing
//	up            =, idle, backoff, moving, closing, replacing
//	backoff       =, idle, connecting, reconnecting, parked
//	parked        =, idle, connecting, reconnecting
//	closing       =, idle, replacing
//	replacing     =, idle, closing, connecting
//	moving        =, idle, reconnecting, closing, replacing
//
// A connect that is refused before it begins, because too many wait or there are no credentials,
// goes on in the same call: connecting to idle, reconnecting to backoff.
//
// testdata/states.golden says which input makes which of them, and what it does besides.
type linkState uint8

const (
	stateIdle         linkState = iota // no connection, and none wanted
	stateDormant                       // reopened; the first connect starts when the device has spoken
	stateConnecting                    // the owner waits for a connect, which waits, dials, or expects CONNACK
	stateReconnecting                  // the same, but the Link connects by itself
	stateUp                            // the broker has accepted
	stateBackoff                       // lost; the next connect starts at retry.at
	stateParked                        // lost alone; the next connect starts when the device has spoken, or at retry.at
	stateClosing                       // DISCONNECT is sent; the broker's end is awaited
	stateReplacing                     // the same; then the owner's connect starts
	stateMoving                        // the same; then another broker is connected to, or the connection with new credentials is used
)

var stateNames = [...]string{
	stateIdle: "idle", stateDormant: "dormant", stateConnecting: "connecting", stateReconnecting: "reconnecting",
	stateUp: "up", stateBackoff: "backoff", stateParked: "parked", stateClosing: "closing",
	stateReplacing: "replacing", stateMoving: "moving",
}

func (s linkState) String() string { return stateNames[s] }

// opening: a connect is in progress.
func (s linkState) opening() bool { return s == stateConnecting || s == stateReconnecting }

// leaving: the connection is given up, and its end awaited.
func (s linkState) leaving() bool {
	return s == stateClosing || s == stateReplacing || s == stateMoving
}
