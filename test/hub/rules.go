package hub

import (
	"fmt"
	"time"
)

// Rule is the name of a rule that a client can break.
type Rule string

// The rules.
const (
	RuleTLS             Rule = "tls"              // the hub is reached by TLS alone
	RuleServerName      Rule = "server_name"      // TLS without the name of the hub (SNI)
	RuleALPN            Rule = "alpn"             // TLS without the protocol that the port wants
	RuleCertificate     Rule = "certificate"      // no client certificate that the hub knows
	RuleProtocol        Rule = "protocol"         // what is no MQTT 3.1.1, or too large
	RuleClientID        Rule = "client_id"        // unknown, too long, or not that of the certificate
	RuleUsername        Rule = "username"         // not of the form that the hub wants
	RuleSignature       Rule = "signature"        // a password that is not the right one
	RuleExpired         Rule = "expired"          // a token that has ended, at the connect or later
	RuleKeepAlive       Rule = "keep_alive"       // out of range in CONNECT
	RuleSilence         Rule = "silence"          // one and a half of the keep-alive without a packet
	RuleConnectInterval Rule = "connect_interval" // CONNECT of a client id too soon after the one before
	RuleOneConnection   Rule = "one_connection"   // CONNECT of a client id that is connected; the older one ends
	RuleWill            Rule = "will"             // a will
	RuleQoS             Rule = "qos"              // PUBLISH, SUBSCRIBE or will above the highest QoS
	RuleRetain          Rule = "retain"           // the RETAIN flag
	RuleTopicBytes      Rule = "topic_bytes"      // a topic or filter that is too long
	RuleTopicLevels     Rule = "topic_levels"     // one that is too deep
	RuleForeignTopic    Rule = "foreign_topic"    // one that is not the client's
	RuleWildcard        Rule = "wildcard"         // a wildcard where the hub takes none, or none there
	RuleFilters         Rule = "filters"          // too many filters in one SUBSCRIBE
	RulePayload         Rule = "payload"          // too many octets
	RulePublishRate     Rule = "publish_rate"     // too many PUBLISH in one second
	RuleSlow            Rule = "does_not_read"    // what is sent to it is not read
)

// Violation is a rule that was broken.
type Violation struct {
	ClientID string // of MQTT; "" before CONNECT
	Rule     Rule
	Detail   string
}

func (v Violation) String() string { return fmt.Sprintf("%s by %q: %s", v.Rule, v.ClientID, v.Detail) }

// Rules are what a hub wants of its clients. What is zero it does not want.
type Rules struct {
	Plain bool // without TLS
	// ServerName: the name of the hub has to be in TLS.
	ServerName bool
	// ALPN is the protocol that TLS has to offer on port 443; on others nothing is wanted.
	ALPN string

	MaxClientID     int // octets
	KeepAlive       [2]uint16
	ConnectInterval time.Duration

	NoWill         bool
	NoRetain       bool
	MaxQoS         byte
	MaxTopicBytes  int
	MaxTopicLevels int
	MaxFilters     int // in one SUBSCRIBE
	MaxPayload     int
	PublishRate    int // per second

	// MaxSubscriptions of a client; what is above is refused by SUBACK and breaks no rule.
	MaxSubscriptions int

	// identify checks who connects.
	identify func(h *Hub, c *hello) (identity, *Violation)
	// topics says which rule a client breaks by a topic, or a filter; "": none. nil: all may be used.
	topics func(d *Device, topic string, subscribe bool) Rule
}

// Profiles are the names of the hubs whose rules there are.
func Profiles() []string {
	return []string{"aws-iot", "azure-iot-hub", "azure-event-grid", "tencent-iot-hub", "alibaba-iot", "emqx-cloud", "hivemq-cloud"}
}

// RulesOf returns the rules of a hub by the name of its profile, as far as its vendor tells them.
//
// long function: a table, some lines for each hub.
func RulesOf(profile string) (Rules, bool) {
	const kib = 1 << 10
	switch profile {
	case "aws-iot":
		return Rules{
			ServerName: true, ALPN: "x-amzn-mqtt-ca",
			MaxClientID: 128, KeepAlive: [2]uint16{30, 1200}, ConnectInterval: time.Second,
			MaxQoS: 1, MaxTopicBytes: 256, MaxTopicLevels: 8, MaxFilters: 8, MaxPayload: 128 * kib, PublishRate: 100,
			MaxSubscriptions: 50, identify: byCertificate, topics: awsTopics,
		}, true
	case "azure-iot-hub":
		return Rules{
			ServerName: true, MaxClientID: 128, KeepAlive: [2]uint16{1, 1177},
			MaxQoS: 1, NoRetain: true, MaxPayload: 256 * kib, identify: bySAS, topics: azureTopics,
		}, true
	case "azure-event-grid":
		return Rules{
			ServerName: true, MaxClientID: 128, KeepAlive: [2]uint16{1, 1160},
			MaxQoS: 1, NoRetain: true, MaxTopicBytes: 256, MaxTopicLevels: 8, MaxFilters: 10, MaxPayload: 512 * kib, PublishRate: 100,
			MaxSubscriptions: 50, identify: byAuthenticationName,
		}, true
	case "tencent-iot-hub":
		return Rules{
			Plain: true, KeepAlive: [2]uint16{0, 900}, ConnectInterval: 5 * time.Second, NoWill: true, NoRetain: true, MaxQoS: 1,
			MaxTopicBytes: 255, MaxTopicLevels: 11, MaxFilters: 1, MaxPayload: 16 * kib, PublishRate: 30,
			identify: byUserNameHMAC, topics: tencentTopics,
		}, true
	case "alibaba-iot":
		return Rules{
			ServerName: true, KeepAlive: [2]uint16{30, 1200}, NoWill: true, NoRetain: true, MaxQoS: 1,
			MaxTopicBytes: 128, MaxTopicLevels: 8, MaxPayload: 256 * kib, PublishRate: 30,
			identify: bySortedFields, topics: alibabaTopics,
		}, true
	case "emqx-cloud":
		return Rules{
			ServerName: true, MaxClientID: 1024, MaxQoS: 2, MaxPayload: 1 << 20, PublishRate: 10,
			MaxSubscriptions: 10, identify: byPassword,
		}, true
	case "hivemq-cloud":
		return Rules{ServerName: true, MaxQoS: 2, MaxPayload: 256 * kib, identify: byPassword}, true
	}
	return Rules{}, false
}
