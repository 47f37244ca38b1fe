package conf

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/topicreg"
)

var prefixes = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func mustParse(t testing.TB, text string, env ...string) *Config {
	t.Helper()
	cfg, err := Parse("test.toml", []byte(text), env)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return cfg
}

// mustRefuse returns the message of a configuration with faults.
func mustRefuse(t testing.TB, text string, env ...string) string {
	t.Helper()
	cfg, err := Parse("test.toml", []byte(text), env)
	var faults *Error
	if cfg != nil || !errors.As(err, &faults) {
		t.Fatalf("Parse(%q, %q) = %v, %v, want an *Error", text, env, cfg, err)
	}
	return err.Error()
}

func TestNothingGivenIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "[session]\n", "\ufeff", "[gateway]\r\n"} {
		if diff := cmp.Diff(Default(), mustParse(t, text), prefixes); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestDefaultsAreNotSharedBetweenConfigurations(t *testing.T) {
	one := Default()
	one.Listener[0].Address = "changed"
	one.Session.Allow = append(one.Session.Allow, "changed")
	if diff := cmp.Diff(mustParse(t, ""), Default(), prefixes); diff != "" {
		t.Error(diff)
	}
}

func TestGivenKeysReplaceTheDefaultsAndNoOthers(t *testing.T) {
	got := mustParse(t, `
gateway = { id = 7 }
topics.predefined = [ { id = 1, name = "a" }, { id = 0x2, name = "b", client = "p-*" } ]
[[listener]]
address = "192.0.2.1:10000"
[[listener]]
multicast = "ff02::7"
multicast_interface = "eth0"
[discovery]
advertise_interval = "15m"
[broker]
url = "tcp://[2001:db8::1]"
username = "user"
password = "secret"
local_addresses = ["2001:db8::5", "::ffff:192.0.2.6"]
[session]
"retry_interval" = '1m30s'
allow = ["a", "b-*"]
[forwarder]
enabled = false
allow = ["192.0.2.7", "10.0.0.0/8", "::1"]
[ops]
address = ""
`)
	want := Default()
	want.Gateway.ID = 7
	want.Topics.Predefined = []topicreg.Entry{{ID: 1, Name: "a"}, {ID: 2, Name: "b", Client: "p-*"}}
	second := defaultListener()
	second.Multicast, second.MulticastInterface = "ff02::7", "eth0"
	want.Listener[0].Address = "192.0.2.1:10000"
	want.Listener = append(want.Listener, second)
	want.Discovery.AdvertiseInterval = 15 * time.Minute
	want.Broker.URL = "tcp://[2001:db8::1]"
	want.Broker.Username, want.Broker.Password = "user", NewSecret("secret")
	want.Broker.LocalAddresses = []netip.Addr{netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("192.0.2.6")}
	want.Session.RetryInterval = 90 * time.Second
	want.Session.Allow = []string{"a", "b-*"}
	want.Forwarder = Forwarder{Allow: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	want.Ops.Address = ""
	if diff := cmp.Diff(want, got, prefixes); diff != "" {
		t.Error(diff)
	}
	if got.Broker.Embedded() || got.Broker.Address() != "[2001:db8::1]:1883" {
		t.Errorf("broker: embedded %v, address %q", got.Broker.Embedded(), got.Broker.Address())
	}
}

func TestBrokerURL(t *testing.T) {
	for url, want := range map[string]string{
		"embedded":                    "",
		"tcp://localhost":             "localhost:1883",
		"tcp://localhost:2000":        "localhost:2000",
		"tcp://broker.example:1883/":  "broker.example:1883",
		"tcp://192.0.2.1":             "192.0.2.1:1883",
		"tcp://[::1]:1":               "[::1]:1",
		"tcp://my_broker.internal:80": "my_broker.internal:80",
	} {
		b := mustParse(t, "[broker]\nurl = '"+url+"'").Broker
		if b.Address() != want || b.Embedded() != (want == "") {
			t.Errorf("%s: address %q, embedded %v, want %q", url, b.Address(), b.Embedded(), want)
		}
	}
	for _, url := range []string{"", "tcp://", "tcp://:1883", "tcp://a:0", "tcp://a:70000", "tcp://a b",
		"tcp://a:x", "ws://a:0", "wss://", "ws://a/b#c", "tcp:a", "tcp://a/b", "tcp://a?b", "tcp://a#b", "ssl://", "Embedded", "tcp://u:p@a", "tcp://%zz"} {
		if msg := mustRefuse(t, "[broker]\nurl = '"+url+"'"); !strings.HasPrefix(msg, "test.toml:2: broker.url: ") {
			t.Errorf("%q: %s", url, msg)
		}
	}
}

func TestAddressesThatDoNotCollide(t *testing.T) {
	for _, text := range []string{
		"[[listener]]\naddress = ':0'\n[[listener]]\naddress = ':0'",
		"[[listener]]\naddress = '192.0.2.1:1'\n[[listener]]\naddress = '192.0.2.2:1'",
		"[[listener]]\naddress = 'localhost:1'\n[[listener]]\naddress = 'localhost:2'",
		"[[listener]]\naddress = '[fe80::1%eth0]:1'\n[[listener]]\naddress = '[fe80::1%eth1]:1'",
		"[broker]\nurl = 'tcp://a'\n[ops]\naddress = '127.0.0.1:1883'", // no built-in broker
		"[embedded_broker]\naddress = ':0'\n[ops]\naddress = ':0'",
		"[[listener]]\naddress = ':9883'\n[ops]\naddress = ':9883'", // UDP and TCP
	} {
		mustParse(t, text)
	}
	if got := mustRefuse(t, "[[listener]]\naddress = 'Host:1'\n[[listener]]\naddress = 'host:1'"); !strings.HasPrefix(got, "test.toml:4: listener[1].address: ") {
		t.Error(got)
	}
}

func TestKeepsOnStop(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                  true,
		"[store]\npath = ''":                false,
		"[gateway]\non_stop = 'keep'":       true,
		"[gateway]\non_stop = 'disconnect'": false,
		"[gateway]\non_stop = ''\n[store]\npath='x.db'": true,
	} {
		if got := mustParse(t, text).KeepsOnStop(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestGatewaysOwnClientIDIsOfLettersDigitsAndHyphens(t *testing.T) {
	for host, want := range map[string]string{
		"host":               "sngate-host-1",
		"Gw-7":               "sngate-Gw-7-1",
		"gw7.hall3.example":  "sngate-gw7-hall3-example-1",
		"a_b*c>d#e/f+g h$é!": "sngate-a-b-c-d-e-f-g-h-1",
		".":                  "sngate-1",
		"":                   "sngate-1",
	} {
		if got := Default().Gateway.MQTTClientID(host); got != want {
			t.Errorf("host %q: client id %q, want %q", host, got, want)
		}
	}
	if got := mustParse(t, "[gateway]\nclient_id = 'me.and/you'").Gateway.MQTTClientID("host"); got != "me.and/you" {
		t.Errorf("client id %q", got)
	}
}

func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	text := "[broker]\nusername = 'u'\npassword_file = '" + file + "'"
	for content, want := range map[string]string{
		"secret": "secret", "secret\n": "secret", "secret\r\n": "secret", "secret\n\n": "secret\n", " a b ": " a b ",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mustParse(t, text).Broker.Password.Reveal(); got != want {
			t.Errorf("file %q: password %q, want %q", content, got, want)
		}
	}
	for content, want := range map[string]string{
		"":                           "test.toml:3: broker.password_file: names an empty file",
		"\n":                         "test.toml:3: broker.password_file: names an empty file",
		strings.Repeat("x", 65536):   "test.toml:3: broker.password_file: names a file with a password longer than 65535 octets",
		strings.Repeat("x", 1<<20-1): "test.toml:3: broker.password_file: cannot be read: the file is too large",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mustRefuse(t, text); got != want {
			t.Errorf("file of %d octets: %q, want %q", len(content), got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sngate.toml")
	if _, _, err := Load(file, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte("[gateway]\nid = 300\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(file, nil); err == nil || err.Error() != file+":2: gateway.id: 300 is out of range; want 0..255" {
		t.Errorf("faulty file: %v", err)
	}
	if err := os.WriteFile(file, []byte("[gateway]\nid = 30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, _, err := Load(file, []string{"SNGATE_GATEWAY_SHARDS=2"}); err != nil || cfg.Gateway != (Gateway{ID: 30, Shards: 2, EventLoop: "auto"}) {
		t.Errorf("good file: %v, %v", cfg, err)
	}
	if cfg, _, err := Load("", []string{"SNGATE_GATEWAY_ID=5"}); err != nil || cfg.Gateway.ID != 5 {
		t.Errorf("no file: %v, %v", cfg, err)
	}
	if err := os.WriteFile(file, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(file, nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("huge file: %v", err)
	}
}

func TestMessagesStayShortAndFindTheirPlace(t *testing.T) {
	long := strings.Repeat("ä", 100)
	tests := []struct{ text, want string }{
		{"[log]\nlevel = '" + long + "'", `test.toml:2: log.level: "` + strings.Repeat("ä", 60) + `..." is not known; want one of`},
		{"[log]\n" + strings.Repeat("level", 20) + " = 1", "test.toml:2: log." + strings.Repeat("level", 20) + ": unknown key"},
		{"[broker]\nurl = 'x", "test.toml:2: "},
		{"a = 1\nb = [\n1,\n2\nc = 3", "test.toml:5: "},
		{"a = \"\"\"\n\n", "test.toml:"},
	}
	for _, tt := range tests {
		if got := mustRefuse(t, tt.text); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%.40q: %s, want %s", tt.text, got, tt.want)
		}
	}
	err := &Error{File: "f.toml", Faults: []Fault{{Key: "a.b", Msg: "m"}, {Line: 3, Msg: "n"}, {Key: "c", Env: "E", Msg: "o"}}}
	if want := "f.toml: a.b: m\nf.toml:3: n\nE: c: o"; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err.Error(), want)
	}
	if want := "a.b: m"; (&Error{Faults: err.Faults[:1]}).Error() != want {
		t.Errorf("without a file: %q", (&Error{Faults: err.Faults[:1]}).Error())
	}
}

// TestFiles reads every testdata/*.good.toml, and every *.bad.toml, whose messages are in
// the .want file beside it.
func TestFiles(t *testing.T) {
	good, _ := filepath.Glob("testdata/*.good.toml")
	bad, _ := filepath.Glob("testdata/*.bad.toml")
	if len(good) == 0 || len(bad) == 0 {
		t.Fatal("no files in testdata")
	}
	for _, file := range good {
		if _, _, err := Load(file, nil); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, file := range bad {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.TrimSuffix(file, ".toml") + ".want")
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(filepath.Base(file), data, nil)
		if err == nil {
			t.Errorf("%s: no fault", file)
			continue
		}
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// TestTagsAreWellFormed makes sure that no key has a range or a word list that the decoder
// would read as none.
func TestTagsAreWellFormed(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			at, inner := join(path, keyOf(f)), f.Type
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			low, high, hasRange := strings.Cut(f.Tag.Get("range"), "..")
			isDuration := inner == reflect.TypeFor[time.Duration]()
			switch {
			case inner == reflect.TypeFor[topicreg.Entry](), inner == reflect.TypeFor[Secret](), inner == reflect.TypeFor[netip.Prefix](), inner == reflect.TypeFor[netip.Addr]():
			case inner.Kind() == reflect.Struct:
				walk(at, inner)
			case isDuration:
				lo, err1 := time.ParseDuration(low)
				hi, err2 := time.ParseDuration(high)
				if err1 != nil || err2 != nil || lo >= hi {
					t.Errorf("%s: range %q", at, f.Tag.Get("range"))
				}
			case inner.Kind() == reflect.Map: // of Secrets
			case inner.Kind() != reflect.String && inner.Kind() != reflect.Bool:
				header := "[" + path + "]\n"
				if path == "listener" || path == "session.max_packet_sizes" {
					header = "[[" + path + "]]\n"
				}
				value := "9223372036854775807"
				if f.Type.Kind() == reflect.Slice {
					value = "[" + value + "]"
				}
				text := mustRefuse(t, header+keyOf(f)+" = "+value)
				if !hasRange || !strings.Contains(text, "want "+low+".."+high) {
					t.Errorf("%s: range %q: %s", at, f.Tag.Get("range"), text)
				}
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
}

// FuzzParse wants no panic, one of a configuration and a fault, and a line within the file
// for every fault.
func FuzzParse(f *testing.F) {
	f.Add(example)
	for _, file := range []string{"testdata/*.good.toml", "testdata/*.bad.toml"} {
		names, _ := filepath.Glob(file)
		for _, name := range names {
			if data, err := os.ReadFile(name); err == nil {
				f.Add(string(data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") {
			return // no reading of files that the fuzzer names
		}
		cfg, err := Parse("f", []byte(text), nil)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", cfg, err)
		}
		var faults *Error
		if err == nil {
			return
		}
		if !errors.As(err, &faults) || len(faults.Faults) == 0 {
			t.Fatalf("error %v", err)
		}
		for _, f := range faults.Faults {
			if f.Line < 0 || f.Line > 1+strings.Count(text, "\n") || f.Msg == "" {
				t.Errorf("fault %+v", f)
			}
		}
	})
}
