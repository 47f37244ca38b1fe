package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
	"sngate/internal/version"
)

// defaultConfig is the file that is used, if it is there, when none is named.
const defaultConfig = "sngate.toml"

func setupRun() (options, action) {
	var path string
	opts := options{
		{[]string{"-c", "--config"}, "FILE", "configuration file, default ./sngate.toml if it is there", toText(&path)},
	}
	return opts, func(ctx context.Context, s streams, operands []string) error {
		if err := noOperands(operands); err != nil {
			return err
		}
		return start(ctx, s, path)
	}
}

// start loads the configuration and runs the gateway until ctx is done.
func start(ctx context.Context, s streams, path string) error {
	path, err := configPath(path)
	if err != nil {
		return err
	}
	cfg, err := conf.Load(path, os.Environ())
	if err != nil {
		fmt.Fprintln(s.stderr, err) // one line per fault
		return &exitError{exitFailure}
	}
	log, err := newLogger(cfg.Log, s.stderr)
	if err != nil {
		return err
	}
	log.Info().
		Str("version", version.Version).
		Str("config", configName(path)).
		Str("listen", listeners(cfg)).
		Str("broker", brokerName(cfg)).
		Str("ops", cfg.Ops.Address).
		Msg("sngate starts")
	if err := runGateway(ctx, cfg, log); err != nil {
		log.Error().Err(err).Msg("sngate ends")
		return &exitError{exitFailure}
	}
	log.Info().Msg("sngate has stopped")
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
	return "tcp://" + cfg.Broker.Address()
}

// newLogger makes the logger of [log]. It is the console format that looks at where it
// goes: colours are for terminals.
func newLogger(c conf.Log, w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log.level: %w", err)
	}
	if c.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !isTerminal(w), TimeFormat: time.RFC3339}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
