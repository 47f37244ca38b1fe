package gateway

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// A session that the configuration does not allow any more is not taken up, and nothing
// of it is left.
func TestSessionsThatAreNoLongerAllowedAreGivenUpAtTheStart(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Options)
		why    session.Reason
		gone   string
	}{
		"allow":          {func(o *Options) { o.Session.Allow = []string{"ok-*"} }, session.ReasonClientNotAllowed, "direct"},
		"max_client_id":  {func(o *Options) { o.Session.MaxClientID = 5 }, session.ReasonClientID, "direct"},
		"own client id":  {func(o *Options) { o.ClientID = "direct" }, session.ReasonClientNotAllowed, "direct"},
		"forwarders off": {func(o *Options) { o.Forwarders = false }, session.ReasonForwarderNotAllowed, "ok-1"},
		"forwarder not allowed": {func(o *Options) {
			o.AllowForwarders = []netip.Prefix{netip.MustParsePrefix("10.0.9.0/24")}
		}, session.ReasonForwarderNotAllowed, "ok-1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				d, f := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
				d.connectWith(false, 600, "direct")
				d.subscribe("secret", 1)
				f.send(node("a1a2", "0a 04 00 01 003c 6f6b2d31"))
				f.want("CONNACK", node("a1a2", "03 05 00"))
				f.send(node("a1a2", "06 12 20 0001 74"))
				f.want("SUBACK", node("a1a2", "08 13 20 0002 0001 00"))
				r.crash()
				c := *r.opts.Session
				r.opts.Session = &c
				tt.change(&r.opts)
				r.start()
				time.Sleep(time.Second)
				r.wantSessions("the other one goes on", 1)
				for _, key := range r.store.Keys() {
					if strings.Contains(key, " "+tt.gone+"\x00") {
						t.Errorf("%q is still stored", key)
					}
				}
				if log := r.log.String(); strings.Count(log, `"level":"warn","`+tt.why.String()+`":1,"message":"dropping stored sessions that the configuration no longer allows`) != 1 {
					t.Errorf("it is not logged, or more than once:\n%s", log)
				}
				r.publish("secret", "x", 1)
				if name != "forwarders off" && name != "forwarder not allowed" {
					d.wantQuiet("it has no session")
					d.send("02 16")
					d.wantMessage("it has no session", sn12.Disconnect{})
				}
			})
		})
	}
}
