package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"sngate/gateway/admin"
)

// What cannot be listened on is told with the key that has it, and with what to do.
func TestAddressesThatCannotBeUsedNameTheirKey(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	const inUse, elsewhere = "another program has this address", "this machine has no such address"
	for _, tt := range []struct{ key, value, want string }{
		{"listener", fmt.Sprintf(`[{ address = %q }]`, udp.LocalAddr()), "listener.address: | " + inUse + " | set listener.address"},
		{"listener", fmt.Sprintf(`[{ address = "127.0.0.1:0" }, { address = %q }]`, udp.LocalAddr()), "listener.address: | " + inUse + " | " + udp.LocalAddr().String()},
		{"listener", `[{ address = "192.0.2.1:18830" }]`, "listener.address: | " + elsewhere},
		{"listener", `[{ address = "127.0.0.1:18831", multicast = "225.1.1.1", multicast_interface = "no-such-0" }]`, "listener.multicast: | listener.multicast_interface"},
		{"ops.address", fmt.Sprintf("%q", tcp.Addr()), "ops.address: | " + inUse + " | set ops.address"},
		{"ops.address", `"192.0.2.1:9883"`, "ops.address: | " + elsewhere},
		{"embedded_broker.address", fmt.Sprintf("%q", tcp.Addr()), "is in use | broker.url | embedded_broker.address"},
		{"embedded_broker.address", `"192.0.2.1:1883"`, "embedded_broker.address: | " + elsewhere},
	} {
		settings := map[string]string{
			"listener": `[{ address = "127.0.0.1:0" }]`, "embedded_broker.address": `"127.0.0.1:0"`, "ops.address": `""`, "store.path": `""`,
		}
		settings[tt.key] = tt.value
		var text strings.Builder
		for key, value := range settings {
			fmt.Fprintf(&text, "%s = %s\n", key, value)
		}
		code, log := runUntilStarted(t, write(t, "sngate.toml", text.String()))
		if code != exitFailure {
			t.Errorf("%s = %s: code %d", tt.key, tt.value, code)
		}
		for want := range strings.SplitSeq(tt.want, " | ") {
			if !strings.Contains(log, want) {
				t.Errorf("%s = %s: want %q in\n%s", tt.key, tt.value, want, log)
			}
		}
	}
}

func TestAdviceForAddressesFitsTheFault(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&os.SyscallError{Syscall: "bind", Err: syscall.EACCES}, "set k to one with a higher port"},
		{&net.DNSError{Err: "no such host", Name: "x"}, "this name is not known: set k"},
		{errors.New("strange"), "k: strange; set k to another address"},
		{admin.ErrAddress, "; set k to another address"},
	} {
		if got := unusable("k", tt.err); !strings.Contains(got.Error(), tt.want) || !errors.Is(got, tt.err) {
			t.Errorf("%v: %v, want %q", tt.err, got, tt.want)
		}
	}
}
