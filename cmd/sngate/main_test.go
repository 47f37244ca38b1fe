package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sngate/conf"
	"sngate/internal/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call runs the program and returns its exit code and output.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongCommandLinesEndWithTheFaultAndCode2(t *testing.T) {
	for _, tc := range []struct {
		args string // separated by spaces; "_" stands for an empty argument
		want string // in the message
	}{
		{"frobnicate", `unknown command "frobnicate"`},
		{"sngate.toml", `unknown command "sngate.toml"; to run with this configuration: sngate -c sngate.toml`},
		{"-x", "unknown option -x"},
		{"-c", "-c needs a value: FILE"},
		{"-c x y", `unexpected argument "y"; a configuration file is given by -c FILE`},
		{"--config", "--config needs a value: FILE"},
		{"-- run", `unexpected argument "run"`},
		{"--version x", `unexpected argument "x"`},
		{"help frobnicate", `no help for "frobnicate"`},
		{"help pub sub", `no help for "pub sub"`},
		{"run extra", `unexpected argument "extra"`},
		{"run -x", "unknown option -x"},
		{"run -c", "-c needs a value: FILE"},
		{"check", "exactly one configuration file"},
		{"check a b", "exactly one configuration file"},
		{"check --deep a", "unknown option --deep"},
		{"config x", `unexpected argument "x"`},
		{"version x", `unexpected argument "x"`},
		{"clients x", `unexpected argument "x"`},
		{"clients --ops", "--ops needs a value: ADDRESS"},
		{"client", "no client id given"},
		{"client a b", `unexpected argument "b"`},
		{"decode", "no datagram given"},
		{"decode -x", "unknown option -x"},

		{"probe x", `unexpected argument "x"`},
		{"probe --no-broker --no-gateway", "nothing to probe"},
		{"probe --no-gateway --gateway x", "one is enough"},
		{"probe --no-broker --fallback 1", "--fallback is about a broker"},
		{"probe --fallback 0", "from 1 to 1000"},
		{"probe --yes", "a client id that --client names"},
		{"probe --client pump-1", "the broker ends its connection and publishes its will"},
		{"probe --topic a/#", "without + and #"},
		{"probe --timeout 0", "more than 0"},
		{"probe --listen :0 --json", "--listen prints no results"},
		{"probe --interval 0.5", "at least 1 second"},

		{"bench", "give a mode: one of up, down, mixed, connect, sleep"},
		{"bench sideways", `unknown mode "sideways"`},
		{"bench up down", `unexpected argument "down"`},
		{"bench up -n 0", "from 1 to 1000000"},
		{"bench up -q -1", "from 0 to 2"},
		{"bench up -s 15", "from 16 to 8192"},
		{"bench up -r -1", "-r -1: want a number from 0 to 10000000"},
		{"bench up -r NaN", "want a number from 0"},
		{"bench up --loss 100", "want a number from 0 to 99"},
		{"bench up --duration 0", "more than 0"},
		{"bench up -k 65536", "from 0 to 65535"},
		{"bench up --pid 0", "from 1 to"},
		{"bench up --password-file x", "--password-file needs --username"},

		{"pub", "exactly one of -t and --predefined"},
		{"pub -m x", "exactly one of -t and --predefined"},
		{"pub -t a --predefined 1 -m x", "exactly one of -t and --predefined"},
		{"pub -t a -t b -m x", "exactly one of -t and --predefined"},
		{"pub -t a", "exactly one of -m, -f, -l, -n and -s"},
		{"pub -t a -m x -n", "exactly one of -m, -f, -l, -n and -s"},
		{"pub -t a -m x -l", "exactly one of -m, -f, -l, -n and -s"},
		{"pub -t _ -m x", "the topic is empty"},
		{"pub -t a -m x extra", `unexpected argument "extra"`},
		{"pub -t a -m x -q 3", "-q 3: want a whole number from -1 to 2"},
		{"pub -t a -m x -q -2", "-q -2: want a whole number from -1 to 2"},
		{"pub -t a -m x -q", "-q needs a value: QOS"},
		{"pub -t abc -m x -q -1", `"abc" cannot be registered`},
		{"pub -t ab -m x -q -1 --will-topic w", "without a will"},
		{"pub -t abc -m x --short", `"abc" has 3 octets`},
		{"pub -t a -m x -p 0", "-p 0: want a whole number from 1 to 65535"},
		{"pub -t a -m x -p 65536", "from 1 to 65535"},
		{"pub -t a -m x --port=no", "--port no: want a whole number"},
		{"pub -t a -m x -k 65536", "from 0 to 65535"},
		{"pub -t a -m x -k 1.5", "from 0 to 65535"},
		{"pub -t a -m x --predefined 65535", "from 1 to 65534"},
		{"pub --predefined 0 -m x", "from 1 to 65534"},
		{"pub -t a -m x --will-qos 3 --will-topic w", "from 0 to 2"},
		{"pub -t a -m x --will-retain", "need --will-topic"},
		{"pub -t a -m x --will-payload w", "need --will-topic"},
		{"pub -t a -m x -c", "-c needs a client id"},
		{"pub -t a -m x --retain=yes", "--retain takes no value"},
		{"pub -t a -m x --retry-interval 0", "more than 0"},
		{"pub -t a -m x --retry-interval NaN", "more than 0"},
		{"pub -t a -m x --retry-count 101", "from 0 to 100"},
		{"pub -t a -m x --timeout -1", "more than 0"},

		{"sub", "at least one of -t and --predefined"},
		{"sub -t a extra", `unexpected argument "extra"`},
		{"sub -t a -q -1", "-q -1: want a whole number from 0 to 2"},
		{"sub -t a -C 0", "-C 0: want a whole number from 1"},
		{"sub -t a -W 0", "-W 0: want a whole number from 1"},
		{"sub -t a --sleep 65536", "from 1 to 65535"},
		{"sub -t a -c", "-c needs a client id"},
		{"sub -t ab -t abc --short", `"abc" has 3 octets`},
		{"sub -t _", "the topic is empty"},
		{"sub -t a -m x", "unknown option -m"},
	} {
		args := strings.Fields(tc.args)
		for i := range args {
			if args[i] == "_" {
				args[i] = ""
			}
		}
		code, stdout, stderr := call(t, "", args...)
		if code != exitUsage || stdout != "" {
			t.Errorf("sngate %s: code %d, output %q, want code 2 and none", tc.args, code, stdout)
		}
		lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "Usage: sngate ") || !strings.Contains(lines[1], tc.want) {
			t.Errorf("sngate %s: want a line of usage and last %q, got:\n%s", tc.args, tc.want, stderr)
		}
	}
}

func TestHelpGoesToTheStandardOutput(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}} {
		code, stdout, stderr := call(t, "", args...)
		if code != exitOK || stderr != "" {
			t.Errorf("%v: code %d, error output %q", args, code, stderr)
		}
		for _, c := range commands() {
			if !strings.Contains(stdout, "\n  "+c.name+" ") {
				t.Errorf("%v does not name %s", args, c.name)
			}
		}
	}
	for _, c := range commands() {
		opts, _ := c.setup()
		calls := [][]string{{"help", c.name}, {c.name, "--help"}, {c.name, "--help", "--nonsense"}}
		if opts.find("-h") == nil {
			calls = append(calls, []string{c.name, "-h"})
		}
		for _, args := range calls {
			code, stdout, stderr := call(t, "", args...)
			if code != exitOK || stderr != "" || !strings.Contains(stdout, "Usage: sngate "+c.name) {
				t.Errorf("%v: code %d, output %q, error output %q", args, code, stdout, stderr)
			}
			for _, o := range opts {
				if !strings.Contains(stdout, strings.Join(o.names, ", ")) {
					t.Errorf("%v does not name %v", args, o.names)
				}
			}
		}
	}
}

func TestOptionsMayComeInAnyOrder(t *testing.T) {
	var text string
	var on bool
	var n int
	opts := options{
		{[]string{"-t", "--text"}, "TEXT", "", toText(&text)},
		{[]string{"-o"}, "", "", toSwitch(&on, true)},
		{[]string{"-q"}, "N", "", toInt(&n, -1, 2)},
	}
	for _, tc := range []struct {
		args     []string
		operands []string
	}{
		{[]string{"-t", "-x", "-o", "-q", "-1", "a", "b"}, []string{"a", "b"}},
		{[]string{"a", "--text=-x", "b", "-q", "-1", "-o"}, []string{"a", "b"}},
		{[]string{"-q", "-1", "-o", "--text", "-x", "--", "-o"}, []string{"-o"}},
		{[]string{"-o", "-", "-q", "-1", "-t", "y", "-t", "-x"}, []string{"-"}},
	} {
		text, on, n = "", false, 0
		operands, err := opts.parse(tc.args)
		if err != nil || text != "-x" || !on || n != -1 || !slices.Equal(operands, tc.operands) {
			t.Errorf("%q: %q %v %d, operands %q, %v", tc.args, text, on, n, operands, err)
		}
	}
}

func TestVersionTellsTheCommit(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		code, stdout, _ := call(t, "", arg)
		want := `^sngate ` + regexp.QuoteMeta(version.Version) + ` \(commit ` + regexp.QuoteMeta(version.Commit()) + `, go\S+, \w+/\w+\)\n$`
		if code != exitOK || !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("%s: code %d, %q", arg, code, stdout)
		}
	}
}

func TestCheckAndConfig(t *testing.T) {
	code, example, _ := call(t, "", "config")
	if code != exitOK || example != conf.Example() {
		t.Fatalf("config: code %d", code)
	}
	t.Setenv("SNGATE_SESSION_MAX_SESSIONS", "10") // not to be warned of this machine's limits
	good := write(t, "good.toml", example)
	if code, stdout, stderr := call(t, "", "check", good); code != exitOK || stdout != "ok\n" || stderr != "" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	bad := write(t, "bad.toml", "[gateway]\nid = 300\nname = 1\n")
	for _, args := range [][]string{{"check", bad}, {"run", "-c", bad}, {"-c", bad}, {"--config", bad}, {"--config=" + bad}} {
		code, stdout, stderr := call(t, "", args...)
		if code != exitFailure || stdout != "" {
			t.Errorf("%v: code %d, %q", args, code, stdout)
		}
		for _, want := range []string{"bad.toml:2", "gateway.id", "bad.toml:3", "gateway.name"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%v: want %q, got:\n%s", args, want, stderr)
			}
		}
		if n := strings.Count(stderr, "\n"); n != 2 {
			t.Errorf("%v: %d lines, want one per fault:\n%s", args, n, stderr)
		}
	}
	for _, args := range [][]string{{"check", "no/such.toml"}, {"run", "--config", "no/such.toml"}, {"-c", "no/such.toml"}} {
		if code, _, stderr := call(t, "", args...); code != exitFailure || !strings.Contains(stderr, "no/such.toml") {
			t.Errorf("%v: code %d, %q", args, code, stderr)
		}
	}
}

func TestBareProgramReadsTheFileInTheWorkingDirectory(t *testing.T) {
	path := write(t, "sngate.toml", "nonsense = 1\n")
	t.Chdir(filepath.Dir(path))
	for _, args := range [][]string{nil, {"run"}} {
		code, _, stderr := call(t, "", args...)
		if code != exitFailure || !strings.Contains(stderr, "sngate.toml:1") {
			t.Errorf("%v: code %d, %q", args, code, stderr)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, err := configPath(""); got != "" || err != nil {
		t.Errorf("without the file: %q, %v", got, err)
	}
}

// The page names exactly the options the program knows.
func TestEveryOptionIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	title := ""
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, "## "); ok {
			title = strings.TrimSpace(rest)
			sections[title] = nil
		}
		if strings.HasPrefix(line, "| `-") {
			cell := strings.Split(line, "|")[1]
			sections[title] = append(sections[title], regexp.MustCompile("`(--?[A-Za-z-]+(?: [A-Z]+)?)`").FindAllString(cell, -1)...)
		}
	}
	for _, c := range commands() {
		var want []string
		opts, _ := c.setup()
		for _, o := range opts {
			for _, n := range o.names {
				want = append(want, "`"+strings.TrimSpace(n+" "+o.value)+"`")
			}
		}
		got, found := sections["sngate "+c.name]
		if !found {
			t.Errorf("there is no section %q", "sngate "+c.name)
		}
		if c.name == "pub" || c.name == "sub" {
			got = append(got, sections["Options of pub and sub"]...)
		}
		slices.Sort(want)
		got = slices.Clone(got)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-program +page)\n%s", c.name, diff)
		}
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCPUProfileIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu")
	bad := write(t, "bad.toml", "nonsense = 1\n")
	if code, _, stderr := call(t, "", "run", "-c", bad, "--cpu-profile", path); code != exitFailure || !strings.Contains(stderr, "nonsense") {
		t.Errorf("code %d, %q", code, stderr)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) { // gzip
		t.Errorf("%v, %d octets, which are no profile", err, len(b))
	}
	nowhere := filepath.Join(t.TempDir(), "no", "cpu")
	if code, _, stderr := call(t, "", "run", "-c", bad, "--cpu-profile", nowhere); code != exitFailure || !strings.Contains(stderr, nowhere) {
		t.Errorf("code %d, %q; want a failure that names the file", code, stderr)
	}
}
