package gateway

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/persist"
	"sngate/upstream"
)

// This file is about the broker as a whole, or which of several is in use: what is logged
// of it, and what is stored of it over a restart.

// broker is what is known of the broker, or of the one in use of several. It may be used
// from many goroutines.
type broker struct {
	log       *oplog.Log
	keeper    *persist.Keeper
	dialer    *upstream.Dialer
	preferred string // its address
	several   bool   // there are others
	clientID  string // of the gateway's own connection

	ready atomic.Bool            // that connection is up
	fault atomic.Pointer[string] // why it is not; nil: not known
}

// moved logs that another broker is in use now, and stores which: the gateway begins
// with it when it is started again.
func (b *broker) moved(from, to string) {
	b.save()
	if to == b.preferred {
		b.line(zerolog.InfoLevel, from).Str("from", from).Str("broker", to).Msg("failing back to the preferred broker")
		return
	}
	b.line(zerolog.InfoLevel, from).Str("from", from).Str("broker", to).Msg("failing over to another broker")
}

// habit logs what a broker does that an operator should know of.
func (b *broker) habit(address string, h upstream.Habit) {
	b.line(zerolog.WarnLevel, address+h.String()).Str("broker", address).Msg("broker deviates from MQTT: " + h.String())
}

// fileChanged logs that a file of certificates or keys has changed, and what is used of it.
func (b *broker) fileChanged(path string, err error) {
	if err != nil {
		b.line(zerolog.ErrorLevel, path+err.Error()).Str("file", path).Err(err).Msg("changed certificate file not used")
		return
	}
	b.line(zerolog.InfoLevel, path).Str("file", path).Msg("certificate file read again")
}

// save stores which broker is in use, where there is a choice.
func (b *broker) save() {
	if b.several {
		b.keeper.SaveBroker(b.inUse())
	}
}

func (b *broker) inUse() string {
	_, address := b.dialer.InUse()
	return address
}

// up notes that the broker can be reached.
func (b *broker) up() {
	b.ready.Store(true)
	b.fault.Store(nil)
	b.line(zerolog.InfoLevel, "").Str("broker", b.inUse()).Msg("connected to the broker")
}

// down notes that it cannot, and logs each try that fails; they are rare. That the
// connection is moved to another broker has been logged already.
func (b *broker) down(ev *upstream.Event) {
	msg := "broker still unavailable"
	if b.ready.Swap(false) {
		msg = "connection to the broker lost"
	}
	if errors.Is(ev.Err, upstream.ErrMoved) {
		return
	}
	b.warning(ev).Msg(msg)
}

// refused logs why the gateway's own connection was not accepted.
func (b *broker) refused(ev *upstream.Event, wait time.Duration) {
	b.warning(ev).Str("retry_in", wait.String()).Msg("broker unavailable")
}

// warning begins a line about the gateway's own connection, and notes what is wrong
// for /readyz. Of a client id that the broker refuses it tells where another can be set: it
// may be one that nobody has chosen.
func (b *broker) warning(ev *upstream.Event) *zerolog.Event {
	why := connectError(ev)
	b.noteFault(why)
	begun := b.line(zerolog.WarnLevel, fmt.Sprint(why)).Err(why).Str("broker", b.inUse()).Str("client_id", b.clientID)
	if ev.Refusal.Kind == upstream.RefusedClientID {
		begun.Str("advice", "set gateway.client_id to one that the broker accepts")
	}
	if ev.Refusal.Kind == upstream.RefusedWithoutCredentials {
		begun.Str("advice", "the gateway's own connection needs credentials as well: add its client id to broker.credentials_file or [[broker.device]], and give it a certificate where broker.cert_file has one for each client")
	}
	return begun
}

// line begins a line about the broker; text is what is variable in it.
func (b *broker) line(level zerolog.Level, text string) *zerolog.Event {
	return b.log.At(oplog.Broker, level, text, b.inUse(), b.clientID)
}

// noteFault notes why there is no connection to the broker, for /readyz.
func (b *broker) noteFault(why error) {
	text := "the broker closed the connection"
	if why != nil {
		text = why.Error()
	}
	text = strings.ReplaceAll(text, "\n", ": ") // of errors that are joined
	b.fault.Store(&text)
}

// unavailable says why there is no connection to the broker.
func (b *broker) unavailable() string {
	text := "no connection to the broker"
	if address := b.inUse(); address != "" {
		text += " " + address
	}
	if why := b.fault.Load(); why != nil {
		text += ": " + *why
	}
	return text
}

// connectError says why the broker was not connected to.
func connectError(ev *upstream.Event) error {
	switch {
	case ev.Refusal.Kind == upstream.RefusedByClosing:
		return fmt.Errorf("the broker closes the connection at CONNECT each time, while it serves others: it does not take this client id, user or will: %w", ev.Err)
	case ev.Refusal.Kind == upstream.RefusedWithoutCredentials:
		return ev.Err
	case ev.Refusal.Kind != upstream.NotRefused:
	case errors.Is(ev.Err, io.EOF), errors.Is(ev.Err, io.ErrUnexpectedEOF), errors.Is(ev.Err, syscall.ECONNRESET):
		return fmt.Errorf("the broker closed the connection: %w", ev.Err)
	default:
		return ev.Err
	}
	refused := fmt.Errorf("the broker answers CONNECT with %s", ev.Refusal.Text)
	if ev.Err == nil {
		return refused
	}
	return fmt.Errorf("%w: %w", refused, ev.Err)
}
