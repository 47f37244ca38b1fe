package testgateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sngate/conf"
	"sngate/upstream/secure/securetest"
)

// witness is a test that a process believes to be its own: it takes its failures.
type witness struct {
	testing.TB
	cleanups []func()
	failures []string
}

func (w *witness) Helper()          {}
func (w *witness) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *witness) Errorf(format string, args ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}

// A program that writes a secret of its configuration fails its test, wherever the secret comes
// from.
func TestAProgramThatWritesASecretFailsItsTest(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) string {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	securetest.NewCA(t, "ca").Issue(t, securetest.Certificate{}).Write(t, at("pump.pem"), at("pump.key"))
	pem, err := os.ReadFile(at("pump.key"))
	if err != nil {
		t.Fatal(err)
	}
	signing := write("signing.toml", `
[broker]
url = "tcp://broker.example"
username = "{client_id};{expiry}"
[broker.signer]
type = "hmac"
fields = "{username}"
key = "the signing key"
[gateway]
client_id = "the gateway"
`)
	cfg, _, err := conf.Load(signing, nil)
	if err != nil {
		t.Fatal(err)
	}
	book, _, err := cfg.Credentials("the gateway", nil).Read()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := book.Connect("the gateway", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	file := write("all.toml", fmt.Sprintf(`
[broker]
password = "in the file"
password_file = %q
credentials_file = %q
key_file = %q
device = [{ client = "a", password = "of a device", key = "key of a device" }]
[broker.signer]
key = "signing key"
[broker.websocket]
headers = { Authorization = "Bearer token" }
`, write("password", "in its own file\n"), write("devices.csv", "client_id,password,key,site\na,of a row,key of a row,a site\n"), at("{client_id}.key")))
	rows := write("rows.toml", fmt.Sprintf("[broker]\ncredentials_file = %q\n", write("devices.toml", "[[device]]\nclient_id = 'a'\npassword = 'of a table'\n")))

	for _, tt := range []struct {
		file, writes string
		leaks        bool
	}{
		{file, "in the file", true}, {file, "in its own file", true}, {file, "of a device", true}, {file, "key of a device", true}, {file, "signing key", true},
		{file, "Bearer token", true}, {file, "of a row", true}, {file, "key of a row", true}, {rows, "of a table", true},
		{file, strings.Split(string(pem), "\n")[1], true}, {file, "of the environment", true},
		{signing, string(signed.Password), true}, {signing, "the signing key", true},
		{file, "a site", false}, {file, "devices.csv", false}, {signing, "the gateway", false},
	} {
		for _, stream := range []string{"1", "2"} {
			w := &witness{TB: t}
			env := []string{"TEXT=" + tt.writes}
			if tt.file == file {
				env = append(env, "SNGATE_BROKER_PASSWORD=of the environment")
			}
			p := StartProcess(w, Command{Name: "sh", Args: []string{"-c", `echo "trace: $TEXT." >&` + stream, tt.file}, Env: env})
			p.Wait(Patience)
			for _, f := range w.cleanups {
				f()
			}
			if leaks := len(w.failures) > 0; leaks != tt.leaks {
				t.Errorf("%q of %s on stream %s: %q", tt.writes, filepath.Base(tt.file), stream, w.failures)
			}
		}
	}
}
