package upstream

import (
	"time"

	"sngate/upstream/credential"
	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
)

// greeting is how one connect presents itself to the broker. Credentials are asked for when the
// connect has its slot: a password may count from when it is made, and slots may take a while.
//
// What is said below begun is written by the goroutine of the connect, before it tells how the
// connect has ended; the owner reads it after.
type greeting struct {
	d *shared
	c Connect
	// as is the client whose certificate is presented; that of c, but for trials.
	as string

	begun time.Time
	life  time.Duration // from begun on; 0: for ever
}

// unknown is why it is not known as whom to connect.
type unknown struct{ error }

func (u unknown) Unwrap() error { return u.error }

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
	g.begun = time.Now()
	who, err := g.d.opt.credentials(g.c.ClientID)
	if err != nil {
		return dial.Greeting{}, err
	}
	secure, err := g.d.tls.For(address, g.as)
	if err != nil {
		return dial.Greeting{}, err
	}
	g.life = who.Life
	hello := mqtt.EncodeConnect(&mqtt.Connect{
		ClientID: who.ClientID, CleanSession: g.c.CleanSession, KeepAlive: g.c.KeepAlive, Will: (*mqtt.Will)(g.c.Will),
		HasUsername: who.HasUsername, Username: who.Username, Password: who.Password,
	})
	return dial.Greeting{Hello: hello, Secure: secure}, nil
}

// renewal returns when a connection that this greeting began is replaced, before its credentials
// end: when four fifths of their life are over, or up to a tenth later, so that not all are at
// once. Never: they do not end.
func (g *greeting) renewal(now time.Duration) time.Duration {
	if g.life <= 0 {
		return Never
	}
	return now - time.Since(g.begun) + g.life/5*4 + time.Duration(g.d.opt.Rand()*float64(g.life/10))
}

// probe is the greeting of a trial of the preferred broker.
func (d *shared) probe(address string) (dial.Greeting, error) {
	g := greeting{d: d, c: Connect{ClientID: d.opt.ProbeClientID, CleanSession: true}, as: d.opt.ProbeAs}
	return g.make(address)
}
