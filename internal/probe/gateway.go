package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/upstream/credential"
)

// Gateway is a gateway as a device sees it.
type Gateway struct {
	Address  string // host:port, UDP
	ClientID string
	// Topics says where the gateway has the topics of the client at its broker; nil: where the
	// client has them.
	Topics func() credential.Topics
	// Optional is for a gateway that need not run: where nothing listens, the part is skipped.
	Optional bool
}

const (
	// searchTime bounds the wait for GWINFO: gateways need not answer, and wait a while first.
	searchTime = 2 * time.Second
	// repeatAfter is when a request without an answer is sent again (Tretry). It is sent again
	// until the time of the part is over.
	repeatAfter = 3 * time.Second
	repeatMost  = 1000
	// keepAlive outlasts a probe, so that a gateway forgets one that has ended badly.
	keepAlive = time.Minute
)

// visit is one probe of a gateway.
type visit struct {
	*Gateway
	*course
	message message
	socket  *socket
	client  *snclient.Client
}

// probe goes all steps.
func (g *Gateway) probe(ctx context.Context, a *Aim, text string) *Part {
	p := &Part{Name: PartGateway, Address: "udp://" + g.Address, ClientID: g.ClientID}
	var topics credential.Topics
	if g.Topics != nil {
		topics = g.Topics()
	}
	v := &visit{Gateway: g, course: newCourse(a, p), message: a.message(topics, text)}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	v.step(StepResolve, func() outcome { return v.open(ctx) })
	if v.client != nil {
		defer v.client.Close()
		v.step(StepSearch, func() outcome { return v.search(ctx) })
		if v.step(StepConnect, func() outcome { return v.connect(ctx) }) {
			v.exchange(ctx)
			v.leave(ctx)
		}
	}
	return v.end()
}

// open resolves the name and makes a client. Nothing is sent.
func (v *visit) open(ctx context.Context) outcome {
	began := time.Now()
	o := resolve(ctx, v.part, v.Address, func() time.Duration { return time.Since(began) })
	if o.result == Failed {
		return o
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "udp", v.Address)
	if err != nil {
		return failed(reasonUnreachable, err.Error(), "look at the network and routes of this machine")
	}
	v.socket = &socket{Conn: nc, nobody: make(chan struct{})}
	v.client, err = snclient.New(v.socket, snclient.Options{
		ClientID: v.ClientID, CleanSession: true, KeepAlive: keepAlive, RetryInterval: repeatAfter, RetryCount: repeatMost,
	})
	if err != nil {
		nc.Close()
		return failed(reasonOther, err.Error(), "")
	}
	return o
}

// socket notes that nobody listens at the other end.
type socket struct {
	net.Conn
	once   sync.Once
	nobody chan struct{} // closed when the other end has said so
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if errors.Is(err, syscall.ECONNREFUSED) {
		s.once.Do(func() { close(s.nobody) })
	}
	return n, err
}

// search asks for the gateway. It need not answer.
func (v *visit) search(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	go func() {
		select {
		case <-v.socket.nobody:
			cancel()
		case <-ctx.Done():
		}
	}()
	info, err := v.client.SearchGateway(ctx, 0)
	if err != nil {
		return skipped("no answer to SEARCHGW, which is no fault")
	}
	return found("GWINFO of gateway %d", info.ID)
}

func (v *visit) connect(ctx context.Context) outcome {
	began := time.Now()
	err := v.client.Connect(ctx)
	var refused *snclient.ReturnCodeError
	switch {
	case err == nil:
		return found("accepted")
	case errors.Is(err, syscall.ECONNREFUSED) && v.Optional:
		v.stopped = true
		v.part.Text = "no gateway is running at " + v.Address
		return skipped(v.part.Text + "; --gateway names another")
	case errors.Is(err, syscall.ECONNREFUSED):
		return failed(reasonRefused, "nothing listens on this UDP port there", "is the gateway running, and is it the right port?")
	case errors.As(err, &refused) && refused.Code == sn12.RejectedCongestion:
		return rejected(refused, "the gateway has no connection to its broker for this client, or is overloaded: look at its log and its /readyz")
	case errors.As(err, &refused) && refused.Code == sn12.RejectedNotSupported:
		return rejected(refused, "the gateway does not take this client id: it has no credentials for it at the broker, session.allow leaves it out, or it is too long; its log says which")
	case errors.As(err, &refused):
		return rejected(refused, "the log of the gateway says why")
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("no CONNACK within %v", rounded(time.Since(began))),
			"the machine is off, its address is another, a firewall on the way drops UDP to this port, or the gateway's broker does not answer")
	}
	return failed(reasonOther, err.Error(), "")
}

// rejected is about a return code of MQTT-SN.
func rejected(err *snclient.ReturnCodeError, advice string) outcome {
	reason := "rejected_other"
	switch err.Code {
	case sn12.RejectedCongestion:
		reason = "rejected_congestion"
	case sn12.RejectedInvalidTopicID:
		reason = "rejected_topic_id"
	case sn12.RejectedNotSupported:
		reason = "rejected_not_supported"
	}
	return failed(reason, fmt.Sprintf("the gateway answers %v with return code 0x%02x (%v)", err.Request, uint8(err.Code), err.Code), advice)
}

// fault is about a request after CONNECT.
func (v *visit) fault(err error, what string, waited time.Duration) outcome {
	var refused *snclient.ReturnCodeError
	switch {
	case errors.As(err, &refused) && refused.Code == sn12.RejectedCongestion:
		return rejected(refused, "the gateway has lost its connection to the broker, or is overloaded: look at its log and its /readyz")
	case errors.As(err, &refused):
		return rejected(refused, "the gateway or its broker does not permit this client the topic, or broker.limits of the gateway keeps it from the broker; --topic gives another")
	case isTimeout(err):
		return failed(reasonTimeout, fmt.Sprintf("no answer to %s within %v", what, rounded(waited)), "the broker does not answer the gateway, or datagrams are lost: look at the gateway's log")
	case errors.Is(err, snclient.ErrDisconnected):
		return failed(reasonClosed, "the gateway has ended the session after "+what, "its connection to the broker has ended: look at the gateway's log")
	}
	return failed(reasonOther, fmt.Sprintf("%s: %v", what, err), "")
}

// exchange carries out the steps between CONNACK and DISCONNECT.
func (v *visit) exchange(ctx context.Context) {
	var began time.Time
	m := &v.message
	// try carries out a request.
	try := func(name, what string, do func() (outcome, error)) bool {
		return v.step(name, func() outcome {
			began = time.Now()
			o, err := do()
			if err != nil {
				return v.fault(err, what, time.Since(began))
			}
			return o
		})
	}
	try(StepRegister, "REGISTER", func() (outcome, error) {
		id, err := v.client.Register(ctx, m.name)
		return found("%q is topic id %d", m.name, id), err
	})
	try(StepSubscribe, "SUBSCRIBE", func() (outcome, error) {
		if m.oneWay {
			return skipped(noSubscription), nil
		}
		granted, err := v.client.Subscribe(ctx, snclient.Name(m.filter), m.qos)
		return found("%s, QoS %d granted", shownAs(m.filter, m.asked), granted), err
	})
	if !try(StepPublish, "PUBLISH", func() (outcome, error) {
		return m.sent(), v.client.Publish(ctx, snclient.Name(m.name), []byte(m.text), m.qos, false)
	}) {
		return
	}
	v.step(StepReceive, func() outcome { return v.receive(ctx, began) })
}

// receive waits for the message that was published.
func (v *visit) receive(ctx context.Context, published time.Time) outcome {
	if o, none := v.message.noReturn(); none {
		return o
	}
	for {
		select {
		case m := <-v.client.Messages():
			if string(m.Payload) != v.message.text {
				continue
			}
			trip := time.Since(published)
			v.part.RoundTripSeconds = new(float64)
			*v.part.RoundTripSeconds = seconds(trip)
			return found("the message came back after %v", trip.Round(10*time.Microsecond))
		case err := <-v.client.Lost():
			return v.fault(err, "PUBLISH", time.Since(published))
		case <-ctx.Done():
			return noEcho(time.Since(published), v.message.topic, "the gateway and its broker have taken the message and the broker")
		}
	}
}

// leave says goodbye.
func (v *visit) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if v.stopped { // the report says what has failed; this is for the gateway alone
		_ = v.client.Disconnect(ctx)
		return
	}
	v.step(StepDisconnect, func() outcome {
		if err := v.client.Disconnect(ctx); err != nil {
			return v.fault(err, "DISCONNECT", goodbye)
		}
		return found("the gateway has answered")
	})
}
