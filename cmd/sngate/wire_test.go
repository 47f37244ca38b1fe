package main

import (
	"crypto/tls"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
	"sngate/upstream/websocket"
)

func TestEventLoopAndLingerReachTheirPackages(t *testing.T) {
	for text, want := range map[string]struct {
		noLoop bool
		linger time.Duration
	}{
		"":                               {false, 5 * time.Millisecond},
		"[gateway]\nevent_loop = 'auto'": {false, 5 * time.Millisecond},
		"[gateway]\nevent_loop = 'off'\n[store]\nlinger = '0s'": {true, 0},
	} {
		cfg, err := conf.Parse("test.toml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := gatewayOptions(cfg, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if linger := storeOptions(cfg.Store).Linger; o.NoEventLoop != want.noLoop || linger != want.linger {
			t.Errorf("%q: no event loop %v, linger %v; want %+v", text, o.NoEventLoop, linger, want)
		}
	}
}

func TestWebSocketIsWired(t *testing.T) {
	cfg, err := conf.Parse("", []byte("[broker]\nurl = 'wss://a/x'\nfallback_urls = ['tcp://b', 'ws://c', 'ssl://d']\nalpn = ['y']\nwebsocket = { headers = { x-site = 'hall' } }"), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := webSocketOptions(&cfg.Broker, []string{"HTTPS_PROXY=http://p"})
	if len(got.Brokers) != 2 || got.Brokers["a:443"].String() != "wss://a/x" || got.Brokers["c:80"].String() != "ws://c/mqtt" {
		t.Errorf("brokers %v", got.Brokers)
	}
	if got.Headers.Get("X-Site") != "hall" || !reflect.DeepEqual(got.Proxies, websocket.ReadProxies([]string{"HTTPS_PROXY=http://p"})) {
		t.Errorf("headers %v, proxies %v", got.Headers, got.Proxies)
	}
	if tls := upstreamOptions(cfg).TLS; !slices.Equal(tls.Brokers, []string{"a:443", "d:8883"}) || !slices.Contains(tls.OverHTTP, "a:443") || slices.Contains(tls.OverHTTP, "d:8883") {
		t.Errorf("TLS %+v", tls)
	}
	if name := brokerName(cfg); name != "wss://a/x" {
		t.Errorf("the log names the broker %s", name)
	}
}

func TestTLSIsWired_Case170(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	securetest.NewCA(t, "ca").Write(t, ca)
	cfg, err := conf.Parse("", []byte("[broker]\nurl = 'ssl://a'\nfallback_urls = ['tcp://b', 'ssl://c:1']\nserver_name = 'x'\nca_file = '"+ca+
		"'\ncert_file = '{client_id}.pem'\nkey_file = '{client_id}.key'\nalpn = ['y']\nmin_tls = '1.3'"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := secure.Options{
		Brokers: []string{"a:8883", "c:1"}, ServerName: "x", CAFile: ca,
		ALPN: []string{"y"}, MinVersion: tls.VersionTLS13, MaxClients: 10002,
	}
	if got := upstreamOptions(cfg).TLS; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if name := brokerName(cfg); name != "ssl://a:8883" {
		t.Errorf("the log names the broker %s", name)
	}
	if got := upstreamOptions(conf.Default()).TLS; len(got.Brokers) > 0 || got.MinVersion != tls.VersionTLS12 {
		t.Errorf("by default %+v", got)
	}
}
