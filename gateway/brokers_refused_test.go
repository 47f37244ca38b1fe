package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// A client id that nobody has chosen is refused by some brokers: the log has to say which
// it is and where another can be set, also when a broker begins to refuse it later.
func TestRefusedClientIDOfTheGatewayIsNamedWithItsKey(t *testing.T) {
	for code, want := range map[byte]string{
		2: "warn | sngate-test.7 | set gateway.client_id to one that the broker accepts | the broker answers CONNECT with return code 2 (identifier rejected)",
		5: "warn | sngate-test.7 | <nil> | the broker answers CONNECT with return code 5 (not authorized)",
	} {
		wantAll := func(r *rig, message string) {
			lines := r.logged(message, "level", "client_id", "advice", "error")
			if len(lines) == 0 {
				t.Errorf("code %d: no line %q", code, message)
			}
			for _, line := range lines {
				if line != want {
					t.Errorf("code %d: %s: %s\nwant %s", code, message, line, want)
				}
			}
		}
		synctest.Test(t, func(t *testing.T) {
			broker := upstreamtest.NewBroker()
			defer broker.Close()
			broker.Refuse = func(string, string, []byte) byte { return code }
			r := newRig(t, func(o *Options) { o.Upstream.Dial, o.ClientID = broker.Dial, "sngate-test.7" })
			wantAll(r, "broker unavailable")
		})
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.ClientID = "sngate-test.7" })
			r.broker.Refuse = func(string, string, []byte) byte { return code }
			r.broker.Drop("sngate-test.7")
			time.Sleep(10 * time.Minute)
			wantAll(r, "broker still unavailable")
		})
	}
}

// A device without credentials is told so, at once and by a code that does not make it try for
// ever; the broker hears nothing of it.
func TestADeviceWithoutCredentialsIsRefused_Case172(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Upstream.Credentials = func(clientID string) (credential.Connect, error) {
				if clientID != "known" {
					return allButStrangers(clientID)
				}
				return credential.Connect{ClientID: "mqtt-known", HasUsername: true, Username: "u", Password: []byte("open-sesame")}, nil
			}
		})
		var seen []string
		r.broker.Refuse = func(id, username string, password []byte) byte {
			seen = append(seen, id+" "+username+" "+string(password))
			return 0
		}
		r.device("10.0.1.1:5000").connect("known")
		stranger := r.device("10.0.1.2:5000")
		stranger.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("stranger")})
		stranger.wantMessage("nobody knows it", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		r.wantDropped(session.ReasonNoCredentials, 1)
		r.wantSessions("of the known one", 1)
		if len(seen) != 1 || seen[0] != "mqtt-known u open-sesame" {
			t.Errorf("the broker was asked by %q", seen)
		}
		if lines := r.logged("upstream connect failed", "client_id", "error"); len(lines) != 1 || lines[0] != "stranger | "+credential.ErrNone.Error() {
			t.Errorf("the log says %q", lines)
		}
	})
}

func TestAGatewayWithoutCredentialsSaysWhereTheyBelong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.ClientID, o.Upstream.Credentials = "stranger", allButStrangers })
		want := "stranger | the gateway's own connection needs credentials as well: add its client id to broker.credentials_file or [[broker.device]], and give it a certificate where broker.cert_file has one for each client | " + credential.ErrNone.Error()
		if lines := r.logged("broker unavailable", "client_id", "advice", "error"); len(lines) != 1 || lines[0] != want {
			t.Errorf("the log says %q, want %q", lines, want)
		}
	})
}
