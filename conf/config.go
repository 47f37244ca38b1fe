package conf

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sngate/topicreg"
	"strings"
	"time"
)

// Config is the whole configuration. The meaning of each key is in example.toml and in
// docs/CONFIG.md; the comments here add what matters in Go.
type Config struct {
	Gateway        Gateway        `toml:"gateway"`
	Listener       []Listener     `toml:"listener"` // at least one
	Discovery      Discovery      `toml:"discovery"`
	Broker         Broker         `toml:"broker"`
	EmbeddedBroker EmbeddedBroker `toml:"embedded_broker"`
	Session        Session        `toml:"session"`
	Sleep          Sleep          `toml:"sleep"`
	Store          Store          `toml:"store"`
	Spool          Spool          `toml:"spool"`
	Topics         Topics         `toml:"topics"`
	QoSMinusOne    QoSMinusOne    `toml:"qos_minus_one"`
	Forwarder      Forwarder      `toml:"forwarder"`
	Ops            Ops            `toml:"ops"`
	Log            Log            `toml:"log"`
}

// Gateway is what the gateway says of itself.
type Gateway struct {
	ID       uint8  `toml:"id" range:"0..255"` // GwId, MQTT-SN 1.2 section 5.3.9
	ClientID string `toml:"client_id"`         // see MQTTClientID
	Shards   int    `toml:"shards" range:"1..64"`
	// EventLoop says how shards wait for the network; see docs/ARCHITECTURE.md.
	EventLoop string `toml:"event_loop" enum:"auto,off"`
	// Octets; 0: a quarter of the machine's memory. Otherwise at least MinMemoryLimit.
	MemoryLimit int64 `toml:"memory_limit" range:"0..1099511627776"`

	StatusTopic string `toml:"status_topic"`                    // "": none
	OnStop      string `toml:"on_stop" enum:",keep,disconnect"` // see Config.KeepsOnStop
}

// MinMemoryLimit is the smallest Gateway.MemoryLimit but for 0.
const MinMemoryLimit = 1 << 20

// MQTTClientID is the client id of the gateway's own connection to the broker:
// client_id, or a name made of the host's name and the gateway's id. Some brokers refuse
// a client id with other characters than letters, digits and "-".
func (g Gateway) MQTTClientID(hostname string) string {
	if g.ClientID != "" {
		return g.ClientID
	}
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}
	if host := strings.Trim(strings.Map(plain, hostname), "-"); host != "" {
		return fmt.Sprintf("sngate-%s-%d", host, g.ID)
	}
	return fmt.Sprintf("sngate-%d", g.ID)
}

// KeepsOnStop reports whether a stop leaves the sessions of the devices as they are: what
// gateway.on_stop says, or, where it says nothing, whether there is a file they survive in.
func (c *Config) KeepsOnStop() bool {
	if c.Gateway.OnStop == "" {
		return c.Store.Path != ""
	}
	return c.Gateway.OnStop == "keep"
}

// GatewayPublishesWills reports whether the gateway publishes the wills of the devices, because
// session.will_keeper says so or the broker takes none. Those that are refused count: there may
// be some from before.
func (c *Config) GatewayPublishesWills() bool {
	return c.Session.WillKeeper == "gateway" || c.Broker.Limits.Will != "pass"
}

// Listener is one socket for devices.
type Listener struct {
	Type               string `toml:"type" enum:"udp" later:"dtls"`
	Address            string `toml:"address"`             // host:port; an empty host is every address
	Multicast          string `toml:"multicast"`           // a group address, or ""
	MulticastInterface string `toml:"multicast_interface"` // "": the system's choice
	ReceiveBuffer      int    `toml:"receive_buffer" range:"4096..1073741824"`
}

// Discovery is about gateways announcing themselves (MQTT-SN 1.2 section 6.1).
type Discovery struct {
	AdvertiseInterval time.Duration `toml:"advertise_interval" range:"0s..65535s"` // whole seconds; 0: never
}

// PacketSize is the largest datagram towards the clients that match a pattern.
type PacketSize struct {
	Client string `toml:"client"` // for topicreg.Match; required
	Octets int    `toml:"octets" range:"32..65535"`
}

// Broker is the MQTT broker and how to reach it.
type Broker struct {
	URL string `toml:"url"` // see Embedded and Address
	// Profile has set what neither the file nor the environment has: see Profile.
	Profile        string        `toml:"profile" enum:",aws-iot,azure-iot-hub,azure-event-grid,tencent-iot-hub,alibaba-iot,emqx-cloud,hivemq-cloud"`
	FallbackURLs   []string      `toml:"fallback_urls"`             // see Fallbacks
	FailBack       time.Duration `toml:"fail_back" range:"0s..24h"` // 0: never
	LocalAddresses []netip.Addr  `toml:"local_addresses"`           // empty: the system chooses
	ServerName     string        `toml:"server_name"`               // "": the host of the URL
	CAFile         string        `toml:"ca_file"`                   // "": the system's authorities
	CertFile       string        `toml:"cert_file"`                 // a template, as ClientID is; "": no certificate
	KeyFile        string        `toml:"key_file"`                  // the same; set if CertFile is
	ALPN           []string      `toml:"alpn"`
	MinTLS         string        `toml:"min_tls" enum:"1.2,1.3"`
	Mode           string        `toml:"mode" enum:"dedicated" later:"shared"`
	Username       string        `toml:"username"` // a template, as ClientID and Password are: see Credentials
	Password       Secret        `toml:"password"` // also holds the content of PasswordFile, as it is
	PasswordFile   Secret        `toml:"password_file"`
	ConnectTimeout time.Duration `toml:"connect_timeout" range:"1s..5m"`
	MaxDials       int           `toml:"max_dials" range:"1..1024"`
	DialRate       int           `toml:"dial_rate" range:"0..100000"` // per second; 0: no limit
	PingInterval   time.Duration `toml:"ping_interval" range:"1s..65535s"`
	AnswerTimeout  time.Duration `toml:"answer_timeout" range:"1s..10m"`
	ReconnectMin   time.Duration `toml:"reconnect_min" range:"100ms..1h"`
	ReconnectMax   time.Duration `toml:"reconnect_max" range:"100ms..24h"`

	ClientID            string         `toml:"client_id"`
	CredentialsFile     string         `toml:"credentials_file"` // "": none
	CredentialsRequired bool           `toml:"credentials_required"`
	Device              []BrokerDevice `toml:"device"` // the first one that fits a client
	WebSocket           WebSocket      `toml:"websocket"`
	Signer              Signer         `toml:"signer"`

	Limits   Limits   `toml:"limits"`
	TopicMap TopicMap `toml:"topic_map"`
}

// WebSocket is about brokers that are reached by it.
type WebSocket struct {
	Headers map[string]Secret `toml:"headers"` // of the request for an upgrade, by their names
}

// BrokerDevice says as whom the clients that fit a pattern connect to the broker.
type BrokerDevice struct {
	Client       string `toml:"client"`    // for topicreg.Match; required
	ClientID     string `toml:"client_id"` // templates, as in Broker; "": the one there
	Username     string `toml:"username"`
	Password     Secret `toml:"password"` // also holds the content of PasswordFile, as it is
	PasswordFile Secret `toml:"password_file"`
	Key          Secret `toml:"key"`       // for Broker.Signer
	CertFile     string `toml:"cert_file"` // templates, as in Broker; both, or "" for those there
	KeyFile      string `toml:"key_file"`
}

// Signer makes passwords that are signatures, for devices that have none of their own.
type Signer struct {
	Type        string        `toml:"type" enum:",hmac,sas"` // "": there is none
	Algorithm   string        `toml:"algorithm" enum:"sha1,sha256"`
	Encoding    string        `toml:"encoding" enum:"hex,base64"`
	Key         Secret        `toml:"key"`
	KeyEncoding string        `toml:"key_encoding" enum:"text,base64,hex"`
	Fields      string        `toml:"fields"` // a template
	Suffix      string        `toml:"suffix"`
	Life        time.Duration `toml:"life" range:"5m..8760h"`
}

// Limits is what the broker takes of its clients. What it would answer by closing the
// connection is kept from it.
type Limits struct {
	MaxQoS         int    `toml:"max_qos" range:"0..2"`
	AboveMaxQoS    string `toml:"above_max_qos" enum:"lower,refuse"` // of PUBLISH
	Retain         string `toml:"retain" enum:"pass,drop,refuse"`
	Will           string `toml:"will" enum:"pass,gateway,refuse"`
	MaxTopicBytes  int    `toml:"max_topic_bytes" range:"0..65535"`  // 0: no limit
	MaxTopicLevels int    `toml:"max_topic_levels" range:"0..65535"` // 0: no limit
	Wildcards      bool   `toml:"wildcards"`                         // in filters
	PayloadMax     int    `toml:"payload_max" range:"0..268435455"`  // octets; 0: no limit

	KeepAlive []int `toml:"keep_alive" range:"0..65535"` // least and most, in seconds; empty: as the device's
	// Kept to whatever it is: each SUBSCRIBE has one.
	MaxFilters int `toml:"max_filters_per_subscribe" range:"0..65535"`

	PublishRate     int           `toml:"publish_rate" range:"0..100000"`  // per second and connection; 0: no limit
	ConnectInterval time.Duration `toml:"connect_interval" range:"0s..1m"` // 0: none
}

// TopicMap is where the broker has the topics of a device.
type TopicMap struct {
	Publish   string `toml:"publish"`    // a template, before topics that are published to; "": nothing
	Subscribe string `toml:"subscribe"`  // a template, before filters and the topics of messages for the device
	DeliverAs string `toml:"deliver_as"` // a topic name; "": the messages keep theirs
}

// Embedded reports whether the built-in broker is to run.
func (b Broker) Embedded() bool { return b.URL == embeddedURL }

// Address is the "host:port" of a broker that is not embedded.
func (b Broker) Address() string {
	u, _ := parseBrokerURL(b.URL)
	return u.address
}

// urls are what URL and FallbackURLs say, those that are wrong left out.
func (b Broker) urls() []brokerURL {
	var list []brokerURL
	for _, text := range append([]string{b.URL}, b.FallbackURLs...) {
		if u, err := parseBrokerURL(text); err == nil {
			list = append(list, u)
		}
	}
	return list
}

// host is the name of the broker.
func (b Broker) host() string {
	if b.ServerName != "" {
		return b.ServerName
	}
	host, _, _ := net.SplitHostPort(b.Address())
	return host
}

// SecureAddresses are those of Address and Fallbacks that speak TLS.
func (b Broker) SecureAddresses() []string {
	var list []string
	for _, u := range b.urls() {
		if u.secure {
			list = append(list, u.address)
		}
	}
	return list
}

// WebSockets are the URLs, ws or wss, of the brokers that are reached by WebSocket, by their
// "host:port".
func (b Broker) WebSockets() map[string]*url.URL {
	list := make(map[string]*url.URL)
	for _, u := range b.urls() {
		if u.web != nil {
			list[u.address] = u.web
		}
	}
	return list
}

// Fallbacks are the "host:port" of the brokers behind FallbackURLs.
func (b Broker) Fallbacks() []string {
	var list []string
	for _, text := range b.FallbackURLs {
		u, _ := parseBrokerURL(text)
		list = append(list, u.address)
	}
	return list
}

// EmbeddedBroker is the built-in broker; it runs only when Broker.Embedded.
type EmbeddedBroker struct {
	Address string `toml:"address"`
}

// Session holds the limits and times of one device's session.
type Session struct {
	MaxSessions        int           `toml:"max_sessions" range:"1..1000000"`
	Expiry             time.Duration `toml:"expiry" range:"0s..8760h"`        // 0: never; otherwise at least 1 minute
	ConnectRate        int           `toml:"connect_rate" range:"0..1000000"` // per second; 0: no limit
	ConnectBurst       int           `toml:"connect_burst" range:"1..1000000"`
	SourceConnectRate  int           `toml:"source_connect_rate" range:"0..1000000"` // per second; 0: no limit
	SourceConnectBurst int           `toml:"source_connect_burst" range:"1..1000000"`
	MaxPacketSize      int           `toml:"max_packet_size" range:"32..65535"`
	MaxPacketSizes     []PacketSize  `toml:"max_packet_sizes"` // the first one that fits a client goes before MaxPacketSize
	MaxClientID        int           `toml:"max_client_id" range:"1..1024"`
	AssignClientIDs    bool          `toml:"assign_client_ids"`
	MaxInflight        int           `toml:"max_inflight" range:"1..1024"`
	MessageRate        int           `toml:"message_rate" range:"0..1000000"` // per second; 0: no limit
	MessageBurst       int           `toml:"message_burst" range:"1..1000000"`
	ByteRate           int           `toml:"byte_rate" range:"0..1000000000"` // octets per second; 0: no limit
	ByteBurst          int           `toml:"byte_burst" range:"65535..1000000000"`
	DatagramRate       int           `toml:"datagram_rate" range:"0..1000000"` // per second; 0: no limit
	MaxTopics          int           `toml:"max_topics" range:"1..65534"`
	MaxSubscriptions   int           `toml:"max_subscriptions" range:"1..65535"`
	MaxWill            int           `toml:"max_will" range:"1..131072"`        // octets of topic and message
	RetryInterval      time.Duration `toml:"retry_interval" range:"100ms..10m"` // Tretry, MQTT-SN 1.2 section 6.13
	RetryCount         int           `toml:"retry_count" range:"0..20"`         // Nretry
	Hold               time.Duration `toml:"hold" range:"1s..10m"`
	CongestionWait     time.Duration `toml:"congestion_wait" range:"0s..24h"`
	AddressChange      string        `toml:"address_change" enum:"allow,connect,deny"`
	ProveAddress       bool          `toml:"prove_address"`
	WillKeeper         string        `toml:"will_keeper" enum:"broker,gateway"`
	ToleranceShort     int           `toml:"tolerance_short" range:"0..1000"` // percent
	ToleranceLong      int           `toml:"tolerance_long" range:"0..1000"`  // percent
	IdleProbe          time.Duration `toml:"idle_probe" range:"0s..720h"`     // 0: never
	Allow              []string      `toml:"allow"`                           // for topicreg.Match; empty: every client
}

// Sleep holds the limits of a sleeping device's buffer.
type Sleep struct {
	MaxMessages    int           `toml:"max_messages" range:"1..100000"`
	MaxBytes       int           `toml:"max_bytes" range:"256..1073741824"`
	BarrierTimeout time.Duration `toml:"barrier_timeout" range:"100ms..5m"`
}

// Store is the file that sessions and messages survive a restart in.
type Store struct {
	Path     string `toml:"path"` // "": nothing is kept over a restart
	MaxBytes int64  `toml:"max_bytes" range:"1048576..1099511627776"`
	// Linger is between the beginnings of transactions while requests come in company.
	Linger time.Duration `toml:"linger" range:"0s..50ms"` // 0: none
}

// Spool holds the limits of what devices send while the broker is away.
type Spool struct {
	Enabled     bool          `toml:"enabled"`
	QoS0        bool          `toml:"qos0"`
	MaxMessages int           `toml:"max_messages" range:"1..1000000"` // of one device
	MaxBytes    int           `toml:"max_bytes" range:"256..1073741824"`
	TotalBytes  int64         `toml:"total_bytes" range:"4096..1099511627776"`
	MaxAge      time.Duration `toml:"max_age" range:"1s..8760h"`
	Full        string        `toml:"full" enum:"refuse,drop_oldest"`
}

// Topics are the topics known beforehand to the gateway and its devices. A valid Config has
// entries of which topicreg.NewPredefined makes a set.
type Topics struct {
	Predefined []topicreg.Entry `toml:"predefined"`
}

// QoSMinusOne switches PUBLISH without a session (MQTT-SN 1.2 section 6.8).
type QoSMinusOne struct {
	Enabled     bool `toml:"enabled"`
	MessageRate int  `toml:"message_rate" range:"0..1000000"` // per second; 0: no limit
	LongNames   bool `toml:"long_names"`                      // for session.LongName
}

// Forwarder is about encapsulated messages (MQTT-SN 1.2 section 5.5).
type Forwarder struct {
	Enabled bool           `toml:"enabled"`
	Allow   []netip.Prefix `toml:"allow"` // empty: any
}

// Ops is the HTTP server for metrics and health.
type Ops struct {
	Address string `toml:"address"` // "": none
}

// Log is about the log.
type Log struct {
	Level  string `toml:"level" enum:"trace,debug,info,warn,error"`
	Format string `toml:"format" enum:",console,json"` // "": console on a terminal, otherwise json
	// Sessions: a line for each device that connects, sleeps or goes.
	Sessions     bool     `toml:"sessions"`
	TraceClients []string `toml:"trace_clients"` // for topicreg.Match, at level trace; empty: every client
}
