package conf

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSignersComeFromTheConfiguration(t *testing.T) {
	file := put(t, filepath.Join(t.TempDir(), "d.csv"), "client_id,key,device_name,product_id\n"+
		"a,c2VjcmV0IGtleQ==,dev,PID\nb,,dev,PID\n", 0o600)
	text := `[broker]
url = "tcp://broker"
client_id = "{product_id}{device_name}"
username = "{product_id}{device_name};12010126;E4F3Q;{expiry}"
credentials_file = "` + file + `"
device = [{ client = "c", client_id = "c", username = "PIDdev;12010126;E4F3Q;{expiry}", key = "c2VjcmV0IGtleQ==" }]
[broker.signer]
type = "hmac"
key = "c2VjcmV0IGtleQ=="
key_encoding = "base64"
fields = "{username}"
suffix = ";hmacsha256"
life = "10m"
`
	cfg := mustParse(t, text)
	book, _, err := cfg.Credentials("gw", nil).Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		c, err := book.Connect(id, time.Unix(1473768757-600, 0))
		// As in package credential: openssl has computed it.
		if want := "6d65c7543bd370d1437bd6d78e4d53a348c74a32b78356022951ad44ed10ef4e;hmacsha256"; err != nil || string(c.Password) != want || c.Life != 10*time.Minute {
			t.Errorf("%s: %+v, %v; want %s", id, c, err, want)
		}
	}
}

func TestFaultsOfSigners(t *testing.T) {
	const hmac = "[broker]\nusername = 'u'\n[broker.signer]\ntype = 'hmac'\n"
	_, text := devices(t, "d.csv", "client_id,key\na,zz\n", "[broker.signer]\ntype = 'hmac'\nfields = 'f'\nkey_encoding = 'hex'")
	for text, want := range map[string]string{
		hmac + "key = 'k'\n":    "test.toml:3: broker.signer.fields: is empty; want the text that is signed, or for \"sas\" the resource",
		hmac + "fields = 'f'\n": "test.toml:3: broker.signer.key: is empty, and there are no devices with keys of their own; want a key, broker.credentials_file or [[broker.device]]",
		hmac + "fields = 'f'\nkey = 'hunter2'\nkey_encoding = 'hex'\n":                                              "test.toml:6: broker.signer.key: is not hex",
		"[broker]\nusername = 'u'\npassword = 'hunter2'\n[broker.signer]\ntype = 'sas'\nfields = 'f'\nkey = 'aGk='": "test.toml:3: broker.password: is set, and broker.signer makes passwords; want only one of them",
		"[broker]\nusername = '{expiry}'\n":                                                                         "test.toml:2: broker.username: has {expiry}, which is no placeholder; want {client_id}, {gateway}, {host}, {env:NAME}",
		hmac + "fields = '{password}'\nkey = 'k'\n":                                                                 "test.toml:5: broker.signer.fields: has {password}, which is no placeholder; want {mqtt_client_id}, {username}, {client_id}, {gateway}, {host}, {now}, {now_ms}, {expiry}, {env:NAME}",
		text: "test.toml:3: broker.credentials_file: d.csv: line 2: key is not hex, as broker.signer wants it",
	} {
		if got := mustRefuse(t, text); got != want || strings.Contains(got, "hunter") {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}
