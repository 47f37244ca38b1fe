package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// signed returns a Book with a signer for these tests.
func signed(t *testing.T, s Signer, key, fields, clientID, username string, rows *Table) *Book {
	t.Helper()
	all, inFields := SignerPlaceholders()
	known := append(rows.Placeholders(), all...)
	parse := func(text string, known []string) Template {
		made, err := Parse(text, known, environment)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	s.Fields = parse(fields, append(known, inFields...))
	return NewBook(Rules{Default: Account{ClientID: parse(clientID, known), Username: parse(username, known), Key: Literal(key)}, Signer: &s}, rows)
}

// The passwords that vendors have published for their examples.
func TestPublishedSignatures(t *testing.T) {
	for _, tt := range []struct {
		name             string
		signer           Signer
		key, fields      string
		clientID, user   string
		columns, row     string
		now              time.Time
		wantID, wantUser string
		want             string
	}{
		{
			// Alibaba Cloud IoT Platform, "Establish MQTT connections over TCP": clientId 12345,
			// device name "device", product key "pk", timestamp 789, hmacsha1 with "secret".
			name: "Alibaba", signer: Signer{Scheme: HMAC, SHA1: true, Encoding: Hex, Life: time.Hour}, key: "secret",
			fields:   "clientId{client_id}deviceName{device_name}productKey{product_key}timestamp{now_ms}",
			clientID: "{client_id}|securemode=3,signmethod=hmacsha1,timestamp={now_ms}|", user: "{device_name}&{product_key}",
			columns: "client_id,device_name,product_key", row: "12345,device,pk", now: time.UnixMilli(789),
			wantID: "12345|securemode=3,signmethod=hmacsha1,timestamp=789|", wantUser: "device&pk",
			want: strings.ToLower("FAFD82A3D602B37FB0FA8B7892F24A477F851A14"),
		},
		{
			// The example of the tests of the Azure CLI's IoT extension.
			name: "Azure", signer: Signer{Scheme: SAS, Keys: Base64, Life: time.Hour}, key: "+XLy+MVZ+aTeOnVzN2kLeB16O+kSxmz6g3rS6fAf6rw=",
			fields: "iot-hub-for-test.azure-devices.net/devices/{client_id}", clientID: "{client_id}", user: "u",
			columns: "client_id", row: "iot-device-for-test", now: time.Unix(1471940363-3600, 0),
			wantID: "iot-device-for-test", wantUser: "u",
			want: "SharedAccessSignature sr=iot-hub-for-test.azure-devices.net%2Fdevices%2Fiot-device-for-test&sig=SIumZ1ACqqPJZ2okHDlW9MSYKykEpqsQY3z6FMOICd4%3D&se=1471940363",
		},
	} {
		c, err := signed(t, tt.signer, tt.key, tt.fields, tt.clientID, tt.user, table(t, tt.columns, tt.row)).Connect(strings.Split(tt.row, ",")[0], tt.now)
		if err != nil || c.ClientID != tt.wantID || c.Username != tt.wantUser || string(c.Password) != tt.want || c.Life != time.Hour {
			t.Errorf("%s: %q %q %q for %v (%v)\nwant %q %q %q", tt.name, c.ClientID, c.Username, c.Password, c.Life, err, tt.wantID, tt.wantUser, tt.want)
		}
	}
}

// Tencent publishes the rule for its passwords and no result. What is wanted was computed by
//
//	printf %s 'PIDdev;12010126;E4F3Q;1473768757' | openssl dgst -HASH -hmac 'secret key'
//	printf %s 'PIDdev;12010126;E4F3Q;1473768757' | openssl dgst -sha256 -hmac 'secret key' -binary | base64
func TestSignaturesOfTheUserName(t *testing.T) {
	rows := table(t, "client_id,key,device_name", "a,secret key,dev", "b,c2VjcmV0IGtleQ==,dev", "c,736563726574206b6579,dev", "d,,dev")
	for _, tt := range []struct {
		id     string
		signer Signer
		want   string
	}{
		{"a", Signer{Scheme: HMAC, Encoding: Hex, Suffix: ";hmacsha256"}, "6d65c7543bd370d1437bd6d78e4d53a348c74a32b78356022951ad44ed10ef4e;hmacsha256"},
		{"a", Signer{Scheme: HMAC, SHA1: true, Encoding: Hex, Suffix: ";hmacsha1"}, "eebdb4dc9248349908ea64ad4bac5618250843ea;hmacsha1"},
		{"b", Signer{Scheme: HMAC, Encoding: Base64, Keys: Base64}, "bWXHVDvTcNFDe9bXjk1To0jHSjK3g1YCKVGtRO0Q704="},
		{"c", Signer{Scheme: HMAC, Encoding: Hex, Keys: Hex}, "6d65c7543bd370d1437bd6d78e4d53a348c74a32b78356022951ad44ed10ef4e"},
		{"d", Signer{Scheme: HMAC, Encoding: Hex}, "6d65c7543bd370d1437bd6d78e4d53a348c74a32b78356022951ad44ed10ef4e"},
	} {
		tt.signer.Life = time.Minute
		b := signed(t, tt.signer, "secret key", "{username}", "PID{device_name}", "PID{device_name};12010126;E4F3Q;{expiry}", rows)
		c, err := b.Connect(tt.id, time.Unix(1473768757-60, 0))
		if err != nil || c.Username != "PIDdev;12010126;E4F3Q;1473768757" || string(c.Password) != tt.want {
			t.Errorf("%s: %q %q (%v), want %q", tt.id, c.Username, c.Password, err, tt.want)
		}
	}
}

func TestWhatASignerDoesNotSign(t *testing.T) {
	rows := table(t, "client_id,username,password,key", "own,u,plain,", "keyless,u,,", "bad,u,,zz")
	b := signed(t, Signer{Scheme: HMAC, Keys: Hex, Encoding: Hex, Life: time.Minute}, "", "{username}{mqtt_client_id}", "{client_id}", "", rows)
	if c, err := b.Connect("own", time.Unix(1, 0)); err != nil || string(c.Password) != "plain" || c.Life != 0 {
		t.Errorf("a password of its own: %q for %v, %v", c.Password, c.Life, err)
	}
	ends := signed(t, Signer{Scheme: HMAC, Keys: Hex, Encoding: Hex, Life: time.Minute}, "", "{username}", "{client_id}", "u;{expiry}", table(t, "client_id,password", "own,plain"))
	if c, err := ends.Connect("own", time.Unix(1, 0)); err != nil || string(c.Password) != "plain" || c.Username != "u;61" || c.Life != time.Minute {
		t.Errorf("a password of its own beside a user name that ends: %q %q for %v, %v", c.Username, c.Password, c.Life, err)
	}
	for _, id := range []string{"keyless", "bad"} {
		if _, err := b.Connect(id, time.Unix(1, 0)); !errors.Is(err, ErrNone) || strings.Contains(err.Error(), "zz") {
			t.Errorf("%s: %v", id, err)
		}
	}
	long := signed(t, Signer{Scheme: SAS, Suffix: strings.Repeat("x", MaxText), Life: time.Minute}, "k", "r", "{client_id}", "u", rows)
	if _, err := long.Connect("keyless", time.Unix(1, 0)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}

func TestKeysAreDecoded(t *testing.T) {
	for _, tt := range []struct {
		text    string
		written Encoding
		want    string
		err     string
	}{
		{"a+b", Plain, "a+b", ""},
		{"612b62", Hex, "a+b", ""},
		{"YSti", Base64, "a+b", ""},
		{"6", Hex, "", "is not hex"},
		{"YSt", Base64, "", "is not base64"},
		{"", Plain, "", "is empty"},
	} {
		key, err := DecodeKey(tt.text, tt.written)
		if string(key) != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%q: %q, %v", tt.text, key, err)
		}
	}
	if fmt.Sprint(Template{}) != "***" {
		t.Error("a template is printed")
	}
}
