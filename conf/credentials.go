package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"sngate/internal/secretfile"
	"sngate/upstream/credential"
)

// Credentials says how those of a valid Config are come by.
type Credentials struct {
	broker  Broker
	gateway string
	env     credential.Environment
	shut    fs.FileMode // see readSecrets
}

// Credentials returns how to come by what devices say to the broker of who they are. gateway is
// the client id of the gateway itself, env is as for Load.
func (c *Config) Credentials(gateway string, env []string) *Credentials {
	return &Credentials{broker: c.Broker, gateway: gateway, env: lookup(env), shut: secretfile.Shut(c.Broker.CredentialsFile, directoryOf(env))}
}

// File is the path of broker.credentials_file; "" without one.
func (c *Credentials) File() string { return c.broker.CredentialsFile }

// Stamp says how that file looks now.
func (c *Credentials) Stamp() (Stamp, error) {
	info, err := os.Stat(c.File())
	if err != nil {
		return Stamp{}, err
	}
	return stampOf(info), nil
}

// Read reads that file, if there is one, and returns all credentials, and how the file looked.
// No secret is in the error.
func (c *Credentials) Read() (*credential.Book, Stamp, error) {
	var table *credential.Table
	var stamp Stamp
	if path := c.File(); path != "" {
		data, at, err := readSecrets(path, maxCredentials, c.shut)
		stamp = at
		if err == nil {
			table, err = parseTable(path, data, c.broker.rowCheck())
		}
		if err != nil {
			return nil, stamp, err
		}
	}
	var faults []error
	rules := c.broker.rules(table, c.env, func(key string, err error) { faults = append(faults, fmt.Errorf("%s %w", key, err)) })
	rules.Gateway, rules.Host = c.gateway, c.broker.host()
	return credential.NewBook(rules, table), stamp, errors.Join(faults...)
}

// lookup finds variables in a list as of os.Environ.
func lookup(env []string) credential.Environment {
	return func(name string) (string, bool) {
		for _, e := range slices.Backward(env) {
			if key, value, ok := strings.Cut(e, "="); ok && key == name {
				return value, true
			}
		}
		return "", false
	}
}

// directoryOf is where the service's credentials are; "" for none.
func directoryOf(env []string) string {
	directory, _ := lookup(env)(credentialsVariable)
	return directory
}

// rules reads the templates; what is wrong with one is told with its key.
func (b *Broker) rules(table *credential.Table, env credential.Environment, fault func(key string, err error)) credential.Rules {
	known := table.Placeholders()
	if b.Signer.Type != "" {
		all, _ := credential.SignerPlaceholders()
		known = append(known, all...)
	}
	text := func(key, value string) credential.Template {
		t, err := credential.Parse(value, known, env)
		if err != nil {
			fault(key, err)
		}
		return t
	}
	secret := func(key string, value, file Secret) credential.Template {
		if file.Reveal() != "" {
			return credential.Literal(value.Reveal())
		}
		t, err := credential.Parse(value.Reveal(), known, env)
		if err != nil { // which may show a part of the password
			fault(key, fmt.Errorf("has a \"{\" that begins no placeholder, or one of a variable that is not set; want \"{{\" for a brace of the password itself, or %s", credential.List(known)))
		}
		return t
	}
	one := func(key string, t credential.Template) credential.Template {
		if !t.None() && !slices.ContainsFunc(t.Names(), func(name string) bool {
			return name != credential.PlaceholderGateway && name != credential.PlaceholderHost
		}) {
			fault(key, errors.New("is the same for all devices, and brokers know a client by it; want a placeholder such as {client_id} in it"))
		}
		return t
	}
	const at = "broker"
	r := credential.Rules{Required: b.CredentialsRequired, Default: credential.Account{
		ClientID: one(join(at, "client_id"), text(join(at, "client_id"), b.ClientID)),
		Username: text(join(at, "username"), b.Username),
		Password: secret(join(at, "password"), b.Password, b.PasswordFile),
	}}
	for i, e := range b.Device {
		at := index("broker.device", i)
		entry := credential.Entry{Client: e.Client, Account: credential.Account{
			ClientID: text(join(at, "client_id"), e.ClientID),
			Username: text(join(at, "username"), e.Username),
			Password: secret(join(at, "password"), e.Password, e.PasswordFile),
			Key:      credential.Literal(e.Key.Reveal()),
		}}
		if strings.ContainsAny(e.Client, "*?") {
			one(join(at, "client_id"), entry.ClientID)
		}
		r.Entries = append(r.Entries, entry)
	}
	b.certificates(&r, table.Placeholders(), env, fault)
	r.Topics = b.TopicMap.topics(table.Placeholders(), env, fault)
	b.Signer.sign(&r, known, env, fault)
	return r
}

// hasPassword reports whether there is a password or key in what a file says.
func hasPassword(b *Broker) bool {
	return b.Password.Reveal() != "" || b.Signer.Key.Reveal() != "" || len(b.WebSocket.Headers) > 0 ||
		slices.ContainsFunc(b.Device, func(e BrokerDevice) bool { return e.Password.Reveal() != "" || e.Key.Reveal() != "" })
}
