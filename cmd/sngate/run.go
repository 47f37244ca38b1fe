package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"sngate/conf"
	"sngate/internal/version"
)

// defaultConfig is the file that is used, if it is there, when none is named.
const defaultConfig = "sngate.toml"

func setupRun() (options, action) {
	var path, cpuProfile string
	opts := options{
		{[]string{"-c", "--config"}, "FILE", "configuration file, default ./sngate.toml if it is there", toText(&path)},
		{[]string{"--cpu-profile"}, "FILE", "write where processor time goes, for \"go tool pprof\"", toText(&cpuProfile)},
	}
	return opts, func(ctx context.Context, s streams, operands []string) error {
		if len(operands) > 0 {
			return usagef("unexpected argument %q; a configuration file is given by -c FILE", operands[0])
		}
		stop, err := profile(cpuProfile)
		if err != nil {
			return err
		}
		err = start(ctx, s, path)
		if failed := stop(); err == nil {
			err = failed
		}
		return err
	}
}

// gcPercent is how much the heap may grow between two collections. A gateway makes little
// garbage, so half of what Go does costs no time, and saves memory at every device. GOGC in
// the environment takes its place.
const gcPercent = 50

// start loads the configuration and runs the gateway until ctx is done.
func start(ctx context.Context, s streams, path string) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	hangups := catchHangups()
	path, err := configPath(path)
	if err != nil {
		return err
	}
	cfg, warnings, err := conf.Load(path, os.Environ())
	if err != nil {
		printFaults(s.stderr, err)
		return &exitError{exitFailure}
	}
	log, err := newLogger(cfg.Log, s.stderr)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var logging sync.WaitGroup
	logging.Go(func() { logHangups(hangups, done, log) })
	defer logging.Wait()
	defer close(done)
	log.Info().
		Str("version", version.Version).
		Str("commit", version.Commit()).
		Str("config", configName(path)).
		Str("listen", listeners(cfg)).
		Str("broker", brokerName(cfg)).
		Str("ops", cfg.Ops.Address).
		Msg("sngate starting")
	for _, w := range append(warnings, shortages(cfg, systemCapacity())...) {
		log.Warn().Str("key", w.Key).Msg(w.Msg)
	}
	if err := runGateway(ctx, cfg, log); err != nil {
		log.Error().Err(err).Msg("sngate failed")
		return &exitError{exitFailure}
	}
	log.Info().Msg("sngate stopped")
	return nil
}

// configPath finds the configuration file, "" for none. Only a file that was not
// named may be missing: one that cannot be read must not be passed over in silence.
func configPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	switch _, err := os.Stat(defaultConfig); {
	case err == nil:
		return defaultConfig, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	default:
		return "", err
	}
}

func configName(path string) string {
	if path == "" {
		return "defaults"
	}
	return path
}

func listeners(cfg *conf.Config) string {
	var list []string
	for _, l := range cfg.Listener {
		list = append(list, l.Type+"://"+l.Address)
	}
	return strings.Join(list, " ")
}

func brokerName(cfg *conf.Config) string {
	if cfg.Broker.Embedded() {
		return "embedded, on " + cfg.EmbeddedBroker.Address
	}
	address := cfg.Broker.Address()
	if u := cfg.Broker.WebSockets()[address]; u != nil {
		return u.String()
	}
	if slices.Contains(cfg.Broker.SecureAddresses(), address) {
		return "ssl://" + address
	}
	return "tcp://" + address
}
