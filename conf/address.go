package conf

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

type hostPort struct {
	name string // "" for every address
	port int    // 0: the system chooses
}

// String is the same for addresses that cannot be used together.
func (h hostPort) String() string {
	addr, err := netip.ParseAddr(h.name)
	switch {
	case err == nil && addr.IsUnspecified():
		return ":" + strconv.Itoa(h.port)
	case err == nil:
		return netip.AddrPortFrom(addr.Unmap(), uint16(h.port)).String()
	}
	return strings.ToLower(h.name) + ":" + strconv.Itoa(h.port)
}

func parseAddress(text string) (hostPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return hostPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return hostPort{}, err
	}
	if _, err := netip.ParseAddr(host); err != nil {
		for _, c := range []byte(host) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
				return hostPort{}, errors.New("not a host name")
			}
		}
	}
	return hostPort{host, int(n)}, nil
}
