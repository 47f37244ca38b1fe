package conf

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// filledIn is a value for each key that profiles leave to fill in.
func filledIn(t *testing.T) map[string]string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir("certs", 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, "devices.csv", "client_id,product_id,product_key,device_name,username,password,key\npump-1,P,P,pump1,,,c2VjcmV0\n", 0o600)
	return map[string]string{
		"url":              "", // as it is shown
		"credentials_file": `"devices.csv"`, "cert_file": `"certs/{client_id}.pem"`, "key_file": `"certs/{client_id}.key"`,
		"credentials_required": "true", "alpn": "", // not on this port
	}
}

// toFillIn finds what a profile shows as a value for a key that it cannot know.
var toFillIn = regexp.MustCompile(`(?m)^#(\w+) = (.*)$`)

// fill gives the keys that a profile leaves to fill in their values. It returns them alone, too.
func fill(t *testing.T, text string) (whole, alone string) {
	t.Helper()
	values := filledIn(t)
	whole = toFillIn.ReplaceAllStringFunc(text, func(line string) string {
		m := toFillIn.FindStringSubmatch(line)
		value, ok := values[m[1]]
		if !ok {
			t.Errorf("%s is left to fill in", m[1])
		}
		switch m[1] {
		case "alpn":
			return line
		case "url":
			value = m[2]
		}
		alone += m[1] + " = " + value + "\n"
		return m[1] + " = " + value
	})
	return whole, alone
}

// What is printed for a profile is what the profile does, and neither has a fault.
func TestAPrintedProfileIsTheProfile(t *testing.T) {
	for _, name := range Profiles() {
		text, err := Profile(name)
		if err != nil {
			t.Fatal(err)
		}
		whole, alone := fill(t, text)
		printed := mustParse(t, whole)
		if printed.Broker.Profile != name || !strings.Contains(alone, "url = ") {
			t.Errorf("%s: the profile %q, to fill in: %s", name, printed.Broker.Profile, alone)
		}
		short := mustParse(t, "[broker]\nprofile = '"+name+"'\n"+alone)
		if diff := cmp.Diff(short, printed, prefixes); diff != "" {
			t.Errorf("%s: by name (-) and as printed (+): %s", name, diff)
		}
		byVariable := mustParse(t, "[broker]\n"+alone, "SNGATE_BROKER_PROFILE="+name)
		if diff := cmp.Diff(short, byVariable, prefixes); diff != "" {
			t.Errorf("%s: in the file (-) and in the environment (+): %s", name, diff)
		}
	}
}

func TestThereIsAFileForEachProfile(t *testing.T) {
	files, err := profiles.ReadDir("profiles")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".toml"))
	}
	want := slices.Sorted(slices.Values(Profiles()))
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheUserSetsGoesBeforeTheProfile(t *testing.T) {
	filledIn(t)
	text := `[broker]
profile = "azure-iot-hub"
url = "ssl://contoso.azure-devices.net"
credentials_file = "devices.csv"
username = "{host}/{client_id}/?api-version=2020-09-30"
[broker.signer]
life = "2h"
`
	cfg := mustParse(t, text, "SNGATE_BROKER_SIGNER={ suffix = 'x' }", "SNGATE_BROKER_CLIENT_ID=site-{client_id}")
	b := cfg.Broker
	want := Signer{Type: "sas", Algorithm: "sha256", Encoding: "hex", KeyEncoding: "text", Fields: "{host}/devices/{client_id}", Life: 2 * time.Hour, Suffix: "x"}
	if diff := cmp.Diff(want, b.Signer); diff != "" || b.Username != "{host}/{client_id}/?api-version=2020-09-30" || b.ClientID != "site-{client_id}" {
		t.Errorf("%q %q %s", b.Username, b.ClientID, diff)
	}
	book, _, err := cfg.Credentials("gw", nil).Read()
	if err != nil {
		t.Fatal(err)
	}
	c, err := book.Connect("pump-1", time.Unix(0, 0))
	if err != nil || c.Username != "contoso.azure-devices.net/pump-1/?api-version=2020-09-30" || !strings.HasPrefix(string(c.Password), "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fpump-1&") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWhatAProfileNeedsIsNamed(t *testing.T) {
	filledIn(t)
	put(t, "few.csv", "client_id,key\npump-1,c2VjcmV0\n", 0o600)
	for _, tt := range []struct{ profile, more, want string }{
		{"aws-iot", "", `test.toml:1: broker.cert_file: is missing for the profile "aws-iot"; want the certificate of each device, such as "certs/{client_id}.pem"` + "\n" +
			`test.toml:1: broker.url: is missing for the profile "aws-iot"; want the hub, such as "ssl://ENDPOINT-ats.iot.REGION.amazonaws.com:8883"`},
		{"aws-iot", "url = 'ssl://a'\ncert_file = 'certs/{client_id}.pem'", `test.toml:4: broker.cert_file: is set without broker.key_file; want both, or none`},
		{"aws-iot", "url = 'a'\nusername = 'u'\npassword = 'p'", `test.toml:3: broker.url: is without TLS, and the hub of the profile "aws-iot" is not reached otherwise; want ssl://`},
		{"azure-iot-hub", "url = 'ssl://a'", `test.toml:1: broker.credentials_file: is missing for the profile "azure-iot-hub"; want a file with the columns client_id and key, or certificates in broker.cert_file`},
		{"azure-event-grid", "url = 'ssl://a'", `test.toml:1: broker.cert_file: is missing for the profile "azure-event-grid"; want the certificate of each device, such as "certs/{client_id}.pem"`},
		{"tencent-iot-hub", "url = 'a'", `test.toml:1: broker.credentials_file: is missing for the profile "tencent-iot-hub"; want a file with the columns client_id, product_id, device_name and key`},
		{"tencent-iot-hub", "url = 'a'\ncredentials_file = 'few.csv'\nusername = '{client_id};{expiry}'",
			`test.toml:2: broker.client_id: has {product_id}, which is no placeholder; want {client_id}, {gateway}, {host}, {now}, {now_ms}, {expiry}, {env:NAME} (the value is that of the profile)` + "\n" +
				`test.toml:2: broker.topic_map.publish: has {product_id}, which is no placeholder; want {client_id}, {gateway}, {host}, {env:NAME} (the value is that of the profile)` + "\n" +
				`test.toml:2: broker.topic_map.subscribe: has {product_id}, which is no placeholder; want {client_id}, {gateway}, {host}, {env:NAME} (the value is that of the profile)`},
		{"alibaba-iot", "url = 'ssl://a'", `test.toml:1: broker.credentials_file: is missing for the profile "alibaba-iot"; want a file with the columns client_id, product_key, device_name and key`},
		{"emqx-cloud", "url = 'ssl://a'", `test.toml:1: broker.credentials_file: is missing for the profile "emqx-cloud"; want user names and passwords of the devices, or broker.username and broker.password`},
		{"hivemq-cloud", "url = 'ssl://a'", `test.toml:1: broker.credentials_file: is missing for the profile "hivemq-cloud"; want user names and passwords of the devices, or broker.username and broker.password`},
	} {
		got := mustRefuse(t, "[broker]\nprofile = '"+tt.profile+"'\n"+tt.more)
		if got != tt.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", tt.profile, tt.more, got, tt.want)
		}
	}
	for _, more := range []string{
		"profile = 'aws-iot'\nurl = 'ssl://a'\nusername = 'u'\npassword = 'p'", // a custom authorizer
		"profile = 'azure-iot-hub'\nurl = 'ssl://a'\ncert_file = 'certs/{client_id}.pem'\nkey_file = 'certs/{client_id}.key'\nsigner.type = ''",
		"profile = 'azure-iot-hub'\nurl = 'ssl://a'\nsigner.key = 'c2VjcmV0'",
		"profile = 'tencent-iot-hub'\nurl = 'a'\nsigner.key = 'c2VjcmV0'\nclient_id = 'P{client_id}'\nusername = 'P{client_id};12010126;{now};{expiry}'\ntopic_map = { publish = 'P/{client_id}/', subscribe = 'P/{client_id}/' }",
		"profile = 'hivemq-cloud'\nurl = 'ssl://a'\nusername = 'u'\npassword = 'p'",
	} {
		mustParse(t, "[broker]\n"+more)
	}
}

func TestAnUnknownProfile(t *testing.T) {
	const list = `"", "aws-iot", "azure-iot-hub", "azure-event-grid", "tencent-iot-hub", "alibaba-iot", "emqx-cloud", "hivemq-cloud"`
	for name, hint := range map[string]string{"AWS-IoT": `; did you mean "aws-iot"?`, "hivemq": `; did you mean "hivemq-cloud"?`, "tencent-iothub": `; did you mean "tencent-iot-hub"?`, "oracle": ""} {
		want := `SNGATE_BROKER_PROFILE: broker.profile: "` + name + `" is not known; want one of ` + list + hint
		if got := mustRefuse(t, "", "SNGATE_BROKER_PROFILE="+name); got != want {
			t.Errorf(" got %s\nwant %s", got, want)
		}
		_, err := Profile(name)
		if want := "is not known; want one of " + strings.NewReplacer(`"", `, "", `"`, "").Replace(list) + hint; err == nil || err.Error() != want {
			t.Errorf(" got %v\nwant %s", err, want)
		}
	}
	mustParse(t, "[broker]\nprofile = 'aws-iot'", "SNGATE_BROKER_PROFILE=")
}
