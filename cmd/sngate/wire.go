package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
	"sngate/embeddedbroker"
	"sngate/gateway"
	"sngate/gateway/admin"
	"sngate/gateway/listen"
	"sngate/gateway/persist"
	"sngate/gateway/session"
	"sngate/internal/rate"
	"sngate/internal/version"
	"sngate/store"
	"sngate/store/bolt"
	"sngate/topicreg"
	"sngate/upstream"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// willWait is how long the will of a lost device waits for the broker where the gateway
// keeps it: longer than the outages one can be called for, and not for ever, because an
// alarm says something of the present.
const willWait = 24 * time.Hour

// stopGrace is how long a stop waits for the MQTT connections to close.
const stopGrace = 3 * time.Second

// runGateway runs the gateway, and the built-in broker if it is the one in use, until
// ctx is done.
func runGateway(ctx context.Context, cfg *conf.Config, log zerolog.Logger) (err error) {
	opts, err := gatewayOptions(cfg, log)
	if err != nil {
		return err
	}
	accounts, err := openAccounts(cfg.Credentials(opts.ClientID, os.Environ()), log)
	if err != nil {
		return err
	}
	defer accounts.watch()()
	opts.Upstream.Credentials, opts.UnreadCredentials = accounts.of, accounts.unread.Load
	opts.Upstream.TLS.Files = accounts.certificate
	opts.Session.Limits.PrefixSize = accounts.prefixSize
	if opts.Store, err = openStore(cfg.Store, log); err != nil {
		return err
	}
	// Last of all: until then messages may come that have to be stored.
	defer func() { err = errors.Join(err, opts.Store.Close()) }()
	if cfg.Broker.Embedded() {
		broker, err := startBroker(cfg, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, broker.Close()) }()
		opts.Upstream.Address = dialable(broker.Addr().String())
	}
	opts.Listen = openListener
	g, err := gateway.Start(opts)
	if errors.Is(err, admin.ErrAddress) {
		return unusable("ops.address", err)
	}
	if err != nil {
		return err
	}
	if g.OpsAddr() != "" {
		log.Info().Str("addr", g.OpsAddr()).Msg("metrics and health")
	}
	<-ctx.Done()
	log.Info().Msg("stopping")
	return g.Stop(stopGrace)
}

// gatewayOptions turns the configuration into the options of the packages.
func gatewayOptions(cfg *conf.Config, log zerolog.Logger) (gateway.Options, error) {
	predefined, err := topicreg.NewPredefined(cfg.Topics.Predefined)
	if err != nil {
		return gateway.Options{}, err
	}
	clientID, err := ownClientID(cfg)
	if err != nil {
		return gateway.Options{}, err
	}
	listeners, err := listenerOptions(cfg.Listener)
	if err != nil {
		return gateway.Options{}, err
	}
	return gateway.Options{
		ID:                cfg.Gateway.ID,
		ClientID:          clientID,
		Shards:            cfg.Gateway.Shards,
		NoEventLoop:       cfg.Gateway.EventLoop == "off",
		Version:           version.Version,
		StatusTopic:       cfg.Gateway.StatusTopic,
		OnStop:            onStop(cfg),
		Listeners:         listeners,
		AddressChange:     addressChanges[cfg.Session.AddressChange],
		MaxSessions:       cfg.Session.MaxSessions,
		AssignClientIDs:   cfg.Session.AssignClientIDs,
		DatagramRate:      cfg.Session.DatagramRate,
		StrayRate:         cfg.QoSMinusOne.MessageRate,
		Expiry:            cfg.Session.Expiry,
		ConnectRates:      connectRates(&cfg.Session),
		MemoryLimit:       memoryLimit(cfg.Gateway.MemoryLimit, os.DirFS("/")),
		Session:           sessionConfig(cfg, predefined),
		Upstream:          upstreamOptions(cfg),
		Forwarders:        cfg.Forwarder.Enabled,
		AllowForwarders:   cfg.Forwarder.Allow,
		AdvertiseInterval: cfg.Discovery.AdvertiseInterval,
		StoreMaxBytes:     storeMaxBytes(cfg.Store),
		SpoolTotalBytes:   cfg.Spool.TotalBytes,
		OpsAddress:        cfg.Ops.Address,
		Log:               log,
		QuietSessions:     !cfg.Log.Sessions,
		Trace:             cfg.Log.Level == "trace",
		TraceClients:      cfg.Log.TraceClients,
	}, nil
}

func connectRates(s *conf.Session) gateway.ConnectRates {
	return gateway.ConnectRates{
		Rate: s.ConnectRate, Burst: s.ConnectBurst,
		SourceRate: s.SourceConnectRate, SourceBurst: s.SourceConnectBurst,
	}
}

var addressChanges = map[string]gateway.AddressChange{
	"allow":   gateway.AddressChangeAllow,
	"connect": gateway.AddressChangeConnect,
	"deny":    gateway.AddressChangeDeny,
}

func onStop(cfg *conf.Config) gateway.StopMode {
	if cfg.KeepsOnStop() {
		return gateway.StopKeep
	}
	return gateway.StopDisconnect
}

func listenerOptions(list []conf.Listener) ([]listen.Options, error) {
	var opts []listen.Options
	for _, l := range list {
		o := listen.Options{Address: l.Address, Interface: l.MulticastInterface, ReceiveBuffer: l.ReceiveBuffer}
		if l.Multicast != "" {
			group, err := netip.ParseAddr(l.Multicast)
			if err != nil {
				return nil, fmt.Errorf("listener.multicast: %w", err)
			}
			o.Group = group
		}
		opts = append(opts, o)
	}
	return opts, nil
}

func packetSizes(list []conf.PacketSize) []session.PacketSize {
	sizes := make([]session.PacketSize, len(list))
	for i, p := range list {
		sizes[i] = session.PacketSize{Client: p.Client, Octets: p.Octets}
	}
	return sizes
}

func sessionConfig(cfg *conf.Config, predefined *topicreg.Predefined) *session.Config {
	s := &cfg.Session
	return &session.Config{
		Predefined:       predefined,
		RetryInterval:    s.RetryInterval,
		RetryCount:       s.RetryCount,
		BrokerWait:       s.Hold,
		ToleranceShort:   s.ToleranceShort,
		ToleranceLong:    s.ToleranceLong,
		IdleProbe:        s.IdleProbe,
		CongestionWait:   s.CongestionWait,
		BarrierTimeout:   cfg.Sleep.BarrierTimeout,
		QoSMinusOne:      cfg.QoSMinusOne.Enabled,
		LongNames:        cfg.QoSMinusOne.LongNames,
		PublishesWills:   cfg.GatewayPublishesWills(),
		Limits:           brokerLimits(&cfg.Broker.Limits),
		MaxPacketSize:    s.MaxPacketSize,
		PacketSizes:      packetSizes(s.MaxPacketSizes),
		MaxClientID:      s.MaxClientID,
		MaxInFlight:      s.MaxInflight,
		MaxTopics:        s.MaxTopics,
		MaxSubscriptions: s.MaxSubscriptions,
		MaxWill:          s.MaxWill,
		ProveAddress:     s.ProveAddress,
		MaxMessages:      cfg.Sleep.MaxMessages,
		MaxBytes:         cfg.Sleep.MaxBytes,
		Spool:            cfg.Spool.Enabled,
		SpoolQoS0:        cfg.Spool.QoS0,
		SpoolDropOldest:  cfg.Spool.Full == "drop_oldest",
		SpoolMessages:    cfg.Spool.MaxMessages,
		SpoolBytes:       cfg.Spool.MaxBytes,
		SpoolAge:         cfg.Spool.MaxAge,
		MessageRate:      rate.PerSecond(s.MessageRate, s.MessageBurst),
		ByteRate:         rate.PerSecond(s.ByteRate, s.ByteBurst),
		Allow:            s.Allow,
	}
}

func brokerLimits(l *conf.Limits) *session.Limits {
	return &session.Limits{
		MaxQoS:         uint8(l.MaxQoS),
		RefuseQoS:      l.AboveMaxQoS == "refuse",
		NoRetain:       l.Retain != "pass",
		RefuseRetain:   l.Retain == "refuse",
		NoWills:        l.Will != "pass",
		RefuseWills:    l.Will == "refuse",
		NoWildcards:    !l.Wildcards,
		MaxTopicBytes:  l.MaxTopicBytes,
		MaxTopicLevels: l.MaxTopicLevels,
		MaxPayload:     l.PayloadMax,
	}
}

func upstreamOptions(cfg *conf.Config) upstream.Options {
	b := &cfg.Broker
	o := upstream.Options{
		ConnectTimeout: b.ConnectTimeout,
		SlotWait:       devicePatience(&cfg.Session),
		MaxDials:       b.MaxDials,
		DialRate:       b.DialRate,
		MaxWaiting:     cfg.Session.MaxSessions,
		PingInterval:   b.PingInterval,
		AnswerTimeout:  b.AnswerTimeout,
		ReconnectMin:   b.ReconnectMin,
		ReconnectMax:   b.ReconnectMax,
		MaxPayload:     cfg.Session.MaxPacketSize,
		LocalAddresses: b.LocalAddresses,
		// What the device may have in flight, and the will beside it.
		MaxInFlight: cfg.Session.MaxInflight + 1,
	}
	if cfg.GatewayPublishesWills() {
		o.DrainTimeout = willWait
	}
	if !b.Embedded() {
		o.Address, o.Fallbacks, o.FailBack = b.Address(), b.Fallbacks(), b.FailBack
	}
	o.TLS = tlsOptions(b)
	o.TLS.MaxClients = cfg.Session.MaxSessions + 2 // the gateway's own, and the trial of fail_back
	o.WebSocket = webSocketOptions(b, os.Environ())
	o.PublishRate, o.ConnectInterval = b.Limits.PublishRate, b.Limits.ConnectInterval
	if bounds := b.Limits.KeepAlive; len(bounds) == 2 {
		o.KeepAliveMin, o.KeepAliveMax = uint16(bounds[0]), uint16(bounds[1])
	}
	return o
}

func webSocketOptions(b *conf.Broker, env []string) websocket.Options {
	o := websocket.Options{Brokers: b.WebSockets(), Headers: make(http.Header), Proxies: websocket.ReadProxies(env)}
	for name, value := range b.WebSocket.Headers {
		o.Headers.Set(name, value.Reveal())
	}
	return o
}

func tlsOptions(b *conf.Broker) secure.Options {
	o := secure.Options{
		Brokers:    b.SecureAddresses(),
		ServerName: b.ServerName,
		CAFile:     b.CAFile,
		Loaded:     os.Getenv("CREDENTIALS_DIRECTORY"),
		ALPN:       b.ALPN,
		OverHTTP:   slices.Sorted(maps.Keys(b.WebSockets())),
		MinVersion: tls.VersionTLS12,
	}
	if b.MinTLS == "1.3" {
		o.MinVersion = tls.VersionTLS13
	}
	return o
}

// devicePatience is how long a device repeats its CONNECT before it gives up, if it has the
// same Tretry and Nretry as the gateway (MQTT-SN 1.2 section 6.13).
func devicePatience(s *conf.Session) time.Duration {
	return s.RetryInterval * time.Duration(s.RetryCount+1)
}

// storeMaxBytes is how large the store may grow; 0: there is none.
func storeMaxBytes(c conf.Store) int64 {
	if c.Path == "" {
		return 0
	}
	return c.MaxBytes
}

func storeOptions(c conf.Store) bolt.Options {
	return bolt.Options{
		Version:    version.Version,
		MaxBytes:   int(min(c.MaxBytes, math.MaxInt)),
		Linger:     c.Linger,
		Migrations: persist.Migrations(),
	}
}

// openStore opens the file of the store and logs what it found there.
func openStore(c conf.Store, log zerolog.Logger) (store.Store, error) {
	if c.Path == "" {
		log.Info().Msg("no store: sessions and messages in memory only")
		return store.InMemory(), nil
	}
	path, err := filepath.Abs(c.Path) // a message has to say which directory is meant
	if err != nil {
		return nil, fmt.Errorf("store.path: %w", err)
	}
	s, report, err := bolt.Open(path, storeOptions(c))
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("%w; set store.path to a file that can be written, or to \"\" to keep everything in memory", err)
	case err != nil:
		return nil, err
	}
	line := log.Info()
	if report.ModeWas != 0 {
		line = log.Warn().Str("mode_was", fmt.Sprintf("%04o", report.ModeWas))
	}
	if report.Lost() {
		line = log.Error().Str("damage", report.Damage)
		if report.MovedTo != "" {
			line.Str("moved_to", report.MovedTo)
		}
	}
	line.Msg(report.String())
	return s, nil
}

// startBroker starts the built-in broker.
func startBroker(cfg *conf.Config, log zerolog.Logger) (*embeddedbroker.Broker, error) {
	address := cfg.EmbeddedBroker.Address
	if !embeddedbroker.Loopback(address) {
		log.Warn().Str("addr", address).
			Msg("built-in broker open to anonymous clients from other machines: for anything but a trial use a broker with access control (broker.url)")
	}
	broker, err := embeddedbroker.Start(embeddedbroker.Options{
		Address:    address,
		MaxClients: cfg.Session.MaxSessions + spareClients,
		Log: func(level slog.Level, msg string, fields []any) {
			log.WithLevel(brokerLevel(level)).Str("part", "embedded_broker").Fields(fields).Msg(msg)
		},
	})
	if errors.Is(err, syscall.EADDRINUSE) { // its text says what to do
		return nil, err
	}
	if err != nil {
		return nil, unusable("embedded_broker.address", err)
	}
	log.Info().Str("addr", broker.Addr().String()).Msg("built-in broker")
	return broker, nil
}

// spareClients is how many MQTT clients beside the devices the built-in broker takes.
const spareClients = 1000

func brokerLevel(level slog.Level) zerolog.Level {
	if level >= slog.LevelError {
		return zerolog.ErrorLevel
	}
	return zerolog.WarnLevel
}

// dialable turns the address a server listens on into one to connect to.
func dialable(address string) string {
	if strings.HasPrefix(address, ":") {
		return net.JoinHostPort("127.0.0.1", address[1:])
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().IsUnspecified() {
		return address
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
}
