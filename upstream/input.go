package upstream

import "sngate/upstream/mqtt"

// Input is one thing a connection has to tell its Link. It travels through the
// Inbox of the owner, who passes every Input to Link.Input, whatever has become of
// the Link in between: a connection stops reading while too many of its Inputs are
// outstanding. Its content is the Link's business.
type Input struct {
	Link  Link // where it belongs
	Owner any  // as given to Dialer.NewLink

	conn *conn
	kind inputKind
	err  error
	size int // bytes of credit the Input holds; 0: none
	pkt  mqtt.Packet
}

type inputKind uint8

const (
	inputPacket   inputKind = iota + 1 // pkt
	inputDialling                      // the conn has a slot; only if it announces that
	inputAccepted                      // CONNACK with code 0; pkt.present
	inputRefused                       // no connection: pkt.code or err. The last Input of its conn.
	inputEnded                         // an accepted connection is gone: err. The last Input of its conn.
	inputMove                          // another broker is in use now
	inputWritable                      // everything that was pending has been written
)
