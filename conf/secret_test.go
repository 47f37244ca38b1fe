package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

const password = "hunter2-horse"

func TestSecretsAreNeverPrinted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "the-file")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	fromFile := mustParse(t, "[broker]\nusername='u'\npassword_file='"+file+"'")
	inline := mustParse(t, "[broker]\nusername='u'\npassword='"+password+"'\ndevice=[{client='a',password='"+password+"',key='"+password+"'}]\nurl='ws://b'\nwebsocket={headers={Authorization='"+password+"'}}")
	for _, cfg := range []*Config{fromFile, inline} {
		if cfg.Broker.Password.Reveal() != password {
			t.Fatalf("password is %q", cfg.Broker.Password.Reveal())
		}
		secret := cfg.Broker.Password
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", secret, "c", *cfg)
		asJSON, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var asTOML bytes.Buffer
		if err := toml.NewEncoder(&asTOML).Encode(cfg.Broker); err != nil {
			t.Fatal(err)
		}
		unexported := struct{ s Secret }{secret}
		outputs := []string{secret.String(), log.String(), string(asJSON), asTOML.String(), fmt.Sprint(secret, &secret, cfg), fmt.Sprint(unexported)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%08.3f"} {
			outputs = append(outputs, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, &secret), fmt.Sprintf(verb, *cfg), fmt.Sprintf(verb, unexported))
		}
		for _, out := range outputs {
			if strings.Contains(out, password) || strings.Contains(out, fmt.Sprintf("%x", password)) || strings.Contains(out, "the-file") {
				t.Errorf("printed: %s", out)
			}
		}
		if fmt.Sprint(secret) != "***" || !strings.Contains(string(asJSON), `"Password":"***"`) {
			t.Errorf("printed as %v and %s", secret, asJSON)
		}
	}
}

func TestSecretZeroValueAndEquality(t *testing.T) {
	var zero Secret
	if zero.Reveal() != "" || !zero.Equal(NewSecret("")) || zero.Equal(NewSecret("a")) || !NewSecret("a").Equal(NewSecret("a")) {
		t.Error("Reveal or Equal is wrong")
	}
}

// TestMessagesDoNotShowPasswords puts a password where it is refused.
func TestMessagesDoNotShowPasswords(t *testing.T) {
	for _, text := range []string{
		"[broker]\npassword = " + password,
		"[broker]\npassword = truehunter2-horse",
		"[broker]\npassword = 7hunter2-horse",
		"[broker]\npassword = \"" + password + "\\u0000\"\nusername = 'u'",
		"[broker]\npassword = \"" + password + "\\" + password + "\"",
		"[broker]\npassword = \"" + password,
		"[broker]\npassword = '''" + password,
		"[broker]\npassword = \"" + password + "\"\npassword = \"" + password + "\"",
		"[broker]\npassword = ['" + password + "']",
		"[broker]\npassword = { a = '" + password + "' }",
		"[broker]\npassword = '" + password + "'",
		"[broker]\npassword = '" + password + "'\npassword_file = '/x'\nusername = 'u'",
		"[broker]\npasword = '" + password + "'",
		"[broker]\nusername = 'u'\npassword_file = '" + password + "'",
		"[broker.signer]\nkey = " + password,
		"[broker.signer]\nkey = '" + password + "'",
		"[broker.signer]\ntype = 'sas'\nfields = 'f'\nkey = '" + password + "'",
		"[broker]\ndevice = [{ client = 'a', password = " + password + " }]",
		"[broker]\ndevice = [{ client = 'a', password = '" + password + "' }]",
		"[broker]\ndevice = [{ client = 'a', pasword = '" + password + "' }]",
		"[broker]\ndevice = [{ client = 'a', username = 'u', password = '{" + password + "}' }]",
		"[broker]\ndevice = [{ client = 'a', username = 'u', password_file = '" + password + "' }]",
		"[broker]\ndevice = [{ client = 'a', key = '" + password + "' }]\nsigner = { type = 'hmac', fields = 'f', key_encoding = 'hex' }",
		"[broker.websocket]\nheaders = { Authorization = '" + password + "' }",
		"[broker.websocket]\nheaders = { Authorization = '" + password + "\\u0001' }",
		"[broker.websocket]\nheaders = { Host = '" + password + "' }",
		"[broker.websocket]\nheaders = '" + password + "'",
		"[broker.websocket]\nheaders = { Authorization = " + password + " }",
		"[broker]\nurl = 'wss://u:" + password + "@broker'",
		"[broker]\nusername = 'u'\npassword = '{" + password + "'",
		"[broker]\nurl = 'tcp://u:" + password + "@broker'",
		"[broker]\nurl = 'tcp://u:" + password + "@bro ker'",
		"[broker]\nurl = 'ssl://u:" + password + "@broker'",
		"broker.password = " + password,
		"broker = { password = " + password + " }",
	} {
		got := mustRefuse(t, text)
		if strings.Contains(got, "hunter2") || strings.Contains(got, "horse") {
			t.Errorf("%s\nsays %s", text, got)
		}
	}
	for _, env := range []string{
		"SNGATE_BROKER_PASSWORD=" + password, "SNGATE_BROKER_PASSWD=" + password, "SNGATE_BROKER_PASSWORD_FILE=" + password,
		"SNGATE_BROKER_SIGNER={key = " + password + "}", "SNGATE_BROKER_SIGNER={kay = '" + password + "'}", "SNGATE_BROKER_DEVICE=" + password,
		"SNGATE_BROKER_WEBSOCKET={headers = " + password + "}", "SNGATE_BROKER_WEBSOCKET={headers = {Host = '" + password + "'}}",
		"SNGATE_BROKER_PASSWORD=" + password + "\xff", "SNGATE_BROKER_URL=tcp://u:" + password + "@b",
	} {
		if got := mustRefuse(t, "", env); strings.Contains(got, "hunter2") {
			t.Errorf("%s says %s", env, got)
		}
	}
}
