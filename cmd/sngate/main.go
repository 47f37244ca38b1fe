// Command sngate is an MQTT-SN gateway, with command-line clients and tools for
// MQTT-SN beside it. docs/CLI.md describes its subcommands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// command is one subcommand.
type command struct {
	name     string
	synopsis string // the arguments, as in the usage line
	summary  string // one line
	// setup makes the options of one call, and the action that runs when they are
	// parsed. operands are the arguments that are no options.
	setup func() (options, action)
}

func commands() []command {
	return []command{
		{"run", "[-c FILE] [--cpu-profile FILE]", "run the gateway", setupRun},
		{"check", "FILE", "check a configuration file", setupCheck},
		{"config", "[--profile NAME]", "print a configuration file with every key explained, or what a profile sets", setupConfig},
		{"pub", "{-t TOPIC | --predefined ID} {-m TEXT | -f FILE | -l | -n | -s} [options]", "publish messages as an MQTT-SN client", setupPub},
		{"sub", "{-t TOPIC | --predefined ID}... [options]", "subscribe as an MQTT-SN client and print what arrives", setupSub},
		{"clients", "[options]", "list the devices of a running gateway", setupClients},
		{"client", "ID [options]", "show one device of a running gateway", setupClient},
		{"probe", "[options]", "try the way to the broker and through a gateway, step by step", setupProbe},
		{"bench", "MODE [options]", "load a gateway with simulated devices and measure it", setupBench},
		{"decode", "[HEX... | -]", "explain datagrams", setupDecode},
		{"version", "", "print the version", setupVersion},
	}
}

// run is the program without its process: args are those behind the program's name.
// It returns the exit code. A done ctx is the wish to end cleanly.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := streams{stdin, stdout, stderr}
	name := "run" // without a command the gateway runs
	if len(args) > 0 {
		switch first := args[0]; {
		case first == "help" || first == "--help" || first == "-h":
			return help(s, args[1:])
		case first == "--version":
			name, args = "version", args[1:]
		case !strings.HasPrefix(first, "-"):
			name, args = first, args[1:]
		}
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, s, args)
		}
	}
	hint := ""
	if strings.HasSuffix(name, ".toml") {
		hint = "; to run with this configuration: sngate -c " + name
	}
	return wrongUsage(s, "sngate [COMMAND] [ARGUMENTS]", "sngate", fmt.Sprintf("unknown command %q%s", name, hint))
}

// wrongUsage tells of a fault of the command line and returns the exit code. The fault
// comes last, where a reader looks first, and on a line of its own.
func wrongUsage(s streams, usage, command, fault string) int {
	fmt.Fprintf(s.stderr, "Usage: %s (more by \"%s --help\")\n%s: %s\n", usage, command, command, fault)
	return exitUsage
}

func (c command) run(ctx context.Context, s streams, args []string) int {
	opts, act := c.setup()
	operands, err := opts.parse(args)
	if errors.Is(err, errHelp) {
		fmt.Fprint(s.stdout, c.usage(opts))
		return exitOK
	}
	if err == nil {
		err = act(ctx, s, operands)
	}
	var usage *usageError
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return wrongUsage(s, c.line(), "sngate "+c.name, err.Error())
	case errors.As(err, &exit):
		return exit.code
	}
	fmt.Fprintf(s.stderr, "sngate %s: %v\n", c.name, err)
	return exitFailure
}

// help prints the usage of the program, or of the command that args name.
func help(s streams, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(s.stdout, overview())
		return exitOK
	}
	for _, c := range commands() {
		if c.name == args[0] && len(args) == 1 {
			opts, _ := c.setup()
			fmt.Fprint(s.stdout, c.usage(opts))
			return exitOK
		}
	}
	return wrongUsage(s, "sngate help [COMMAND]", "sngate", fmt.Sprintf("no help for %q", strings.Join(args, " ")))
}

func overview() string {
	var b strings.Builder
	b.WriteString("sngate is an MQTT-SN gateway.\n\nUsage:\n" +
		"  sngate [-c FILE]       run the gateway, with ./sngate.toml if it is there, else with the defaults\n" +
		"  sngate COMMAND [ARGUMENTS]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.summary)
	}
	b.WriteString("\n\"sngate COMMAND --help\" explains a command, \"sngate --version\" prints the version.\n")
	return b.String()
}

func (c command) usage(opts options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n  %s\n\nOptions:\n", c.line(), c.summary)
	opts.describe(&b)
	return b.String()
}

// line is the command with its arguments.
func (c command) line() string { return strings.TrimSpace("sngate " + c.name + " " + c.synopsis) }
