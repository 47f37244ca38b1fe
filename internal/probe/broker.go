package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sngate/upstream/credential"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// Broker is how to reach a broker as the gateway does.
type Broker struct {
	Address  string // host:port
	Scheme   string // that of its URL, to be shown
	ClientID string // of the device that is probed for
	// Identity says as whom that device connects.
	Identity func() (credential.Connect, error)
	Dial     websocket.Dial
	// Proxied says that a proxy, to which Dial connects, finds the broker by its name.
	Proxied bool
	// Secure returns the handshake of the connection, which is nil where it has no TLS.
	Secure func() (secure.Handshake, error)
	// Upgrade makes a WebSocket connection of it; nil: it is none.
	Upgrade websocket.Upgrade
	// ConnectTimeout bounds all from the name to CONNACK.
	ConnectTimeout time.Duration
	KeepAlive      uint16 // seconds, as CONNECT says it
	// KeepSession is for the client id of a device: with CleanSession=0, so that its session at
	// the broker stays as it is, and without SUBSCRIBE.
	KeepSession bool
	// ExpiryWarning is how long before the end of a certificate it is warned of.
	ExpiryWarning time.Duration
}

// walk is one probe of a broker.
type walk struct {
	*Broker
	*course
	aim  *Aim
	text string // of the message

	who       credential.Connect
	handshake secure.Handshake
	nc        net.Conn
	message   message // as soon as who is known
	session   *session
}

// probe goes all steps.
func (b *Broker) probe(ctx context.Context, a *Aim, text string) *Part {
	p := &Part{Name: PartBroker, Address: b.Scheme + "://" + b.Address, ClientID: b.ClientID}
	w := &walk{Broker: b, course: newCourse(a, p), aim: a, text: text}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	w.open(ctx)
	if w.nc != nil {
		defer w.nc.Close()
	}
	if w.session != nil {
		w.exchange(ctx)
		w.leave(ctx)
	}
	return w.end()
}

// open carries out the steps until CONNACK. session is set if it has come.
func (w *walk) open(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.ConnectTimeout)
	defer cancel()
	began := time.Now()
	waited := func() time.Duration { return time.Since(began) }
	w.step(StepCredentials, w.identify)
	w.step(StepResolve, func() outcome {
		if w.Proxied {
			return skipped("the proxy of the environment does that")
		}
		return resolve(ctx, w.part, w.Address, waited)
	})
	w.step(StepTCP, func() outcome {
		nc, err := w.Dial(ctx, "tcp", w.Address)
		if err != nil {
			return tcpFault(err, waited())
		}
		w.nc = nc
		if w.Proxied {
			return found("through the proxy %v from %v", nc.RemoteAddr(), nc.LocalAddr())
		}
		return found("%v from %v", nc.RemoteAddr(), nc.LocalAddr())
	})
	w.step(StepTLS, func() outcome { return w.secure(ctx, waited) })
	w.step(StepWebSocket, func() outcome { return w.upgrade(ctx, waited) })
	w.step(StepConnect, func() outcome { return w.connect(ctx, waited) })
}

// identify finds out as whom to connect.
func (w *walk) identify() outcome {
	const advice = "give this client id a row in broker.credentials_file or an entry in broker.device, or probe as a client id that has one (--client)"
	var err error
	if w.who, err = w.Identity(); err != nil {
		return failed(reasonNoCredentials, err.Error(), advice)
	}
	w.message = w.aim.message(w.who.Topics, w.text)
	if w.Secure != nil {
		if w.handshake, err = w.Secure(); err != nil {
			return tlsFault(err, 0)
		}
	}
	text := fmt.Sprintf("client id %q", w.who.ClientID)
	switch {
	case w.who.Password != nil:
		text += ", with user name and password"
	case w.who.HasUsername:
		text += ", with user name"
	default:
		text += ", no user name"
	}
	if w.who.Life > 0 {
		text += fmt.Sprintf(" that ends in %v", rounded(w.who.Life))
	}
	return found("%s", text)
}

// resolve finds the addresses of a host:port.
func resolve(ctx context.Context, p *Part, address string, waited func() time.Duration) outcome {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return failed(reasonOther, err.Error(), "")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		p.Addresses = []string{host}
		return skipped("an address needs no name server")
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return resolveFault(host, err, waited())
	}
	const most = 16
	for _, a := range addresses[:min(len(addresses), most)] {
		p.Addresses = append(p.Addresses, a.Unmap().String())
	}
	p.Addresses = slices.Compact(p.Addresses)
	return found("%s", strings.Join(p.Addresses, ", "))
}

func (w *walk) secure(ctx context.Context, waited func() time.Duration) outcome {
	if w.handshake == nil {
		return skipped("not used with " + w.Scheme + "://")
	}
	nc, err := w.handshake(ctx, w.nc)
	if err != nil {
		w.part.TLS = tlsOfFault(err)
		return tlsFault(err, waited())
	}
	w.nc, w.part.TLS = nc, tlsOf(nc)
	if w.part.TLS == nil {
		return found("done")
	}
	return w.part.TLS.outcome(time.Now(), w.ExpiryWarning)
}

func (w *walk) upgrade(ctx context.Context, waited func() time.Duration) outcome {
	if w.Upgrade == nil {
		return skipped("not used with " + w.Scheme + "://")
	}
	nc, err := w.Upgrade(ctx, w.nc)
	if err != nil {
		return webFault(err, waited())
	}
	w.nc = nc
	return found("upgraded, with the subprotocol of MQTT")
}

// connect sends CONNECT and reads CONNACK.
func (w *walk) connect(ctx context.Context, waited func() time.Duration) outcome {
	s := newSession(w.nc, !w.KeepSession, &w.message)
	hello := mqtt.EncodeConnect(&mqtt.Connect{
		ClientID: w.who.ClientID, CleanSession: !w.KeepSession, KeepAlive: w.KeepAlive,
		HasUsername: w.who.HasUsername, Username: w.who.Username, Password: w.who.Password,
	})
	err := s.write(ctx, hello)
	var ack mqtt.Packet
	if err == nil {
		ack, err = s.await(ctx, mqtt.TypeConnack, 0)
	}
	switch {
	case err != nil:
		return connectFault(err, s.first.octets, waited())
	case ack.Code != mqtt.CodeAccepted:
		return connackFault(ack.Code, w.who.HasUsername)
	}
	w.session = s
	if ack.SessionPresent {
		return found("accepted; the broker has a session of this client id")
	}
	return found("accepted")
}

// exchange carries out the steps between CONNACK and DISCONNECT.
func (w *walk) exchange(ctx context.Context) {
	const kept = "left out, so that the session of the device stays as it is; --clean does it"
	began := time.Now()
	lap := func() time.Duration { return time.Since(began) }
	m := &w.message
	w.step(StepSubscribe, func() outcome {
		switch {
		case w.KeepSession:
			return skipped(kept)
		case m.oneWay:
			return skipped(noSubscription)
		}
		if o, kept := w.aim.Limits.keeps(m.asked); kept {
			return o
		}
		began = time.Now()
		code, err := w.session.subscribe(ctx)
		switch {
		case err != nil:
			return lossFault(err, "SUBSCRIBE", lap())
		case code == mqtt.CodeFailure:
			return failed(reasonSubscription, fmt.Sprintf("the broker refuses the subscription to %s", shownAs(m.filter, m.asked)),
				"the rights of this client at the broker have to include to read it, or give a topic by --topic that it may use")
		}
		return found("%s, QoS %d granted", shownAs(m.filter, m.asked), code)
	})
	w.step(StepPublish, func() outcome {
		if o, kept := w.aim.Limits.keeps(m.topic); kept {
			return o
		}
		began = time.Now()
		if err := w.session.publish(ctx); err != nil {
			return lossFault(err, "PUBLISH", lap())
		}
		return m.sent()
	})
	w.step(StepReceive, func() outcome {
		if w.KeepSession {
			return skipped(kept)
		}
		if o, none := m.noReturn(); none {
			return o
		}
		trip, err := w.session.receive(ctx)
		if isTimeout(err) {
			return noEcho(lap(), m.topic, "the broker has taken the message and")
		}
		if err != nil {
			return lossFault(err, "PUBLISH", lap())
		}
		w.part.RoundTripSeconds = new(float64)
		*w.part.RoundTripSeconds = seconds(trip)
		return found("the message came back after %v", trip.Round(10*time.Microsecond))
	})
}

// noEcho is about a message that was taken and did not come back.
func noEcho(waited time.Duration, topic, who string) outcome {
	return failed(reasonNoEcho, fmt.Sprintf("the message did not come back within %v", rounded(waited)),
		who+fmt.Sprintf(" does not say why: most likely this client may not publish to %q, or not read it (access rules of the broker); --topic gives another, and --no-receive is for topics of which nothing comes back", topic))
}

// goodbye bounds the end of a connection: it comes also when the time of all else is over.
const goodbye = 2 * time.Second

// leave says DISCONNECT and waits for the broker to close, so that who connects next with this
// client id does not meet this connection.
func (w *walk) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if w.stopped { // the report says what has failed; this is for the broker alone
		_ = w.session.disconnect(ctx)
		return
	}
	w.step(StepDisconnect, func() outcome {
		err := w.session.disconnect(ctx)
		if ended(err) || errors.Is(err, net.ErrClosed) {
			return found("the broker has closed the connection")
		}
		if isTimeout(err) {
			return found("sent; the broker leaves the connection open")
		}
		return lossFault(err, "DISCONNECT", goodbye)
	})
}
