package main

import (
	"net/netip"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/conf"
)

func TestShortagesAreWarnedOf(t *testing.T) {
	const (
		descriptors = " file descriptors, and a process that is started here may open "
		raise       = "; raise the limit (LimitNOFILE of a service, ulimit -n of a shell) or lower the number"
		ports       = " ports towards the broker, and there are "
		more        = "; name more in broker.local_addresses, widen net.ipv4.ip_local_port_range or lower the number"
	)
	tests := []struct {
		name     string
		url      string
		sources  int
		sessions int
		has      capacity
		want     []string
	}{
		{"nothing is known", "tcp://b", 0, 1000000, capacity{}, nil},
		{"just enough", "tcp://b", 0, 28231, capacity{28295, 28232}, nil},
		{"one too few of each", "tcp://b", 0, 28232, capacity{28295, 28232}, []string{
			"28232 devices need 28296" + descriptors + "28295" + raise, "28232 devices need 28233" + ports + "28232, 28232 for each source address" + more}},
		{"two sources", "tcp://b", 2, 56463, capacity{100000, 28232}, nil},
		{"two are too few", "tcp://b", 2, 60000, capacity{100000, 28232}, []string{"60000 devices need 60001" + ports + "56464, 28232 for each source address" + more}},
		{"both ends in one process", "embedded", 0, 1000, capacity{2064, 0}, nil},
		{"one end too few", "embedded", 0, 1000, capacity{2063, 0}, []string{"1000 devices need 2064" + descriptors + "2063" + raise}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := conf.Default()
			cfg.Broker.URL, cfg.Session.MaxSessions = tt.url, tt.sessions
			cfg.Broker.LocalAddresses = make([]netip.Addr, tt.sources)
			var got []string
			for _, w := range shortages(cfg, tt.has) {
				if w.Key != "session.max_sessions" {
					t.Errorf("key %q", w.Key)
				}
				got = append(got, w.Msg)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLocalPorts(t *testing.T) {
	for text, want := range map[string]int{
		"32768\t60999\n": 28232, "1024 65535": 64512, "5 5": 1,
		"": 0, "1": 0, "a b": 0, "9 1": 0, "1 2 3": 0,
	} {
		root := fstest.MapFS{"proc/sys/net/ipv4/ip_local_port_range": &fstest.MapFile{Data: []byte(text)}}
		if got := localPorts(root); got != want {
			t.Errorf("%q: %d ports, want %d", text, got, want)
		}
	}
	if got := localPorts(fstest.MapFS{}); got != 0 {
		t.Errorf("%d ports where there is no such file", got)
	}
}

func TestUpstreamOptionsOfLimits(t *testing.T) {
	cfg := conf.Default()
	if o := upstreamOptions(cfg); o.KeepAliveMax != 0 || o.PublishRate != 0 || o.ConnectInterval != 0 {
		t.Errorf("without any: %+v", o)
	}
	l := &cfg.Broker.Limits
	l.KeepAlive, l.PublishRate, l.ConnectInterval = []int{30, 1200}, 100, time.Second
	if o := upstreamOptions(cfg); o.KeepAliveMin != 30 || o.KeepAliveMax != 1200 || o.PublishRate != 100 || o.ConnectInterval != time.Second {
		t.Errorf("got %+v", o)
	}
}

// What becomes of the broker's keys that say how many devices can connect, and when.
func TestUpstreamOptionsOfManyDevices(t *testing.T) {
	cfg := conf.Default()
	cfg.Session.RetryInterval, cfg.Session.RetryCount = 15*time.Second, 2
	cfg.Broker.LocalAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	o := upstreamOptions(cfg)
	if o.SlotWait != 45*time.Second || o.DialRate != 5000 || o.MaxDials != 64 || !slices.Equal(o.LocalAddresses, cfg.Broker.LocalAddresses) {
		t.Errorf("got %+v", o)
	}
}
