package conf

import (
	"sngate/internal/secretfile"
	"sngate/upstream/credential"
)

// accountCheck checks what the broker is told of who connects.
type accountCheck struct {
	*decoder
	b *Broker
}

// all checks everything, and reads the files for it.
func (d accountCheck) all() {
	b := d.b
	for i := range b.Device {
		d.device(&b.Device[i], index("broker.device", i))
	}
	d.signer()
	const required = "broker.credentials_required"
	if b.CredentialsRequired && b.CredentialsFile == "" && len(b.Device) == 0 && !d.bad["broker.device"] {
		d.fault(required, "is true, and there are none; want broker.credentials_file or [[broker.device]]")
	}
	table, ok := d.credentialsFile()
	if !ok {
		return // which placeholders there are is not known
	}
	rules := b.rules(table, lookup(d.env), func(key string, err error) {
		if !d.bad[key] {
			d.fault(key, "%v", err)
		}
	})
	if len(b.SecureAddresses()) == 0 {
		return
	}
	checkCertificate(d.decoder, "broker", &rules.Default)
	for i := range rules.Entries {
		checkCertificate(d.decoder, index("broker.device", i), &rules.Entries[i].Account)
	}
}

// device checks one entry, and reads its file.
func (d accountCheck) device(e *BrokerDevice, at string) {
	if d.bad[at] {
		return
	}
	client, inline, file := join(at, "client"), join(at, "password"), join(at, "password_file")
	if e.Client == "" && !d.bad[client] {
		d.fault(client, "is empty; want a client id or a pattern")
	}
	if err := d.b.Signer.checkKey(e.Key.Reveal()); err != nil {
		d.fault(join(at, "key"), "%v", err)
	}
	given := inline
	if path := e.PasswordFile.Reveal(); path != "" {
		if e.Password.Reveal() != "" {
			d.fault(file, "is set, and password as well; want only one of them")
			return
		}
		given = file
		found, _ := d.locate(path)
		data, _, err := readSecrets(found, maxMQTTText+2, secretfile.Shut(found, d.credentials))
		if err != nil {
			d.unreadable(file, path, err)
			return
		}
		e.Password = NewSecret(lastLineEndCut(data))
		if e.Password.Reveal() == "" {
			d.fault(file, "names an empty file")
		}
	}
	switch password := e.Password.Reveal(); {
	case len(password) > maxMQTTText:
		d.fault(given, "is longer than %d octets", maxMQTTText)
	case password != "" && e.Username == "" && d.b.Username == "" && !d.bad[join(at, "username")]:
		d.fault(given, "needs a username as well, here or in [broker]; MQTT has no password without a user name")
	}
}

// credentialsFile reads broker.credentials_file, and replaces its path by the one where it was
// found.
func (d accountCheck) credentialsFile() (table *credential.Table, ok bool) {
	b := d.b
	const at = "broker.credentials_file"
	if b.CredentialsFile == "" || d.bad[at] {
		return nil, !d.bad[at]
	}
	path := b.CredentialsFile
	b.CredentialsFile, _ = d.locate(path)
	data, _, err := readSecrets(b.CredentialsFile, maxCredentials, secretfile.Shut(b.CredentialsFile, d.credentials))
	if err != nil {
		d.unreadable(at, path, err)
		return nil, false
	}
	if table, err = parseTable(b.CredentialsFile, data, b.rowCheck()); err != nil {
		d.fault(at, "%v", err)
	}
	return table, err == nil
}

// signer checks [broker.signer].
func (d accountCheck) signer() {
	const at = "broker.signer"
	b := d.b
	s, alone := &b.Signer, b.CredentialsFile == "" && len(b.Device) == 0
	key, fields := join(at, "key"), join(at, "fields")
	if s.Type == "" {
		for _, name := range []string{key, fields} {
			if d.given[name] && !d.bad[join(at, "type")] && (s.Key.Reveal() != "" || name == fields && s.Fields != "") {
				d.fault(name, "is set without %s", join(at, "type"))
			}
		}
		return
	}
	if b.Password.Reveal() != "" {
		given := "broker.password"
		if b.PasswordFile.Reveal() != "" {
			given = "broker.password_file"
		}
		d.fault(given, "is set, and broker.signer makes passwords; want only one of them")
	}
	if s.Fields == "" && !d.bad[fields] {
		d.fault(fields, "is empty; want the text that is signed, or for \"sas\" the resource")
	}
	if err := s.checkKey(s.Key.Reveal()); err != nil {
		d.fault(key, "%v", err)
	}
	if s.Key.Reveal() == "" && alone && !d.bad[key] && !d.bad["broker.credentials_file"] {
		d.fault(key, "is empty, and there are no devices with keys of their own; want a key, broker.credentials_file or [[broker.device]]")
	}
	if b.Username == "" && alone && !d.bad["broker.username"] {
		d.fault(join(at, "type"), "needs broker.username as well; MQTT has no password without a user name")
	}
}
