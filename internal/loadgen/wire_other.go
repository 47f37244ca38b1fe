//go:build !linux

package loadgen

import "net/netip"

// openWire opens a socket for each device.
func openWire(gateway netip.AddrPort, devices int) (wire, error) { return openDialed(gateway, devices) }
