package conf

import (
	"embed"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// profiles has a file for each profile, which sets what it sets, explains it, and shows as
// "#key = value" what it cannot know.
//
//go:embed profiles/*.toml
var profiles embed.FS

// Profiles returns the names that broker.profile may have, but for "".
func Profiles() []string {
	field, _ := fieldOf(reflect.TypeFor[Broker](), "profile")
	return strings.Split(strings.TrimPrefix(field.Tag.Get("enum"), ","), ",")
}

// Profile returns a configuration file that has what a profile sets, with explanations. The error
// says which profiles there are.
func Profile(name string) (string, error) {
	if names := Profiles(); !slices.Contains(names, name) {
		return "", fmt.Errorf("is not known; want one of %s%s", strings.Join(names, ", "), didYouMean(nearestWord(name, names)))
	}
	data, err := profiles.ReadFile("profiles/" + name + ".toml")
	return string(data), err
}

// demand is something that a hub wants and a profile cannot know.
type demand struct {
	key  string // where it is missing
	want string
	met  func(b *Broker) bool
}

// demandsOf are those of a profile.
func demandsOf(profile string) []demand {
	columns := func(names ...string) demand {
		list := strings.Join(names, ", ")
		return demand{"broker.credentials_file", "a file with the columns client_id, " + list + " and key", func(b *Broker) bool {
			return b.CredentialsFile != "" || !slices.ContainsFunc(names, func(name string) bool {
				return strings.Contains(b.ClientID+b.Username+b.Signer.Fields+b.TopicMap.Publish+b.TopicMap.Subscribe, "{"+name+"}")
			})
		}}
	}
	certificate := demand{"broker.cert_file", "the certificate of each device, such as \"certs/{client_id}.pem\"", func(b *Broker) bool {
		return b.CertFile != "" || b.hasPasswords()
	}}
	passwords := demand{"broker.credentials_file", "user names and passwords of the devices, or broker.username and broker.password", func(b *Broker) bool {
		return b.CertFile != "" || b.hasPasswords()
	}}
	switch profile {
	case "aws-iot", "azure-event-grid":
		return []demand{certificate}
	case "azure-iot-hub":
		return []demand{{"broker.credentials_file", "a file with the columns client_id and key, or certificates in broker.cert_file", func(b *Broker) bool {
			return b.CertFile != "" || b.Signer.Key.Reveal() != "" || b.hasPasswords()
		}}}
	case "tencent-iot-hub":
		return []demand{columns("product_id", "device_name")}
	case "alibaba-iot":
		return []demand{columns("product_key", "device_name")}
	case "emqx-cloud", "hivemq-cloud":
		return []demand{passwords}
	}
	return nil
}

// hasPasswords reports whether there is anything that passwords may come from.
func (b *Broker) hasPasswords() bool {
	return b.Password.Reveal() != "" || b.PasswordFile.Reveal() != "" || b.CredentialsFile != "" || len(b.Device) > 0
}

// profileName is which profile the file and the environment want, whether there is such a one or not.
func profileName(tree map[string]any, env []string) string {
	name, set := lookup(env)(envName("broker.profile"))
	if !set {
		broker, _ := tree["broker"].(map[string]any)
		name, _ = broker["profile"].(string)
	}
	return name
}

// applyProfile gives the keys of a profile their values, before the file does.
func applyProfile(d *decoder, name string, cfg *Config) {
	text, err := Profile(name)
	if err != nil {
		return // a word that is not known, which is told when it is read
	}
	own := newDecoder("", text)
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil { // a test reads them all
		own.fault("broker.profile", "%v", err)
	}
	own.table("", tree, reflect.ValueOf(cfg).Elem())
	d.profiled, d.faults = own.given, append(d.faults, own.faults...)
}

// checkDemands notes what the hub of the profile wants and is not there.
func checkDemands(d *decoder, b *Broker) {
	if b.Profile == "" || d.bad["broker.profile"] {
		return
	}
	for _, want := range append(demandsOf(b.Profile), hubOf(b.Profile)) {
		if !d.bad[want.key] && !want.met(b) {
			d.fault(want.key, "is missing for the profile %q; want %s", b.Profile, want.want)
		}
	}
	if brokers := append([]string{b.URL}, b.FallbackURLs...); !d.bad["broker.url"] && b.Profile != plainProfile && len(b.SecureAddresses()) < len(brokers) {
		d.fault("broker.url", "is without TLS, and the hub of the profile %q is not reached otherwise; want ssl://", b.Profile)
	}
}

// plainProfile is that of the hub that takes the keys of devices without TLS alone.
const plainProfile = "tencent-iot-hub"

// hubOf is the demand for the address of the hub.
func hubOf(profile string) demand {
	text, _ := Profile(profile)
	_, shown, _ := strings.Cut(text, "\n#url = ")
	shown, _, _ = strings.Cut(shown, "\n")
	return demand{"broker.url", "the hub, such as " + shown, func(b *Broker) bool { return !b.Embedded() }}
}
