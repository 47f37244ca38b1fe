package gateway

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"sngate/gateway/listen"
)

func TestDirectoryBindsAnAddressToOneEntry(t *testing.T) {
	d := newDirectory()
	a, b := &entry{}, &entry{}
	p := listen.Peer{Addr: netip.MustParseAddrPort("10.0.0.1:5000")}
	if d.find(p) != nil {
		t.Fatal("an empty directory knows somebody")
	}
	if before := d.bind(p, a); before != nil || d.find(p) != a {
		t.Fatal("a is not bound")
	}
	if before := d.bind(p, a); before != nil {
		t.Fatal("a has taken the address from itself")
	}
	if before := d.bind(p, b); before != a || d.find(p) != b {
		t.Fatal("b has not taken it from a")
	}
	if d.unbind(p, a); d.find(p) != b {
		t.Fatal("a has released what is b's")
	}
	if d.unbind(p, b); d.find(p) != nil {
		t.Fatal("b has not released it")
	}
}

func TestDirectoryTellsPeersApart(t *testing.T) {
	peers := []listen.Peer{
		{Addr: netip.MustParseAddrPort("10.0.0.1:5000")},
		{Addr: netip.MustParseAddrPort("10.0.0.1:5001")},
		{Addr: netip.MustParseAddrPort("10.0.0.2:5000")},
		{Addr: netip.MustParseAddrPort("10.0.0.1:5000"), Listener: 1},
		{Addr: netip.MustParseAddrPort("10.0.0.1:5000"), Node: "a"},
		{Addr: netip.MustParseAddrPort("10.0.0.1:5000"), Node: "a\x00"},
		{Addr: netip.MustParseAddrPort("[fe80::1]:5000")},
		{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:5000")},
		{Addr: netip.MustParseAddrPort("[fe80::1%eth1]:5000")},
	}
	d := newDirectory()
	entries := make([]*entry, len(peers))
	for i, p := range peers {
		entries[i] = &entry{counted: counted{state: 1}}
		if d.bind(p, entries[i]) != nil {
			t.Fatalf("%v is taken for another", p)
		}
	}
	for i, p := range peers {
		if d.find(p) != entries[i] {
			t.Fatalf("%v is not found", p)
		}
	}
}

// Neighbours are spread: not all of a site in one stripe.
func TestDirectorySpreadsAddresses(t *testing.T) {
	d := newDirectory()
	kinds := map[string]func(i int) listen.Peer{
		"addresses": func(i int) listen.Peer { return listen.Peer{Addr: source(i)} },
		"ports": func(i int) listen.Peer {
			return listen.Peer{Addr: netip.AddrPortFrom(source(0).Addr(), uint16(10000+i))}
		},
		"nodes": func(i int) listen.Peer {
			return listen.Peer{Addr: source(0), Node: string([]byte{byte(i >> 8), byte(i)})}
		},
	}
	for name, make := range kinds {
		used := map[*stripe]int{}
		for i := range 6400 {
			used[d.place(make(i)).stripe]++
		}
		for _, n := range used {
			if n > 400 {
				t.Errorf("%s: %d of 6400 in one of %d stripes", name, n, directoryStripes)
			}
		}
	}
}

func TestDirectoryUnderContention(t *testing.T) {
	d := newDirectory()
	entries := [8]entry{}
	var wg sync.WaitGroup
	for i := range entries {
		wg.Go(func() {
			for k := range 2000 {
				p := listen.Peer{Addr: source(k % 5)}
				d.bind(p, &entries[i])
				d.find(p)
				d.unbind(p, &entries[i])
			}
		})
	}
	wg.Wait()
	for i := range 5 {
		if d.find(listen.Peer{Addr: source(i)}) != nil {
			t.Fatal("released by its last owner, and still bound")
		}
	}
}

func TestLinkLocalDevicesWithZones_Case187(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Listeners = []listen.Options{{Address: "[fe80::1%eth0]:1883"}} })
		r.addr = netip.MustParseAddrPort("[fe80::1%eth0]:1883")
		a, b := r.device("[fe80::2%eth0]:5000"), r.device("[fe80::2%eth1]:5000")
		a.connect("a")
		b.connect("b")
		r.wantSessions("the zone makes the difference", 2)
		a.ping("a")
		b.send("02 18")
		b.want("b leaves", "02 18")
		r.wantSessions("a stays", 1)
		a.ping("a")
		if log := r.log.String(); !strings.Contains(log, "[fe80::2%eth0]:5000") || !strings.Contains(log, "[fe80::2%eth1]:5000") {
			t.Fatal("the log does not show the zones")
		}
	})
}
