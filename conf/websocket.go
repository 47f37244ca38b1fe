package conf

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"sngate/upstream/websocket"
)

// Bounds of what the headers of an upgrade may take.
const (
	maxHeaders     = 32
	maxHeaderBytes = 8 << 10 // names and values together
)

// checkWebSocket checks what is said of WebSocket, and the proxies of the environment.
func checkWebSocket(d *decoder, b *Broker) {
	const at = "broker.websocket.headers"
	webs := b.WebSockets()
	fine := checkHeaders(d, at, b.WebSocket.Headers)
	if fine && len(webs) == 0 && len(b.WebSocket.Headers) > 0 && !d.bad["broker.url"] && !d.bad["broker.fallback_urls"] {
		d.fault(at, `is set, and no broker is reached by WebSocket; want "ws://" or "wss://" in broker.url`)
	}
	proxies, told := websocket.ReadProxies(d.env), make(map[string]bool)
	for _, address := range slices.Sorted(maps.Keys(webs)) {
		var p *websocket.ProxyError
		if err := proxies.Check(webs[address]); errors.As(err, &p) && !told[p.Variable] {
			told[p.Variable] = true
			d.faults = append(d.faults, Fault{Env: p.Variable, Msg: p.Msg})
		}
	}
}

// checkHeaders checks the headers of an upgrade, and reports whether nothing is wrong with them. No
// message shows a value.
func checkHeaders(d *decoder, at string, headers map[string]Secret) (fine bool) {
	used, size := make(map[string]string), 0
	fine = !d.bad[at]
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		path, value := join(at, name), headers[name].Reveal()
		size += len(name) + len(value)
		lower := strings.ToLower(name)
		switch other, twice := used[lower]; {
		case d.bad[path]:
		case name == "" || strings.ContainsFunc(name, notInHeaderName):
			d.fault(path, "is not the name of a header")
		case twice:
			d.fault(path, "is the same header as %s", other)
		case reservedHeader(lower):
			d.fault(path, "is a header that the gateway sets itself, or that cannot be set")
		case lower == "proxy-authorization":
			d.fault(path, "is for a proxy; want its user name and password in HTTPS_PROXY or HTTP_PROXY")
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			d.fault(path, "has a control character in its value")
		}
		used[lower] = name
		fine = fine && !d.bad[path]
	}
	if len(headers) > maxHeaders || size > maxHeaderBytes {
		d.fault(at, "are %d headers with %d octets; want up to %d with %d", len(headers), size, maxHeaders, maxHeaderBytes)
	}
	return fine && !d.bad[at]
}

// notInHeaderName is about what the name of a header may have in it (RFC 9110 section 5.6.2).
func notInHeaderName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}

// reservedHeader reports whether a header belongs to the upgrade itself, or says where a request
// ends.
func reservedHeader(lower string) bool {
	return strings.HasPrefix(lower, "sec-websocket-") || slices.Contains([]string{
		"host", "upgrade", "connection", "content-length", "transfer-encoding", "te", "trailer", "expect", "keep-alive",
	}, lower)
}
