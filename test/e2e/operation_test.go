package e2e

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"sngate/internal/snclient"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// The program without arguments, as after the first build: gateway and broker in one
// process. Only the ports differ from the defaults.
func TestDefaultConfigurationIsAWorkingSystem(t *testing.T) {
	t.Parallel()
	p := testgateway.StartProcess(t, testgateway.Command{Name: built.check, Env: freePorts()})
	addr := func(message string) (host, port string) {
		t.Helper()
		var match []string
		testgateway.Eventually(t, "the log says "+message, func() bool {
			match = regexp.MustCompile(`"level":"info".*"addr":"([^"]*)".*"message":"` + message + `"`).FindStringSubmatch(p.Stderr.String())
			return match != nil
		})
		host, port, err := net.SplitHostPort(match[1])
		if err != nil {
			t.Fatal(err)
		}
		return host, port
	}
	host, udp := addr("listening")
	_, tcp := addr("built-in broker")
	_, ops := addr("metrics and health")
	g := &testgateway.Gateway{Process: p, Addr: net.JoinHostPort(host, udp), Ops: net.JoinHostPort(host, ops)}
	g.AwaitReady(200)

	sub := sngate(t, "sub", "-p", udp, "-t", "site/#", "-v", "-C", "1")
	g.Await(`sngate_messages_total{direction="out",type="SUBACK"}`, 1)
	testgateway.StartProcess(t, testgateway.Command{Name: "mosquitto_pub", Args: []string{"-h", host, "-p", tcp, "-t", "site/hall", "-m", "21.5"}}).WantExit(0)
	sub.WantExit(0)
	wantLines(t, sub, "site/hall 21.5")

	other := testgateway.ConnectMQTT(t, net.JoinHostPort(host, tcp), "up/#")
	d := connect(t, g.Addr, snclient.Options{ClientID: "d", CleanSession: true})
	for qos := range uint8(3) {
		text := fmt.Sprint("QoS ", qos)
		d.publish(snclient.Name("up/t"), []byte(text), qos, false)
		if m := other.WantMessage("up/t", text); m.Qos() != qos {
			t.Errorf("QoS %d arrives as %d", qos, m.Qos())
		}
		topic := fmt.Sprint("down/", qos)
		d.subscribe(snclient.Name(topic), qos)
		other.Send(topic, []byte(text), qos, false)
		if m := d.receive(); string(m.Payload) != text || m.QoS != qos {
			t.Errorf("QoS %d arrives as %+v", qos, m)
		}
	}
	other.Disconnect(100)
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(testgateway.StopLimit); code != 0 {
		t.Errorf("the program ends with code %d:\n%s", code, p.Stderr)
	}
	g.WantCleanLog()
	if strings.Contains(p.Stderr.String(), "\x1b[") {
		t.Error("the log has colours though it does not go to a terminal")
	}
}

func TestOperatorsServer_Case185(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	g.AwaitReady(200)
	connect(t, g.Addr, snclient.Options{ClientID: "d", CleanSession: true})
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n", "/": "MQTT-SN gateway. Ready."} {
		if status, body := g.Get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}
	if status, _ := g.Get("/nothing"); status != 404 {
		t.Errorf("an unknown path answers %d", status)
	}
	_, scrape := g.Get("/metrics")
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile("(?m)^\\| `(sngate_[a-z_]+)`").FindAllStringSubmatch(string(page), -1)
	if len(documented) == 0 {
		t.Fatal("docs/METRICS.md lists no metrics")
	}
	for _, m := range documented {
		if strings.HasPrefix(m[1], "sngate_probe_") {
			continue // of another program, sngate probe --listen
		}
		if !strings.Contains(scrape, "\n"+m[1]+"{") && !strings.Contains(scrape, "\n"+m[1]+" ") {
			t.Errorf("/metrics has no %s, which docs/METRICS.md lists", m[1])
		}
	}
	for name, want := range map[string]float64{
		testgateway.SessionsIn("active"):                        1,
		"sngate_upstream_connections":                           2,
		`sngate_messages_total{direction="in",type="CONNECT"}`:  1,
		`sngate_messages_total{direction="out",type="CONNACK"}`: 1,
	} {
		g.Await(name, want)
	}
	broker.Kill()
	g.AwaitReady(503)
	if status, body := g.Get("/healthz"); status != 200 {
		t.Errorf("/healthz answers %d %q while the broker is down: a restart of the gateway would not help", status, body)
	}
}
