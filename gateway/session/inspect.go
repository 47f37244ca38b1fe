package session

import "slices"

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
		State: s.state, CleanSession: s.clean, KeepAlive: s.duration, Sleep: s.sleepFor,
		BrokerLink: linkNames[s.link], InFlight: len(s.up.window),
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

// About says what a drop concerns, where neither the datagram nor the event that is being
// handled tells.
type About struct {
	Topic  string // name or filter; "": not known
	Octets int    // of the payload
}

// aboutDrop belongs to the drop at an index of Out.Drops.
type aboutDrop struct {
	index int
	About
}

// About returns what the i-th drop concerns.
func (o *Out) About(i int) About {
	n, found := slices.BinarySearchFunc(o.abouts, i, func(a aboutDrop, i int) int { return a.index - i })
	if !found {
		return About{}
	}
	return o.abouts[n].About
}

// dropOf is drop, with what it concerns.
func (o *Out) dropOf(r Reason, topic string, octets int) {
	o.abouts = append(o.abouts, aboutDrop{index: len(o.Drops), About: About{Topic: topic, Octets: octets}})
	o.drop(r)
}
