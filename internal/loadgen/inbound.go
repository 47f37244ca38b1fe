package loadgen

import (
	"time"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// take handles a datagram of the gateway for device i.
func (e *engine) take(i int, datagram []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leaving || e.lose() {
		return
	}
	kind, body, err := snpacket.Split(datagram)
	if err != nil {
		e.counts.broken++
		return
	}
	now := e.now()
	switch kind := sn12.Type(kind); kind {
	case sn12.TypePublish:
		err = e.delivered(i, body, now)
	case sn12.TypePubRel:
		var m sn12.PubRel
		if err = m.Parse(body); err == nil {
			e.devices[i].openID = 0
			reply(e, i, sn12.PubComp{MsgID: m.MsgID})
		}
	case sn12.TypeRegister:
		var m sn12.Register
		if err = m.Parse(body); err == nil {
			reply(e, i, sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
		}
	case sn12.TypePingReq:
		reply(e, i, sn12.PingResp{})
	default:
		e.answered(i, kind, body, now)
	}
	if err != nil {
		e.counts.broken++
	}
}

// delivered takes a message of the gateway for device i.
func (e *engine) delivered(i int, body []byte, now int64) error {
	var m sn12.Publish
	if err := m.Parse(body); err != nil {
		return err
	}
	d := &e.devices[i]
	switch m.QoS {
	case 1:
		reply(e, i, sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case 2:
		reply(e, i, sn12.PubRec{MsgID: m.MsgID})
		if m.MsgID == d.openID {
			return nil // a repeat, which QoS 2 lets a device tell
		}
		d.openID = m.MsgID
	}
	if d.asleep {
		e.counts.early++
	}
	e.arrived(&e.down, i, m.Data, now)
	return nil
}

// published takes a message of a device from the broker.
func (e *engine) published(payload []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.arrived(&e.up, -1, payload, e.now())
}

// arrived counts a message, which is for device i unless that is -1. In a closed loop it lets
// the next one go.
func (e *engine) arrived(w *way, i int, payload []byte, now int64) {
	if len(payload) != e.o.Payload {
		w.stray++
		return
	}
	s := readStamp(payload)
	if i >= 0 && s.device != uint32(i) {
		w.stray++
		return
	}
	if !w.add(s.device, s.number) {
		return
	}
	if s.sent >= e.measured {
		w.latency.record(time.Duration(now - s.sent))
	}
	if i = int(s.device); !e.o.closed() {
		return
	}
	if d := &e.devices[i]; w == &e.up && d.awaits == echo {
		e.waiting.remove(i)
		d.awaits = 0
		e.sendNext(i, now)
	} else if w == &e.down && e.running {
		e.credit.remove(i)
		e.sendDown(i, now, now)
	}
}
