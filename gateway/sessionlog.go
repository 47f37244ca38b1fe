package gateway

import (
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/upstream"
)

// What becomes of devices, one line per event. With Options.QuietSessions none of it is
// written but what is a fault.

// stateLine is how the log tells that a session has entered a state.
type stateLine struct {
	level   zerolog.Level
	message string
}

// stateLineOf chooses the line for a change of state. A device that goes to sleep after
// each wake does so all day, which is told at debug level; the steps of a CONNECT are not
// told at all, but for its end.
func stateLineOf(from, to session.State) (stateLine, bool) {
	switch to {
	case session.StateActive:
		return stateLine{zerolog.InfoLevel, "device connected"}, true
	case session.StateAsleep:
		if from == session.StateAwake || from == session.StateAsleep {
			return stateLine{zerolog.DebugLevel, "device asleep"}, true
		}
		return stateLine{zerolog.InfoLevel, "device asleep"}, true
	case session.StateAwake:
		return stateLine{zerolog.DebugLevel, "device awake"}, true
	case session.StateLost:
		return stateLine{zerolog.WarnLevel, "device lost"}, true
	case session.StateDisconnected:
		if !connected(from) {
			return stateLine{zerolog.InfoLevel, "connect given up"}, true
		}
		return stateLine{zerolog.InfoLevel, "device disconnected"}, true
	}
	return stateLine{}, false
}

// state logs one change of a session's state.
func (r *reporter) state(e *entry, from session.State, a *session.Action, drops []session.Reason) {
	line, told := stateLineOf(from, a.State)
	if !told || r.quiet || !r.log.Enabled(line.level) ||
		slices.Contains(drops, a.Reason) { // the refusal tells it
		return
	}
	ev := r.deviceLine(oplog.Sessions, line.level, e, "")
	if ev == nil {
		return
	}
	view := e.session.Summary()
	switch a.State {
	case session.StateActive:
		ev.Str("keep_alive", seconds(view.KeepAlive)).Bool("clean_session", view.CleanSession)
		if view.WillTopic != "" {
			ev.Bool("will", true)
		}
	case session.StateAsleep:
		ev.Str("sleep", seconds(view.Sleep)).Int("messages_held", view.HeldMessages)
	case session.StateAwake:
		ev.Int("messages_held", view.HeldMessages)
	}
	if a.Reason != session.ReasonNone {
		ev.Stringer("reason", a.Reason)
	}
	ev.Msg(line.message)
}

// assigned tells which client id a device has got that came without one. It is not
// accepted yet.
func (r *reporter) assigned(e *entry, a *arrival) {
	id, addr := e.session.ClientID(), a.peer.String()
	r.log.At(oplog.Strangers, zerolog.InfoLevel, id, addr).Str("client_id", id).Str("addr", addr).Msg("client id assigned")
}

// seconds is a duration of MQTT-SN with its unit.
func seconds(n uint16) string { return (time.Duration(n) * time.Second).String() }

// deviceLine begins a line about the device of e, with its client id and address; nil:
// there are too many. A session that has never been accepted may be anybody's.
func (r *reporter) deviceLine(kind oplog.Kind, level zerolog.Level, e *entry, text string) *zerolog.Event {
	if !r.log.Enabled(level) {
		return nil
	}
	if !e.accepted {
		kind = oplog.Strangers
	}
	id, addr := e.session.ClientID(), e.peer.String()
	return r.log.At(kind, level, id, addr, text).Str("client_id", id).Str("addr", addr)
}

// link logs what has become of a device's connection to the broker: once a minute and
// device that the broker has refused it or did not answer, whether the device is refused for
// it or served from the store, and that it was lost. While the gateway's own connection is
// down as well, that one tells of the losses.
func (r *reporter) link(now time.Duration, e *entry, ev *upstream.Event) {
	switch {
	case ev.Kind == upstream.EventRefused, ev.Kind == upstream.EventDown && ev.Refusal.Kind != upstream.NotRefused:
		r.linkFault(now, e, oplog.Devices, zerolog.WarnLevel, connectError(ev), "upstream connect failed")
	case ev.Kind == upstream.EventDown:
		level := zerolog.InfoLevel
		if !r.brokerReady() || r.quiet {
			level = zerolog.DebugLevel
		}
		r.linkFault(now, e, oplog.Broker, level, connectError(ev), "upstream connection lost")
	case ev.Kind == upstream.EventPublishFailed && errors.Is(ev.Err, upstream.ErrRejected):
		r.deviceLine(oplog.Devices, zerolog.WarnLevel, e, ev.Topic+ev.Err.Error()).Str("topic", ev.Topic).Uint8("qos", ev.QoS).
			Bool("retain", ev.Retain).Err(ev.Err).Msg("message for broker given up")
	case ev.Kind == upstream.EventBadPacket:
		r.deviceLine(oplog.Devices, zerolog.WarnLevel, e, ev.Topic+ev.Err.Error()).Str("topic", ev.Topic).Err(ev.Err).
			Msg("packet from broker dropped")
	case ev.Kind == upstream.EventUp:
		r.deviceLine(oplog.Devices, zerolog.DebugLevel, e, "").Bool("session_present", ev.SessionPresent).
			Msg("upstream connection up again")
	case ev.Kind == upstream.EventRenewed:
		r.deviceLine(oplog.Devices, zerolog.DebugLevel, e, "").Bool("session_present", ev.SessionPresent).
			Msg("upstream credentials renewed")
	case ev.Kind == upstream.EventParked:
		r.deviceLine(oplog.Devices, zerolog.DebugLevel, e, "").Msg("upstream connection parked")
	}
}

// linkFault logs a fault at the level, or at debug level if it has been told in this minute.
func (r *reporter) linkFault(now time.Duration, e *entry, kind oplog.Kind, level zerolog.Level, why error, message string) {
	if why == nil {
		why = upstream.ErrLost
	}
	level = e.refusalsOf().LinkLevel(now, kind == oplog.Devices, level)
	r.deviceLine(kind, level, e, why.Error()).Err(why).Msg(message)
}

// givenUp logs a message for a device that has been given up. The operator can tell by
// its size whether session.max_packet_size is too large for the device.
func (r *reporter) givenUp(e *entry, a *session.Action) {
	r.deviceLine(oplog.Devices, zerolog.WarnLevel, e, a.Topic).Stringer("reason", a.Reason).
		Str("topic", a.Topic).Int("octets", len(a.Payload)).Uint8("qos", a.QoS).Msg("message for device given up")
}

// expired logs that a kept session is given up.
func (r *reporter) expired(e *entry) {
	id := e.session.ClientID()
	r.log.At(oplog.Sessions, zerolog.DebugLevel, id).Str("client_id", id).Stringer("reason", session.ReasonSessionExpired).
		Msg("session expired")
}
