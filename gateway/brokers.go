package gateway

import (
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"sngate/upstream"
)

// This file is about the broker as a whole, or which of several is in use: what is logged
// of it, and what is kept of it over a restart.

// brokerKey is where the address of the broker in use is; it belongs to no client.
const brokerKey = "\x00broker"

// upstreamOptions returns the options of the dialer.
func (g *Gateway) upstreamOptions() upstream.Options {
	o := g.opts.Upstream
	o.Moved = g.brokerMoved
	o.Habit = g.brokerHabit
	o.ProbeClientID = g.opts.ClientID + "-probe"
	return o
}

// brokerMoved logs that another broker is in use now, and keeps which: the gateway begins
// with it when it is started again.
func (g *Gateway) brokerMoved(from, to string) {
	g.saveBroker()
	if to == g.opts.Upstream.Address {
		g.log.Info().Str("from", from).Str("broker", to).Msg("back to the preferred broker, the connections follow")
		return
	}
	g.log.Info().Str("from", from).Str("broker", to).Msg("the broker does not answer, another one is used")
}

// brokerHabit logs what a broker does that an operator should know of.
func (g *Gateway) brokerHabit(broker string, h upstream.Habit) {
	g.log.Warn().Str("broker", broker).Msg("the broker does not keep to MQTT: " + h.String())
}

// saveBroker keeps which broker is in use, where there is a choice.
func (g *Gateway) saveBroker() {
	if len(g.opts.Upstream.Fallbacks) > 0 {
		g.saveOwn(brokerKey, []byte(g.brokerInUse()))
	}
}

func (g *Gateway) brokerInUse() string {
	_, address := g.dialer.InUse()
	return address
}

func (g *Gateway) upstreamStats() upstreamStats {
	stats := toUpstreamStats(g.dialer.Stats())
	stats.broker, _ = g.dialer.InUse()
	return stats
}

// brokerUp notes that the broker can be reached.
func (g *Gateway) brokerUp() {
	g.brokerReady.Store(true)
	g.log.Info().Str("broker", g.brokerInUse()).Msg("connected to the broker")
}

// brokerDown notes that it cannot, and logs each try that fails; they are rare. That the
// connection is moved to another broker has been logged already.
func (g *Gateway) brokerDown(ev *upstream.Event) {
	msg := "the broker is still not available"
	if g.brokerReady.Swap(false) {
		msg = "connection to the broker lost"
	}
	if !errors.Is(ev.Err, upstream.ErrMoved) {
		g.brokerFault(ev).Msg(msg)
	}
}

// brokerRefused logs why the gateway's own connection was not accepted.
func (g *Gateway) brokerRefused(ev *upstream.Event) {
	g.brokerFault(ev).Dur("retry_in", g.own.wait).Msg("broker not available")
}

// brokerFault begins a line about the gateway's own connection. Of a client id that the
// broker refuses it tells which one that is and where another can be set: it may be one
// that nobody has chosen.
func (g *Gateway) brokerFault(ev *upstream.Event) *zerolog.Event {
	line := g.log.Warn().Err(connectError(ev)).Str("broker", g.brokerInUse())
	if ev.Code == refusedClientID {
		line.Str("client_id", g.own.clientID).Str("advice", "set gateway.client_id to one that the broker accepts")
	}
	return line
}

// refusedClientID is the CONNACK return code for a client identifier that the server does
// not allow (MQTT 3.1.1 section 3.2.2.3).
const refusedClientID = 2

// connectError says why the broker was not connected to.
func connectError(ev *upstream.Event) error {
	switch ev.Code {
	case 0:
		return ev.Err
	case upstream.CodeClosed:
		return fmt.Errorf("the broker closes the connection at CONNECT each time, while it serves others: it does not take this client id, user or will: %w", ev.Err)
	}
	return errors.Join(ev.Err, fmt.Errorf("the broker answers CONNECT with return code %d (%s)", ev.Code, refusal(ev.Code)))
}

// refusal names a CONNACK return code (MQTT 3.1.1 section 3.2.2.3).
func refusal(code uint8) string {
	switch code {
	case 1:
		return "protocol version"
	case refusedClientID:
		return "client identifier"
	case 3:
		return "server unavailable"
	case 4:
		return "user name or password"
	case 5:
		return "not authorized"
	}
	return "unknown"
}
