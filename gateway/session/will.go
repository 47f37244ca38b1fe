package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// onWillTopicUpd changes topic, QoS and retain of the will, or deletes it (MQTT-SN 1.2
// section 6.4).
func (s *Session) onWillTopicUpd(body []byte, out *Out) {
	var m sn12.WillTopicUpd
	switch {
	case m.Parse(body) != nil:
		out.drop(ReasonMalformed)
		return
	case m.Empty:
		s.setWill(nil, out)
	case m.QoS > 2 || topicreg.ValidName(m.Topic) != nil:
		out.drop(ReasonWill)
		send(out, sn12.WillTopicResp{ReturnCode: sn12.RejectedNotSupported})
		return
	default:
		w := &Will{Topic: string(m.Topic), QoS: m.QoS, Retain: m.Retain}
		if s.will != nil {
			w.Message = s.will.Message
		}
		s.setWill(w, out)
	}
	send(out, sn12.WillTopicResp{})
}

// onWillMsgUpd changes the message of the will.
func (s *Session) onWillMsgUpd(body []byte, out *Out) {
	var m sn12.WillMsgUpd
	switch {
	case m.Parse(body) != nil:
		out.drop(ReasonMalformed)
	case s.will == nil:
		out.drop(ReasonWill)
		send(out, sn12.WillMsgResp{ReturnCode: sn12.RejectedNotSupported})
	default:
		w := *s.will
		w.Message = append([]byte(nil), m.Message...)
		s.setWill(&w, out)
		send(out, sn12.WillMsgResp{})
	}
}

// setWill puts a will into force: endLost publishes it where the broker does not know
// it, and later reconnects carry it.
func (s *Session) setWill(w *Will, out *Out) {
	s.will = w
	s.changed()
	s.willLate = s.willLate || s.link != linkUp
	out.do(Action{Kind: ActionSetWill, Will: w})
}
