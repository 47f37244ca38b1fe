package credential

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"time"
)

// Placeholders of templates where passwords are signed.
const (
	PlaceholderNow    = "now"    // seconds since 1970 at the connect
	PlaceholderNowMS  = "now_ms" // milliseconds
	PlaceholderExpiry = "expiry" // seconds since 1970 when the password ends

	// In the text that is signed, and nowhere else.
	PlaceholderMQTTClientID = "mqtt_client_id"
	PlaceholderUsername     = ColumnUsername
)

// SignerPlaceholders are the placeholders that a signer adds: to every template, and those of its
// fields beside them.
func SignerPlaceholders() (all, fields []string) {
	return []string{PlaceholderNow, PlaceholderNowMS, PlaceholderExpiry}, []string{PlaceholderMQTTClientID, PlaceholderUsername}
}

// Scheme is what a Signer makes a password of.
type Scheme uint8

// The schemes.
const (
	HMAC Scheme = iota + 1 // the signature of the fields
	SAS                    // a shared access signature for the resource that the fields name, as Azure has it
)

// Encoding is how octets are written as text.
type Encoding uint8

// The encodings.
const (
	Plain Encoding = iota // as they are
	Hex                   // in small letters
	Base64
)

// Signer makes passwords by a key.
type Signer struct {
	Scheme   Scheme
	SHA1     bool     // instead of SHA-256; not with SAS
	Encoding Encoding // of the signature: Hex or Base64; not with SAS
	Keys     Encoding // how keys are written
	Fields   Template // what is signed
	Suffix   string   // behind the password
	Life     time.Duration
}

// DecodeKey returns the octets of a key.
func DecodeKey(text string, written Encoding) ([]byte, error) {
	var key []byte
	var err error
	switch written {
	case Hex:
		key, err = hex.DecodeString(text)
	case Base64:
		key, err = base64.StdEncoding.DecodeString(text)
	default:
		key = []byte(text)
	}
	if err != nil { // it may show a part of the key
		return nil, fmt.Errorf("is not %s", map[Encoding]string{Hex: "hex", Base64: "base64"}[written])
	}
	if len(key) == 0 {
		return nil, errors.New("is empty")
	}
	return key, nil
}

// sign returns the password of a client with a key.
func (s *Signer) sign(written string, of *values) (string, error) {
	key, err := DecodeKey(written, s.Keys)
	if err != nil {
		return "", fmt.Errorf("%w: the key %w", ErrNone, err)
	}
	fields, err := s.Fields.fill(of)
	if err != nil {
		return "", err
	}
	password := ""
	if s.Scheme == SAS {
		resource, expiry := url.QueryEscape(fields), of.value(PlaceholderExpiry)
		signature := base64.StdEncoding.EncodeToString(digest(sha256.New, key, resource+"\n"+expiry))
		password = "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(signature) + "&se=" + expiry
	} else {
		password = s.encode(digest(s.hash(), key, fields))
	}
	if password += s.Suffix; len(password) > MaxText {
		return "", ErrTooLong
	}
	return password, nil
}

func (s *Signer) hash() func() hash.Hash {
	if s.SHA1 {
		return sha1.New
	}
	return sha256.New
}

func (s *Signer) encode(signature []byte) string {
	if s.Encoding == Base64 {
		return base64.StdEncoding.EncodeToString(signature)
	}
	return hex.EncodeToString(signature)
}

func digest(algorithm func() hash.Hash, key []byte, text string) []byte {
	h := hmac.New(algorithm, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// moment returns the value of a placeholder that stands for a time; "" if it is none.
func (v *values) moment(name string) string {
	switch {
	case v.book.rules.Signer == nil:
		return ""
	case name == PlaceholderNow:
		return strconv.FormatInt(v.now.Unix(), 10)
	case name == PlaceholderNowMS:
		return strconv.FormatInt(v.now.UnixMilli(), 10)
	case name == PlaceholderExpiry:
		return strconv.FormatInt(v.now.Add(v.book.rules.Signer.Life).Unix(), 10)
	}
	return ""
}
