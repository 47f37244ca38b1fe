package conf

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"

	"sngate/upstream/secure"
)

// checkTLS checks what is said of TLS, and the files that are named.
func checkTLS(d *decoder, b *Broker) {
	keys := []struct {
		key string
		set bool
	}{
		{"broker.server_name", b.ServerName != ""},
		{"broker.ca_file", b.CAFile != ""},
		{"broker.cert_file", b.CertFile != ""},
		{"broker.key_file", b.KeyFile != ""},
		{"broker.alpn", len(b.ALPN) > 0},
		{"broker.min_tls", b.MinTLS != "1.2"},
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
		_, err := secure.ReadAuthorities(b.CAFile)
		fileFault(d, err)
	}
	checkPair(d, b)
}

// isHost reports whether a text may be the name or the IP address of a host.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	return !strings.ContainsAny(text, ":/@ \t{}")
}

// checkPair checks the client certificate and its key. Of those that each device has for itself
// it knows the folder only.
func checkPair(d *decoder, b *Broker) {
	const cert, key = "broker.cert_file", "broker.key_file"
	switch {
	case d.bad[cert] || d.bad[key] || b.CertFile == "" && b.KeyFile == "":
		return
	case b.KeyFile == "":
		d.fault(cert, "is set without %s; want both, or none", key)
		return
	case b.CertFile == "":
		d.fault(key, "is set without %s; want both, or none", cert)
		return
	}
	known := checkTemplate(d, cert, secure.Template(b.CertFile))
	if checkTemplate(d, key, secure.Template(b.KeyFile)) && known {
		_, err := secure.ReadPair(b.CertFile, b.KeyFile, d.credentials)
		fileFault(d, err)
	}
}

// checkTemplate checks the path of a file, and reports whether it is that of one file.
func checkTemplate(d *decoder, at string, t secure.Template) bool {
	if err := t.Check(); err != nil {
		d.fault(at, "%v", err)
		return false
	}
	if !t.PerClient() {
		return true
	}
	if info, err := os.Stat(t.Folder()); err != nil || !info.IsDir() {
		d.fault(at, "is in %s, which is not a directory", quote(t.Folder()))
	}
	return false
}

// fileFault notes what is wrong with a file.
func fileFault(d *decoder, err error) {
	var f *secure.FileError
	if errors.As(err, &f) {
		d.fault("broker."+f.Key, "%v", f)
	}
}
