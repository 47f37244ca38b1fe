package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sngate/gateway/admin"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// A new user has a device that publishes with an id it has not registered, at QoS 0, so
// that nothing answers it. The log and one command say why, within a minute.
func TestASilentDeviceIsExplained(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"log.level": `"info"`, "topics.predefined": `[{id = 1, name = "site/alarm"}]`})
	n := testgateway.NewNode(t, g.Addr)
	n.MustConnect("pump 7/a", true, 60)
	n.Send(sn12.Register{MsgID: 1, TopicName: []byte("site/level")})
	ack, ok := n.Read(testgateway.Patience).(sn12.RegAck)
	if !ok {
		t.Fatal("REGISTER is not answered")
	}
	begin := time.Now()
	n.Send(sn12.Publish{TopicID: ack.TopicID + 5, Data: []byte("secret payload")})
	const advice = "REGISTER the topic name and use the id of the REGACK"
	testgateway.Within(t, time.Minute, "the log explains it", func() bool {
		for _, l := range g.LogLines() {
			if l.Level == "info" && l.ClientID == "pump 7/a" && l.Reason == "unknown_topic_id" && l.Packet == "PUBLISH" && l.TopicID == int(ack.TopicID)+5 {
				return strings.HasPrefix(l.Advice, advice) && strings.HasSuffix(l.Advice, fmt.Sprintf("%d (site/level)", ack.TopicID))
			}
		}
		return false
	})
	client := sngate(t, "client", "pump 7/a", "--ops", g.Ops)
	client.WantExit(0)
	for _, want := range []string{
		"state              active", "address            " + n.Conn.LocalAddr().String(),
		fmt.Sprintf("%d  site/level", ack.TopicID),
		fmt.Sprintf("unknown_topic_id: PUBLISH topic id %d (normal), 1 times", ack.TopicID+5), advice,
	} {
		if !strings.Contains(client.Stdout.String(), want) {
			t.Errorf("sngate client does not say %q:\n%s", want, client.Stdout)
		}
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("explained after %v", took)
	}
	for _, text := range []string{g.Stderr.String(), client.Stdout.String()} {
		if strings.Contains(text, "secret payload") {
			t.Errorf("the payload is shown:\n%s", text)
		}
	}

	list := sngate(t, "clients", "--ops", g.Ops, "--json")
	list.WantExit(0)
	var page admin.SessionPage
	if err := json.Unmarshal([]byte(list.Stdout.String()), &page); err != nil || len(page.Sessions) != 1 || page.Sessions[0].LastRefusal == nil {
		t.Errorf("sngate clients --json: %v\n%s", err, list.Stdout)
	}
	unknown := sngate(t, "client", "pump-8", "--ops", g.Ops)
	unknown.WantExit(3)
	sngate(t, "clients", "--ops", "127.0.0.1:1").WantExit(1)
}

// The broker's word is in the log and where readiness is asked for.
func TestAWrongPasswordIsNamed(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{Users: map[string]string{"gateway": "right"}})
	g := startGateway(t, broker.URL(), testgateway.Settings{"broker.username": `"gateway"`, "broker.password": `"wrong"`})
	// mosquitto answers wrong credentials with "not authorized".
	testgateway.Eventually(t, "/readyz names it", func() bool {
		status, body := g.Get("/readyz")
		return status == 503 && strings.Contains(body, "no connection to the broker "+broker.Addr()+": ") && strings.Contains(body, "return code 5 (not authorized)")
	})
	if !strings.Contains(g.Stderr.String(), "return code 5 (not authorized)") {
		t.Errorf("the log does not:\n%s", g.Stderr)
	}
}

// Devices use up all descriptors, one for each connection to the broker. The gateway can
// still be asked how it is.
func TestHealthIsAnsweredWithoutADescriptorLeft(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	program := filepath.Join(t.TempDir(), "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n 40\nexec '%s' \"$@\"\n", built.check)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	g := testgateway.Start(t, program, broker.URL(), testgateway.Settings{"broker.connect_timeout": `"2s"`})
	refused := 0
	for i := range 40 {
		n := testgateway.NewNode(t, g.Addr)
		if code := n.Connect(sn12.Connect{ClientID: fmt.Append(nil, "d", i), CleanSession: true, Duration: 600}); code != sn12.Accepted {
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("the descriptors are not used up")
	}
	for range 10 {
		for _, path := range []string{"/healthz", "/readyz", "/api/v1/sessions"} {
			if status, body := g.Get(path); status != 200 {
				t.Errorf("%s: %d %q", path, status, body)
			}
		}
	}
	// Nor can it be held shut then.
	for range 70 {
		c, err := net.Dial("tcp", g.Ops)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	if status, body := g.Get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d %q", status, body)
	}
}
