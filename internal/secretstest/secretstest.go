// Package secretstest searches what a test has logged for the secrets it has used. It is for tests
// only.
package secretstest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sngate/upstream/credential"
)

// Least is how many octets a secret has at least: a shorter one would be found in any text.
const Least = 6

// Search has the secrets of a test. The zero value has none. It is safe for concurrent use.
type Search struct {
	mu      sync.Mutex
	secrets map[string]bool
}

// Add adds secrets: passwords, keys, signatures. Those shorter than Least are left out.
func (s *Search) Add(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range secrets {
		if len(secret) < Least {
			continue
		}
		if s.secrets == nil {
			s.secrets = make(map[string]bool)
		}
		s.secrets[secret] = true
	}
}

// Of returns what of does, and adds the passwords that come of it.
func (s *Search) Of(of func(clientID string) (credential.Connect, error)) func(clientID string) (credential.Connect, error) {
	return func(clientID string) (credential.Connect, error) {
		who, err := of(clientID)
		s.Add(string(who.Password))
		return who, err
	}
}

// Check fails the test if one of the secrets is in text, as it is or in a form in which programs
// show octets. where says what the text is, such as "the log".
func (s *Search) Check(t testing.TB, where, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret := range s.secrets {
		for _, form := range forms(secret) {
			if i := strings.Index(text, form); i >= 0 {
				line := text[strings.LastIndexByte(text[:i], '\n')+1:]
				line, _, _ = strings.Cut(line, "\n")
				t.Errorf("the secret %q is in %s, as %q: %s", secret, where, form, line)
				break
			}
		}
	}
}

// forms returns how a secret may be shown.
func forms(secret string) []string {
	quoted, _ := json.Marshal(secret) // a string can be
	octets := []byte(secret)
	list := []string{
		secret, string(quoted[1 : len(quoted)-1]), strings.Trim(fmt.Sprintf("%q", secret), `"`),
		base64.RawStdEncoding.EncodeToString(octets), base64.RawURLEncoding.EncodeToString(octets),
		hex.EncodeToString(octets), strings.ToUpper(hex.EncodeToString(octets)), fmt.Sprintf("% x", octets),
		url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(fmt.Sprint(octets), "[]"),
	}
	return list
}
