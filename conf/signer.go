package conf

import (
	"errors"
	"fmt"

	"sngate/upstream/credential"
)

// keyEncodings are the words of broker.signer.key_encoding.
var keyEncodings = map[string]credential.Encoding{"text": credential.Plain, "base64": credential.Base64, "hex": credential.Hex}

// keys says how the keys of a signer are written; ok is false without one.
func (s *Signer) keys() (written credential.Encoding, ok bool) {
	if s.Type == "sas" { // the portals of its vendor show no other
		return credential.Base64, true
	}
	return keyEncodings[s.KeyEncoding], s.Type != ""
}

// checkKey reports what is wrong with a key, which it does not show; nil without a signer.
func (s *Signer) checkKey(text string) error {
	written, ok := s.keys()
	if !ok || text == "" {
		return nil
	}
	_, err := credential.DecodeKey(text, written)
	return err
}

// sign adds the signer to rules. known are the placeholders of other templates.
func (s *Signer) sign(r *credential.Rules, known []string, env credential.Environment, fault func(key string, err error)) {
	written, ok := s.keys()
	if !ok {
		return
	}
	_, inFields := credential.SignerPlaceholders()
	fields, err := credential.Parse(s.Fields, append(inFields, known...), env)
	if err != nil {
		fault("broker.signer.fields", err)
	}
	r.Signer = &credential.Signer{
		Scheme: map[string]credential.Scheme{"hmac": credential.HMAC, "sas": credential.SAS}[s.Type],
		SHA1:   s.Algorithm == "sha1", Encoding: map[string]credential.Encoding{"hex": credential.Hex, "base64": credential.Base64}[s.Encoding],
		Keys: written, Fields: fields, Suffix: s.Suffix, Life: s.Life,
	}
	r.Default.Key = credential.Literal(s.Key.Reveal())
}

// rowCheck is what the configuration wants of each row of a credentials file.
type rowCheck struct {
	needName bool // a password needs a user name beside it
	tls      bool // a certificate is of use
	signer   *Signer
}

func (b *Broker) rowCheck() rowCheck {
	return rowCheck{b.Username == "", len(b.SecureAddresses()) > 0, &b.Signer}
}

// check looks at the values of a row, by column.
func (c *rowCheck) check(at func(column string) string) error {
	if c.needName && at(credential.ColumnPassword) != "" && at(credential.ColumnUsername) == "" {
		return errors.New("there is a password and no username, here or in broker.username; MQTT has no password without a user name")
	}
	switch cert, key := at(credential.ColumnCertFile) != "", at(credential.ColumnKeyFile) != ""; {
	case cert && !key:
		return errors.New("there is a cert_file and no key_file; want both, or none")
	case key && !cert:
		return errors.New("there is a key_file and no cert_file; want both, or none")
	case cert && !c.tls:
		return errors.New(`there is a cert_file, and no broker is reached by TLS; want "ssl://" or "wss://" in broker.url`)
	}
	if err := c.signer.checkKey(at(credential.ColumnKey)); err != nil {
		return fmt.Errorf("%s %w, as broker.signer wants it", credential.ColumnKey, err)
	}
	return nil
}
