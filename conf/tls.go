package conf

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sngate/upstream/credential"
	"sngate/upstream/secure"
)

// checkTLS checks what is said of TLS, and the file of the authorities.
func checkTLS(d *decoder, b *Broker) {
	type given struct {
		key string
		set bool
	}
	keys := []given{
		{"broker.server_name", b.ServerName != ""},
		{"broker.ca_file", b.CAFile != ""},
		{"broker.cert_file", b.CertFile != ""},
		{"broker.key_file", b.KeyFile != ""},
		{"broker.alpn", len(b.ALPN) > 0},
		{"broker.min_tls", b.MinTLS != "1.2"},
	}
	for i, e := range b.Device {
		at := index("broker.device", i)
		keys = append(keys, given{join(at, "cert_file"), e.CertFile != ""}, given{join(at, "key_file"), e.KeyFile != ""})
	}
	if len(b.SecureAddresses()) == 0 {
		for _, k := range keys {
			if k.set && !d.bad[k.key] && !d.bad["broker.url"] && !d.bad["broker.fallback_urls"] {
				d.fault(k.key, `is set, and no broker is reached by TLS; want "ssl://" or "wss://" in broker.url`)
			}
		}
		return
	}
	if name := b.ServerName; name != "" && !isHost(name) {
		d.fault("broker.server_name", "%s is not the name of a host; want one such as \"broker.example\", without scheme and port", quote(name))
	}
	for i, protocol := range b.ALPN {
		if at := index("broker.alpn", i); !d.bad[at] && (protocol == "" || len(protocol) > 255) {
			d.fault(at, "has %d octets; want 1..255", len(protocol))
		}
	}
	webs := b.WebSockets()
	if len(b.ALPN) > 0 && !slices.ContainsFunc(b.SecureAddresses(), func(address string) bool { return webs[address] == nil }) && !d.bad["broker.alpn"] {
		d.fault("broker.alpn", `is set, and "wss://" always offers "http/1.1"; want none, or "ssl://" in broker.url`)
	}
	if b.CAFile != "" {
		path, _ := d.locate(b.CAFile)
		_, err := secure.ReadAuthorities(path)
		fileFault(d, "broker", err)
	}
	checkPair(d, "broker", b.CertFile, b.KeyFile)
	for i, e := range b.Device {
		checkPair(d, index("broker.device", i), e.CertFile, e.KeyFile)
	}
}

// isHost reports whether a text may be the name or the IP address of a host.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	return !strings.ContainsAny(text, ":/@ \t{}")
}

// checkPair wants the client certificate and its key, or none of them, of [broker] or one of
// [[broker.device]].
func checkPair(d *decoder, at, certFile, keyFile string) {
	cert, key := join(at, "cert_file"), join(at, "key_file")
	switch {
	case d.bad[at] || d.bad[cert] || d.bad[key]:
	case certFile != "" && keyFile == "":
		d.fault(cert, "is set without %s; want both, or none", key)
	case certFile == "" && keyFile != "":
		d.fault(key, "is set without %s; want both, or none", cert)
	}
}

// certificates adds the paths of certificates to rules. known are the placeholders that there are.
func (b *Broker) certificates(r *credential.Rules, known []string, env credential.Environment, fault func(key string, err error)) {
	add := func(to *credential.Account, at, certFile, keyFile string) {
		var err error
		if to.CertFile, err = credential.Parse(certFile, known, env); err != nil {
			fault(join(at, "cert_file"), err)
		}
		if to.KeyFile, err = credential.Parse(keyFile, known, env); err != nil {
			fault(join(at, "key_file"), err)
		}
	}
	add(&r.Default, "broker", b.CertFile, b.KeyFile)
	for i, e := range b.Device {
		add(&r.Entries[i].Account, index("broker.device", i), e.CertFile, e.KeyFile)
	}
}

// checkCertificate reads the files of an account. Of those that each device has for itself it
// knows the folder only.
func checkCertificate(d *decoder, at string, a *credential.Account) {
	if a.CertFile.None() || a.KeyFile.None() {
		return
	}
	cert, one := checkPath(d, join(at, "cert_file"), a.CertFile)
	key, too := checkPath(d, join(at, "key_file"), a.KeyFile)
	if one && too {
		_, err := secure.ReadPair(cert, key, d.credentials)
		fileFault(d, at, err)
	}
}

// checkPath checks the path of a file, and reports whether it is that of one file.
func checkPath(d *decoder, key string, t credential.Template) (path string, one bool) {
	path, one = t.Start()
	if one {
		path, _ = d.locate(path)
		return path, true
	}
	folder := filepath.Dir(path + "x")
	found, _ := d.locate(folder)
	if info, err := os.Stat(found); err != nil || !info.IsDir() {
		d.fault(key, "is in %s, which is not a directory", quote(folder))
	}
	return "", false
}

// fileFault notes what is wrong with a file.
func fileFault(d *decoder, at string, err error) {
	var f *secure.FileError
	if errors.As(err, &f) {
		d.fault(join(at, f.Key), "%v", f)
	}
}
