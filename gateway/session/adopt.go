package session

import "sngate/snpacket/sn12"

// Adopt carries out a CONNECT with Will=1 that has come from another address than the
// device's, to which the session has just been moved. from is a session that has held
// the will dialogue there, so that this one could go on meanwhile; the prompts have been
// answered already, and are not sent.
func (s *Session) Adopt(env Env, from *Session, out *Out) {
	d := from.dialogue
	if d == nil {
		return
	}
	if s.dialogue != nil { // of the old address: this CONNECT is no repeat of that one
		s.dialogue.connect = connectParams{clean: s.dialogue.connect.clean, will: !d.connect.will}
	}
	steps := []message{
		sn12.Connect{CleanSession: d.connect.clean, Will: d.connect.will, ProtocolID: sn12.ProtocolID, Duration: d.connect.duration, ClientID: []byte(s.clientID)},
		sn12.WillTopic{Empty: true},
	}
	if w := d.will; w != nil {
		steps[1] = sn12.WillTopic{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)}
		steps = append(steps, sn12.WillMsg{Message: w.Message})
	}
	for i, m := range steps {
		b, err := m.Append(nil)
		if err != nil {
			return // it has been parsed from one, so it can be written
		}
		arena, ends := len(out.arena), len(out.ends)
		if s.Datagram(env, b, out); i < len(steps)-1 {
			out.arena, out.ends = out.arena[:arena], out.ends[:ends]
		}
	}
}
