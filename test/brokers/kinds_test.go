package brokers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// programs are the paths of what the tests have built.
type programs struct{ sngate, nats, mochi string }

// kind is a broker of the field.
type kind struct {
	name  string // the head of its column in docs/BROKERS.md
	start func(t testing.TB, p *programs) broker
	// shuffles is a broker that does not keep the order of messages that wait for a client.
	shuffles bool
}

func kinds() []kind {
	return []kind{
		{name: "mosquitto", start: startMosquitto},
		{name: "RabbitMQ", start: startRabbitMQ},
		{name: "NATS", start: startNATS},
		{name: "ejabberd", start: startEjabberd},
		{name: "mochi", start: startMochi, shuffles: true},
		{name: "built-in", start: startBuiltIn, shuffles: true},
	}
}

// anonymous is a mosquitto that lets everybody in.
type anonymous struct{ *mosquitto.Broker }

func (anonymous) Login() string { return "" }

func (b anonymous) Dial() (net.Conn, error) { return net.Dial("tcp", b.Addr()) }

func startMosquitto(t testing.TB, _ *programs) broker {
	return anonymous{mosquitto.Start(t, mosquitto.Options{Persistence: t.TempDir()})}
}

// buildPrograms builds the gateway and, in a module of their own, the brokers written in Go.
func buildPrograms(dir string) (p programs, err error) {
	if p.sngate, err = testgateway.Build(dir, false); err != nil {
		return p, err
	}
	for _, b := range []struct {
		path *string
		pkg  string
	}{
		{&p.nats, "github.com/nats-io/nats-server/v2"},
		{&p.mochi, "github.com/mochi-mqtt/server/v2/cmd"},
	} {
		*b.path = filepath.Join(dir, filepath.Base(filepath.Dir(b.pkg)))
		cmd := exec.Command("go", "build", "-C", "programs", "-o", *b.path, b.pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("go build %s: %w\n%s", b.pkg, err, out)
		}
	}
	return p, nil
}

func write(t testing.TB, path, format string, args ...any) string {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// installed returns the one file a pattern matches.
func installed(t testing.TB, pattern, debianPackage string) string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("no %s: run \"make brokers\", or install the package %s (these tests do not skip)", pattern, debianPackage)
	}
	return list[len(list)-1]
}

// startRabbitMQ starts RabbitMQ without its wrapper scripts, which change the user, and
// with a port mapper of Erlang of its own, which would otherwise stay behind as a daemon.
func startRabbitMQ(t testing.TB, _ *programs) broker {
	script := installed(t, "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server", "rabbitmq-server")
	dir, mqtt, mapper := t.TempDir(), freePort(t), freePort(t)
	testgateway.StartProcess(t, testgateway.Command{Name: "epmd", Args: []string{"-port", strconv.Itoa(mapper), "-address", "127.0.0.1"}})
	config := write(t, filepath.Join(dir, "rabbitmq.conf"),
		"listeners.tcp = none\nmqtt.listeners.tcp.1 = %s\nmqtt.allow_anonymous = true\nlog.console = true\nlog.file = false\n", loopback(mqtt))
	return start(t, "RabbitMQ", loopback(mqtt), "", testgateway.Command{
		Name: script,
		Env: env(
			"HOME", dir, // of the Erlang cookie
			"RUNNING_UNDER_SYSTEMD", 1, // the script becomes the program, instead of waiting for it
			"RABBITMQ_NODENAME", "sngate@localhost",
			"ERL_EPMD_PORT", mapper,
			"RABBITMQ_DIST_PORT", freePort(t),
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}",
			"RABBITMQ_CONFIG_FILE", config,
			"RABBITMQ_CONF_ENV_FILE", filepath.Join(dir, "none"),
			"RABBITMQ_ENABLED_PLUGINS_FILE", write(t, filepath.Join(dir, "plugins"), "[rabbitmq_mqtt].\n"),
			"RABBITMQ_PLUGINS_EXPAND_DIR", filepath.Join(dir, "expand"),
			"RABBITMQ_FEATURE_FLAGS_FILE", filepath.Join(dir, "flags"),
			"RABBITMQ_MNESIA_BASE", filepath.Join(dir, "db"),
			"RABBITMQ_LOG_BASE", filepath.Join(dir, "log"),
			"RABBITMQ_PID_FILE", filepath.Join(dir, "pid"),
		),
	})
}

// startEjabberd starts ejabberd without ejabberdctl, which changes the user, and as an
// Erlang node without a network. It lets in whoever names a user and a password.
func startEjabberd(t testing.TB, _ *programs) broker {
	beams := installed(t, "/usr/lib/*/ejabberd-*/ebin", "ejabberd")
	dir, port := t.TempDir(), freePort(t)
	config := write(t, filepath.Join(dir, "ejabberd.yml"), `hosts: [localhost]
loglevel: info
auth_method: anonymous
anonymous_protocol: login_anon
allow_multiple_connections: true
listen:
  - {port: %d, ip: "127.0.0.1", module: mod_mqtt, backlog: 1000}
modules:
  mod_mqtt: {}
`, port)
	return start(t, "ejabberd", loopback(port), "anybody", testgateway.Command{
		Name: "erl",
		Args: []string{"+K", "true", "-noinput", "-mnesia", "dir", strconv.Quote(filepath.Join(dir, "db")), "-s", "ejabberd"},
		Env: env(
			"HOME", dir,
			"ERL_LIBS", filepath.Dir(filepath.Dir(beams)),
			"ERL_CRASH_DUMP", filepath.Join(dir, "crash"),
			"EJABBERD_CONFIG_PATH", config,
			"EJABBERD_LOG_PATH", filepath.Join(dir, "log", "ejabberd.log"),
		),
	})
}

func startNATS(t testing.TB, p *programs) broker {
	dir, mqtt := t.TempDir(), freePort(t)
	config := write(t, filepath.Join(dir, "nats.conf"), `listen: %q
server_name: sngate
jetstream {store_dir: %q}
mqtt {listen: %q}
`, loopback(freePort(t)), filepath.Join(dir, "db"), loopback(mqtt))
	return start(t, "NATS", loopback(mqtt), "", testgateway.Command{Name: p.nats, Args: []string{"-c", config}})
}

func startMochi(t testing.TB, p *programs) broker {
	addr := loopback(freePort(t))
	return start(t, "mochi", addr, "", testgateway.Command{Name: p.mochi, Args: []string{
		"-tcp", addr, "-ws", loopback(freePort(t)), "-info", loopback(freePort(t)),
	}})
}

// startBuiltIn starts a second sngate for its built-in broker.
func startBuiltIn(t testing.TB, p *programs) broker {
	dir, addr := t.TempDir(), loopback(freePort(t))
	config := write(t, filepath.Join(dir, "sngate.toml"), `listener = [{address = "127.0.0.1:0"}]
[broker]
url = "embedded"
[embedded_broker]
address = %q
[ops]
address = "127.0.0.1:0"
[store]
path = ""
`, addr)
	return start(t, "built-in", addr, "", testgateway.Command{Name: p.sngate, Args: []string{"run", "-c", config}})
}
