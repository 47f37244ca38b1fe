package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"sngate/conf"
	"sngate/internal/version"
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
