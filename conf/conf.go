// Package conf reads the configuration: a TOML file and the environment, into a [Config].
//
// The steps are those of [Parse]: the defaults, the file over them, the environment over
// both, then every rule that spans more than one key. A Config that comes out is valid and
// read-only by contract. Nothing is ignored: an unknown key, a wrong type, a value out of
// range or a clash is a fault, and all faults are reported at once, each with its key and
// its line or variable. Only a file that is no TOML at all is reported by its first error.
//
// What a key may be stands in the tags of its field: "range" for integers and durations,
// "enum" for words, "later" for words that a later version will know.
package conf

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"sngate/topicreg"
)

//go:embed example.toml
var example string

// Example returns a configuration file that has every key with its default value and
// explains it.
func Example() string { return example }

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
	URL            string        `toml:"url"`                       // see Embedded and Address
	FallbackURLs   []string      `toml:"fallback_urls"`             // see Fallbacks
	FailBack       time.Duration `toml:"fail_back" range:"0s..24h"` // 0: never
	Mode           string        `toml:"mode" enum:"dedicated" later:"shared"`
	Username       string        `toml:"username"`
	Password       Secret        `toml:"password"` // also holds the content of PasswordFile
	PasswordFile   Secret        `toml:"password_file"`
	ConnectTimeout time.Duration `toml:"connect_timeout" range:"1s..5m"`
	MaxDials       int           `toml:"max_dials" range:"1..1024"`
	DialRate       int           `toml:"dial_rate" range:"0..100000"` // per second; 0: no limit
	PingInterval   time.Duration `toml:"ping_interval" range:"1s..65535s"`
	AnswerTimeout  time.Duration `toml:"answer_timeout" range:"1s..10m"`
	ReconnectMin   time.Duration `toml:"reconnect_min" range:"100ms..1h"`
	ReconnectMax   time.Duration `toml:"reconnect_max" range:"100ms..24h"`
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

// Default returns what holds where neither a file nor the environment says otherwise.
//
// long function: a list of values, a line for each key.
func Default() *Config {
	return &Config{
		Gateway:  Gateway{ID: 1, Shards: 1},
		Listener: []Listener{defaultListener()},
		Broker: Broker{
			URL: embeddedURL, FallbackURLs: []string{}, Mode: "dedicated",
			ConnectTimeout: 10 * time.Second,
			MaxDials:       64,
			DialRate:       1000,
			PingInterval:   60 * time.Second,
			AnswerTimeout:  20 * time.Second,
			ReconnectMin:   time.Second,
			ReconnectMax:   60 * time.Second,
		},
		EmbeddedBroker: EmbeddedBroker{Address: "127.0.0.1:1883"},
		Session: Session{
			MaxSessions:        10000,
			Expiry:             7 * 24 * time.Hour,
			ConnectRate:        1000,
			ConnectBurst:       10000,
			SourceConnectRate:  200,
			SourceConnectBurst: 5000,
			MaxPacketSize:      65535,
			MaxPacketSizes:     []PacketSize{},
			MaxClientID:        256,
			AssignClientIDs:    true,
			MaxInflight:        16,
			MessageRate:        200,
			MessageBurst:       1000,
			ByteRate:           262144,
			ByteBurst:          1048576,
			DatagramRate:       2000,
			MaxTopics:          1000,
			MaxSubscriptions:   100,
			MaxWill:            4096,
			RetryInterval:      10 * time.Second,
			RetryCount:         3,
			Hold:               20 * time.Second,
			CongestionWait:     5 * time.Minute,
			AddressChange:      "allow",
			ProveAddress:       true,
			WillKeeper:         "broker",
			ToleranceShort:     50,
			ToleranceLong:      10,
			IdleProbe:          time.Hour,
			Allow:              []string{},
		},
		Sleep: Sleep{MaxMessages: 100, MaxBytes: 65536, BarrierTimeout: 5 * time.Second},
		Store: Store{Path: "sngate.db", MaxBytes: 1 << 30},
		Spool: Spool{
			Enabled:     true,
			MaxMessages: 1000,
			MaxBytes:    1 << 20,
			TotalBytes:  64 << 20,
			MaxAge:      24 * time.Hour,
			Full:        "refuse",
		},
		Topics:      Topics{Predefined: []topicreg.Entry{}},
		QoSMinusOne: QoSMinusOne{Enabled: true, MessageRate: 1000},
		Forwarder:   Forwarder{Enabled: true, Allow: []netip.Prefix{}},
		Ops:         Ops{Address: "127.0.0.1:9883"},
		Log:         Log{Level: "info", Sessions: true, TraceClients: []string{}},
	}
}

// defaultListener is the listener when none is given, and holds the keys that a given one
// leaves out.
func defaultListener() Listener {
	return Listener{Type: "udp", Address: ":1883", ReceiveBuffer: 4 << 20}
}

// maxFile bounds the configuration file, in octets.
const maxFile = 4 << 20

// Load reads the file at path and the environment, which is a list of "NAME=value" as of
// os.Environ. An empty path means no file. The warnings are those of a valid configuration.
// The error is an *Error when the configuration has faults, and otherwise says why the file
// cannot be read.
func Load(path string, env []string) (*Config, []Warning, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = readFile(path, maxFile); err != nil {
			return nil, nil, fmt.Errorf("cannot read the configuration file: %w", err)
		}
	}
	cfg, passwordInside, err := parse(path, data, env)
	if err != nil {
		return nil, nil, err
	}
	return cfg, exposures(path, passwordInside, cfg), nil
}

// Parse is Load for a file already read; name stands for it in messages, and for what
// store.path must not be. It reads the file that broker.password_file names.
func Parse(name string, data []byte, env []string) (*Config, error) {
	cfg, _, err := parse(name, data, env)
	return cfg, err
}

// parse also tells whether the file has a password in it, whatever the environment says.
func parse(name string, data []byte, env []string) (cfg *Config, passwordInside bool, err error) {
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, false, &Error{File: name, Faults: []Fault{syntaxFault(string(data), err)}}
	}
	cfg = Default()
	d := newDecoder(name, string(data))
	d.table("", tree, reflect.ValueOf(cfg).Elem())
	passwordInside = cfg.Broker.Password.Reveal() != ""
	d.environment(env, reflect.ValueOf(cfg).Elem())
	d.validate(cfg)
	if len(d.faults) > 0 {
		return nil, false, &Error{File: name, Faults: sortFaults(d.faults)}
	}
	return cfg, passwordInside, nil
}

// readFile reads a file of at most limit octets.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errors.New("the file is too large")
	}
	return data, err
}
