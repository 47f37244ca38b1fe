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
	webPath     = "/mqtt" // of a WebSocket URL without one
)

// brokerURL is what a broker.url says.
type brokerURL struct {
	address string   // host:port; "" for the built-in broker
	secure  bool     // it speaks TLS
	web     *url.URL // it is reached by WebSocket; nil: it is not
}

// transport is what a scheme stands for.
type transport struct {
	port        string // if the URL has none
	secure, web bool
}

// transportOf returns what a scheme stands for.
func transportOf(scheme string) (t transport, known bool) {
	switch scheme {
	case "tcp", "mqtt":
		return transport{port: "1883"}, true
	case "ssl", "tls", "mqtts":
		return transport{port: "8883", secure: true}, true
	case "ws":
		return transport{port: "80", web: true}, true
	case "wss":
		return transport{port: "443", secure: true, web: true}, true
	}
	return transport{}, false
}

// parseBrokerURL reads a broker.url. What has no scheme is a host, with or without a port. The
// errors do not show the URL, which may have a password in it.
func parseBrokerURL(text string) (brokerURL, error) {
	if text == embeddedURL {
		return brokerURL{}, nil
	}
	want := errors.New(`is not the URL of a broker; want "embedded" or one such as "tcp://broker.example:1883"`)
	if nearlyEmbedded(text) {
		return brokerURL{}, errors.New(`is not the URL of a broker; did you mean "embedded"?`)
	}
	u, err := url.Parse(withScheme(text))
	if err != nil {
		return brokerURL{}, want
	}
	t, known := transportOf(u.Scheme)
	switch {
	case !known:
		return brokerURL{}, want
	case u.User != nil:
		return brokerURL{}, errors.New("has a user name in it; want it in broker.username and broker.password")
	case t.web && u.Fragment != "":
		return brokerURL{}, errors.New(`has a part behind the path; want one such as "wss://broker.example/mqtt"`)
	case !t.web && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != ""):
		return brokerURL{}, errors.New("has a part behind the port; want only the host and the port")
	}
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), t.port))
	if h, err := parseAddress(address); err != nil || h.name == "" || h.port == 0 {
		return brokerURL{}, want
	}
	b := brokerURL{address: address, secure: t.secure}
	if t.web {
		u.Path = cmp.Or(u.Path, webPath)
		b.web = u
	}
	return b, nil
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
