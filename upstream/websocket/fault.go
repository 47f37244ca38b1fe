package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gorilla/websocket"
)

// Reason is why a WebSocket connection has failed, as metrics tell it.
type Reason uint8

// Why a WebSocket connection to a broker has failed.
const (
	ProxyUnreachable Reason = iota // there is no connection to the proxy
	ProxyAuth                      // it wants another user name and password, or any
	ProxyRefused                   // it does not connect to the broker
	ProxyAnswer                    // what it answers makes no sense
	Unauthorized                   // the broker refuses the upgrade with 401 or 403
	NotFound                       // with 404
	Refused                        // with another status
	Subprotocol                    // it does not choose that of MQTT
	NotWebSocket                   // what it answers is no upgrade
	Unfinished                     // it has closed the connection before it has answered
	Protocol                       // it has sent what WebSocket, or MQTT over it, does not allow
	reasonCount
)

// reasonNames are the names of reasons in metrics.
var reasonNames = [reasonCount]string{
	"proxy_unreachable", "proxy_auth", "proxy_refused", "proxy_answer",
	"unauthorized", "not_found", "refused", "subprotocol", "not_websocket", "closed", "protocol",
}

// ReasonNames returns the names of all reasons, by their numbers.
func ReasonNames() []string { return slices.Clone(reasonNames[:]) }

func (r Reason) String() string { return reasonNames[r] }

// Fault is why a WebSocket connection has failed.
type Fault struct {
	Reason Reason
	text   string
	err    error
}

// Error says it in words for operators. There is nothing of headers or passwords in it.
func (f *Fault) Error() string { return "WebSocket: " + f.text }

// Unwrap returns the error behind it; nil: there is none.
func (f *Fault) Unwrap() error { return f.err }

// count counts err if it is a Fault, and returns it.
func (s *Stats) count(err error) error {
	var f *Fault
	if errors.As(err, &f) {
		s.Failures[f.Reason].Add(1)
	}
	return err
}

// refusal explains why an upgrade has failed. What is the fault of the connection below, such as
// TLS, explains itself.
func (c *conn) refusal(err error, answer *http.Response, path string) error {
	var f *Fault
	below := c.below.readErr
	if failed := c.below.writeErr.Load(); failed != nil && below == nil {
		below = *failed
	}
	switch {
	case errors.As(err, &f):
		return f
	case err == websocket.ErrBadHandshake && answer != nil:
		return refused(answer.StatusCode, path)
	case below == errTooLong:
		return &Fault{NotWebSocket, "the broker's answer to the upgrade is longer than " + strconv.Itoa(maxAnswer) + " octets", err}
	case closedByPeer(below):
		return &Fault{Unfinished, "the broker has closed the connection instead of answering the upgrade; does it speak WebSocket on this port?", below}
	case below != nil:
		return below
	}
	return &Fault{NotWebSocket, "what the broker answers to the upgrade is no HTTP; does it speak WebSocket on this port?", err}
}

// refused is about an answer with another status than that of an upgrade, or with this one and
// without what belongs to it. The words for the status are ours, not the broker's.
func refused(code int, path string) *Fault {
	said := status(code)
	switch {
	case code == http.StatusSwitchingProtocols:
		return &Fault{Reason: NotWebSocket, text: "the broker answers the upgrade with " + said + ", and without the headers that belong to it"}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &Fault{Reason: Unauthorized, text: "the broker refuses the upgrade of " + quote(path) + ": " + said}
	case code == http.StatusNotFound:
		return &Fault{Reason: NotFound, text: "the broker has nothing at the path " + quote(path) + ": " + said}
	case code/100 == 3:
		return &Fault{Reason: Refused, text: "the broker sends the upgrade of " + quote(path) + " elsewhere, which is not followed: " + said}
	}
	return &Fault{Reason: Refused, text: "the broker does not upgrade " + quote(path) + ": " + said}
}

func status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// readFault explains why nothing more can be read.
func (c *conn) readFault(err error) error {
	var end *websocket.CloseError
	switch {
	case c.below.readErr != nil:
		return c.below.readErr
	case errors.As(err, &end):
		text := fmt.Sprintf("the broker has closed the connection with status %d", end.Code)
		if end.Text != "" {
			text += ": " + quote(end.Text)
		}
		return &closed{text}
	}
	return c.stats.count(&Fault{Protocol, "the broker does not keep to the protocol: " + strings.TrimPrefix(err.Error(), "websocket: "), err})
}

// writeFault explains why nothing more can be written.
func (c *conn) writeFault(err error) error {
	if err == websocket.ErrCloseSent { // in answer to one
		return &closed{"the broker has closed the connection"}
	}
	if failed := c.below.writeErr.Load(); failed != nil {
		return *failed
	}
	return err
}

// closed is the end of a connection by a close frame.
type closed struct{ text string }

func (e *closed) Error() string { return "WebSocket: " + e.text }

// Unwrap says that it is the end.
func (*closed) Unwrap() error { return io.EOF }

// closedByPeer reports whether err is the end of a connection that the peer has closed, and
// nothing that says more.
func closedByPeer(err error) bool {
	if op, ok := err.(*net.OpError); ok {
		return errors.Is(op, syscall.ECONNRESET) || errors.Is(op, syscall.EPIPE)
	}
	return err == io.EOF || err == io.ErrUnexpectedEOF || err == io.ErrClosedPipe
}

// quote shows a text of the broker, or a path.
func quote(text string) string {
	const most = 128 // octets
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return strconv.Quote(text)
}
