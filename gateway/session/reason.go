package session

// Reason names why something was dropped, refused or ended. One enumeration serves
// logs, metrics and tests.
type Reason uint8

// The reasons. Their names in logs and metrics are in reasonNames.
const (
	ReasonNone Reason = iota

	// Datagrams dropped unanswered, or answered with DISCONNECT.
	ReasonMalformed           // length or layout is wrong
	ReasonUnexpectedMessage   // a message that makes no sense in this state or direction
	ReasonUnknownSender       // no session for the sender
	ReasonShardFull           // the queue for known devices was full
	ReasonStrangersFull       // the queue for senders that are not known was full
	ReasonSessionLoading      // the session was being loaded, and the datagram could not wait for that
	ReasonDatagramRate        // more datagrams than one device may send
	ReasonForwarderNotAllowed // encapsulated by a forwarder that is not configured
	ReasonEncapsulation       // nested encapsulation, or no wireless node id
	ReasonOtherGateway        // ADVERTISE or GWINFO of another gateway
	ReasonRateLimited         // an answer beyond the rate for senders without a session
	ReasonNoAddress           // the device's address is not known
	ReasonSendFailed          // the operating system did not take the datagram
	ReasonReceiveFailed       // the operating system reported an error on a socket
	ReasonUnreachable         // the network reported the device's address unreachable before it was proven

	// CONNECT refused.
	ReasonProtocolID
	ReasonClientID
	ReasonClientNotAllowed
	ReasonMaxSessions
	ReasonConnectRate
	ReasonWill
	ReasonAddressChange
	ReasonBrokerRefused
	ReasonBrokerUnreachable
	ReasonNoCredentials
	ReasonStopping

	// Messages of the device not relayed.
	ReasonUnknownTopicID
	ReasonInvalidTopic
	ReasonInvalidMessageID
	ReasonQoSMinusOneDisabled
	ReasonQoSMinusOneLongName
	ReasonBrokerDown
	ReasonBrokerCongested
	ReasonWindowFull
	ReasonMessageRate
	ReasonByteRate
	ReasonTopicsFull
	ReasonSubscriptionsFull
	ReasonSubscriptionRefused
	ReasonNotSupported
	ReasonStoreFailed
	ReasonSpoolFull
	ReasonSpoolExpired
	ReasonSpoolRejected
	ReasonPublishRejected

	// Refused, or dropped, because the broker does not take it: see Limits.
	ReasonLimitsMaxQoS
	ReasonLimitsRetain
	ReasonLimitsWill
	ReasonLimitsMaxTopicBytes
	ReasonLimitsMaxTopicLevels
	ReasonLimitsWildcards
	ReasonLimitsPayloadMax

	// Messages for the device not delivered.
	ReasonAddressUnproven // not lost: they wait until the device has answered or said more
	ReasonBufferFull
	ReasonMemoryLimit
	ReasonTooLarge
	ReasonClientRejected
	ReasonUnanswered         // sent as often as it may be, over two connections at least or to a device that lives
	ReasonRegisterUnanswered // its topic id could not be told to the device
	ReasonReleaseUnanswered  // delivered, but PUBREL was not answered
	ReasonSessionEnded

	// Sessions ended.
	ReasonClientDisconnect
	ReasonKeepAliveExpired
	ReasonSleepExpired
	ReasonRetriesExhausted
	ReasonAddressReused
	ReasonCleanSession
	ReasonGatewayStop
	ReasonSessionExpired // kept for too long for a device that has gone

	numReasons
)

var reasonNames = [numReasons]string{
	ReasonNone:                 "none",
	ReasonMalformed:            "malformed",
	ReasonUnexpectedMessage:    "unexpected_message",
	ReasonUnknownSender:        "unknown_sender",
	ReasonShardFull:            "shard_full",
	ReasonStrangersFull:        "strangers_full",
	ReasonSessionLoading:       "session_loading",
	ReasonDatagramRate:         "datagram_rate",
	ReasonForwarderNotAllowed:  "forwarder_not_allowed",
	ReasonEncapsulation:        "encapsulation",
	ReasonOtherGateway:         "other_gateway",
	ReasonRateLimited:          "rate_limited",
	ReasonNoAddress:            "no_address",
	ReasonSendFailed:           "send_failed",
	ReasonReceiveFailed:        "receive_failed",
	ReasonUnreachable:          "unreachable",
	ReasonProtocolID:           "protocol_id",
	ReasonClientID:             "client_id",
	ReasonClientNotAllowed:     "client_not_allowed",
	ReasonMaxSessions:          "max_sessions",
	ReasonConnectRate:          "connect_rate",
	ReasonWill:                 "will",
	ReasonAddressChange:        "address_change",
	ReasonBrokerRefused:        "broker_refused",
	ReasonBrokerUnreachable:    "broker_unreachable",
	ReasonNoCredentials:        "no_credentials",
	ReasonStopping:             "stopping",
	ReasonUnknownTopicID:       "unknown_topic_id",
	ReasonInvalidTopic:         "invalid_topic",
	ReasonInvalidMessageID:     "invalid_message_id",
	ReasonQoSMinusOneDisabled:  "qos_minus_one_disabled",
	ReasonQoSMinusOneLongName:  "qos_minus_one_long_name",
	ReasonBrokerDown:           "broker_down",
	ReasonBrokerCongested:      "broker_congested",
	ReasonWindowFull:           "window_full",
	ReasonMessageRate:          "message_rate",
	ReasonByteRate:             "byte_rate",
	ReasonTopicsFull:           "topics_full",
	ReasonSubscriptionsFull:    "subscriptions_full",
	ReasonSubscriptionRefused:  "subscription_refused",
	ReasonNotSupported:         "not_supported",
	ReasonStoreFailed:          "store_failed",
	ReasonSpoolFull:            "spool_full",
	ReasonSpoolExpired:         "spool_expired",
	ReasonSpoolRejected:        "spool_rejected",
	ReasonPublishRejected:      "publish_rejected",
	ReasonLimitsMaxQoS:         "limits_max_qos",
	ReasonLimitsRetain:         "limits_retain",
	ReasonLimitsWill:           "limits_will",
	ReasonLimitsMaxTopicBytes:  "limits_max_topic_bytes",
	ReasonLimitsMaxTopicLevels: "limits_max_topic_levels",
	ReasonLimitsWildcards:      "limits_wildcards",
	ReasonLimitsPayloadMax:     "limits_payload_max",
	ReasonAddressUnproven:      "address_unproven",
	ReasonBufferFull:           "buffer_full",
	ReasonMemoryLimit:          "memory_limit",
	ReasonTooLarge:             "too_large",
	ReasonClientRejected:       "client_rejected",
	ReasonUnanswered:           "unanswered",
	ReasonRegisterUnanswered:   "register_unanswered",
	ReasonReleaseUnanswered:    "release_unanswered",
	ReasonSessionEnded:         "session_ended",
	ReasonClientDisconnect:     "client_disconnect",
	ReasonKeepAliveExpired:     "keep_alive_expired",
	ReasonSleepExpired:         "sleep_expired",
	ReasonRetriesExhausted:     "retries_exhausted",
	ReasonAddressReused:        "address_reused",
	ReasonCleanSession:         "clean_session",
	ReasonGatewayStop:          "gateway_stop",
	ReasonSessionExpired:       "session_expired",
}

// String is the reason's name in logs and metrics.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// ReasonNames lists the names of all reasons, indexed by Reason.
func ReasonNames() []string { return append([]string(nil), reasonNames[:]...) }
