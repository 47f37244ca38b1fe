package conf

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExampleIsTheDefault(t *testing.T) {
	if diff := cmp.Diff(Default(), mustParse(t, Example()), prefixes); diff != "" {
		t.Error(diff)
	}
}

// TestExampleHasEveryKeyExplained wants every key in the example, with a comment above it
// or above the keys it stands with.
func TestExampleHasEveryKeyExplained(t *testing.T) {
	lines := keyLines(Example())
	text := strings.Split(Example(), "\n")
	for _, key := range knownKeys("", reflect.TypeFor[Config]()) {
		if strings.HasPrefix(key, "topics.predefined.") || strings.HasPrefix(key, "session.max_packet_sizes.") || strings.HasPrefix(key, "broker.device.") {
			continue // in the variant below
		}
		line, ok := lines[strings.Replace(key, "listener.", "listener[0].", 1)]
		if !ok {
			t.Errorf("%s is not in example.toml", key)
			continue
		}
		above := line - 2 // lines count from 1
		for above > 0 && !strings.HasPrefix(text[above], "# ") && text[above] != "" {
			above--
		}
		if !strings.HasPrefix(text[above], "# ") && !strings.HasPrefix(text[line-1], "[") {
			t.Errorf("%s is not explained in example.toml", key)
		}
	}
}

// variants replaces every value of the example by the one its comment shows.
func variants(text string) string {
	value := regexp.MustCompile(`(?m)^\w+ = .*\n#(\w+ = .*)$`)
	return value.ReplaceAllString(text, "$1")
}

func TestExampleVariantsAreValid(t *testing.T) {
	text := variants(Example())
	t.Chdir(t.TempDir())
	if strings.Contains(text, "\n#p") || len(text) >= len(Example()) {
		t.Fatal("not every variant was taken over")
	}
	put(t, "devices.csv", "client_id,username\n", 0o600)
	cfg := mustParse(t, text, "SNGATE_BROKER_USERNAME=u")
	if len(cfg.Topics.Predefined) != 2 || cfg.Broker.Embedded() {
		t.Errorf("variants: %+v", cfg)
	}
	lines := keyLines(text)
	for _, key := range []string{
		"topics.predefined[1].id", "topics.predefined[1].name", "topics.predefined[1].client",
		"session.max_packet_sizes[1].client", "session.max_packet_sizes[1].octets",
		"broker.device[0].client", "broker.device[0].username", "broker.device[0].password", "broker.device[1].client_id",
	} {
		if _, ok := lines[key]; !ok {
			t.Errorf("the example shows no %s", key)
		}
	}
}

// wrong has, for every key, values that are refused, and what the message says.
var wrong = map[string][][2]string{
	"gateway":            {{`gateway = 1`, `want a table, got an integer`}, {"[[gateway]]", `want a table, got an array of tables; write [gateway]`}},
	"gateway.id":         {{`256`, `256 is out of range; want 0..255`}, {`-1`, `want 0..255`}, {`"1"`, `want an integer, got a string`}},
	"gateway.client_id":  {{`1`, `want a string, got an integer`}, {`"a\u0000b"`, `contains the character U+0000`}, {`"` + strings.Repeat("a", 1025) + `"`, `is longer than 1024 octets`}},
	"gateway.shards":     {{`0`, `want 1..64`}, {`65`, `want 1..64`}, {`1.5`, `want an integer, got a float`}},
	"gateway.event_loop": {{`"on"`, `"on" is not known; want one of "auto", "off"`}, {`true`, `want a string, got a boolean`}},
	"gateway.on_stop":    {{`"restart"`, `"restart" is not known; want one of "", "keep", "disconnect"`}, {`true`, `want a string, got a boolean`}},
	"gateway.status_topic": {{`1`, `want a string, got an integer`}, {`"a/#"`, `contains a wildcard`}, {`"a\nb"`, `contains a control character`},
		{`"` + strings.Repeat("a", 65536) + `"`, `is longer than 65535 octets`}},
	"gateway.memory_limit": {{`1048575`, `1048575 is too small; want 0, or 1048576 and more`}, {`-1`, `want 0..1099511627776`}, {`"64M"`, `want an integer`}},

	"listener": {{`listener = "udp"`, `want an array of tables, got a string`}, {`[listener]`, `want an array of tables, got a table; write [[listener]]`},
		{`listener = []`, `is empty; want at least one listener`}},
	"listener.type":                {{`"dtls"`, `"dtls" is not available in this version; want "udp"`}, {`"tcp"`, `"tcp" is not known; want "udp"`}, {`""`, `"" is not known`}},
	"listener.address":             {{`1883`, `want a string`}, {`""`, `want host:port`}, {`"1883"`, `want host:port`}, {`":70000"`, `want host:port`}, {`"a b:1"`, `want host:port`}, {`"::1:1883"`, `want host:port`}},
	"listener.multicast":           {{`true`, `want a string, got a boolean`}, {`"192.0.2.1"`, `is not a multicast address`}, {`"225.1.1.1:1883"`, `without a port`}, {`"ff02::1%eth0"`, `has a zone`}},
	"listener.multicast_interface": {{`1`, `want a string`}, {`"eth0"`, `is set without listener[0].multicast`}},
	"listener.receive_buffer":      {{`4095`, `want 4096..1073741824`}, {`"4M"`, `want an integer, got a string`}},

	"discovery": {{`discovery = true`, `want a table, got a boolean`}},
	"discovery.advertise_interval": {{`900`, `want a duration such as "10s", got an integer`}, {`"900"`, `"900" is not a duration`}, {`"65536s"`, `want 0s..65535s`},
		{`"1500ms"`, `want whole seconds`}, {`"15m"`, `needs a listener with a multicast group`}},

	"broker":         {{`broker = "tcp://a"`, `want a table, got a string`}},
	"broker.url":     {{`1`, `want a string`}, {`"http://a"`, `is not the URL of a broker; want "embedded"`}, {`"ssl://a:0"`, `is not the URL of a broker; want "embedded"`}, {`"tcp://u:p@a"`, `has a user name in it`}, {`"tcp://a/b"`, `has a part behind the port`}},
	"broker.profile": {{`1`, `want a string`}, {`"awsiot"`, `"awsiot" is not known; want one of "", "aws-iot", "azure-iot-hub", "azure-event-grid", "tencent-iot-hub", "alibaba-iot", "emqx-cloud", "hivemq-cloud"; did you mean "aws-iot"?`}},
	"broker.fallback_urls": {{`"tcp://a"`, `want an array of strings, got a string`}, {`["tcp://a"]`, `the broker is the built-in one`},
		{"[\"ssl://a:1\", \"tcp://a:1\"]\nurl = 'tcp://b'", `"tcp://a:1" is the broker of broker.fallback_urls[0] too`}, {"[\"embedded\"]\nurl = 'tcp://b'", `is the built-in broker`},
		{"[\"tcp://a\", \"tcp://a:1883\"]\nurl = 'tcp://b'", `"tcp://a:1883" is the broker of broker.fallback_urls[0] too`}, {"[\"tcp://b\"]\nurl = 'tcp://b'", `is the broker of broker.url too`},
		{"[\"tcp://a\", 1]\nurl = 'tcp://b'", `want a string, got an integer`}},
	"broker.fail_back": {{`60`, `want a duration`}, {`"25h"`, `want 0s..24h`}, {`"9s"`, `"9s" is out of range; want 0s or 10s..24h`}, {`"1m"`, `is set without broker.fallback_urls`}},
	"broker.local_addresses": {{`"192.0.2.1"`, `want an array of strings, got a string`}, {`[1]`, `want a string, got an integer`},
		{`["192.0.2.1:0"]`, `is not an IP address of this machine`}, {`["eth0"]`, `want one such as "192.0.2.1", without a port`},
		{`["0.0.0.0"]`, `is not an IP address`}, {`["ff02::1"]`, `is not an IP address`}, {`["::1", "192.0.2.1", "::ffff:192.0.2.1"]`, `"192.0.2.1" is broker.local_addresses[1] too`},
		{"[\"::1\"]\nurl = 'tcp://192.0.2.9'", `has no address of the IP version of the broker "192.0.2.9:1883"`},
		{"[\"192.0.2.1\"]\nurl = 'broker'\nfallback_urls = ['tcp://[2001:db8::1]']", `the IP version of the broker "[2001:db8::1]:1883"`}},
	"broker.server_name": {{`1`, `want a string`}, {`"broker.example"`, `is set, and no broker is reached by TLS; want "ssl://" or "wss://" in broker.url`},
		{"\"broker.example:8883\"\nurl = 'ssl://a'", `"broker.example:8883" is not the name of a host; want one such as "broker.example"`}},
	"broker.ca_file": {{`1`, `want a string`}, {`"/nonexistent/ca.pem"`, `no broker is reached by TLS`},
		{"\"/nonexistent/ca.pem\"\nurl = 'ssl://a'", `/nonexistent/ca.pem cannot be read: no such file or directory`},
		{"\"tls.go\"\nurl = 'ssl://a'", `tls.go has no certificate in it (PEM)`}, {"\".\"\nurl = 'ssl://a'", `. cannot be read: is a directory`}},
	"broker.cert_file": {{`["a"]`, `want a string, got an array`}, {`"a"`, `no broker is reached by TLS`}, {"\"a\"\nurl = 'ssl://a'", `is set without broker.key_file`},
		{"\"{device}.pem\"\nkey_file = 'a'\nurl = 'ssl://a'", `has {device}, which is no placeholder; want {client_id}`},
		{"\"none/{client_id}.pem\"\nkey_file = 'a'\nurl = 'ssl://a'", `is in "none", which is not a directory`},
		{"\"tls.go\"\nkey_file = 'a'\nurl = 'ssl://a'", `tls.go has no certificate in it (PEM)`}},
	"broker.key_file": {{`1`, `want a string`}, {`"a"`, `no broker is reached by TLS`}, {"\"a\"\nurl = 'ssl://a'", `is set without broker.cert_file`},
		{"\"{client_id\"\ncert_file = '{client_id}.pem'\nurl = 'ssl://a'", `has a "{" without its "}"; want "{{" for a brace, or a placeholder: {client_id}`}},
	"broker.alpn": {{`"mqtt"`, `want an array of strings, got a string`}, {`["mqtt"]`, `no broker is reached by TLS`},
		{"[\"mqtt\", \"\"]\nurl = 'ssl://a'", `has 0 octets; want 1..255`},
		{"[\"mqtt\"]\nurl = 'wss://a'\nfallback_urls = ['tcp://b', 'ws://c']", `"wss://" always offers "http/1.1"; want none, or "ssl://" in broker.url`}},
	"broker.min_tls":  {{`1.2`, `want a string, got a float`}, {`"1.1"`, `"1.1" is not known; want one of "1.2", "1.3"`}, {`"1.3"`, `no broker is reached by TLS`}},
	"broker.mode":     {{`"shared"`, `"shared" is not available in this version; want "dedicated"`}, {`"x"`, `"x" is not known; want "dedicated"`}},
	"broker.username": {{`["a"]`, `want a string, got an array`}, {`"` + strings.Repeat("a", 65536) + `"`, `is longer than 65535 octets`}},
	"broker.password": {{`1234`, `want a string, got an integer`}, {`"` + strings.Repeat("a", 65536) + "\"\nusername = 'u'", `is longer than 65535 octets`}},
	"broker.password_file": {{`1`, `want a string`}, {`"/nonexistent/file"`, `cannot be read: no such file or directory`}, {`"."`, `cannot be read: is a directory`},
		{"\"a\"\npassword = \"b\"\nusername = 'u'", `broker.password as well; want only one of them`}},
	"broker.client_id": {{`1`, `want a string`}, {`"{device}"`, `has {device}, which is no placeholder; want {client_id}, {gateway}, {host}, {env:NAME}`},
		{`"sngate-{gateway}"`, `is the same for all devices`}},
	"broker.credentials_file":     {{`1`, `want a string`}, {`"/nonexistent/devices.csv"`, `cannot be read: no such file or directory`}},
	"broker.credentials_required": {{`1`, `want true or false`}, {`true`, `is true, and there are none; want broker.credentials_file or [[broker.device]]`}},
	"broker.device":               {{`"pump-*"`, `want an array of tables, got a string`}, {`["a"]`, `want a table, got a string`}},
	"broker.device.client":        {{`1`, `want a string`}, {`""`, `is empty; want a client id or a pattern`}},
	"broker.device.client_id":     {{`1`, `want a string`}, {`"{id}"`, `has {id}, which is no placeholder`}, {`"all"`, `is the same for all devices`}},
	"broker.device.username":      {{`1`, `want a string`}, {`"{"`, `has a "{" without its "}"`}},
	"broker.device.password":      {{`1`, `want a string`}, {`"p"`, `needs a username as well, here or in [broker]`}, {"\"{pw}\", username = 'u'", `has a "{" that begins no placeholder`}},
	"broker.device.password_file": {{`1`, `want a string`}, {`"/nonexistent/file"`, `cannot be read: no such file or directory`},
		{"'a', password = 'b', username = 'u'", `is set, and password as well; want only one of them`}},
	"broker.device.key":       {{`1`, `want a string`}},
	"broker.device.cert_file": {{`1`, `want a string`}, {`"a"`, `no broker is reached by TLS`}},
	"broker.device.key_file":  {{`1`, `want a string`}, {`"a"`, `no broker is reached by TLS`}},
	"broker.websocket":        {{`"wss"`, `want a table, got a string`}},
	"broker.websocket.headers": {{`"a: b"`, `want a table of strings, got a string`}, {`{ A = "b" }`, `is set, and no broker is reached by WebSocket; want "ws://" or "wss://" in broker.url`},
		{`{ A = 1 }`, `headers.A: want a string, got an integer`}, {`{ "A b" = "c" }`, `headers."A b": is not the name of a header`}, {`{ "" = "c" }`, `is not the name of a header`},
		{`{ "Ä" = "c" }`, `is not the name of a header`}, {`{ A = "b\nc" }`, `headers.A: has a control character in its value`}, {`{ X-A = "b", x-a = "c" }`, `headers.x-a: is the same header as X-A`},
		{`{ host = "a" }`, `headers.host: is a header that the gateway sets itself`}, {`{ Upgrade = "a" }`, `is a header that`}, {`{ Connection = "a" }`, `is a header that`},
		{`{ Sec-WebSocket-Protocol = "a" }`, `is a header that`}, {`{ Content-Length = "1" }`, `is a header that`}, {`{ Transfer-Encoding = "chunked" }`, `is a header that`},
		{`{ Proxy-Authorization = "Basic x" }`, `is for a proxy; want its user name and password in HTTPS_PROXY or HTTP_PROXY`},
		{`{ A = "` + strings.Repeat("a", 8<<10) + `" }`, `are 1 headers with 8193 octets; want up to 32 with 8192`}},
	"broker.signer":                  {{`"hmac"`, `want a table, got a string`}},
	"broker.signer.type":             {{`"md5"`, `"md5" is not known; want one of "", "hmac", "sas"`}, {"\"hmac\"\nfields = 'a'\nkey = 'b'", `needs broker.username as well`}},
	"broker.signer.algorithm":        {{`"md5"`, `"md5" is not known; want one of "sha1", "sha256"`}, {`1`, `want a string`}},
	"broker.signer.encoding":         {{`"HEX"`, `"HEX" is not known; want one of "hex", "base64"`}},
	"broker.signer.key":              {{`1`, `want a string`}, {`"k"`, `is set without broker.signer.type`}, {"\"x\"\ntype = 'sas'\nfields = 'r'\n[[broker.device]]\nclient = 'a'", `is not base64`}},
	"broker.signer.key_encoding":     {{`"utf8"`, `"utf8" is not known; want one of "text", "base64", "hex"`}},
	"broker.signer.fields":           {{`1`, `want a string`}, {`"a"`, `is set without broker.signer.type`}, {"\"{user}\"\ntype = 'hmac'\n[[broker.device]]\nclient = 'a'", `has {user}, which is no placeholder`}},
	"broker.signer.suffix":           {{`1`, `want a string`}},
	"broker.signer.life":             {{`"4m59s"`, `want 5m..8760h`}, {`3600`, `want a duration`}},
	"broker.limits":                  {{`1`, `want a table, got an integer`}},
	"broker.limits.max_qos":          {{`3`, `want 0..2`}, {`-1`, `want 0..2`}, {`"1"`, `want an integer, got a string`}},
	"broker.limits.above_max_qos":    {{`"drop"`, `"drop" is not known; want one of "lower", "refuse"`}, {`1`, `want a string`}},
	"broker.limits.retain":           {{`"gateway"`, `"gateway" is not known; want one of "pass", "drop", "refuse"`}, {`false`, `want a string, got a boolean`}},
	"broker.limits.will":             {{`"drop"`, `"drop" is not known; want one of "pass", "gateway", "refuse"`}, {`false`, `want a string, got a boolean`}},
	"broker.limits.max_topic_bytes":  {{`-1`, `want 0..65535`}, {`65536`, `want 0..65535`}},
	"broker.limits.max_topic_levels": {{`-1`, `want 0..65535`}, {`"7"`, `want an integer`}},
	"broker.limits.wildcards":        {{`0`, `want true or false`}},
	"broker.limits.keep_alive": {{`30`, `want an array of integers`}, {`["30", 60]`, `want an integer, got a string`}, {`[-1, 60]`, `want 0..65535`}, {`[30, 65536]`, `want 0..65535`},
		{`[30]`, `has 1 values; want the least and the most`}, {`[0, 0]`, `ends with 0, which is no keep-alive`}, {`[60, 30]`, `begins with 60, which is above 30`}},
	"broker.limits.max_filters_per_subscribe": {{`-1`, `want 0..65535`}, {`"8"`, `want an integer`}},
	"broker.limits.publish_rate":              {{`-1`, `want 0..100000`}, {`"1/s"`, `want an integer`}},
	"broker.limits.connect_interval":          {{`1`, `want a duration`}, {`"61s"`, `want 0s..1m`}},
	"broker.limits.payload_max":               {{`-1`, `want 0..268435455`}, {`"128k"`, `want an integer`}},
	"broker.topic_map":                        {{`"a/"`, `want a table, got a string`}},
	"broker.topic_map.publish":                {{`1`, `want a string`}, {`"a"`, `does not end in "/"; want whole levels`}, {`"a/+/"`, `has a wildcard`}, {`"{user}/"`, `has {user}, which is no placeholder`}, {`"{now}/"`, `has {now}, which is no placeholder`}},
	"broker.topic_map.subscribe":              {{`1`, `want a string`}, {`"{client_id}"`, `does not end in "/"`}, {`"#/"`, `has a wildcard`}},
	"broker.topic_map.deliver_as":             {{`1`, `want a string`}, {"\"a/#\"\nsubscribe = 'a/'", `contains a wildcard`}, {`"a"`, `is set without broker.topic_map.subscribe`}},
	"broker.connect_timeout":                  {{`10`, `want a duration`}, {`"0s"`, `want 1s..5m`}, {`"-1s"`, `want 1s..5m`}, {`"6m"`, `want 1s..5m`}},
	"broker.max_dials":                        {{`0`, `want 1..1024`}, {`1025`, `want 1..1024`}, {`false`, `want an integer, got a boolean`}},
	"broker.dial_rate":                        {{`-1`, `want 0..100000`}, {`100001`, `want 0..100000`}, {`"1/s"`, `want an integer`}},
	"broker.ping_interval":                    {{`"0s"`, `want 1s..65535s`}, {`"19h"`, `want 1s..65535s`}, {`60`, `want a duration`}},
	"broker.answer_timeout":                   {{`"0s"`, `want 1s..10m`}, {`"11m"`, `want 1s..10m`}, {`20`, `want a duration`}},
	"broker.reconnect_min":                    {{`"99ms"`, `want 100ms..1h`}, {`"2h"`, `want 100ms..1h`}, {`"2m"`, `reconnect_min (2m0s) is above reconnect_max (1m0s)`}},
	"broker.reconnect_max":                    {{`"25h"`, `want 100ms..24h`}, {`"soon"`, `"soon" is not a duration`}, {`"500ms"`, `reconnect_min (1s) is above reconnect_max (500ms)`}},

	"embedded_broker":         {{`embedded_broker = 1`, `want a table`}},
	"embedded_broker.address": {{`1883`, `want a string`}, {`"1883"`, `want host:port`}, {`""`, `want host:port`}},

	"session":                      {{`session = []`, `want a table, got an array`}},
	"session.max_sessions":         {{`0`, `want 1..1000000`}, {`1000001`, `want 1..1000000`}, {`"x"`, `want an integer`}},
	"session.expiry":               {{`"59s"`, `59s is too short; want 0s, or 1m and more`}, {`"8761h"`, `want 0s..8760h`}, {`168`, `want a duration`}},
	"session.connect_rate":         {{`-1`, `want 0..1000000`}, {`1000001`, `want 0..1000000`}, {`"x"`, `want an integer`}},
	"session.connect_burst":        {{`0`, `want 1..1000000`}, {`1000001`, `want 1..1000000`}, {`1.5`, `want an integer`}},
	"session.source_connect_rate":  {{`-1`, `want 0..1000000`}, {`1000001`, `want 0..1000000`}, {`"x"`, `want an integer`}},
	"session.source_connect_burst": {{`0`, `want 1..1000000`}, {`1000001`, `want 1..1000000`}, {`1.5`, `want an integer`}},
	"session.max_packet_size":      {{`31`, `want 32..65535`}, {`65536`, `want 32..65535`}},
	"session.max_client_id":        {{`0`, `want 1..1024`}, {`1025`, `want 1..1024`}},
	"session.assign_client_ids":    {{`1`, `want true or false, got an integer`}, {`"no"`, `want true or false`}},
	"session.max_inflight":         {{`0`, `want 1..1024`}, {`1025`, `want 1..1024`}},
	"session.message_rate":         {{`-1`, `want 0..1000000`}, {`1000001`, `want 0..1000000`}, {`"x"`, `want an integer`}},
	"session.message_burst":        {{`0`, `want 1..1000000`}, {`1000001`, `want 1..1000000`}, {`1.5`, `want an integer`}},
	"session.byte_rate":            {{`-1`, `want 0..1000000000`}, {`1000000001`, `want 0..1000000000`}, {`"x"`, `want an integer`}},
	"session.byte_burst":           {{`65534`, `want 65535..1000000000`}, {`"1M"`, `want an integer`}},
	"session.datagram_rate":        {{`-1`, `want 0..1000000`}, {`1000001`, `want 0..1000000`}, {`"x"`, `want an integer`}},
	"session.max_topics":           {{`0`, `want 1..65534`}, {`65535`, `want 1..65534`}},
	"session.max_subscriptions":    {{`0`, `want 1..65535`}, {`65536`, `want 1..65535`}},
	"session.max_will":             {{`0`, `want 1..131072`}, {`131073`, `want 1..131072`}, {`"4k"`, `want an integer`}},
	"session.retry_interval":       {{`10`, `want a duration`}, {`"10"`, `is not a duration`}, {`"99ms"`, `want 100ms..10m`}, {`"11m"`, `want 100ms..10m`}},
	"session.retry_count":          {{`99`, `99 is out of range; want 0..20`}, {`-1`, `want 0..20`}, {`2000-01-01`, `want an integer, got a date or time`}},
	"session.hold":                 {{`"11m"`, `want 1s..10m`}, {`"0s"`, `want 1s..10m`}, {`20`, `want a duration`}},
	"session.congestion_wait":      {{`"25h"`, `want 0s..24h`}, {`5`, `want a duration`}},
	"session.address_change":       {{`"yes"`, `"yes" is not known; want one of "allow", "connect", "deny"`}, {`true`, `want a string`}},
	"session.prove_address":        {{`"yes"`, `want true or false`}, {`1`, `want true or false`}},
	"session.will_keeper":          {{`"device"`, `"device" is not known; want one of "broker", "gateway"`}, {`""`, `"" is not known`}, {`true`, `want a string`}},
	"session.tolerance_short":      {{`-1`, `want 0..1000`}, {`1001`, `want 0..1000`}, {`"50%"`, `want an integer`}},
	"session.tolerance_long":       {{`-1`, `want 0..1000`}, {`1001`, `want 0..1000`}, {`0.1`, `want an integer, got a float`}},
	"session.idle_probe":           {{`"721h"`, `want 0s..720h`}, {`0`, `want a duration`}},
	"session.allow":                {{`"*"`, `want an array of strings, got a string`}, {`[""]`, `is empty; want a client id or a pattern`}, {`["a", 1]`, `want a string, got an integer`}},

	"sleep":                 {{`sleep = "10s"`, `want a table, got a string`}},
	"sleep.max_messages":    {{`0`, `want 1..100000`}, {`100001`, `want 1..100000`}},
	"sleep.max_bytes":       {{`255`, `want 256..1073741824`}, {`"64k"`, `want an integer`}},
	"sleep.barrier_timeout": {{`"0s"`, `want 100ms..5m`}, {`"6m"`, `want 100ms..5m`}, {`5`, `want a duration`}},

	"store":           {{`store = "sngate.db"`, `want a table, got a string`}},
	"store.path":      {{`false`, `want a string, got a boolean`}, {`"a\u0000b"`, `contains the character U+0000`}},
	"store.linger":    {{`3`, `want a duration`}, {`"-1ms"`, `want 0s..50ms`}, {`"51ms"`, `want 0s..50ms`}},
	"store.max_bytes": {{`"1G"`, `want an integer, got a string`}, {`1048575`, `want 1048576..1099511627776`}, {`1099511627777`, `want 1048576..1099511627776`}, {`2097152`, `spool.total_bytes (67108864, the default) is above store.max_bytes (2097152); set spool.total_bytes to 2097152 or less`}},

	"spool":              {{`spool = true`, `want a table, got a boolean`}},
	"spool.enabled":      {{`"yes"`, `want true or false`}},
	"spool.qos0":         {{`0`, `want true or false`}},
	"spool.max_messages": {{`0`, `want 1..1000000`}, {`1000001`, `want 1..1000000`}},
	"spool.max_bytes":    {{`255`, `want 256..1073741824`}, {`"1M"`, `want an integer`}, {`67108865`, `spool.max_bytes (67108865) is above spool.total_bytes (67108864, the default)`}},
	"spool.total_bytes":  {{`4095`, `want 4096..1099511627776`}, {`1048575`, `spool.max_bytes (1048576, the default) is above spool.total_bytes (1048575); set spool.max_bytes to 1048575 or less`}, {`1073741825`, `spool.total_bytes (1073741825) is above store.max_bytes (1073741824, the default)`}},
	"spool.max_age":      {{`"0s"`, `want 1s..8760h`}, {`"8761h"`, `want 1s..8760h`}, {`86400`, `want a duration`}, {`"1d"`, `"1d" is not a duration`}},
	"spool.full":         {{`"drop"`, `"drop" is not known; want one of "refuse", "drop_oldest"`}, {`true`, `want a string`}},

	"session.max_packet_sizes":        {{`128`, `want an array of tables, got an integer`}, {`{ client = "a" }`, `want an array of tables, got a table`}, {`[128]`, `want a table, got an integer`}},
	"session.max_packet_sizes.client": {{`1`, `want a string`}, {`""`, `is empty; want a client id or a pattern`}},
	"session.max_packet_sizes.octets": {{`31`, `31 is out of range; want 32..65535`}, {`65536`, `want 32..65535`}, {`"128"`, `want an integer`}},

	"topics":                   {{`topics = []`, `want a table`}},
	"topics.predefined":        {{`"a"`, `want an array of tables, got a string`}, {`{ id = 1 }`, `want an array of tables, got a table`}, {`["a"]`, `want a table, got a string`}},
	"topics.predefined.id":     {{`0`, `0 is out of range; want 1..65534`}, {`65535`, `want 1..65534`}, {`"1"`, `want an integer`}},
	"topics.predefined.name":   {{`1`, `want a string`}, {`""`, `is empty`}, {`"a/#"`, `contains a wildcard`}},
	"topics.predefined.client": {{`1`, `want a string`}, {`"` + strings.Repeat("a", 1025) + `"`, `is longer than 1024 octets`}},

	"qos_minus_one":              {{`qos_minus_one = true`, `want a table`}},
	"qos_minus_one.enabled":      {{`1`, `want true or false, got an integer`}, {`"yes"`, `want true or false, got a string`}},
	"qos_minus_one.long_names":   {{`1`, `want true or false, got an integer`}, {`"yes"`, `want true or false`}},
	"qos_minus_one.message_rate": {{`-1`, `want 0..1000000`}, {`1000001`, `want 0..1000000`}, {`"x"`, `want an integer`}},

	"forwarder":         {{`forwarder = false`, `want a table`}},
	"forwarder.enabled": {{`0`, `want true or false`}},
	"forwarder.allow":   {{`"10.0.0.0/8"`, `want an array of strings`}, {`["10.0.0.0/33"]`, `is not a network`}, {`["host"]`, `is not a network`}, {`["10.1.0.0/8"]`, `want "10.0.0.0/8"`}, {`[10]`, `want a string, got an integer`}},

	"ops":         {{`ops = ""`, `want a table`}},
	"ops.address": {{`9883`, `want a string`}, {`"9883"`, `want host:port`}, {`":1x"`, `want host:port`}, {`"127.0.0.1:1883"`, `is the address of embedded_broker too`}},

	"log":               {{`log = "info"`, `want a table`}},
	"log.level":         {{`"verbose"`, `"verbose" is not known; want one of "trace", "debug", "info", "warn", "error"`}, {`3`, `want a string`}},
	"log.format":        {{`"text"`, `"text" is not known; want one of "", "console", "json"`}, {`1`, `want a string`}},
	"log.sessions":      {{`1`, `want true or false, got an integer`}, {`"no"`, `want true or false, got a string`}},
	"log.trace_clients": {{`"pump-*"`, `want an array of strings`}, {`[""]`, `is empty; want a client id or a pattern`}, {`[7]`, `want a string, got an integer`}},
}

func TestAWrongValueOfEveryKeyIsRefused(t *testing.T) {
	keys := knownKeys("", reflect.TypeFor[Config]())
	for _, key := range keys {
		if len(wrong[key]) == 0 {
			t.Errorf("no row for %s", key)
		}
		for _, row := range wrong[key] {
			text, prefix := snippet(key, row[0])
			got := mustRefuse(t, text)
			if !strings.HasPrefix(got, prefix) || !strings.Contains(got, row[1]) || strings.Contains(got, "\n") {
				t.Errorf("%s = %.60s:\n got %q\nwant %q and in it %q", key, row[0], got, prefix, row[1])
			}
		}
	}
	for key := range wrong {
		if !slices.Contains(keys, key) {
			t.Errorf("a row for %s, which is no key", key)
		}
	}
}

// snippet makes a file with a value for one key, and the beginning of the message it wants.
func snippet(key, value string) (text, prefix string) {
	table, name := splitPath(key)
	switch table {
	case "":
		return "\n" + value, "test.toml:2: " + key + ": "
	case "listener":
		return "\n[[listener]]\n" + name + " = " + value, "test.toml:3: listener[0]." + name + ": "
	case "session.max_packet_sizes":
		entry := map[string]string{"client": "client = 'a'", "octets": "octets = 128"}
		entry[name] = name + " = " + value
		return "[session]\nmax_packet_sizes = [\n{ " + entry["client"] + ", " + entry["octets"] + " }]", "test.toml:3: session.max_packet_sizes[0]." + name + ": "
	case "broker.device":
		client := "client = 'a*', "
		if name == "client" {
			client = ""
		}
		return "[broker]\ndevice = [\n{ " + client + name + " = " + value + " }]", "test.toml:3: broker.device[0]." + name + ": "
	case "topics.predefined":
		entry := map[string]string{"id": "id = 1", "name": "name = 'a'"}
		entry[name] = name + " = " + value
		fields := []string{entry["id"], entry["name"]}
		if name == "client" {
			fields = append(fields, entry[name])
		}
		return "[topics]\npredefined = [\n{ " + strings.Join(fields, ", ") + " }]", "test.toml:3: topics.predefined[0]." + name + ": "
	}
	prefix = "test.toml:2: " + key
	if !strings.HasPrefix(value, "[") && !strings.HasPrefix(value, "{") {
		prefix += ": "
	}
	return "[" + table + "]\n" + name + " = " + value, prefix
}
