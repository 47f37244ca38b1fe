package conf

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

const (
	embeddedURL = "embedded"
	brokerPort  = "1883" // of a broker.url without one
	securePort  = "8883" // of one with TLS
)

// parseBrokerURL returns the "host:port" of a broker.url, or "" for the built-in broker, and
// whether it speaks TLS. What has no scheme is a host, with or without a port. The errors do not
// show the URL, which may have a password in it.
func parseBrokerURL(text string) (address string, secure bool, err error) {
	if text == embeddedURL {
		return "", false, nil
	}
	want := errors.New(`is not the URL of a broker; want "embedded" or one such as "tcp://broker.example:1883"`)
	if nearlyEmbedded(text) {
		return "", false, errors.New(`is not the URL of a broker; did you mean "embedded"?`)
	}
	u, err := url.Parse(withScheme(text))
	if err != nil {
		return "", false, want
	}
	port := u.Port()
	switch u.Scheme {
	case "tcp", "mqtt":
		port = cmp.Or(port, brokerPort)
	case "ssl", "tls", "mqtts":
		secure = true
		port = cmp.Or(port, securePort)
	default:
		return "", false, want
	}
	if u.User != nil {
		return "", false, errors.New("has a user name in it; want it in broker.username and broker.password")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", false, errors.New("has a part behind the port; want only the host and the port")
	}
	address = net.JoinHostPort(u.Hostname(), port)
	if h, err := parseAddress(address); err != nil || h.name == "" || h.port == 0 {
		return "", false, want
	}
	return address, secure, nil
}

// withScheme makes a URL of a host, with or without a port. An IPv6 address alone needs no
// brackets: its colons cannot be taken for that of a port.
func withScheme(text string) string {
	if strings.Contains(text, "://") {
		return text
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
		// The zone of a link-local address begins with "%", which a URL escapes.
		text = "[" + strings.Replace(text, "%", "%25", 1) + "]"
	}
	return "tcp://" + text
}

// nearlyEmbedded reports whether a text is "embedded" with a slip of the pen: as a host
// name it would be looked up for ever.
func nearlyEmbedded(text string) bool { return distance(strings.ToLower(text), embeddedURL) <= 2 }
