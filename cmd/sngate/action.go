package main

import (
	"context"
	"fmt"
	"io"
)

// action carries out a subcommand. What its error says of the exit code is below.
type action func(ctx context.Context, s streams, operands []string) error

// streams is what a subcommand has of the world besides its arguments.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitUnknown = 3  // client: there is no session of that client id
	exitTimeout = 27 // sub -W: the time is over, as mosquitto_sub has it
)

// The exit codes of probe, which monitoring systems in the manner of Nagios understand. A wrong
// command line is a failure for them.
const (
	exitProbeWarning = 1
	exitProbeFailed  = 2
	exitNotProbed    = 3
)

// usageError is a fault of the command line: the exit code is 2.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// exitError ends the program with a code of its own and without a further message.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// noOperands refuses arguments that are no options.
func noOperands(operands []string) error {
	if len(operands) > 0 {
		return usagef("unexpected argument %q", operands[0])
	}
	return nil
}
