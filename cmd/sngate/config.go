package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"sngate/conf"
	"sngate/internal/version"
	"sngate/upstream/credential"
	"sngate/upstream/secure"
)

func setupCheck() (options, action) { return nil, check }

// check loads a file as run would, the environment included.
func check(_ context.Context, s streams, operands []string) error {
	if len(operands) != 1 {
		return usagef("give exactly one configuration file")
	}
	cfg, warnings, err := conf.Load(operands[0], os.Environ())
	if err != nil {
		printFaults(s.stderr, err)
		return &exitError{exitFailure}
	}
	warnings = append(warnings, ownCredentials(cfg, os.Environ())...)
	for _, w := range append(warnings, shortages(cfg, systemCapacity())...) {
		fmt.Fprintln(s.stderr, "warning:", w)
	}
	_, err = fmt.Fprintln(s.stdout, "ok")
	return err
}

func setupConfig() (options, action) {
	text := conf.Example()
	opts := options{{
		names: []string{"--profile"}, value: "NAME",
		help: "only what broker.profile NAME sets: " + strings.Join(conf.Profiles(), ", "),
		set: func(name string) (err error) {
			text, err = conf.Profile(name)
			return err
		},
	}}
	return opts, func(_ context.Context, s streams, operands []string) error {
		if err := noOperands(operands); err != nil {
			return err
		}
		_, err := io.WriteString(s.stdout, text)
		return err
	}
}

func setupVersion() (options, action) { return nil, printVersion }

func printVersion(_ context.Context, s streams, operands []string) error {
	if err := noOperands(operands); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "sngate %s (commit %s, %s, %s/%s)\n",
		version.Version, version.Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// ownCredentials warns of a gateway whose own connection would not come about: that is seen at the
// start only, and devices may work without it.
func ownCredentials(cfg *conf.Config, env []string) []conf.Warning {
	id, err := ownClientID(cfg)
	if err != nil {
		return nil // which a start tells
	}
	book, _, err := cfg.Credentials(id, env).Read()
	if err == nil {
		_, err = book.Connect(id, time.Now())
	}
	if err == nil {
		err = hasCertificate(cfg, book, id)
	}
	if err == nil {
		return nil
	}
	return []conf.Warning{{Key: "gateway.client_id", Msg: fmt.Sprintf("the gateway's own connection, as %q: %v", id, err)}}
}

// hasCertificate reads the certificate that a client presents to the broker, if it speaks TLS. The
// error says why it could not connect.
func hasCertificate(cfg *conf.Config, book *credential.Book, clientID string) error {
	o := tlsOptions(&cfg.Broker)
	if len(o.Brokers) == 0 {
		return nil
	}
	o.Files = book.Certificate
	t, err := secure.New(o, new(secure.Stats))
	if err == nil {
		_, err = t.For(o.Brokers[0], clientID)
	}
	return err
}
