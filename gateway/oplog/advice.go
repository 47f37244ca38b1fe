package oplog

import "sngate/gateway/session"

// Advice says what would be right where something is dropped or refused for a reason.
func Advice(why session.Reason) string { return adviceFor[why] }

// adviceFor says, for each reason for which something is dropped, what would be right:
// what the device or the operator can do. The ends of sessions are not among them.
var adviceFor = map[session.Reason]string{
	session.ReasonMalformed:           "the datagram is no MQTT-SN 1.2 message; \"sngate decode\" explains one",
	session.ReasonUnexpectedMessage:   "the message has no meaning in this state of the session or from this side",
	session.ReasonUnknownSender:       "the device has no session at this address: it has to send CONNECT first, and was told so with DISCONNECT",
	session.ReasonShardFull:           "the gateway is overloaded: more datagrams came than it can handle",
	session.ReasonStrangersFull:       "more datagrams came from unknown addresses than are handled beside the known devices; the device has to repeat",
	session.ReasonSessionLoading:      "the gateway has just started, and was still reading the device's session from the store: the device has to repeat",
	session.ReasonDatagramRate:        "the device sends more than session.datagram_rate",
	session.ReasonForwarderNotAllowed: "encapsulated messages are accepted from forwarder.allow only, and with forwarder.enabled",
	session.ReasonEncapsulation:       "the forwarder has to encapsulate once, and with a wireless node id",
	session.ReasonOtherGateway:        "another gateway is in reach; nothing is wrong",
	session.ReasonRateLimited:         "answers to unknown addresses are limited",
	session.ReasonNoAddress:           "the device's address belongs to another device now: it has to speak first",
	session.ReasonSendFailed:          "the operating system did not take the datagram",
	session.ReasonReceiveFailed:       "the operating system reported an error on a socket",
	session.ReasonUnreachable:         "the network reported that nobody is at the device's address, which no answer had proven: the device has to speak first",

	session.ReasonProtocolID:          "ProtocolId has to be 0x01 (MQTT-SN 1.2)",
	session.ReasonClientID:            "the client id has to have 1 to session.max_client_id octets of UTF-8 text without U+0000",
	session.ReasonClientNotAllowed:    "the client id is not in session.allow, or is that of the gateway itself",
	session.ReasonMaxSessions:         "session.max_sessions devices have a session",
	session.ReasonConnectRate:         "more new devices connect than session.connect_rate or session.source_connect_rate allow: try again later",
	session.ReasonWill:                "the will needs a topic name without wildcards, QoS 0 to 2, and an answer to WILLTOPICREQ and WILLMSGREQ",
	session.ReasonAddressChange:       "another address has this session, and session.address_change does not let this message move it",
	session.ReasonBrokerRefused:       "the broker does not accept the device: see broker.username, broker.password and the broker's rules for this client id",
	session.ReasonBrokerUnreachable:   "the broker does not answer: see broker.url",
	session.ReasonNoCredentials:       "[[broker.device]] or broker.credentials_file have no credentials for this client id, or a value or its certificate is missing",
	session.ReasonStopping:            "the gateway is being stopped",
	session.ReasonUnknownTopicID:      "the topic id stands for nothing: REGISTER the topic name, or use an id of topics.predefined",
	session.ReasonInvalidTopic:        "a topic name has no wildcards, a filter has them as whole levels, and neither is empty",
	session.ReasonInvalidMessageID:    "a message that is to be answered needs a MsgId other than 0",
	session.ReasonQoSMinusOneDisabled: "QoS -1 is switched off: qos_minus_one.enabled",
	session.ReasonQoSMinusOneLongName: "a PUBLISH with QoS -1 and a whole topic name: qos_minus_one.long_names allows it",

	session.ReasonBrokerDown:          "there is no connection to the broker for this device, or the broker did not answer in time: send again later, or use QoS 1 with the spool",
	session.ReasonBrokerCongested:     "the broker takes messages more slowly than they come: send again later",
	session.ReasonWindowFull:          "session.max_inflight messages wait for the broker's answer: wait for the device's acknowledgements",
	session.ReasonMessageRate:         "the device publishes more messages than session.message_rate, or those without a session more than qos_minus_one.message_rate",
	session.ReasonByteRate:            "the device publishes more octets than session.byte_rate",
	session.ReasonTopicsFull:          "the device has session.max_topics topic ids",
	session.ReasonSubscriptionsFull:   "the device has session.max_subscriptions subscriptions, or too many requests wait for the broker",
	session.ReasonSubscriptionRefused: "the broker does not allow this subscription: see its access rules",
	session.ReasonNotSupported:        "a subscription has QoS 0 to 2",
	session.ReasonStoreFailed:         "the store takes nothing: see the log and /readyz",
	session.ReasonSpoolFull:           "the spool is full: spool.max_messages, spool.max_bytes or spool.total_bytes",
	session.ReasonSpoolExpired:        "the broker was away for longer than spool.max_age",
	session.ReasonSpoolRejected:       "the broker ends the connection whenever this message is sent: see its access rules and limits",
	session.ReasonPublishRejected:     "the broker ends the connection whenever this message is sent: see its access rules and limits",

	session.ReasonLimitsMaxQoS:         "the broker takes no such QoS (broker.limits.max_qos): publish with a lower one, or see broker.limits.above_max_qos",
	session.ReasonLimitsRetain:         "the broker takes no RETAIN (broker.limits.retain): publish without, or set it to \"drop\"",
	session.ReasonLimitsWill:           "the broker takes no wills (broker.limits.will): connect without, or set it to \"gateway\"",
	session.ReasonLimitsMaxTopicBytes:  "the topic is longer than broker.limits.max_topic_bytes",
	session.ReasonLimitsMaxTopicLevels: "the topic has more levels than broker.limits.max_topic_levels",
	session.ReasonLimitsWildcards:      "the broker takes no wildcards (broker.limits.wildcards): subscribe to topic names",
	session.ReasonLimitsPayloadMax:     "the payload is larger than broker.limits.payload_max",

	session.ReasonAddressUnproven:    "messages wait: the device's address has answered neither REGISTER, PUBLISH of QoS 1 or 2 nor PINGREQ; see session.prove_address",
	session.ReasonBufferFull:         "more messages came for the device than sleep.max_messages or sleep.max_bytes",
	session.ReasonMemoryLimit:        "more is kept for all devices than gateway.memory_limit, or than an eighth of store.max_bytes",
	session.ReasonTooLarge:           "the message is larger than session.max_packet_size, or the filter too long to be stored",
	session.ReasonClientRejected:     "the device itself refused the message",
	session.ReasonUnanswered:         "the device leaves this message unanswered though it lives: is it larger than the device can take? See session.max_packet_sizes",
	session.ReasonRegisterUnanswered: "the device does not answer REGISTER: subscribe to the topic by its name, or give it a predefined id",
	session.ReasonReleaseUnanswered:  "the device has the message, and does not answer PUBREL",
	session.ReasonSessionEnded:       "the session had ended when the message came",
	session.ReasonCleanSession:       "the device began anew with CleanSession=1, and what was held for it went",
	session.ReasonSessionExpired:     "the device was away for longer than session.expiry",
}
