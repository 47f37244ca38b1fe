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
)

// The program without arguments, as after the first build: gateway and broker in one
// process. Only the ports differ from the defaults.
func TestDefaultConfigurationIsAWorkingSystem(t *testing.T) {
	t.Parallel()
	p := start(t, command{name: built.check, env: freePorts()})
	addr := func(message string) (host, port string) {
		t.Helper()
		var match []string
		eventually(t, "the log says "+message, func() bool {
			match = regexp.MustCompile(message + ` addr=(\S+)`).FindStringSubmatch(p.stderr.String())
			return match != nil
		})
		host, port, err := net.SplitHostPort(match[1])
		if err != nil {
			t.Fatal(err)
		}
		return host, port
	}
	host, udp := addr("INF listening")
	_, tcp := addr("INF built-in broker")
	_, ops := addr("INF metrics and health")
	g := &gateway{process: p, addr: net.JoinHostPort(host, udp), ops: net.JoinHostPort(host, ops)}
	g.awaitReady(200)

	sub := sngate(t, "sub", "-p", udp, "-t", "site/#", "-v", "-C", "1")
	g.await(`sngate_messages_total{direction="out",type="SUBACK"}`, 1)
	start(t, command{name: "mosquitto_pub", args: []string{"-h", host, "-p", tcp, "-t", "site/hall", "-m", "21.5"}}).wantExit(0)
	sub.wantExit(0)
	wantLines(t, sub, "site/hall 21.5")

	other := mqttConnect(t, net.JoinHostPort(host, tcp), "up/#")
	d := connect(t, g.addr, snclient.Options{ClientID: "d", CleanSession: true})
	for qos := range uint8(3) {
		text := fmt.Sprint("QoS ", qos)
		d.publish(snclient.Name("up/t"), []byte(text), qos, false)
		if m := other.wantMessage("up/t", text); m.Qos() != qos {
			t.Errorf("QoS %d arrives as %d", qos, m.Qos())
		}
		topic := fmt.Sprint("down/", qos)
		d.subscribe(snclient.Name(topic), qos)
		other.publish(topic, []byte(text), qos, false)
		if m := d.receive(); string(m.Payload) != text || m.QoS != qos {
			t.Errorf("QoS %d arrives as %+v", qos, m)
		}
	}
	other.Disconnect(100)
	p.signal(syscall.SIGTERM)
	if code := p.wait(stopLimit); code != 0 {
		t.Errorf("the program ends with code %d:\n%s", code, p.stderr)
	}
	g.wantCleanLog()
	if strings.Contains(p.stderr.String(), "\x1b[") {
		t.Error("the log has colours though it does not go to a terminal")
	}
}

func TestOperatorsServer_Case185(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), nil)
	g.awaitReady(200)
	connect(t, g.addr, snclient.Options{ClientID: "d", CleanSession: true})
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n", "/": "MQTT-SN gateway. Ready."} {
		if status, body := g.get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}
	if status, _ := g.get("/nothing"); status != 404 {
		t.Errorf("an unknown path answers %d", status)
	}
	_, scrape := g.get("/metrics")
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile("(?m)^\\| `(sngate_[a-z_]+)`").FindAllStringSubmatch(string(page), -1)
	if len(documented) == 0 {
		t.Fatal("docs/METRICS.md lists no metrics")
	}
	for _, m := range documented {
		if !strings.Contains(scrape, "\n"+m[1]+"{") && !strings.Contains(scrape, "\n"+m[1]+" ") {
			t.Errorf("/metrics has no %s, which docs/METRICS.md lists", m[1])
		}
	}
	for name, want := range map[string]float64{
		sessionsIn("active"):                                    1,
		"sngate_upstream_connections":                           2,
		`sngate_messages_total{direction="in",type="CONNECT"}`:  1,
		`sngate_messages_total{direction="out",type="CONNACK"}`: 1,
	} {
		g.await(name, want)
	}
	broker.Kill()
	g.awaitReady(503)
	if status, body := g.get("/healthz"); status != 200 {
		t.Errorf("/healthz answers %d %q while the broker is down: a restart of the gateway would not help", status, body)
	}
}
