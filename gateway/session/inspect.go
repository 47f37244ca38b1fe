package session

// What a shell may ask a session for to show it to an operator. Nothing here changes
// anything, and nothing has payloads or the message of a will in it.

// View is what can be seen of a session. Its slices are the receiver's.
type View struct {
	State        State
	CleanSession bool
	KeepAlive    uint16 // seconds, of the last CONNECT; 0: none
	Sleep        uint16 // seconds, of the last DISCONNECT with duration; 0: never asleep
	BrokerLink   string // "closed", "opening", "up", "down", "closing"
	WillTopic    string // "": no will

	Topics        []TopicView
	Subscriptions []SubscriptionView

	HeldMessages, HeldOctets       int // for the device
	SpooledMessages, SpooledOctets int // of the device, for the broker
	InFlight                       int // QoS 1 and 2 PUBLISHes of the device that are not finished
}

// TopicView is a topic id of the device.
type TopicView struct {
	ID        uint16
	Name      string
	Announced bool // the device is known to know the id
}

// SubscriptionView is what the broker has granted.
type SubscriptionView struct {
	Filter string
	QoS    uint8
}

var linkNames = [...]string{"closed", "opening", "up", "down", "closing"}

// Inspect returns what can be seen of the session.
func (s *Session) Inspect() View {
	v := s.Summary()
	v.Topics = make([]TopicView, 0, s.ids.topics.Len())
	for id, name := range s.ids.topics.All {
		v.Topics = append(v.Topics, TopicView{ID: id, Name: name, Announced: s.ids.topics.Announced(id)})
	}
	v.Subscriptions = make([]SubscriptionView, len(s.subs.list))
	for i := range s.subs.list {
		v.Subscriptions[i] = SubscriptionView{Filter: s.subs.list[i].filter, QoS: s.subs.list[i].qos}
	}
	return v
}

// Summary is Inspect without the lists of topics and subscriptions.
func (s *Session) Summary() View {
	v := View{
		State: s.state, CleanSession: s.clean, KeepAlive: s.presence.duration, Sleep: s.presence.sleepFor,
		BrokerLink: linkNames[s.broker.link], InFlight: len(s.up.window),
	}
	if s.wills.current != nil {
		v.WillTopic = s.wills.current.Topic
	}
	v.HeldMessages, v.HeldOctets = s.Held()
	v.SpooledMessages, v.SpooledOctets = s.Spooled()
	return v
}

// Counts returns how many topic ids and subscriptions the device has.
func (s *Session) Counts() (topics, subscriptions int) { return s.ids.topics.Len(), len(s.subs.list) }

// TopicName returns the name that a normal topic id of the device stands for.
func (s *Session) TopicName(id uint16) (string, bool) { return s.ids.topics.Name(id) }

// Topics yields the normal topic ids of the device with their names, in id order.
func (s *Session) Topics(yield func(id uint16, name string) bool) { s.ids.topics.All(yield) }

// Assigned reports whether the shell has chosen the client id. It does not change once the
// session is in use.
func (s *Session) Assigned() bool { return s.assigned }

// Sheddable reports whether Yield would find anything to drop.
func (s *Session) Sheddable() bool { return s.down.queue.qos0 > 0 }

// HalfOpen reports whether the session is a will dialogue and nothing else: it has never
// been accepted, and has no connection to the broker.
func (s *Session) HalfOpen() bool {
	return (s.state == StateWillTopic || s.state == StateWillMsg) && !s.kept && s.broker.link == linkClosed
}

// Draining reports whether the connection to the broker has outlived the device's, to
// deliver what has been acknowledged to the device.
func (s *Session) Draining() bool { return s.broker.draining() }

// Stored reports whether anything of the session may be in the store.
func (s *Session) Stored() bool { return s.journal.known }

// Proven reports whether the device has shown that it is where it says it is.
func (s *Session) Proven() bool { return s.cfg.ProveAddress && s.addr.reach == nil }

// Resubscribing reports whether the subscriptions are being repeated, or one is to be:
// no broker has the whole session then.
func (s *Session) Resubscribing() bool {
	return s.subs.resubscription.token != 0 || s.subs.resubscribeAt != Never
}

// ClientID returns the client id the session belongs to.
func (s *Session) ClientID() string { return s.clientID }

// State returns the state of the device.
func (s *Session) State() State { return s.state }

// WillDue returns the will of a lost device that the gateway still has to publish; nil
// when there is none: the device is not lost, its will is the broker's to publish, or the
// link has done with it. It must not be changed.
func (s *Session) WillDue() *Will {
	if !s.wills.due {
		return nil
	}
	return s.wills.current
}
