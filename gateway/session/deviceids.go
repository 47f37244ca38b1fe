package session

// deviceIDs tells devices that count their MsgIds from those that use one for all their
// messages: of the former, a QoS 2 PUBLISH with the MsgId of an exchange that has just been
// completed is a duplicate that the network has delivered late; of the latter it is the
// next message. A device that has published once may be either, and is taken for the
// latter: no message is lost then.
type deviceIDs struct {
	last   uint16 // of its last message of QoS 1 or 2; 0: none has come
	counts bool
}

// published notes the MsgId of a new message.
func (d *deviceIDs) published(msgID uint16) {
	d.counts = d.last != 0 && msgID != d.last
	d.last = msgID
}
