package upstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// accounts are the credentials of these tests.
type accounts map[string]credential.Connect

func (a accounts) of(clientID string) (credential.Connect, error) {
	c, ok := a[clientID]
	if !ok {
		return credential.Connect{}, credential.ErrNone
	}
	return c, nil
}

// wantConnect accepts the next connection, whose CONNECT has to be of this account.
func wantConnect(r *rig, want credential.Connect, why string) *upstreamtest.Peer {
	r.t.Helper()
	r.runUntilIdle()
	if r.lis.Dialled() == 0 {
		r.t.Fatalf("%s: nothing has dialled", why)
	}
	p := r.lis.Accept(r.t)
	got := p.Accept(false)
	if got.ClientIdentifier != want.ClientID || got.UsernameFlag != want.HasUsername || got.Username != want.Username ||
		got.PasswordFlag != (want.Password != nil) || string(got.Password) != string(want.Password) {
		r.t.Errorf("%s: CONNECT of %q, user name %q, password %q; want %+v", why, got.ClientIdentifier, got.Username, got.Password, want)
	}
	return p
}

func TestEachConnectCarriesTheCredentialsOfItsClient_Case172(t *testing.T) {
	all := accounts{
		"dev":   {ClientID: "site/dev", HasUsername: true, Username: "u", Password: []byte("p")},
		"plain": {ClientID: "plain"},
	}
	bubble(t, upstream.Options{Credentials: all.of, Username: "unused", Password: []byte("unused")}, func(r *rig) {
		o := r.link()
		o.Connect(r.now(), persistent)
		p := wantConnect(r, all["dev"], "a user name and a password")
		o.want(upstream.EventConnected, "accepted")

		all["dev"] = credential.Connect{ClientID: "site/dev", HasUsername: true, Username: "u", Password: []byte("new")}
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(2 * time.Second)
		wantConnect(r, all["dev"], "new ones count from the next connect on")
		o.want(upstream.EventUp, "again")

		plain := r.link()
		plain.Connect(r.now(), &upstream.Connect{ClientID: "plain"})
		wantConnect(r, all["plain"], "neither")
		plain.want(upstream.EventConnected, "accepted")
	})
}

func TestWithoutCredentialsNothingIsSent_Case172(t *testing.T) {
	all := accounts{}
	bubble(t, upstream.Options{Credentials: all.of}, func(r *rig) {
		o := r.link()
		o.Connect(r.now(), persistent)
		e := o.want(upstream.EventRefused, "nobody knows the client")
		if e.Refusal.Kind != upstream.RefusedWithoutCredentials || !errors.Is(e.Err, credential.ErrNone) {
			t.Errorf("refused by %+v: %v", e.Refusal, e.Err)
		}
		r.pass(time.Hour)
		o.wantQuiet("it is not tried again")
		if n := r.d.Stats().DialsStarted.Load(); n != 0 || r.lis.Dialled() != 0 {
			t.Errorf("%d dials", n)
		}

		all["dev"] = credential.Connect{ClientID: "dev"}
		p := o.connect(persistent, false)
		delete(all, "dev")
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(2 * time.Second)
		if e := o.want(upstream.EventDown, "they are gone"); e.Refusal.Kind != upstream.RefusedWithoutCredentials {
			t.Errorf("%+v", e)
		}
		all["dev"] = credential.Connect{ClientID: "dev"}
		for r.lis.Dialled() == 0 {
			r.pass(time.Second)
		}
		wantConnect(r, all["dev"], "a link that has had them tries on, as after a refusal")
		o.want(upstream.EventUp, "again")
	})
}

// A device that returns while its old connection is open, and has no credentials any more.
func TestCredentialsGoneWhileConnected(t *testing.T) {
	all := accounts{"dev": {ClientID: "dev"}}
	bubble(t, upstream.Options{Credentials: all.of}, func(r *rig) {
		o, p := r.up(persistent, false)
		delete(all, "dev")
		o.Connect(r.now(), persistent)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "the old connection is ended in good order")
		p.Conn.Close()
		if e := o.want(upstream.EventRefused, "then the new one is refused"); e.Refusal.Kind != upstream.RefusedWithoutCredentials {
			t.Errorf("%+v", e)
		}
		o.Close(r.now(), upstream.CloseGraceful)
		o.want(upstream.EventClosed, "there is none to close")
	})
}

func TestTheTrialOfThePreferredBrokerHasCredentials(t *testing.T) {
	all := accounts{"dev": {ClientID: "dev"}}
	withCluster(t, upstream.Options{Credentials: all.of, FailBack: time.Minute, ProbeClientID: "gw-probe", PingInterval: 10 * time.Hour}, func(c *cluster) {
		c.a.down.Store(true)
		o := c.r.link()
		o.Reopen(c.r.now(), persistent, upstream.ReopenNow)
		c.use(c.b)
		for c.b.Dialled() == 0 {
			c.r.pass(time.Second)
		}
		c.b.Accept(t).Accept(false)
		c.a.down.Store(false)
		dials := c.a.dials.Load()
		c.r.pass(5 * time.Minute)
		if c.a.dials.Load() != dials {
			t.Error("dialled without credentials")
		}
		all["gw-probe"] = credential.Connect{ClientID: "probe", HasUsername: true, Username: "gw"}
		for c.a.Dialled() == 0 {
			c.r.pass(time.Second)
		}
		c.use(c.a)
		wantConnect(c.r, all["gw-probe"], "the trial")
	})
}

// A password that waits in line would be old when it is sent.
func TestPasswordsAreMadeWhenTheConnectHasItsSlot(t *testing.T) {
	of := func(clientID string) (credential.Connect, error) {
		password := []byte(time.Now().Format(time.TimeOnly))
		return credential.Connect{ClientID: clientID, HasUsername: true, Username: "u", Password: password, Life: time.Hour}, nil
	}
	opt := upstream.Options{Credentials: of, MaxDials: 1, SlotWait: time.Hour, ConnectTimeout: time.Minute, PingInterval: 10 * time.Hour}
	bubble(t, opt, func(r *rig) {
		other := r.link()
		other.Connect(r.now(), &upstream.Connect{ClientID: "other"})
		r.runUntilIdle()
		slow := r.lis.Accept(t)
		o := r.link()
		o.Connect(r.now(), &upstream.Connect{ClientID: "dev"})
		r.pass(30 * time.Second)
		slow.Accept(false)
		r.runUntilIdle()
		p := r.lis.Accept(t)
		if got, want := string(p.Accept(false).Password), time.Now().Format(time.TimeOnly); got != want {
			t.Errorf("the password is of %s, sent at %s", got, want)
		}
		o.want(upstream.EventConnected, "accepted")
		if at := o.Deadline() - r.now(); at != 48*time.Minute {
			t.Errorf("renewed after %v, want 48 minutes from when it was made", at)
		}
		other.want(upstream.EventConnected, "accepted")
		if at := other.Deadline() - r.now(); at != 48*time.Minute-30*time.Second {
			t.Errorf("the other is renewed after %v, want 48 minutes from when its password was made", at)
		}
	})
}
