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
		{"{client}.pem", "a.key", `test.toml:3: broker.cert_file: has {client}, which is no placeholder; want {client_id}, {gateway}, {host}, {env:NAME}`},
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

func TestCertificatesOfDevicesAreChecked(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(t.TempDir())
	ca := securetest.NewCA(t, "ca")
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		ca.Issue(t, securetest.Certificate{Name: name}).Write(t, path+".pem", path+".key")
	}
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	if err := os.Chmod(filepath.Join(dir, "a.key"), 0o440); err != nil {
		t.Fatal(err)
	}
	env := []string{"CREDENTIALS_DIRECTORY=" + dir, "SITE=hall"}
	const head = "[broker]\nurl = 'ssl://broker'\n"
	entry := func(cert, key string) string {
		return head + "[[broker.device]]\nclient = 'pump-*'\ncert_file = '" + cert + "'\nkey_file = '" + key + "'"
	}
	put(t, filepath.Join(dir, "d.csv"), "client_id,cert_file,key_file,name\nlamp,l.pem,l.key,\nlight,,,Light\n", 0o600)
	cfg := mustParse(t, head+"ca_file = 'ca.pem'\ncredentials_file = 'd.csv'\ncert_file = '{env:SITE}-{name}.pem'\nkey_file = '{gateway}-{host}.key'\n"+
		strings.TrimPrefix(entry("a.pem", "a.key"), head), env...)
	book, _, err := cfg.Credentials("gw", env).Read()
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][2]string{"lamp": {"l.pem", "l.key"}, "light": {"hall-Light.pem", "gw-broker.key"}, "pump-1": {"a.pem", "a.key"}} {
		if cert, key, err := book.Certificate(id); err != nil || cert != want[0] || key != want[1] {
			t.Errorf("%s: %s, %s, %v", id, cert, key, err)
		}
	}
	mustParse(t, entry("{client_id}.pem", "b.key"), env...)
	for _, c := range []struct{ text, want string }{
		{entry("a.pem", "b.key"), "test.toml:6: broker.device[0].key_file: " + dir + "/b.key is not the key of the certificate in " + dir + "/a.pem"},
		{entry("c.pem", "b.key"), "test.toml:5: broker.device[0].cert_file: c.pem cannot be read: no such file or directory"},
		{entry("a.pem", ""), "test.toml:5: broker.device[0].cert_file: is set without broker.device[0].key_file; want both, or none"},
		{entry("", "a.key"), "test.toml:6: broker.device[0].key_file: is set without broker.device[0].cert_file; want both, or none"},
		{entry("no/{client_id}", "a.key"), `test.toml:5: broker.device[0].cert_file: is in "no", which is not a directory`},
		{entry("{now}", "a.key"), "test.toml:5: broker.device[0].cert_file: has {now}, which is no placeholder; want {client_id}, {gateway}, {host}, {env:NAME}"},
		{strings.Replace(entry("a.pem", "a.key"), "ssl:", "tcp:", 1), `test.toml:5: broker.device[0].cert_file: is set, and no broker is reached by TLS; want "ssl://" or "wss://" in broker.url` + "\n" +
			`test.toml:6: broker.device[0].key_file: is set, and no broker is reached by TLS; want "ssl://" or "wss://" in broker.url`},
		{strings.Replace(head, "ssl:", "tcp:", 1) + "credentials_file = 'd.csv'", `test.toml:3: broker.credentials_file: d.csv: line 2: there is a cert_file, and no broker is reached by TLS; want "ssl://" or "wss://" in broker.url`},
	} {
		if got := mustRefuse(t, c.text, env...); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	for row, want := range map[string]string{"lamp,l.pem,": "there is a cert_file and no key_file", "lamp,,l.key": "there is a key_file and no cert_file"} {
		put(t, filepath.Join(dir, "d.csv"), "client_id,cert_file,key_file\n"+row+"\n", 0o600)
		if got := mustRefuse(t, head+"credentials_file = 'd.csv'", env...); got != "test.toml:3: broker.credentials_file: d.csv: line 2: "+want+"; want both, or none" {
			t.Error(got)
		}
	}
}
