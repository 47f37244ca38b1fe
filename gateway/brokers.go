package gateway

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/upstream"
)

// This file is about the broker as a whole, or which of several is in use: what is logged
// of it, and what is kept of it over a restart.

// upstreamOptions returns the options of the dialer.
func (g *Gateway) upstreamOptions() upstream.Options {
	o := g.opts.Upstream
	o.Moved = g.brokerMoved
	o.Habit = g.brokerHabit
	if g.tracer != nil {
		o.Trace = func(owner any, sent bool) func(packet string) {
			clientID := g.opts.ClientID
			if e := owner.(*entry); e.session != nil {
				clientID = e.session.ClientID()
			}
			return g.tracer.Packet(clientID, sent)
		}
	}
	o.ProbeClientID = g.opts.ClientID + "-probe"
	return o
}

// brokerMoved logs that another broker is in use now, and keeps which: the gateway begins
// with it when it is started again.
func (g *Gateway) brokerMoved(from, to string) {
	g.saveBroker()
	if to == g.opts.Upstream.Address {
		g.brokerLine(zerolog.InfoLevel, from).Str("from", from).Str("broker", to).Msg("back to the preferred broker, the connections follow")
		return
	}
	g.brokerLine(zerolog.InfoLevel, from).Str("from", from).Str("broker", to).Msg("the broker does not answer, another one is used")
}

// brokerHabit logs what a broker does that an operator should know of.
func (g *Gateway) brokerHabit(broker string, h upstream.Habit) {
	g.brokerLine(zerolog.WarnLevel, broker+h.String()).Str("broker", broker).Msg("the broker does not keep to MQTT: " + h.String())
}

// saveBroker keeps which broker is in use, where there is a choice.
func (g *Gateway) saveBroker() {
	if len(g.opts.Upstream.Fallbacks) > 0 {
		g.keeper.SaveBroker(g.brokerInUse())
	}
}

func (g *Gateway) brokerInUse() string {
	_, address := g.dialer.InUse()
	return address
}

// BrokerUp notes that the broker can be reached.
func (g *Gateway) brokerUp() {
	g.brokerReady.Store(true)
	g.brokerFault.Store(nil)
	g.brokerLine(zerolog.InfoLevel, "").Str("broker", g.brokerInUse()).Msg("connected to the broker")
}

// brokerDown notes that it cannot, and logs each try that fails; they are rare. That the
// connection is moved to another broker has been logged already.
func (g *Gateway) brokerDown(ev *upstream.Event) {
	msg := "the broker is still not available"
	if g.brokerReady.Swap(false) {
		msg = "connection to the broker lost"
	}
	if errors.Is(ev.Err, upstream.ErrMoved) {
		return
	}
	g.brokerWarning(ev).Msg(msg)
}

// brokerRefused logs why the gateway's own connection was not accepted.
func (g *Gateway) brokerRefused(ev *upstream.Event) {
	g.brokerWarning(ev).Str("retry_in", g.own.wait.String()).Msg("broker not available")
}

// brokerWarning begins a line about the gateway's own connection, and keeps what is wrong
// for /readyz. Of a client id that the broker refuses it tells where another can be set: it
// may be one that nobody has chosen.
func (g *Gateway) brokerWarning(ev *upstream.Event) *zerolog.Event {
	why := connectError(ev)
	g.noteBrokerFault(why)
	line := g.brokerLine(zerolog.WarnLevel, fmt.Sprint(why)).Err(why).Str("broker", g.brokerInUse()).Str("client_id", g.own.clientID)
	if ev.Refusal.Kind == upstream.RefusedClientID {
		line.Str("advice", "set gateway.client_id to one that the broker accepts")
	}
	return line
}

// brokerLine begins a line about the broker; text is what is variable in it.
func (g *Gateway) brokerLine(level zerolog.Level, text string) *zerolog.Event {
	return g.lines.At(oplog.Broker, level, text, g.brokerInUse(), g.own.clientID)
}

// noteBrokerFault keeps why there is no connection to the broker, for /readyz.
func (g *Gateway) noteBrokerFault(why error) {
	text := "the broker closed the connection"
	if why != nil {
		text = why.Error()
	}
	text = strings.ReplaceAll(text, "\n", ": ") // of errors that are joined
	g.brokerFault.Store(&text)
}

// noBroker says why there is no connection to the broker.
func (g *Gateway) noBroker() string {
	text := "no connection to the broker"
	if address := g.brokerInUse(); address != "" {
		text += " " + address
	}
	if why := g.brokerFault.Load(); why != nil {
		text += ": " + *why
	}
	return text
}

// connectError says why the broker was not connected to.
func connectError(ev *upstream.Event) error {
	switch {
	case ev.Refusal.Kind == upstream.RefusedByClosing:
		return fmt.Errorf("the broker closes the connection at CONNECT each time, while it serves others: it does not take this client id, user or will: %w", ev.Err)
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
