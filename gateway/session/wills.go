package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// willFits reports whether a will of such a topic and message keeps the bound on its size.
func (ws *wills) fits(topic, message int) bool {
	return ws.s.cfg.MaxWill == 0 || topic+message <= ws.s.cfg.MaxWill
}

// refusesWill tells with what code, and why, a will that takes the place of the one that
// is kept is refused; ReasonNone: it is not.
func (ws *wills) refuses(st *step, topic string, message int, retain bool) (dialogue.Code, Reason) {
	if why := ws.s.cfg.Limits.refusesWill(ws.s.clientID, topic, message, retain); why != ReasonNone {
		return dialogue.NotSupported, why
	}
	switch {
	case !ws.fits(len(topic), message):
		return dialogue.NotSupported, ReasonWill
	case !ws.s.mayGrow(st, len(topic)+message+messageOverhead-ws.current.size()):
		return dialogue.Congestion, ReasonMemoryLimit
	}
	return dialogue.Accepted, ReasonNone
}

// onWillTopicUpd changes topic, QoS and retain of the will, or deletes it (MQTT-SN 1.2
// section 6.4).
func (ws *wills) onWillTopicUpd(st *step, m *dialogue.Message) {
	switch {
	case m.Fault == dialogue.NoFault && len(m.Name) == 0:
		ws.set(st, nil)
	case m.Fault != dialogue.NoFault || m.QoS > 2 || topicreg.ValidName(m.Name) != nil:
		st.drop(ReasonWill)
		send(st, dialogue.Message{Kind: dialogue.WillTopicResp, Code: dialogue.NotSupported})
		return
	default:
		message := 0
		if ws.current != nil {
			message = len(ws.current.Message)
		}
		w := ws.s.cfg.will(m)
		if code, why := ws.refuses(st, w.Topic, message, m.Retain); why != ReasonNone {
			st.drop(why)
			send(st, dialogue.Message{Kind: dialogue.WillTopicResp, Code: code})
			return
		}
		if ws.current != nil {
			w.Message = ws.current.Message
		}
		ws.set(st, w)
	}
	ws.s.after(st, bypassWhenDown, continuation{kind: thenWillTopicResp})
}

// onWillMsgUpd changes the message of the will.
func (ws *wills) onWillMsgUpd(st *step, m *dialogue.Message) {
	switch {
	case ws.current == nil:
		st.drop(ReasonWill)
		send(st, dialogue.Message{Kind: dialogue.WillMsgResp, Code: dialogue.NotSupported})
	default:
		if code, why := ws.refuses(st, ws.current.Topic, len(m.Data), false); why != ReasonNone {
			st.drop(why)
			send(st, dialogue.Message{Kind: dialogue.WillMsgResp, Code: code})
			return
		}
		w := *ws.current
		w.Message = append([]byte(nil), m.Data...)
		ws.set(st, &w)
		ws.s.after(st, bypassWhenDown, continuation{kind: thenWillMsgResp})
	}
}

// will makes a will of WILLTOPIC or WILLTOPICUPD, as the broker takes it.
func (c *Config) will(m *dialogue.Message) *Will {
	return &Will{Topic: string(m.Name), QoS: c.Limits.QoS(m.QoS), Retain: c.Limits.Retain(m.Retain)}
}

// setWill puts a will into force: endLost publishes it where the broker does not know
// it, and later reconnects carry it.
func (ws *wills) set(st *step, w *Will) {
	ws.current = w
	ws.s.journal.mustSave()
	if ws.s.cfg.PublishesWills {
		return
	}
	ws.late = ws.late || ws.s.broker.link != linkUp
	st.do(Action{Kind: ActionSetWill, Will: w})
}

// brokersWill is the will that a connection to the broker is opened with.
func (ws *wills) brokersWill() *Will {
	if ws.s.cfg.PublishesWills {
		return nil
	}
	return ws.current
}

// publishWill has the link publish the will, which is due until the link has ended or
// the device connects again and makes it false. QoS 0 does not wait for a broker that is
// away, and is lost on a connection that only seems to be up. A broker that was told of
// the will would publish it all the same; so must the gateway where it keeps the wills.
func (ws *wills) publish(st *step, w *Will) {
	qos := w.QoS
	if ws.s.broker.link == linkDown || ws.s.cfg.PublishesWills {
		qos = ws.s.cfg.Limits.QoS(max(qos, 1))
	}
	st.do(Action{Kind: ActionPublish, Topic: w.Topic, Payload: w.Message, QoS: qos, Retain: w.Retain})
}

// replace puts another will in place of the one there was, before a connection is opened.
func (ws *wills) replace(w *Will) { ws.current = w }

// carry notes what will the broker is told in the CONNECT.
func (ws *wills) carry(w *Will) { ws.carried = w }

// open is carry for the device's own CONNECT. The link drops a will that was due: the
// device is back.
func (ws *wills) open() { ws.carried, ws.late, ws.due = ws.brokersWill(), false, false }

// onUp notes what will the connection has that has come about.
func (ws *wills) onUp(none bool) {
	ws.carried = ws.brokersWill()
	if ws.late {
		ws.late = false
		ws.carried = &Will{} // one or the other: no will the device can have set
	}
	if none {
		ws.carried = nil
	}
}

// onRenewed is onUp where the device may have changed the will while the connection was replaced.
func (ws *wills) onRenewed(none, old bool) {
	ws.late = old
	ws.onUp(none)
}

// owe notes that the gateway has to publish the will.
func (ws *wills) owe() { ws.due = true }

// linkEnded notes that the link has published the will, or dropped it.
func (ws *wills) linkEnded() {
	if ws.due {
		ws.due = false
		ws.s.journal.mustSave()
	}
}

// load takes back what the store has had.
func (ws *wills) load(w *Will, due bool) { ws.current, ws.due = w, due && w != nil }

func (ws *wills) forget() { ws.current, ws.carried = nil, nil }

// conform makes of a will that the store has had one that the broker takes. One that cannot be is
// forgotten.
func (ws *wills) conform(st *step) {
	l, w := ws.s.cfg.Limits, ws.current
	if w == nil || l == nil {
		return
	}
	if why := l.refusesContent(ws.s.clientID, w.Topic, len(w.Message)); why != ReasonNone {
		st.dropOf(why, w.Topic, len(w.Message))
		ws.current, ws.due = nil, false
		return
	}
	ws.current = &Will{Topic: w.Topic, Message: w.Message, QoS: l.QoS(w.QoS), Retain: l.Retain(w.Retain)}
}
