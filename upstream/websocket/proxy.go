package websocket

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Proxies are the HTTP proxies that the environment names. The zero value has none.
type Proxies struct {
	plain, secure variable // for ws and wss
	no            string   // for which hosts there is none
}

// variable is one that may name a proxy. There may be a password in it.
type variable struct{ name, value string }

// ReadProxies reads HTTP_PROXY, which is for ws, HTTPS_PROXY, for wss, and NO_PROXY, or the same
// in small letters, in a list of "NAME=value" as of os.Environ.
func ReadProxies(env []string) Proxies {
	get := func(name string) variable {
		v := variable{name: name}
		for _, name := range []string{strings.ToLower(name), name} { // the latter goes first
			for _, e := range env {
				if value, ok := strings.CutPrefix(e, name+"="); ok && value != "" {
					v = variable{name, value}
				}
			}
		}
		return v
	}
	return Proxies{plain: get("HTTP_PROXY"), secure: get("HTTPS_PROXY"), no: get("NO_PROXY").value}
}

// ProxyError says that a variable of the environment names no proxy that can be used. It does not
// show what the variable has.
type ProxyError struct{ Variable, Msg string }

func (e *ProxyError) Error() string { return e.Variable + ": " + e.Msg }

// Check reports whether the broker with this URL can be reached: if the environment names a proxy
// for it, that has to be one of HTTP. The error is a *ProxyError.
func (p Proxies) Check(broker *url.URL) error {
	_, err := p.of(broker)
	return err
}

// of returns the proxy of a broker; nil: there is none.
func (p Proxies) of(broker *url.URL) (*proxy, error) {
	v := p.plain
	if broker.Scheme == "wss" {
		v = p.secure
	}
	if v.value == "" {
		return nil, nil
	}
	if direct(p.no, broker.Hostname(), cmp.Or(broker.Port(), usualPort(broker.Scheme))) {
		return nil, nil
	}
	text := v.value
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, &ProxyError{v.name, "is not the URL of a proxy; want one such as http://proxy.example:3128"}
	case u.Scheme != "http":
		return nil, &ProxyError{v.name, "names a proxy of another kind; want http://, as in http://proxy.example:3128"}
	}
	return &proxy{address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")), user: u.User, variable: v.name}, nil
}

// direct reports whether there is no proxy for a host. That is so for this machine, and for what
// NO_PROXY lists: names, with all below them; names that begin with a dot, or "*.", for what is
// below them alone; addresses and networks; each with a port or not; "*" for all.
func direct(no, host, port string) bool {
	host, _, _ = strings.Cut(strings.TrimSuffix(strings.ToLower(host), "."), "%")
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	ip = ip.Unmap()
	if host == "localhost" || isIP && ip.IsLoopback() {
		return true
	}
	for entry := range strings.SplitSeq(strings.ToLower(no), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "*" {
			return true
		}
		if network, err := netip.ParsePrefix(entry); err == nil {
			if isIP && network.Contains(ip) {
				return true
			}
			continue
		}
		if name, only, err := net.SplitHostPort(entry); err == nil {
			if only != port {
				continue
			}
			entry = name
		}
		if own, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
			if isIP && own.Unmap() == ip {
				return true
			}
			continue
		}
		entry = strings.TrimPrefix(entry, "*")
		if below := "." + strings.TrimPrefix(entry, "."); below != "." && !isIP && (strings.HasSuffix(host, below) || entry == host) {
			return true
		}
	}
	return false
}

// proxy is one that is asked to connect to a broker.
type proxy struct {
	address  string        // host:port
	user     *url.Userinfo // nil: none. Never shown
	variable string        // that names it
}

// Proxied reports whether the broker at an address is dialled through a proxy.
func (w *WebSocket) Proxied(address string) bool { return w.brokers[address].proxy != nil }

// Dial returns a dial function that goes through the proxies of the brokers that have one, and
// uses next for the connections to them and to all others.
func (w *WebSocket) Dial(next Dial) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		p := w.brokers[address].proxy
		if p == nil {
			return next(ctx, network, address)
		}
		nc, err := next(ctx, network, p.address)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			return nil, w.stats.count(&Fault{ProxyUnreachable, "no connection to the proxy " + p.address + ": " + err.Error(), err})
		}
		stop := context.AfterFunc(ctx, func() { nc.Close() })
		fault := p.connect(nc, address)
		if !stop() {
			return nil, context.Cause(ctx)
		}
		if fault != nil {
			nc.Close()
			return nil, w.stats.count(fault)
		}
		return nc, nil
	}
}

// connect asks the proxy at the other end of nc for a connection to address; nil: there is one.
func (p *proxy) connect(nc net.Conn, address string) *Fault {
	ask := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if p.user != nil {
		password, _ := p.user.Password()
		ask += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.user.Username()+":"+password)) + "\r\n"
	}
	_, err := io.WriteString(nc, ask+"\r\n")
	if err != nil {
		return &Fault{ProxyAnswer, "the proxy " + p.address + " has closed the connection", err}
	}
	r := bufio.NewReaderSize(io.LimitReader(nc, maxAnswer), readBuffer)
	answer, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return &Fault{ProxyAnswer, "what the proxy " + p.address + " answers is no HTTP; is it one, and on this port?", err}
	}
	code := answer.StatusCode
	switch {
	case code == http.StatusProxyAuthRequired && p.user == nil:
		return &Fault{Reason: ProxyAuth, text: "the proxy " + p.address + " wants a user name and password, in " + p.variable + ": " + status(code)}
	case code == http.StatusProxyAuthRequired:
		return &Fault{Reason: ProxyAuth, text: "the proxy " + p.address + " does not take the user name and password in " + p.variable + ": " + status(code)}
	case code/100 != 2:
		return &Fault{Reason: ProxyRefused, text: "the proxy " + p.address + " does not connect to " + address + ": " + status(code)}
	case r.Buffered() > 0: // a broker says nothing first
		return &Fault{Reason: ProxyAnswer, text: "the proxy " + p.address + " has sent more than an answer"}
	}
	return nil
}
