//go:build !unix

package listen

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

var errNoGroups = errors.New("not supported on this system: clients can send SEARCHGW to the listener's own address")

// bindGroup fails: Windows binds no socket to a multicast address, and a second
// wildcard socket would take datagrams away from the listener.
func bindGroup(netip.AddrPort, *net.Interface) (*net.UDPConn, error) { return nil, errNoGroups }

func allowReuse(*net.UDPConn) error { return errNoGroups }

func reuseControl(string, string, syscall.RawConn) error { return errNoGroups }

func isAddressInUse(error) bool { return false }
