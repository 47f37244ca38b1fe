package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// Reasons of failures and warnings, beside "tls_" with a secure.Reason, "websocket_" with a
// websocket.Reason, "connack_" with a return
// code of MQTT, and "rejected_" with one of MQTT-SN.
const (
	reasonNoCredentials = "no_credentials"
	reasonNotFound      = "not_found"
	reasonResolver      = "resolver"
	reasonRefused       = "refused"
	reasonUnreachable   = "unreachable"
	reasonTimeout       = "timeout"
	reasonClosed        = "closed"
	reasonNotMQTT       = "not_mqtt"
	reasonSubscription  = "subscription_refused"
	reasonNoEcho        = "no_echo"
	reasonExpires       = "expires"
	reasonOther         = "other"
)

// rounded is a time for people.
func rounded(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}

// isTimeout reports whether err says that a time was over.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// resolveFault is about a name that has no address.
func resolveFault(host string, err error, waited time.Duration) outcome {
	var d *net.DNSError
	switch {
	case errors.As(err, &d) && d.IsNotFound:
		return failed(reasonNotFound, fmt.Sprintf("the name %q does not exist", host), "look for a slip in the name, and for the name servers that this machine asks")
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("no name server has answered within %v", rounded(waited)), "look at the name servers that this machine asks (/etc/resolv.conf), and at the way to them")
	}
	return failed(reasonResolver, err.Error(), "look at the name servers that this machine asks (/etc/resolv.conf)")
}

// tcpFault is about a connection that was not opened.
func tcpFault(err error, waited time.Duration) outcome {
	var proxy *websocket.Fault
	switch {
	case errors.As(err, &proxy):
		return webFault(err, waited)
	case errors.Is(err, syscall.ECONNREFUSED):
		return failed(reasonRefused, "connection refused: "+err.Error(), "nothing listens on this port there: is the broker running, and is it the right port?")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return failed(reasonUnreachable, "there is no way to the broker: "+err.Error(), "look at the network and routes of this machine")
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("no answer within %v", rounded(waited)), "the machine is off, its address is another, or a firewall on the way drops what is sent to this port")
	}
	return failed(reasonOther, err.Error(), "")
}

// tlsFault is about a handshake, or what a broker says of it afterwards.
func tlsFault(err error, waited time.Duration) outcome {
	var f *secure.Fault
	var file *secure.FileError
	switch {
	case errors.As(err, &f):
		return failed("tls_"+f.Reason.String(), f.Error(), tlsAdvice(f.Reason))
	case errors.As(err, &file):
		return failed("tls_"+file.Reason.String(), file.Error(), "look at broker."+file.Key)
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("TLS: no answer within %v", rounded(waited)), "the port is open and what listens there does not answer TLS: is it the right port, and does it speak TLS?")
	}
	return failed(reasonOther, "TLS: "+strings.TrimPrefix(err.Error(), "upstream: "), "")
}

// webFault is about a proxy, the upgrade to WebSocket, or what is sent over it.
func webFault(err error, waited time.Duration) outcome {
	var f *websocket.Fault
	switch {
	case errors.As(err, &f):
		return failed("websocket_"+f.Reason.String(), f.Error(), webAdvice(f.Reason))
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("WebSocket: no answer within %v", rounded(waited)), "what listens there does not answer HTTP: is it the right port?")
	}
	return tlsFault(err, waited)
}

// webAdvice is what to do about a fault of WebSocket.
func webAdvice(r websocket.Reason) string {
	switch r {
	case websocket.ProxyUnreachable, websocket.ProxyAuth, websocket.ProxyRefused, websocket.ProxyAnswer:
		return "look at the proxy, and at HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment: the gateway's may be others than those of this program"
	case websocket.Unauthorized:
		return "look at broker.websocket.headers, and at the rights of this client at the broker"
	}
	return "look at host, port and path of broker.url: many brokers take MQTT at /mqtt only"
}

// tlsAdvice is what to do about a fault of TLS, where its text does not say it.
func tlsAdvice(r secure.Reason) string {
	switch r {
	case secure.NameMismatch:
		return "write one of those names into broker.url, or into broker.server_name"
	case secure.Expired, secure.NotYetValid:
		return "renew the broker's certificate, or set this machine's clock"
	case secure.UnknownCA:
		return "give the authority's certificate in broker.ca_file; the broker also has to send those between its own and the authority's"
	case secure.CertificateRequired:
		return "set broker.cert_file and broker.key_file, for this client id too"
	case secure.CertificateRefused:
		return "the broker has to know the authority that has signed it, and it must not be expired or withdrawn there"
	case secure.NotTLS, secure.Unfinished:
		return `if the port is without TLS, want "tcp://" in broker.url`
	}
	return ""
}

// connectFault is about a broker that does not answer CONNECT with CONNACK. first are the first
// octets that it has sent.
func connectFault(err error, first []byte, waited time.Duration) outcome {
	var f *secure.Fault
	var web *websocket.Fault
	const closedAdvice = "brokers of clouds do so when client id, user name, password or certificate is not the one they expect, when the client's rights do not include to connect, or when it connects too often"
	switch {
	case errors.As(err, &f):
		return tlsFault(err, waited)
	case errors.As(err, &web):
		return webFault(err, waited)
	case len(first) >= 2 && first[0] == 0x15 && first[1] == 0x03: // a record with an alert, RFC 8446 section 5.1
		return failed(reasonNotMQTT, "what answers speaks TLS", `want "ssl://" in broker.url`)
	case strings.HasPrefix(string(first), "HTTP/"):
		return failed(reasonNotMQTT, "what answers is a web server", "is it the right port?")
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("no CONNACK within %v", rounded(waited)), `the port is open and what listens there does not answer MQTT: is it the right port? A broker that waits for TLS says nothing either: want "ssl://" in broker.url then`)
	case ended(err):
		return failed(reasonClosed, "the broker has closed the connection instead of answering CONNECT", closedAdvice)
	}
	return failed(reasonNotMQTT, strings.TrimPrefix(err.Error(), "upstream: "), "is it the port of an MQTT broker?")
}

// connackFault is about a CONNACK that refuses.
func connackFault(code uint8, hasUsername bool) outcome {
	advice := ""
	switch code {
	case 1:
		advice = "the broker does not speak MQTT 3.1.1"
	case mqtt.CodeClientID:
		advice = "look at the client id (broker.client_id, --client): some brokers take short ones of letters and digits only, those of clouds only those of devices that were created there"
	case mqtt.CodeUnavailable:
		advice = "the broker is up and takes no clients at present: look at its log, and at its limits of connections"
	case 4, 5:
		advice = "look at user name and password of this client (broker.username, broker.password_file, broker.credentials_file, broker.device), at its rights at the broker and, where passwords are signed, at this machine's clock"
		if !hasUsername {
			advice = "no user name was sent: set broker.username, or give this client one in broker.credentials_file or broker.device"
		}
	}
	reason := "connack_other"
	if code <= 5 {
		reason = fmt.Sprintf("connack_%d", code)
	}
	return failed(reason, "the broker refuses CONNECT: "+mqtt.ConnackText(code), advice)
}

// lossFault is about a connection that ends, or stays silent, after CONNACK.
func lossFault(err error, what string, waited time.Duration) outcome {
	switch {
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("no answer to %s within %v", what, rounded(waited)), "the broker is overloaded, or the connection is broken: look at the broker's log")
	case ended(err):
		return failed(reasonClosed, "the broker has closed the connection after "+what,
			"many brokers close on what they forbid, such as a topic that is not the client's (--topic gives another), and all when another client connects with this client id: look at its log")
	}
	return failed(reasonOther, fmt.Sprintf("after %s: %s", what, strings.TrimPrefix(err.Error(), "upstream: ")), "look at the broker's log")
}

// ended reports whether err is the end of a connection that the other side has ended.
func ended(err error) bool {
	var d mqtt.Disconnected
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.As(err, &d)
}
