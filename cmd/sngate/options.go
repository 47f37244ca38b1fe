package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// option is one option of a subcommand. The flag package of the standard library
// would do, were it not for the options of mosquitto_pub and mosquitto_sub, which
// these follow: -h is a host, and one option has a short and a long name.
type option struct {
	names []string // "-q", "--qos"
	value string   // what the usage calls its value, "" for a switch
	help  string
	set   func(value string) error // "" for a switch
}

type options []option

// errHelp says that --help was among the arguments, or -h where that is no option.
var errHelp = errors.New("help requested")

// parse sets the options in args and returns the other arguments. Options may stand
// anywhere before "--". The value is the next argument, whatever it looks like, so
// that -q -1 works; a long name may also have it behind "=".
func (o options) parse(args []string) (operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(operands, args...), nil
		case arg == "--help", arg == "-h" && o.find(arg) == nil:
			return nil, errHelp
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			operands = append(operands, arg)
			continue
		}
		name, value, attached := arg, "", false
		if strings.HasPrefix(arg, "--") {
			name, value, attached = strings.Cut(arg, "=")
		}
		opt := o.find(name)
		switch {
		case opt == nil:
			return nil, usagef("unknown option %s", name)
		case opt.value == "" && attached:
			return nil, usagef("%s takes no value", name)
		case opt.value != "" && !attached:
			if len(args) == 0 {
				return nil, usagef("%s needs a value: %s", name, opt.value)
			}
			value, args = args[0], args[1:]
		}
		if err := opt.set(value); err != nil {
			return nil, usagef("%s %s: %v", name, value, err)
		}
	}
	return operands, nil
}

func (o options) find(name string) *option {
	for i := range o {
		for _, n := range o[i].names {
			if n == name {
				return &o[i]
			}
		}
	}
	return nil
}

func (o options) describe(w io.Writer) {
	all := append(o[:len(o):len(o)], option{names: []string{"--help"}, help: "print this and end"})
	for _, opt := range all {
		left := strings.Join(opt.names, ", ")
		if opt.value != "" {
			left += " " + opt.value
		}
		fmt.Fprintf(w, "  %-30s %s\n", left, opt.help)
	}
}

// The functions below make the set function of an option.

func toText(p *string) func(string) error {
	return func(s string) error { *p = s; return nil }
}

func toSwitch(p *bool, value bool) func(string) error {
	return func(string) error { *p = value; return nil }
}

func toInt[T ~int | ~uint8 | ~uint16](p *T, low, high int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("want a whole number from %d to %d", low, high)
		}
		*p = T(n)
		return nil
	}
}

const maxSeconds = 65535

// toSeconds takes whole seconds from low to 65535, the size of the protocol's
// Duration fields.
func toSeconds(p *time.Duration, low int) func(string) error {
	return func(s string) error {
		var n int
		if err := toInt(&n, low, maxSeconds)(s); err != nil {
			return err
		}
		*p = time.Duration(n) * time.Second
		return nil
	}
}

// toFraction takes seconds that may have decimals, more than 0.
func toFraction(p *time.Duration) func(string) error {
	return func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		d := time.Duration(f * float64(time.Second))
		if err != nil || math.IsNaN(f) || f > maxSeconds || d <= 0 {
			return fmt.Errorf("want seconds, more than 0 and up to %d, such as 10 or 0.5", maxSeconds)
		}
		*p = d
		return nil
	}
}
