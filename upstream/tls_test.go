package upstream_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"sngate/upstream"
	"sngate/upstream/dial"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
)

// A device without a certificate is refused; that says nothing of the broker, and no other is
// taken into use for it.
func TestMissingCertificatesSayNothingOfTheBroker_Case171(t *testing.T) {
	dir := t.TempDir()
	opt := upstream.Options{
		Fallbacks: []string{"other.example:1883"},
		TLS: secure.Options{
			Brokers: []string{"broker.example:1883"}, MinVersion: tls.VersionTLS12,
			Files: securetest.Files(dir + "/{client_id}"),
		},
	}
	bubble(t, opt, func(r *rig) {
		o := r.link()
		for range 10 {
			o.Connect(r.now(), &upstream.Connect{ClientID: "dev"})
			e := o.want(upstream.EventRefused, "there is no certificate")
			if e.Refusal.Kind != upstream.RefusedWithoutCredentials || !errors.Is(e.Err, dial.ErrUnsent) || !strings.Contains(e.Err.Error(), dir+"/dev.pem cannot be read: no such file") {
				t.Fatalf("refused by %v", e.Err)
			}
			r.pass(5 * time.Second)
		}
		if i, _ := r.d.InUse(); i != 0 || r.lis.Dialled() != 0 {
			t.Errorf("broker %d is in use, %d connections", i, r.lis.Dialled())
		}
		if n := r.d.Stats().TLS.Failures[secure.BadFile].Load(); n != 10 {
			t.Errorf("%d failures are counted", n)
		}
		ca := securetest.NewCA(t, "ca")
		ca.Issue(t, securetest.Certificate{Name: "dev"}).Write(t, dir+"/dev.pem", dir+"/old.key")
		ca.Issue(t, securetest.Certificate{Name: "dev"}).Write(t, dir+"/old.pem", dir+"/dev.key")
		o.Connect(r.now(), &upstream.Connect{ClientID: "dev"})
		e := o.want(upstream.EventRefused, "one that is broken may be half of a change")
		if e.Refusal.Kind != upstream.NotRefused || !strings.Contains(e.Err.Error(), "is not the key of the certificate") {
			t.Errorf("%+v: %v", e.Refusal, e.Err)
		}
	})
}
