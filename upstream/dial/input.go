package dial

import "sngate/upstream/mqtt"

// Kind says what an Input tells.
type Kind uint8

// What an Input tells.
const (
	Received Kind = iota + 1 // Packet
	Dialling                 // the Conn has a slot; only if it announces that
	Accepted                 // CONNACK with code 0: Packet
	Refused                  // no connection: Packet.Code or Err. The last Input of its Conn.
	Ended                    // an accepted connection is gone: Err. The last Input of its Conn.
	Move                     // another broker is in use now
	Writable                 // everything that was pending has been written
)

// Input is one thing a Conn has to tell its owner, who calls Done for each: a Conn stops
// reading while too many are outstanding.
type Input struct {
	Conn   *Conn
	Kind   Kind
	Err    error
	Packet mqtt.Packet
	size   int // bytes of credit it holds; 0: none
}

// Inbox is where a Conn leaves Inputs for its owner. Push copies in. It may block until
// there is room, or until done is closed, then it reports false. It is called from many
// goroutines.
type Inbox interface {
	Push(in *Input, done <-chan struct{}) bool
}

// Done gives back the credit that in has with its Conn. The owner calls it for each Input.
func (in *Input) Done() {
	if in.size == 0 {
		return
	}
	c := in.Conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed--
	c.owedBytes -= in.size
	c.readable.Signal()
}
