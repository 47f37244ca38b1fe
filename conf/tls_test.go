package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/upstream/secure/securetest"
)

func TestFilesOfTLSAreChecked_Case171(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca := securetest.NewCA(t, "ca")
	ca.Write(t, at("ca.pem"))
	ca.Issue(t, securetest.Certificate{Name: "gateway"}).Write(t, at("a.pem"), at("a.key"))
	ca.Issue(t, securetest.Certificate{Name: "gateway"}).Write(t, at("b.pem"), at("b.key"))
	key, err := os.ReadFile(at("a.key"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("open.key", string(key), 0o640)
	write("empty.key", "", 0o600)
	write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", 0o600)

	const head = "[broker]\nurl = 'ssl://broker.example'\n"
	good := mustParse(t, head+"server_name = 'mqtt.example'\nca_file = '"+at("ca.pem")+"'\ncert_file = '"+at("a.pem")+"'\nkey_file = '"+at("a.key")+"'\nalpn = ['x', 'y']\nmin_tls = '1.3'").Broker
	want := Default().Broker
	want.URL, want.ServerName, want.CAFile, want.CertFile, want.KeyFile = "ssl://broker.example", "mqtt.example", at("ca.pem"), at("a.pem"), at("a.key")
	want.ALPN, want.MinTLS = []string{"x", "y"}, "1.3"
	if diff := cmp.Diff(want, good, prefixes); diff != "" {
		t.Error(diff)
	}
	mustParse(t, head+"cert_file = '"+at("{client_id}.pem")+"'\nkey_file = '"+at("a.key")+"'")
	mustParse(t, head+"server_name = '2001:db8::1'")

	for _, c := range []struct{ cert, key, want string }{
		{"a.pem", "b.key", "test.toml:4: broker.key_file: " + at("b.key") + " is not the key of the certificate in " + at("a.pem")},
		{"a.pem", "none.key", "test.toml:4: broker.key_file: " + at("none.key") + " cannot be read: no such file or directory"},
		{"a.pem", "open.key", "test.toml:4: broker.key_file: " + at("open.key") + " cannot be read: others than its owner may use it (mode 0640); want chmod go="},
		{"a.pem", "empty.key", "test.toml:4: broker.key_file: " + at("empty.key") + " has no private key in it (PEM)"},
		{"a.pem", "locked.key", "test.toml:4: broker.key_file: " + at("locked.key") + " is encrypted; want a key without a passphrase"},
		{"a.key", "a.key", "test.toml:3: broker.cert_file: " + at("a.key") + " has no certificate in it (PEM)"},
		{"none.pem", "a.key", "test.toml:3: broker.cert_file: " + at("none.pem") + " cannot be read: no such file or directory"},
		{"{client}.pem", "a.key", `test.toml:3: broker.cert_file: has the placeholder "{client}", which is not known; want {client_id}`},
		{"x/{client_id}.pem", "a.key", `test.toml:3: broker.cert_file: is in ` + quote(at("x")) + `, which is not a directory`},
	} {
		if got := mustRefuse(t, head+"cert_file = '"+at(c.cert)+"'\nkey_file = '"+at(c.key)+"'"); got != c.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.cert, c.key, got, c.want)
		}
	}
	if got := mustRefuse(t, head+"ca_file = '"+at("a.key")+"'"); !strings.HasPrefix(got, "test.toml:3: broker.ca_file: ") || !strings.HasSuffix(got, "has no certificate in it (PEM)") {
		t.Error(got)
	}
}
