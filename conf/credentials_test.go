package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/upstream/credential"
)

const devicesCSV = `client_id, username,password,device_name
pump-1,p1,"secret, one",Pump 1
pump-2,p2,secret two,Pump 2
`

const devicesTOML = `
[[device]]
client_id = "pump-1"
username = "p1"
password = "secret, one"
device_name = "Pump 1"

[[device]]
client_id = "pump-2"
username = "p2"
password = "secret two"
device_name = "Pump 2"
`

// devices writes a credentials file, and returns a configuration with it.
func devices(t *testing.T, name, content, more string) (path, text string) {
	path = put(t, filepath.Join(t.TempDir(), name), content, 0o600)
	return path, "[broker]\nurl = 'tcp://broker'\ncredentials_file = '" + path + "'\n" + more
}

func TestCredentialsComeFromEveryPlace(t *testing.T) {
	own := put(t, filepath.Join(t.TempDir(), "own"), "{literal}\n", 0o600)
	for name, content := range map[string]string{"devices.csv": devicesCSV, "DEVICES.CSV": "\ufeff" + devicesCSV, "devices.toml": devicesTOML} {
		_, text := devices(t, name, content, `client_id = "{gateway}.{device_name}"
username = "{env:SITE}"
password = "{{{client_id}"
[[broker.device]]
client = "meter-?"
client_id = "m.{client_id}"
username = "meters"
password_file = "`+own+`"
`)
		env := []string{"SITE=old", "SITE=hall-3"}
		cfg := mustParse(t, text, env...)
		book, _, err := cfg.Credentials("gw", env).Read()
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]credential.Connect{
			"pump-1":  {ClientID: "gw.Pump 1", HasUsername: true, Username: "p1", Password: []byte("secret, one")},
			"pump-2":  {ClientID: "gw.Pump 2", HasUsername: true, Username: "p2", Password: []byte("secret two")},
			"meter-1": {ClientID: "m.meter-1", HasUsername: true, Username: "meters", Password: []byte("{literal}")},
		} {
			got, err := book.Connect(id, time.Time{})
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %s: %v %s", name, id, err, diff)
			}
		}
		if _, err := book.Connect("lamp", time.Time{}); !errors.Is(err, credential.ErrNone) {
			t.Errorf("%s: a device without a name: %v", name, err)
		}
		if fmt.Sprintf("%+v", cfg) == "" || strings.Contains(fmt.Sprintf("%+v", cfg), "{literal}") {
			t.Error("a password is printed")
		}
	}
}

func TestFaultsOfACredentialsFileNameTheLine(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"d.csv", "", "is empty; want a first line with the names of the columns, such as client_id,username,password"},
		{"d.csv", "username,password\n", `line 1: there is no column "client_id"`},
		{"d.csv", "client_id,gateway\n", `line 1: the column "gateway" has the name of another placeholder; want another name`},
		{"d.csv", "client_id,username\na,b\nc\n", "line 3: wrong number of fields"},
		{"d.csv", "client_id,username\na,b\n\n\"c,d\n", "line 4: extraneous or missing \" in quoted-field"},
		{"d.csv", "client_id,username\na,b\na,hunter2\n", `line 3: the client id "a" is there twice`},
		{"d.csv", "client_id,password\na,hunter2\n", "line 2: there is a password and no username, here or in broker.username; MQTT has no password without a user name"},
		{"d.csv", "client_id,username\na,hunter2\xff\n", "line 2: username is not well-formed UTF-8"},
		{"d.csv", "client_id,username\n,hunter2\n", "line 2: client_id is empty"},
		{"d.toml", "[[device]]\nclient_id = 'a'\npassword = hunter2\n", "line 3: is not valid TOML; more is not shown because of the secrets in it"},
		{"d.toml", "\n[[devices]]\nclient_id = 'a'\n", `line 2: unknown key "devices"; want [[device]] for each device`},
		{"d.toml", "device = 'a'\n", `line 1: want [[device]] for each device`},
		{"d.toml", "[[device]]\nclient_id = 'a'\nusername = 7\n", "line 3: username: want a string, got an integer"},
		{"d.toml", "[[device]]\nclient_id = 'a'\n[[device]]\nclient_id = 'a'\n", `line 3: the client id "a" is there twice`},
		{"d.toml", "[[device]]\nusername = 'a'\n", "line 1: client_id is empty"},
		{"d.json", "{}", "want a file whose name ends in .csv or .toml"},
	} {
		_, text := devices(t, tt.name, tt.content, "")
		want := "test.toml:3: broker.credentials_file: " + tt.name + ": " + tt.want
		if tt.name == "d.json" {
			want = "test.toml:3: broker.credentials_file: " + tt.want
		}
		if got := mustRefuse(t, text); got != want || strings.Contains(got, "hunter2") {
			t.Errorf("%q:\n got %s\nwant %s", tt.content, got, want)
		}
	}
}

func TestFilesOfSecretsAreShutToOthers(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601, 0o644} {
		path, text := devices(t, "d.csv", devicesCSV, "")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		access := fmt.Sprintf("cannot be read: other users have access to the file (mode %04o); want chmod go-rwx", mode)
		if got := mustRefuse(t, text); got != "test.toml:3: broker.credentials_file: "+access {
			t.Errorf("%o: %s", mode, got)
		}
		got := mustRefuse(t, "[broker]\nusername = 'u'\n[[broker.device]]\nclient = 'a'\npassword_file = '"+path+"'")
		if got != "test.toml:5: broker.device[0].password_file: "+access {
			t.Errorf("%o: %s", mode, got)
		}
	}
	// What systemd has loaded may be open to the group: the user of the service is let in by that.
	directory := t.TempDir()
	put(t, filepath.Join(directory, "d.csv"), devicesCSV, 0o440)
	cfg := mustParse(t, "[broker]\ncredentials_file = 'd.csv'", "CREDENTIALS_DIRECTORY="+directory)
	if _, _, err := cfg.Credentials("gw", []string{"CREDENTIALS_DIRECTORY=" + directory}).Read(); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(filepath.Join(directory, "d.csv"), 0o444); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, "[broker]\ncredentials_file = 'd.csv'", "CREDENTIALS_DIRECTORY="+directory)
}

func TestPlaceholdersThatTheFileDoesNotHaveAreFaults(t *testing.T) {
	_, text := devices(t, "d.csv", devicesCSV, "username = '{devicename}'\npassword = 'hunter{2}'")
	want := "test.toml:4: broker.username: has {devicename}, which is no placeholder; want {client_id}, {gateway}, {host}, {device_name}, {env:NAME}\n" +
		"test.toml:5: broker.password: has a \"{\" that begins no placeholder, or one of a variable that is not set; want \"{{\" for a brace of the password itself, or {client_id}, {gateway}, {host}, {device_name}, {env:NAME}"
	if got := mustRefuse(t, text); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestACredentialsFileIsReadAgain(t *testing.T) {
	path, text := devices(t, "d.csv", devicesCSV, "username = '{device_name}'")
	source := mustParse(t, text).Credentials("gw", nil)
	_, first, err := source.Read()
	if now, statErr := source.Stamp(); err != nil || statErr != nil || now != first {
		t.Fatalf("%v, %v: %+v and %+v", err, statErr, first, now)
	}
	put(t, path, "client_id,device_name\npump-1,New\n", 0o600)
	if now, err := source.Stamp(); err != nil || now == first {
		t.Fatalf("the change does not show: %v", err)
	}
	book, _, err := source.Read()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := book.Connect("pump-1", time.Time{}); err != nil || c.Username != "New" {
		t.Errorf("%+v, %v", c, err)
	}
	put(t, path, "client_id,name\npump-1,New\n", 0o600)
	if _, _, err := source.Read(); err == nil || !strings.HasPrefix(err.Error(), "broker.username has {device_name}, which is no placeholder") {
		t.Errorf("a column is gone: %v", err)
	}
}

func TestSecretsInAVariableAreNotShown(t *testing.T) {
	for _, value := range []string{"[{client='a', password=hunter2}]", "hunter2", "[{client='a', password='hunter2'}", "[{client='a', pasword='hunter2'}]"} {
		if got := mustRefuse(t, "", "SNGATE_BROKER_DEVICE="+value); strings.Contains(got, "hunter") {
			t.Errorf("%s says %s", value, got)
		}
	}
	cfg := mustParse(t, "", "SNGATE_BROKER_DEVICE=[{client='a', username='u', password='p'}]")
	if len(cfg.Broker.Device) != 1 || cfg.Broker.Device[0].Password.Reveal() != "p" {
		t.Errorf("%+v", cfg.Broker.Device)
	}
}
