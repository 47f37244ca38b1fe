package conf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

const (
	embeddedURL = "embedded"
	brokerPort  = "1883" // of a broker.url without one
)

// parseBrokerURL returns the "host:port" of a broker.url, or "" for the built-in broker. What
// has no scheme is a host, with or without a port. The errors do not show the URL, which may
// have a password in it.
func parseBrokerURL(text string) (string, error) {
	if text == embeddedURL {
		return "", nil
	}
	want := errors.New(`is not the URL of a broker; want "embedded" or one such as "tcp://broker.example:1883"`)
	if nearlyEmbedded(text) {
		return "", errors.New(`is not the URL of a broker; did you mean "embedded"?`)
	}
	u, err := url.Parse(withScheme(text))
	if err != nil {
		return "", want
	}
	switch u.Scheme {
	case "tcp", "mqtt":
	case "ssl", "tls", "mqtts":
		return "", fmt.Errorf("%s:// is not available in this version; want tcp:// or \"embedded\"", u.Scheme)
	default:
		return "", want
	}
	if u.User != nil {
		return "", errors.New("has a user name in it; want it in broker.username and broker.password")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", errors.New("has a part behind the port; want only the host and the port")
	}
	port := u.Port()
	if port == "" {
		port = brokerPort
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if h, err := parseAddress(address); err != nil || h.name == "" || h.port == 0 {
		return "", want
	}
	return address, nil
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
