// Package cloud makes of each section of docs/CLOUD.md what a reader would: a folder with the
// configuration and the files that it names, and a strict hub that knows the devices.
//
// Its tests follow the page with the built program. The scenarios of all hubs, with hours of
// simulated time, are in cmd/sngate.
package cloud

import (
	"encoding/base64"
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sngate/test/hub"
	"sngate/upstream/secure/securetest"
)

// The names on the page.
const (
	Gateway = "sngate-hall-3"
	Device  = "pump-7"
)

// Section is what the page has for a hub.
type Section struct {
	Profile string
	Text    string // all of it
	TOML    string
	CSV     string // the credentials file; "" where devices have certificates
	Probe   string // the command that shows whether it works
	Host    string // the name of the hub, as in broker.url
}

// Sections reads the page.
func Sections(t testing.TB, page string) []Section {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var list []Section
	for _, part := range strings.Split(string(text), "\n## ") {
		s := Section{Text: part, TOML: block(part, "toml"), CSV: block(part, "csv"), Probe: block(part, "sh")}
		if s.TOML == "" {
			continue
		}
		s.Profile = regexp.MustCompile(`(?m)^profile = "(.*)"$`).FindStringSubmatch(s.TOML)[1]
		s.Host = regexp.MustCompile(`(?m)^url = "\w+://([^:"]*)`).FindStringSubmatch(s.TOML)[1]
		list = append(list, s)
	}
	return list
}

func block(text, language string) string {
	_, rest, _ := strings.Cut(text, "```"+language+"\n")
	code, _, _ := strings.Cut(rest, "```")
	return code
}

// Secure reports whether the hub is reached by TLS.
func (s *Section) Secure() bool { return strings.Contains(s.TOML, `url = "ssl://`) }

// Place writes the files that the configuration names into a folder, and "ca.pem" for the
// authority of the hub.
func (s *Section) Place(t testing.TB, folder string, ca *securetest.CA) {
	t.Helper()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sngate.toml", s.TOML)
	ca.Write(t, filepath.Join(folder, "ca.pem"))
	if s.CSV != "" {
		write("devices.csv", s.CSV)
		return
	}
	if err := os.Mkdir(filepath.Join(folder, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{Gateway, Device} {
		path := filepath.Join(folder, "certs", id)
		ca.Issue(t, securetest.Certificate{Name: id}).Write(t, path+".pem", path+".key")
	}
}

// Hub makes the hub, which knows the devices of the page.
func (s *Section) Hub(t testing.TB, ca *securetest.CA, change ...func(*hub.Options)) *hub.Hub {
	t.Helper()
	o := hub.Options{Profile: s.Profile, Host: s.Host, Authorities: ca.Pool(), Devices: s.devices(t)}
	if s.Secure() {
		o.Certificate = ca.Issue(t, securetest.Certificate{DNS: []string{s.Host}}).TLS(t)
	}
	for _, f := range change {
		f(&o)
	}
	return hub.New(t, o)
}

// Environment is what has to be different from the page, because the hub is at another address
// and has another authority, and a list of more.
func (s *Section) Environment(address string, more ...string) []string {
	if !s.Secure() {
		return append(more, "SNGATE_BROKER_URL=tcp://"+address)
	}
	return append(more, "SNGATE_BROKER_URL=ssl://"+address, "SNGATE_BROKER_SERVER_NAME="+s.Host, "SNGATE_BROKER_CA_FILE=ca.pem")
}

func (s *Section) devices(t testing.TB) []hub.Device {
	t.Helper()
	if s.CSV == "" {
		return []hub.Device{{ID: Gateway}, {ID: Device}}
	}
	rows, err := csv.NewReader(strings.NewReader(s.CSV)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var list []hub.Device
	for _, row := range rows[1:] {
		at := func(columns ...string) string {
			for i, name := range rows[0] {
				for _, c := range columns {
					if name == c {
						return row[i]
					}
				}
			}
			return ""
		}
		d := hub.Device{
			ID: at("client_id"), Product: at("product_id", "product_key"), Name: at("device_name"),
			Username: at("username"), Password: at("password"), Key: []byte(at("key")),
		}
		if s.Profile != "alibaba-iot" { // the others show keys in base64
			if d.Key, err = base64.StdEncoding.DecodeString(at("key")); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, d)
	}
	return list
}

// MQTTClientID is the client id by which the hub knows a device of the page.
func (s *Section) MQTTClientID(t testing.TB, id string) string {
	for _, d := range s.devices(t) {
		if d.ID == id {
			switch s.Profile {
			case "tencent-iot-hub":
				return d.Product + d.Name
			case "alibaba-iot":
				return id + "|securemode=2,signmethod=hmacsha256|"
			}
		}
	}
	return id
}

// Topics are some of the device.
type Topics struct {
	Up     string // that the device publishes to
	AtHub  string // the same at the hub
	Filter string // that the device subscribes to
	Down   string // one of the hub that reaches it so
	Got    string // the same as the device has it
}

// Topics returns some that the hub has for the device.
func (s *Section) Topics() Topics {
	switch s.Profile {
	case "azure-iot-hub":
		own := "devices/pump-7/messages/"
		return Topics{"topic=status", own + "events/topic=status", "devicebound", own + "devicebound/to=7", "devicebound"}
	case "tencent-iot-hub":
		own := "1A17RZR3XX/pump7/"
		return Topics{"event", own + "event", "#", own + "control", "control"}
	case "alibaba-iot":
		own := "/a1B2c3D4e5F/pump7/user/"
		return Topics{"update", own + "update", "#", own + "get", "get"}
	}
	return Topics{"site/up", "site/up", "site/down/#", "site/down/1", "site/down/1"}
}
