package conf

import (
	"net/netip"
	"sngate/topicreg"
	"time"
)

// Default returns what holds where neither a file nor the environment says otherwise.
//
// long function: a list of values, a line for each key.
func Default() *Config {
	return &Config{
		Gateway:  Gateway{ID: 1, Shards: 1, EventLoop: "auto"},
		Listener: []Listener{defaultListener()},
		Broker: Broker{
			URL: embeddedURL, FallbackURLs: []string{}, LocalAddresses: []netip.Addr{}, Mode: "dedicated",
			ALPN: []string{}, MinTLS: "1.2",
			ClientID: "{client_id}", Device: []BrokerDevice{},
			WebSocket:      WebSocket{Headers: map[string]Secret{}},
			Signer:         Signer{Algorithm: "sha256", Encoding: "hex", KeyEncoding: "text", Life: time.Hour},
			ConnectTimeout: 10 * time.Second,
			MaxDials:       64,
			DialRate:       5000,
			PingInterval:   60 * time.Second,
			AnswerTimeout:  20 * time.Second,
			ReconnectMin:   time.Second,
			ReconnectMax:   60 * time.Second,
			Limits:         Limits{MaxQoS: 2, AboveMaxQoS: "lower", Retain: "pass", Will: "pass", Wildcards: true, KeepAlive: []int{}},
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
		Store: Store{Path: "sngate.db", MaxBytes: 1 << 30, Linger: 5 * time.Millisecond},
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
