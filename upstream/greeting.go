package upstream

import (
	"errors"
	"time"

	"sngate/upstream/credential"
	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
)

// greeting is how one connect presents itself to the broker. Its password is made when CONNECT is
// sent: it may count from then on, and a connect may wait for its slot for a while.
//
// What is said below begun is written by the goroutine of the connect, before it tells how the
// connect has ended; the owner reads it after.
type greeting struct {
	d *shared
	c Connect // the owner may change it while the connect is held back
	// as is the client whose certificate is presented; that of c, but for trials.
	as string

	begun time.Time
	life  time.Duration // from begun on; 0: for ever

	topics topicMap
}

// credentials returns as whom a client connects. The error is an unknown.
func (o *Options) credentials(clientID string) (credential.Connect, error) {
	if o.Credentials == nil {
		return credential.Connect{ClientID: clientID, HasUsername: o.HasUsername, Username: o.Username, Password: o.Password}, nil
	}
	who, err := o.Credentials(clientID)
	if err != nil {
		return credential.Connect{}, unknown{err}
	}
	return who, nil
}

// make implements dial.Greeter.
func (g *greeting) make(address string) (dial.Greeting, error) {
	over, err := g.d.layers.over(address, g.as)
	if f := (*secure.FileError)(nil); errors.As(err, &f) && f.Missing {
		err = unknown{err} // a certificate is a credential; one that is broken may be mended soon
	}
	return dial.Greeting{Secure: over, Client: g.c.ClientID, Hello: g.hello}, err
}

// hello returns CONNECT.
func (g *greeting) hello() (packet []byte, clientID string, err error) {
	g.begun = time.Now()
	who, err := g.d.opt.credentials(g.c.ClientID)
	if err != nil {
		return nil, "", err
	}
	g.life, g.topics = who.Life, topicMap{who.Topics}
	hello := mqtt.Connect{ClientID: who.ClientID, CleanSession: g.c.CleanSession, KeepAlive: g.c.KeepAlive, Will: g.topics.will(g.c.Will),
		HasUsername: who.HasUsername, Username: who.Username, Password: who.Password,
	}
	if !hello.Fits() {
		return nil, "", ErrTooLarge
	}
	return mqtt.EncodeConnect(&hello), who.ClientID, nil
}

// probe is the greeting of a trial of the preferred broker.
func (d *shared) probe(address string) (dial.Greeting, error) {
	if _, err := d.opt.credentials(d.opt.ProbeClientID); err != nil {
		return dial.Greeting{}, err
	}
	g := &greeting{d: d, c: Connect{ClientID: d.opt.ProbeClientID, CleanSession: true, KeepAlive: d.opt.keepAlive(0)}, as: d.opt.ProbeAs}
	return g.make(address)
}
