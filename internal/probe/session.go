package probe

import (
	"context"
	"net"
	"time"

	"sngate/upstream/mqtt"
)

// Bounds of an MQTT connection.
const (
	maxPayload = 1024 // octets of a message that is looked at; a longer one is passed over
	maxFirst   = 8    // first octets that are kept, to tell what answers
)

// Packet identifiers: nothing else is under way.
const (
	idSubscribe = 1
	idPublish   = 2
)

// session is one MQTT connection of a probe. One goroutine uses it.
type session struct {
	nc        net.Conn
	first     firstOctets
	dec       mqtt.Decoder
	answers   bool // messages are acknowledged; those of a device are not, they are for the device
	m         *message
	published time.Time
	arrived   time.Time // when the message was back; zero: it is not
}

// newSession is for a connection on which nothing has been said.
func newSession(nc net.Conn, answers bool, m *message) *session {
	s := &session{nc: nc, first: firstOctets{Conn: nc}, answers: answers, m: m}
	s.dec.Reset(&s.first, maxPayload)
	return s
}

// firstOctets keeps what a connection says first.
type firstOctets struct {
	net.Conn
	octets []byte
}

// Read implements net.Conn.
func (f *firstOctets) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.octets = append(f.octets, p[:min(n, maxFirst-len(f.octets))]...)
	return n, err
}

// during lets reads and writes last until ctx is done; end undoes that.
func (s *session) during(ctx context.Context) (end func() bool, err error) {
	deadline, _ := ctx.Deadline() // every ctx here has one
	if err := s.nc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	return context.AfterFunc(ctx, func() { _ = s.nc.SetDeadline(time.Unix(1, 0)) }), nil
}

func (s *session) write(ctx context.Context, packet []byte) error {
	end, err := s.during(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = s.nc.Write(packet)
	return err
}

// next reads one packet, and looks whether it is the message.
func (s *session) next(ctx context.Context) (p mqtt.Packet, err error) {
	end, err := s.during(ctx)
	if err != nil {
		return p, err
	}
	defer end()
	if _, err = s.dec.Next(&p); err != nil {
		return p, err
	}
	switch {
	case p.Kind == mqtt.TypeDisconnect:
		return p, mqtt.Disconnected(p.Code)
	case p.Fault != mqtt.FaultNone:
		return p, mqtt.ProtocolError(p.Fault.Error())
	case p.Kind == mqtt.TypePublish:
		if string(p.Payload) == s.m.text && s.arrived.IsZero() {
			s.arrived = time.Now()
		}
		if s.answers && p.QoS == 1 {
			_, err = s.nc.Write(mqtt.AppendAck(nil, mqtt.TypePuback, p.ID))
		}
	}
	return p, err
}

// await reads until a packet of a kind has come, with an identifier where it has one.
func (s *session) await(ctx context.Context, kind uint8, id uint16) (mqtt.Packet, error) {
	for {
		p, err := s.next(ctx)
		if err != nil || p.Kind == kind && p.ID == id {
			return p, err
		}
	}
}

// subscribe subscribes and returns the return code of SUBACK.
func (s *session) subscribe(ctx context.Context) (code uint8, err error) {
	if err := s.write(ctx, mqtt.EncodeSubscribe(idSubscribe, s.m.asked, s.m.qos)); err != nil {
		return 0, err
	}
	ack, err := s.await(ctx, mqtt.TypeSuback, idSubscribe)
	return ack.Code, err
}

// publish publishes the message and, at QoS 1, waits for the acknowledgement.
func (s *session) publish(ctx context.Context) error {
	s.published = time.Now()
	if err := s.write(ctx, mqtt.AppendPublish(nil, "", s.m.topic, []byte(s.m.text), s.m.qos, false, idPublish)); err != nil || s.m.qos == 0 {
		return err
	}
	_, err := s.await(ctx, mqtt.TypePuback, idPublish)
	return err
}

// receive waits for the message to come back and returns how long that took.
func (s *session) receive(ctx context.Context) (time.Duration, error) {
	for s.arrived.IsZero() {
		if _, err := s.next(ctx); err != nil {
			return 0, err
		}
	}
	return s.arrived.Sub(s.published), nil
}

// disconnect says goodbye, and returns the error that the end of the connection is, as far as
// the broker ends it.
func (s *session) disconnect(ctx context.Context) error {
	if err := s.write(ctx, mqtt.AppendBare(nil, mqtt.TypeDisconnect)); err != nil {
		return err
	}
	for {
		if _, err := s.next(ctx); err != nil {
			return err
		}
	}
}
