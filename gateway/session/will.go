package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// onWillTopicUpd changes topic, QoS and retain of the will, or deletes it (MQTT-SN 1.2
// section 6.4).
func (s *Session) onWillTopicUpd(st *step, body []byte) {
	var m sn12.WillTopicUpd
	switch {
	case m.Parse(body) == nil && m.Empty:
		s.setWill(st, nil)
	case len(m.Topic) == 0 || m.QoS > 2 || topicreg.ValidName(m.Topic) != nil:
		st.drop(ReasonWill)
		send(st, sn12.WillTopicResp{ReturnCode: sn12.RejectedNotSupported})
		return
	default:
		message := 0
		if s.will != nil {
			message = len(s.will.Message)
		}
		if code, why := s.refusesWill(st, len(m.Topic), message); why != ReasonNone {
			st.drop(why)
			send(st, sn12.WillTopicResp{ReturnCode: code})
			return
		}
		w := &Will{Topic: string(m.Topic), QoS: m.QoS, Retain: m.Retain}
		if s.will != nil {
			w.Message = s.will.Message
		}
		s.setWill(st, w)
	}
	s.after(st, goOnWhenDown, continuation{kind: thenWillTopicResp})
}

// onWillMsgUpd changes the message of the will.
func (s *Session) onWillMsgUpd(st *step, body []byte) {
	var m sn12.WillMsgUpd
	switch {
	case m.Parse(body) != nil:
		st.drop(ReasonMalformed)
	case s.will == nil:
		st.drop(ReasonWill)
		send(st, sn12.WillMsgResp{ReturnCode: sn12.RejectedNotSupported})
	default:
		if code, why := s.refusesWill(st, len(s.will.Topic), len(m.Message)); why != ReasonNone {
			st.drop(why)
			send(st, sn12.WillMsgResp{ReturnCode: code})
			return
		}
		w := *s.will
		w.Message = append([]byte(nil), m.Message...)
		s.setWill(st, &w)
		s.after(st, goOnWhenDown, continuation{kind: thenWillMsgResp})
	}
}

// setWill puts a will into force: endLost publishes it where the broker does not know
// it, and later reconnects carry it.
func (s *Session) setWill(st *step, w *Will) {
	s.will = w
	s.journal.mustSave()
	if s.cfg.KeepsWills {
		return
	}
	s.willLate = s.willLate || s.link != linkUp
	st.do(Action{Kind: ActionSetWill, Will: w})
}

// brokersWill is the will that a connection to the broker is opened with.
func (s *Session) brokersWill() *Will {
	if s.cfg.KeepsWills {
		return nil
	}
	return s.will
}

// publishWill has the link publish the will, which is due until the link has ended or
// the device connects again and makes it false. QoS 0 does not wait for a broker that is
// away, and is lost on a connection that only seems to be up. A broker that was told of
// the will would publish it all the same; so must the gateway where it keeps the wills.
func (s *Session) publishWill(st *step, w *Will) {
	qos := w.QoS
	if s.link == linkDown || s.cfg.KeepsWills {
		qos = max(qos, 1)
	}
	st.do(Action{Kind: ActionPublish, Topic: w.Topic, Payload: w.Message, QoS: qos, Retain: w.Retain})
}

// WillDue returns the will of a lost device that the gateway still has to publish; nil
// when there is none: the device is not lost, its will is the broker's to publish, or the
// link has done with it. It must not be changed.
func (s *Session) WillDue() *Will {
	if !s.willDue {
		return nil
	}
	return s.will
}
