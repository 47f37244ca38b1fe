package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"sngate/conf"
	"sngate/internal/probe"
	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// probeOptions are those of the command line.
type probeOptions struct {
	config, client, topic, gateway string
	yes, clean                     bool
	noBroker, noGateway, noReceive bool
	fallback, expiryDays           int
	timeout, interval              time.Duration
	json, brief                    bool
	listen                         string
}

func setupProbe() (options, action) {
	p := &probeOptions{timeout: 15 * time.Second, interval: time.Minute, expiryDays: 14}
	return options{
		{[]string{"-c", "--config"}, "FILE", "configuration file of the gateway, default ./sngate.toml if it is there", toText(&p.config)},
		{[]string{"-i", "--client"}, "ID", "client id to connect as, default that of the gateway with \"-probe\"; needs --yes", toText(&p.client)},
		{[]string{"--yes"}, "", "with --client: a device that is connected with ID may lose its connection", toSwitch(&p.yes, true)},
		{[]string{"--clean"}, "", "with --yes: the session of ID, its subscriptions and messages may be lost, too", toSwitch(&p.clean, true)},
		{[]string{"-t", "--topic"}, "TOPIC", "topic of the message, default \"probe\" where broker.topic_map has a place for each client, else the client id with \"/probe\"", toText(&p.topic)},
		{[]string{"--no-receive"}, "", "publish only, to topics of which nothing comes back: no SUBSCRIBE", toSwitch(&p.noReceive, true)},
		{[]string{"--fallback"}, "NUMBER", "probe this one of broker.fallback_urls, the first is 1, instead of broker.url", toInt(&p.fallback, 1, 1000)},
		{[]string{"--gateway"}, "ADDRESS", "host:port of the gateway, default the first listener of the configuration, if one is running", toText(&p.gateway)},
		{[]string{"--no-gateway"}, "", "probe the broker only", toSwitch(&p.noGateway, true)},
		{[]string{"--no-broker"}, "", "probe the gateway only", toSwitch(&p.noBroker, true)},
		{[]string{"--timeout"}, "SECONDS", "longest time for the broker, and again for the gateway, default 15", toFraction(&p.timeout)},
		{[]string{"--expiry-days"}, "DAYS", "warn of certificates that end sooner, 0 to 3650, default 14", toInt(&p.expiryDays, 0, 3650)},
		{[]string{"--brief"}, "", "print one line", toSwitch(&p.brief, true)},
		{[]string{"--json"}, "", "print the result as JSON", toSwitch(&p.json, true)},
		{[]string{"--listen"}, "ADDRESS", "probe again and again, and serve the results to Prometheus at host:port", toText(&p.listen)},
		{[]string{"--interval"}, "SECONDS", "with --listen: from one probe to the next, at least 1 and broker.limits.connect_interval, default 60", toFraction(&p.interval)},
	}, p.run
}

func (p *probeOptions) run(ctx context.Context, s streams, operands []string) error {
	if err := noOperands(operands); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	aim, err := p.aim(s)
	if err != nil {
		printFaults(s.stderr, err)
		return &exitError{exitNotProbed}
	}
	if p.listen != "" {
		return serveProbes(ctx, s, p.listen, p.interval, aim)
	}
	lines := &probePrinter{w: s.stdout}
	if !p.json && !p.brief {
		aim.Told = lines.step
	}
	r := probe.Run(ctx, aim)
	if ctx.Err() != nil {
		fmt.Fprintln(s.stderr, "sngate probe: interrupted")
		return &exitError{exitNotProbed}
	}
	switch {
	case p.json:
		enc := json.NewEncoder(s.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	case p.brief:
		_, err = fmt.Fprintln(s.stdout, probeSummary(r))
	default:
		_, err = fmt.Fprintf(s.stdout, "\n%s\n", probeSummary(r))
	}
	if err != nil {
		return err
	}
	if code := probeExit(r.Result); code != exitOK {
		return &exitError{code}
	}
	return nil
}

// check refuses what does not go together.
func (p *probeOptions) check() error {
	switch {
	case p.noBroker && p.noGateway:
		return usagef("with --no-broker and --no-gateway there is nothing to probe")
	case p.noGateway && p.gateway != "":
		return usagef("of --gateway and --no-gateway one is enough")
	case p.noBroker && p.fallback > 0:
		return usagef("--fallback is about a broker, and --no-broker says that none is probed")
	case p.client == "" && (p.yes || p.clean):
		return usagef("--yes and --clean are about a client id that --client names")
	case p.client != "" && !p.yes:
		return usagef("if a device is connected as %s, the broker ends its connection and publishes its will, for a client id can be connected only once: "+
			"--yes says that this may be", shown(p.client))
	case p.topic != "" && !mqtt.ValidTopic(p.topic):
		return usagef("--topic %s: want a topic name, without + and #", shown(p.topic))
	case p.listen != "" && (p.json || p.brief):
		return usagef("--listen prints no results: leave --json and --brief out")
	case p.interval < time.Second:
		return usagef("--interval: want at least 1 second")
	}
	return nil
}

// aim turns options and configuration into what is to be probed.
func (p *probeOptions) aim(s streams) (probe.Aim, error) {
	path, err := configPath(p.config)
	if err != nil {
		return probe.Aim{}, err
	}
	cfg, warnings, err := conf.Load(path, os.Environ())
	if err != nil {
		return probe.Aim{}, err
	}
	for _, w := range warnings {
		fmt.Fprintln(s.stderr, "warning:", w)
	}
	own, err := ownClientID(cfg)
	if err != nil {
		return probe.Aim{}, err
	}
	// As in the gateway's own trials of a broker, the certificate is that of the gateway.
	client, presents := own+"-probe", own
	if p.client != "" {
		client, presents = p.client, p.client
	}
	a := probe.Aim{Topic: p.topic, NoReceive: p.noReceive, Timeout: p.timeout, Limits: probeLimits(&cfg.Broker.Limits)}
	switch {
	case a.Topic != "":
	case cfg.Broker.TopicMap.Publish != "":
		a.Topic = "probe" // below what stands before it
	default:
		if a.Topic = client + "/probe"; !mqtt.ValidTopic(a.Topic) {
			return a, fmt.Errorf("the client id %s cannot be in a topic: give one by --topic", shown(client))
		}
	}
	source := cfg.Credentials(own, os.Environ())
	identity := identityOf(source, client)
	if !p.noBroker {
		if a.Broker, err = p.broker(cfg, source, client, presents); err != nil {
			return a, err
		}
	}
	// To connect through a gateway as a device would end that device's session there.
	keep := p.client != "" && !p.clean
	if p.noBroker && keep {
		return a, errors.New("as a device in use a gateway cannot be probed without ending its session there: --clean says that this may be")
	}
	if !p.noGateway && !keep {
		a.Gateway = &probe.Gateway{Address: gatewayAddress(p.gateway), ClientID: client, Topics: topicsOf(identity)}
		if p.gateway == "" {
			a.Gateway.Address, a.Gateway.Optional = dialable(cfg.Listener[0].Address), !p.noBroker
		}
	}
	return a, nil
}

// gatewayAddress is that of --gateway with its default port.
func gatewayAddress(address string) string {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "1883")
	}
	return dialable(address)
}

// broker says how the gateway would reach its broker. What it reads anew for each connect, as
// credentials and certificates, each probe reads anew.
func (p *probeOptions) broker(cfg *conf.Config, source *conf.Credentials, client, presents string) (*probe.Broker, error) {
	o := upstreamOptions(cfg)
	if o.KeepAliveMax == 0 {
		o.KeepAliveMax = probeKeepAlive
	}
	if cfg.Broker.Embedded() {
		o.Address = dialable(cfg.EmbeddedBroker.Address)
	}
	address := o.Address
	if n := p.fallback; n > len(o.Fallbacks) {
		return nil, fmt.Errorf("--fallback %d: the configuration has %d (broker.fallback_urls)", n, len(o.Fallbacks))
	} else if n > 0 {
		address = o.Fallbacks[n-1]
	}
	web, err := websocket.New(o.WebSocket, new(websocket.Stats))
	if err != nil {
		return nil, err
	}
	o.TLS.Files = func(client string) (certFile, keyFile string, err error) {
		book, _, err := source.Read()
		if err != nil {
			return "", "", err
		}
		return book.Certificate(client)
	}
	b := &probe.Broker{
		Address: address, Scheme: "tcp", ClientID: client,
		Identity:       identityOf(source, client),
		Dial:           web.Dial(dial.Net(o.LocalAddresses)),
		Proxied:        web.Proxied(address),
		Upgrade:        web.For(address),
		ConnectTimeout: o.ConnectTimeout,
		KeepAlive:      min(max(probeKeepAlive, o.KeepAliveMin), o.KeepAliveMax),
		KeepSession:    p.client != "" && !p.clean,
		ExpiryWarning:  time.Duration(p.expiryDays) * 24 * time.Hour,
	}
	if slices.Contains(o.TLS.Brokers, address) {
		b.Scheme, b.Secure = "ssl", secureAs(&o, address, presents)
	}
	if u := o.WebSocket.Brokers[address]; u != nil {
		b.Scheme = u.Scheme
	}
	return b, nil
}

// probeLimits are those that a probe may meet.
func probeLimits(l *conf.Limits) probe.Limits {
	return probe.Limits{
		MaxQoS: uint8(l.MaxQoS), MaxTopicBytes: l.MaxTopicBytes, MaxTopicLevels: l.MaxTopicLevels,
		MaxPayload: l.PayloadMax, ConnectInterval: l.ConnectInterval,
	}
}

// identityOf says as whom a client connects now.
func identityOf(source *conf.Credentials, client string) func() (credential.Connect, error) {
	return func() (credential.Connect, error) {
		book, _, err := source.Read()
		if err != nil {
			return credential.Connect{}, err
		}
		return book.Connect(client, time.Now())
	}
}

// topicsOf is where the topics of a client are. Of one that has no credentials the gateway says
// so itself.
func topicsOf(identity func() (credential.Connect, error)) func() credential.Topics {
	return func() credential.Topics {
		who, _ := identity()
		return who.Topics
	}
}

// probeKeepAlive is the keep-alive of a probe in seconds, as far as the broker takes it.
const probeKeepAlive = 60

// secureAs makes handshakes as a client. Each is a full one, so that the broker shows its
// certificates.
func secureAs(o *upstream.Options, address, client string) func() (secure.Handshake, error) {
	return func() (secure.Handshake, error) {
		t, err := secure.New(o.TLS, new(secure.Stats))
		if err != nil {
			return nil, err
		}
		return t.For(address, client)
	}
}

// probeExit is the exit code, as monitoring systems in the manner of Nagios take it.
func probeExit(r probe.Result) int {
	switch r {
	case probe.OK:
		return exitOK
	case probe.Warning:
		return exitProbeWarning
	case probe.Failed:
		return exitProbeFailed
	}
	return exitNotProbed
}
