package conf

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/topicreg"
)

func TestTheEnvironmentOverridesTheFile(t *testing.T) {
	got := mustParse(t, `
[[listener]]
address = ":1"
[[listener]]
address = ":2"
[broker]
url = "tcp://file"
max_dials = 5
[session]
retry_count = 7
allow = ["file"]
[topics]
predefined = [{ id = 9, name = "file" }]
`,
		"SNGATE_LISTENER=[{address=':3', multicast='225.1.1.1'}]",
		"SNGATE_BROKER_URL=tcp://env:99",
		"SNGATE_BROKER_USERNAME= 'u'=1 ",
		"SNGATE_BROKER_PASSWORD=1234",
		"SNGATE_SESSION_RETRY_COUNT=0x2",
		"SNGATE_SESSION_RETRY_INTERVAL=3s",
		"SNGATE_SESSION_ALLOW=a, b-*,,c",
		"SNGATE_TOPICS_PREDEFINED=[ {id=1,name='a'}, {id=2,name='b',client='c'} ]",
		"SNGATE_QOS_MINUS_ONE_ENABLED=false",
		"SNGATE_FORWARDER_ALLOW=['10.0.0.0/8']",
		"SNGATE_BROKER_LOCAL_ADDRESSES=192.0.2.1, 192.0.2.2",
		"SNGATE_OPS_ADDRESS=",
		"PATH=/bin", "NOT_SNGATE_X=1", "sngate_log_level=x", "SNGATE",
	)
	want := Default()
	want.Listener[0].Address, want.Listener[0].Multicast = ":3", "225.1.1.1"
	want.Broker.URL, want.Broker.MaxDials = "tcp://env:99", 5
	want.Broker.Username, want.Broker.Password = " 'u'=1 ", NewSecret("1234")
	want.Session.RetryCount, want.Session.RetryInterval = 2, 3*time.Second
	want.Session.Allow = []string{"a", "b-*", "c"}
	want.Topics.Predefined = []topicreg.Entry{{ID: 1, Name: "a"}, {ID: 2, Name: "b", Client: "c"}}
	want.Broker.LocalAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	want.QoSMinusOne.Enabled = false
	want.Forwarder.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.Ops.Address = ""
	if diff := cmp.Diff(want, got, prefixes); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfTheEnvironmentNameTheVariable(t *testing.T) {
	tests := []struct{ env, want string }{
		{"SNGATE_GATEWAY_ID=300", "SNGATE_GATEWAY_ID: gateway.id: 300 is out of range; want 0..255"},
		{"SNGATE_GATEWAY_ID=one", `SNGATE_GATEWAY_ID: gateway.id: "one" is not a TOML value; want an integer`},
		{"SNGATE_GATEWAY_ID=", `SNGATE_GATEWAY_ID: gateway.id: "" is not a TOML value; want an integer`},
		{"SNGATE_GATEWAY_ID=1\nx = 2", `SNGATE_GATEWAY_ID: gateway.id: "1\nx = 2" is not a TOML value; want an integer`},
		{"SNGATE_GATEWAY_ID='1'", "SNGATE_GATEWAY_ID: gateway.id: want an integer, got a string"},
		{"SNGATE_GATEWAY_CLIENT_ID=\xff", "SNGATE_GATEWAY_CLIENT_ID: gateway.client_id: is not well-formed UTF-8"},
		{"SNGATE_SESSION_HOLD=5", `SNGATE_SESSION_HOLD: session.hold: "5" is not a duration; want a number with a unit, such as "10s" or "1h30m"`},
		{"SNGATE_LOG_LEVEL=INFO", `SNGATE_LOG_LEVEL: log.level: "INFO" is not known; want one of "trace", "debug", "info", "warn", "error"; did you mean "info"?`},
		{"SNGATE_BROKER_URL=http://x", `SNGATE_BROKER_URL: broker.url: is not the URL of a broker; want "embedded" or one such as "tcp://broker.example:1883"`},
		{"SNGATE_BROKER_PASSWORD=hunter2", "SNGATE_BROKER_PASSWORD: broker.password: needs broker.username as well; MQTT has no password without a user name"},
		{"SNGATE_FORWARDER_ALLOW=10.0.0.0/8,x", `SNGATE_FORWARDER_ALLOW: forwarder.allow[1]: "x" is not a network; want an IP address or a CIDR such as "10.1.0.0/16"`},
		{"SNGATE_SESSION_ALLOW=[1]", "SNGATE_SESSION_ALLOW: session.allow[0]: want a string, got an integer"},
		{"SNGATE_LISTENER=:1883", `SNGATE_LISTENER: listener: ":1883" is not a TOML value; want an array of tables`},
		{"SNGATE_LISTENER=[{address=':1'},{adress=':2',address='x'}]", "SNGATE_LISTENER: listener[1].adress: unknown key; did you mean listener.address?\n" +
			`SNGATE_LISTENER: listener[1].address: "x" is not an address; want host:port, such as ":1883", "192.0.2.1:1883" or "[::1]:1883"`},
		{"SNGATE_TOPICS_PREDEFINED=[{id=1}]", "SNGATE_TOPICS_PREDEFINED: topics.predefined[0].name: is missing"},
		{"SNGATE_SESSION_MAX_PACKET_SIZES=[{client='a'}]", "SNGATE_SESSION_MAX_PACKET_SIZES: session.max_packet_sizes[0].octets: is missing"},
		{"SNGATE_SESSION_MAX_PACKET_SIZES=[{octets=99}]", "SNGATE_SESSION_MAX_PACKET_SIZES: session.max_packet_sizes[0].client: is empty; want a client id or a pattern"},
		{"SNGATE_BROKER_PORT=1", "SNGATE_BROKER_PORT: unknown variable; did you mean SNGATE_BROKER_URL?"},
		{"SNGATE_BROKER_URI=hunter2", "SNGATE_BROKER_URI: unknown variable; did you mean SNGATE_BROKER_URL?"},
		{"SNGATE_X=hunter2", "SNGATE_X: unknown variable"},
		{"SNGATE_LISTENER_ADDRESS=:1883", "SNGATE_LISTENER_ADDRESS: unknown variable; did you mean SNGATE_LISTENER?"},
	}
	const file = "[[listener]]\naddress = ':5'\n[topics]\npredefined = [{ id = 3, name = 'file' }]"
	for _, tt := range tests {
		got := mustRefuse(t, file, tt.env)
		if got != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.env, got, tt.want)
		}
	}
}

func TestFaultsOfFileAndEnvironmentAreReportedTogether(t *testing.T) {
	got := mustRefuse(t, "[log]\nlevel = 'x'\nfoo = 1", "SNGATE_SESSION_HOLD=x", "SNGATE_ABC=1")
	want := []string{"test.toml:2: log.level: ", "test.toml:3: log.foo: ", "SNGATE_ABC: ", "SNGATE_SESSION_HOLD: session.hold: "}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("%s", got)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want[i])
		}
	}
}

// TestEveryKeyHasItsOwnVariable sets every variable to something wrong and wants it named.
func TestEveryKeyHasItsOwnVariable(t *testing.T) {
	var names []string
	eachKey(reflect.ValueOf(Default()).Elem(), func(path string, dst reflect.Value, _ reflect.StructTag) {
		name := envName(path)
		if slices.Contains(names, name) {
			t.Errorf("%s stands for two keys", name)
		}
		names = append(names, name)
		value := "\x00"
		if strings.HasPrefix(wants(dst), "an array of tables") {
			value = "1"
		}
		if got := mustRefuse(t, "", name+"="+value); !strings.HasPrefix(got, name+": "+path) {
			t.Errorf("%s: %s", name, got)
		}
	})
	for _, key := range knownKeys("", reflect.TypeFor[Config]()) {
		table, _ := splitPath(key)
		leaf := table != "" && table != "listener" && !strings.Contains(table, ".")
		if leaf != slices.Contains(names, envName(key)) && key != "listener" {
			t.Errorf("%s: variable %s", key, envName(key))
		}
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add("SNGATE_LISTENER", "[{address=':1'}]")
	f.Add("SNGATE_SESSION_ALLOW", "a,b")
	f.Add("SNGATE_GATEWAY_ID", "1 # x")
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.Contains(name, "_FILE") {
			return // no reading of files that the fuzzer names
		}
		cfg, err := Parse("", nil, []string{name + "=" + value})
		if (cfg == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", cfg, err)
		}
	})
}

// What Kubernetes puts into the containers of a namespace with a Service "sngate", and with
// others whose names begin with it.
func TestVariablesOfKubernetesAreIgnored(t *testing.T) {
	env := []string{
		"SNGATE_SERVICE_HOST=10.0.0.1",
		"SNGATE_SERVICE_PORT=1883",
		"SNGATE_SERVICE_PORT_MQTT_SN=1883",
		"SNGATE_SERVICE_PORT_OPS=9883",
		"SNGATE_PORT=tcp://10.0.0.1:1883",
		"SNGATE_PORT_1883_TCP=tcp://10.0.0.1:1883",
		"SNGATE_PORT_1883_UDP=udp://10.0.0.1:1883",
		"SNGATE_PORT_1883_UDP_PROTO=udp",
		"SNGATE_PORT_1883_UDP_PORT=1883",
		"SNGATE_PORT_1883_UDP_ADDR=10.0.0.1",
		"SNGATE_PORT_9883_SCTP=sctp://[fd00::1]:9883",
		"SNGATE_PORT_9883_SCTP_ADDR=fd00::1",
		"SNGATE_MQTT_SERVICE_HOST=fd00::1",
		"SNGATE_MQTT_SERVICE_PORT=1883",
		"SNGATE_BROKER_PORT=tcp://10.0.0.2:1883",
		"SNGATE_BROKER_PORT_1883_TCP_ADDR=10.0.0.2",
		"SNGATE_HALL_3_PORT_1883_UDP_PORT=1883",
	}
	if diff := cmp.Diff(Default(), mustParse(t, "", env...), prefixes); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesThatLookLikeKubernetesAreFaults(t *testing.T) {
	for _, variable := range []string{
		"SNGATE_PORT=1883", "SNGATE_PORT=", "SNGATE_BROKER_PORT=1883", "SNGATE_LISTENER_PORT=1884", "SNGATE_OPS_PORT=9883",
		"SNGATE_EMBEDDED_BROKER_PORT=:1883", "SNGATE_BROKER_HOST=10.0.0.1", "SNGATE_HOST=10.0.0.1", "SNGATE_SERVICE=10.0.0.1",
		"SNGATE_SERVICE_HOST=tcp://broker", "SNGATE_PORT_1883=tcp://10.0.0.1:1883",
		"SNGATE_PORT_X_UDP=udp://10.0.0.1:1", "SNGATE_PORT_1883_UDP_NAME=x", "SNGATE_XSERVICE_HOST_X=10.0.0.1", "SNGATEX_SERVICE_PORTS=1",
	} {
		name, _, _ := strings.Cut(variable, "=")
		_, err := Parse("", nil, []string{variable})
		if ours := strings.HasPrefix(name, envPrefix); ours != (err != nil) || ours && !strings.HasPrefix(err.Error(), name+": unknown variable") {
			t.Errorf("%s: %v", variable, err)
		}
	}
}

func TestNoKeyHasAVariableOfKubernetes(t *testing.T) {
	eachKey(reflect.ValueOf(Default()).Elem(), func(path string, _ reflect.Value, _ reflect.StructTag) {
		for _, value := range []string{"tcp://10.0.0.1:1883", "10.0.0.1", "1883", "tcp"} {
			if ofKubernetes(envName(path) + "=" + value) {
				t.Errorf("%s=%s would be ignored", envName(path), value)
			}
		}
	})
}
