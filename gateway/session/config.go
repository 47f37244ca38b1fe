package session

import (
	"time"

	"sngate/internal/rate"
	"sngate/topicreg"
)

// Time is the monotonic time since the process started.
type Time = time.Duration

// Never is the deadline of something that waits for no time.
const Never = Time(1<<63 - 1)

// Config holds what all sessions of a gateway have in common. It is shared and
// never changed once the first session exists.
type Config struct {
	Predefined *topicreg.Predefined // nil: none
	Limits     *Limits              // of the broker; nil: it takes everything

	RetryInterval Time // Tretry (MQTT-SN 1.2 section 7.2)
	RetryCount    int  // Nretry
	BrokerWait    Time // how long a PUBLISH, SUBSCRIBE or UNSUBSCRIBE waits for the broker before it is refused

	// Tolerances: percent added to keep-alive and sleep durations of up to 60 s, and
	// of more, before the device counts as lost (MQTT-SN 1.2 section 7.2).
	ToleranceShort int
	ToleranceLong  int

	IdleProbe      Time // a device with keep-alive 0 is sent PINGREQ after this silence; 0: never
	CongestionWait Time // Twait: pause after the device answered "congestion"
	BarrierTimeout Time // how long a waking device is kept waiting for the broker's PINGRESP

	// ProveAddress bounds what is sent to an address before an answer of the device has
	// proven that it is there.
	ProveAddress bool

	QoSMinusOne    bool // whether QoS -1 is relayed
	LongNames      bool // and with a topic name before the data: see dialogue.Dialogue
	PublishesWills bool // the gateway publishes wills itself, and the broker is told of none

	MaxPacketSize    int          // octets of one datagram towards the device
	PacketSizes      []PacketSize // of some devices; the first entry that fits a client id goes before MaxPacketSize
	MaxClientID      int          // octets
	MaxInFlight      int          // QoS 1 and 2 PUBLISHes of the device waiting at once
	MaxTopics        int          // topic ids of one device
	MaxSubscriptions int
	MaxWill          int // octets of topic and message of the will; 0: no limit
	MaxMessages      int // messages held for one device
	MaxBytes         int // octets of topic names and payloads held for one device

	// Durable: there is a store. Spool: messages of devices may wait in it for the broker.
	Durable         bool
	Spool           bool
	SpoolQoS0       bool
	SpoolDropOldest bool // when it is full: the oldest goes instead of the newest being refused
	SpoolMessages   int  // of one device
	SpoolBytes      int
	SpoolAge        Time // a message that has waited for so long is dropped

	// What one device may publish: messages, and octets of payload.
	MessageRate, ByteRate rate.Limit

	Allow []string // client ids or patterns that may connect; empty: any
}

// PacketSize bounds the datagrams towards the devices whose client id matches a pattern.
type PacketSize struct {
	Client string // a client id, or a pattern for topicreg.Match
	Octets int
}

// packetSize is the size of the longest datagram, in octets, that a device may be sent.
func (c *Config) packetSize(clientID string) int {
	for i := range c.PacketSizes {
		if p := &c.PacketSizes[i]; topicreg.Match(p.Client, clientID) {
			return min(p.Octets, c.MaxPacketSize)
		}
	}
	return c.MaxPacketSize
}

// messageOverhead is what a held message counts beside its topic and payload, so
// that empty messages are bounded by MaxBytes too.
const messageOverhead = 64

// MessageOctets is what a message counts in Held or Spooled that the store has as value, a
// RecordHeld or RecordSpool; to within a few octets.
func MessageOctets(value []byte) int { return len(value) + messageOverhead }

// expiry is the time of silence after which a device that promised to speak every
// d seconds counts as lost: "10 % if the timer is larger than one minute, 50 % if
// less" (MQTT-SN 1.2 section 7.2).
func (c *Config) expiry(seconds uint16) Time {
	d := Time(seconds) * time.Second
	percent := c.ToleranceShort
	if d > time.Minute {
		percent = c.ToleranceLong
	}
	return d + d*Time(percent)/100
}

// What a topic name and a subscription cost beside their octets.
const (
	topicOverhead        = 96
	subscriptionOverhead = 48
)

// lateWindow is how long after a request its duplicates may still arrive: networks that
// deliver a datagram twice do so soon. A repeat by the device itself comes after Tretry,
// and is known by other signs.
const lateWindow = time.Second
