package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// The passwords of these tests; none may be seen anywhere.
const (
	gatewaySecret = "open-sesame"
	pumpSecret    = "correct, horse"
	meterSecret   = "battery{staple"
	lateSecret    = "tr0ub4dor"
)

// guarded starts a broker that knows some users, each of whom may use the topics of their name
// alone, and watches all of them.
func guarded(t *testing.T) (*mosquitto.Broker, *testgateway.Client) {
	t.Helper()
	rules := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(rules, []byte("pattern readwrite devices/%u/#\n\nuser watcher\ntopic readwrite #\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := mosquitto.Start(t, mosquitto.Options{
		Users: map[string]string{"gw": gatewaySecret, "pump": pumpSecret, "meter": meterSecret, "late": lateSecret, "watcher": "w"},
		Extra: []string{"acl_file " + rules},
	})
	login := func(o *mqtt.ClientOptions) { o.SetUsername("watcher").SetPassword("w") }
	return broker, testgateway.ConnectMQTTWith(t, broker.Addr(), login, "devices/#")
}

// report publishes a device's text under a user's name, at QoS 1.
func report(n *testgateway.Node, user, text string) {
	n.T.Helper()
	id := n.Register("devices/" + user + "/report")
	n.Send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 7, Data: []byte(text)})
	if ack := testgateway.Want[sn12.PubAck](n); ack.ReturnCode != sn12.Accepted {
		n.T.Fatalf("PUBLISH is answered by %+v", ack)
	}
}

func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".new"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func TestUserNameAndPasswordOfEachDevice_Case172(t *testing.T) {
	t.Parallel()
	broker, watcher := guarded(t)
	file := filepath.Join(t.TempDir(), "devices.csv")
	rows := fmt.Sprintf("client_id,username,password,serial\npump-1,pump,%q,S1\nmeter-1,meter,%s,S2\n", pumpSecret, meterSecret)
	replaceFile(t, file, rows)
	g := startGateway(t, broker.URL(), testgateway.Settings{
		"gateway.client_id":           `"the-gateway"`,
		"log.level":                   `"trace"`,
		"broker.client_id":            `"site/{serial}"`,
		"broker.credentials_file":     fmt.Sprintf("%q", file),
		"broker.credentials_required": "true",
		"broker.device":               fmt.Sprintf(`[{ client = "the-gateway", client_id = "{client_id}", username = "gw", password = %q }]`, gatewaySecret),
	})
	g.AwaitReady(200)

	pump, meter, stranger := testgateway.NewNode(t, g.Addr), testgateway.NewNode(t, g.Addr), testgateway.NewNode(t, g.Addr)
	pump.MustConnect("pump-1", true, 60)
	meter.MustConnect("meter-1", false, 60)
	report(pump, "pump", "mine")
	watcher.WantMessage("devices/pump/report", "mine")
	report(meter, "pump", "not mine") // the broker takes it, and gives it to nobody
	report(meter, "meter", "mine")
	watcher.WantMessage("devices/meter/report", "mine")
	for _, connected := range []string{"as site/S1 (", "u'pump'", "as site/S2 (", "u'meter'", "as the-gateway (", "u'gw'"} {
		if !strings.Contains(broker.Log(), connected) {
			t.Errorf("the broker's log does not say %q", connected)
		}
	}

	connect := func(id string) sn12.ReturnCode {
		return stranger.Connect(sn12.Connect{ClientID: []byte(id), CleanSession: true, Duration: 60})
	}
	begin := strings.Count(broker.Log(), "New connection from")
	if code := connect("late-1"); code != sn12.RejectedNotSupported {
		t.Errorf("CONNECT without credentials is answered by %v, want %v", code, sn12.RejectedNotSupported)
	}
	g.Await(`sngate_drops_total{reason="no_credentials"}`, 1)
	if n := strings.Count(broker.Log(), "New connection from"); n != begin {
		t.Error("the broker was connected to for a device without credentials")
	}

	replaceFile(t, file, rows+"late-1,late\n")
	g.Await("sngate_credentials_reload_failures_total", 1)
	pump.MustConnect("pump-1", true, 60) // by the rows from before
	replaceFile(t, file, rows+"late-1,late,"+lateSecret+",S3\n")
	testgateway.Eventually(t, "a new row counts for the next connect", func() bool { return connect("late-1") == sn12.Accepted })
	report(stranger, "late", "mine")
	watcher.WantMessage("devices/late/report", "mine")
	wantNoSecrets(t, g)
}

// wantNoSecrets looks for passwords where an operator looks.
func wantNoSecrets(t *testing.T, g *testgateway.Gateway) {
	t.Helper()
	seen := map[string]string{"the log": g.Stderr.String()}
	for _, path := range []string{"/metrics", "/readyz", "/", "/api/v1/sessions", "/api/v1/sessions/pump-1"} {
		_, seen[path] = g.Get(path)
	}
	check := sngate(t, "check", g.Cmd.Args[len(g.Cmd.Args)-1])
	if code := check.Wait(10 * time.Second); code != 0 {
		t.Errorf("check ends with %d", code)
	}
	seen["check"] = check.Stdout.String() + check.Stderr.String()
	for where, text := range seen {
		for _, secret := range []string{gatewaySecret, pumpSecret, meterSecret, lateSecret} {
			if strings.Contains(text, secret) {
				t.Errorf("a password is in %s:\n%s", where, text)
			}
		}
	}
	for _, line := range g.LogLines() {
		if line.Level == "error" && !strings.HasPrefix(line.Message, "credentials file not read") {
			t.Errorf("%s", line.Message)
		}
	}
}
