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

// Nor does it say that the broker is well, and keep the others from leaving one that is not.
func TestMissingCertificatesDoNotKeepABrokerInUse(t *testing.T) {
	dir := t.TempDir()
	securetest.NewCA(t, "ca").Issue(t, securetest.Certificate{Name: "good"}).Write(t, dir+"/good.pem", dir+"/good.key")
	withCluster(t, upstream.Options{TLS: secure.Options{
		Brokers: []string{"a:1"}, MinVersion: tls.VersionTLS12, Files: securetest.Files(dir + "/{client_id}"),
	}}, func(c *cluster) {
		c.a.down.Store(true)
		good, bad := c.r.link(), c.r.link()
		for range 15 {
			good.Connect(c.r.now(), &upstream.Connect{ClientID: "good"})
			good.want(upstream.EventRefused, "the broker is down")
			if c.r.pass(time.Second); len(c.moves) > 0 {
				break
			}
			bad.Connect(c.r.now(), &upstream.Connect{ClientID: "bad"})
			bad.want(upstream.EventRefused, "there is no certificate")
		}
		c.wantInUse(1, "b:1", "the next, after ten seconds")
	})
}
