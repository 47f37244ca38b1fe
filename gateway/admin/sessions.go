package admin

// SessionInfo is one session as the API shows it; docs/API.md describes the fields.
type SessionInfo struct {
	ClientID          string   `json:"client_id"`
	State             string   `json:"state"`
	Address           string   `json:"address,omitempty"`
	LastHeardSeconds  *float64 `json:"last_heard_seconds"`
	CleanSession      bool     `json:"clean_session"`
	KeepAliveSeconds  int      `json:"keep_alive_seconds"`
	SleepSeconds      int      `json:"sleep_seconds,omitempty"`
	BrokerConnection  string   `json:"broker_connection"`
	WillTopic         string   `json:"will_topic,omitempty"`
	TopicCount        int      `json:"topic_count"`
	SubscriptionCount int      `json:"subscription_count"`
	InFlight          int      `json:"in_flight"`
	Held              Amount   `json:"held"`
	Spooled           Amount   `json:"spooled"`
	// LastRefusal is the newest of Refusals.
	LastRefusal *Refusal `json:"last_refusal,omitempty"`
}

// Amount is a number of messages and their octets as the limits count them.
type Amount struct {
	Messages int `json:"messages"`
	Bytes    int `json:"bytes"`
}

// Refusal is a reason for which something of a device, or for it, was dropped or refused.
type Refusal struct {
	Reason      string  `json:"reason"`
	Times       uint64  `json:"times"`
	AgoSeconds  float64 `json:"ago_seconds"` // since the last
	Packet      string  `json:"packet,omitempty"`
	TopicID     *uint16 `json:"topic_id,omitempty"`
	TopicIDType string  `json:"topic_id_type,omitempty"`
	Topic       string  `json:"topic,omitempty"`
	Advice      string  `json:"advice,omitempty"`
}

// Topic is a topic id of a device.
type Topic struct {
	ID    uint16 `json:"id"`
	Name  string `json:"name"`
	Known bool   `json:"known_to_device"`
}

// Subscription is what the broker has granted to a device.
type Subscription struct {
	Filter string `json:"filter"`
	QoS    uint8  `json:"qos"`
}

// SessionDetail is SessionInfo with its lists.
type SessionDetail struct {
	SessionInfo
	Topics        []Topic        `json:"topics"`
	Subscriptions []Subscription `json:"subscriptions"`
	Refusals      []Refusal      `json:"refusals"`
}

// SessionPage is one page of sessions.
type SessionPage struct {
	Sessions   []SessionInfo `json:"sessions"`
	NextCursor string        `json:"next_cursor,omitempty"` // "": this was the last page
}
