package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"sngate/conf"
	"sngate/upstream/secure/securetest"
)

// rewrite replaces a file, so that its length or time is another one.
func rewrite(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestTheCredentialsFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "devices.csv")
	rewrite(t, path, "client_id,username,password\npump,u1,hunter2\n", 0o600)
	cfg, err := conf.Parse("test.toml", []byte("[broker]\nurl = 'tcp://b'\ncredentials_file = '"+path+"'\ncredentials_required = true\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a, err := openAccounts(cfg.Credentials("gw", nil), zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	want := func(why, username string, lines int) {
		t.Helper()
		a.look()
		a.look() // nothing new
		got := ""
		if c, err := a.of("pump"); err == nil {
			got = c.Username
		}
		if n := strings.Count(log.String(), "\n"); got != username || n != lines {
			t.Errorf("%s: user name %q, want %q; %d lines, want %d:\n%s", why, got, username, n, lines, &log)
		}
	}
	want("as it was", "u1", 0)
	rewrite(t, path, "client_id,username,password\npump,user2,hunter2\n", 0o600)
	want("changed", "user2", 1)
	rewrite(t, path, "client_id,username,password\npump,hunter2\n", 0o600)
	want("a bad file", "user2", 2)
	rewrite(t, path, "client_id,username,password\npump,user-three,hunter2\n", 0o644)
	want("open to others", "user2", 3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("gone", "user2", 4)
	if n := a.unread.Load(); n != 3 {
		t.Errorf("%d failures counted, want 3", n)
	}
	rewrite(t, path, "client_id,username,password\npump,user-four,hunter2\n", 0o600)
	want("good again", "user-four", 5)
	rewrite(t, path, "client_id,username,password\nother,u,hunter2\n", 0o600)
	want("without the device", "", 6)
	if strings.Contains(log.String(), "hunter2") {
		t.Error("a password is in the log")
	}
}

func TestTheWatchOfTheCredentialsFileEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "devices.csv")
	rewrite(t, path, "client_id\npump\n", 0o600)
	for _, file := range []string{path, ""} {
		cfg, err := conf.Parse("test.toml", []byte("[broker]\ncredentials_file = '"+file+"'\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := openAccounts(cfg.Credentials("gw", nil), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		a.watch()()
	}
}

// The gateway is one more device of the hub, which is easily forgotten.
func TestCheckWarnsOfAGatewayWithoutCredentials(t *testing.T) {
	t.Setenv("SNGATE_SESSION_MAX_SESSIONS", "10") // not to be warned of this machine's limits
	table := write(t, "devices.csv", "client_id,product_key,device_name,key\nhall-3,p,d,swordfish\n")
	for id, want := range map[string]string{
		"hall-3": "",
		"hall-4": "warning: gateway.client_id: the gateway's own connection, as \"hall-4\": no credentials for this client id: there is no value for {device_name}\n",
	} {
		path := write(t, "sngate.toml", fmt.Sprintf("gateway.client_id = %q\nbroker.profile = \"alibaba-iot\"\nbroker.url = \"ssl://127.0.0.1:1\"\nbroker.credentials_file = %q\n", id, table))
		if code, stdout, stderr := call(t, "", "check", path); code != exitOK || stdout != "ok\n" || stderr != want {
			t.Errorf("%s: code %d, %q, %q", id, code, stdout, stderr)
		}
	}
}

func TestCheckWarnsOfAGatewayWithoutACertificate(t *testing.T) {
	t.Setenv("SNGATE_SESSION_MAX_SESSIONS", "10") // not to be warned of this machine's limits
	dir := t.TempDir()
	ca := securetest.NewCA(t, "ca")
	for _, name := range []string{"hall-3", "other"} {
		ca.Issue(t, securetest.Certificate{Name: name}).Write(t, filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
	}
	table := write(t, "devices.csv", "client_id,cert_file,key_file\nhall-5,"+dir+"/hall-3.pem,"+dir+"/other.key\n")
	for id, want := range map[string]string{
		"hall-3":  "",
		"hall-4":  dir + "/hall-4.pem cannot be read: no such file or directory",
		"hall-5":  dir + "/other.key is not the key of the certificate in " + dir + "/hall-3.pem",
		"hall/.6": "there is no client certificate: no credentials for this client id: \"hall/.6\" is no name of a file",
	} {
		if want != "" {
			want = fmt.Sprintf("warning: gateway.client_id: the gateway's own connection, as %q: %s\n", id, want)
		}
		path := write(t, "sngate.toml", fmt.Sprintf("gateway.client_id = %q\nbroker.url = \"ssl://127.0.0.1:1\"\nbroker.credentials_file = %q\nbroker.cert_file = %q\nbroker.key_file = %q\n",
			id, table, dir+"/{client_id}.pem", dir+"/{client_id}.key"))
		if code, stdout, stderr := call(t, "", "check", path); code != exitOK || stdout != "ok\n" || stderr != want {
			t.Errorf("%s: code %d, %q, %q, want %q", id, code, stdout, stderr, want)
		}
	}
}
