package conf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Error is everything that is wrong with a configuration.
type Error struct {
	File   string // as given to Load or Parse; "" without a file
	Faults []Fault
}

// Fault is one thing that is wrong.
type Fault struct {
	Key  string // such as "session.retry_count" or "listener[0].address"; "" for a syntax error
	Line int    // in the file; 0 when the file does not have the key
	Env  string // the environment variable the value came from, or ""
	Msg  string
}

// Error has one line per fault.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.text(e.File)
	}
	return strings.Join(lines, "\n")
}

func (f Fault) text(file string) string {
	var parts []string
	switch {
	case f.Env != "":
		parts = append(parts, f.Env)
	case f.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", file, f.Line))
	case file != "":
		parts = append(parts, file)
	}
	if f.Key != "" {
		parts = append(parts, f.Key)
	}
	return strings.Join(append(parts, f.Msg), ": ")
}

// sortFaults puts the file's faults in its order and those of the environment behind them.
func sortFaults(faults []Fault) []Fault {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Env, b.Env), cmp.Compare(a.Line, b.Line))
	})
	return faults
}

// syntaxFault turns the parser's error into a fault. The parser quotes what it cannot read,
// which may be a password that somebody forgot to put into quotes.
func syntaxFault(src string, err error) Fault {
	var p toml.ParseError
	if !errors.As(err, &p) {
		return Fault{Msg: "is not valid TOML"}
	}
	f := Fault{Line: p.Position.Line, Msg: p.Message}
	lines := strings.Split(src, "\n")
	suspect := p.LastKey + lines[min(max(f.Line, 1), len(lines))-1]
	if suspect = strings.ToLower(suspect); strings.Contains(suspect, "pass") || strings.Contains(suspect, "key") {
		f.Msg = "is not valid TOML (more is not shown because of the password; text values need quotes)"
	}
	return f
}
