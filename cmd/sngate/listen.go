package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"sngate/gateway/listen"
)

// openListener opens a listener for devices.
func openListener(o listen.Options) (listen.Listener, error) {
	l, err := listen.Open(o)
	switch {
	case errors.Is(err, listen.ErrGroup):
		return l, unusable("listener.multicast", err)
	case err != nil:
		return l, unusable("listener.address", err)
	}
	return l, nil
}

// unusable makes an error of an address that cannot be listened on tell which key has it,
// and what to do.
func unusable(key string, err error) error {
	advice := "set " + key + " to another address"
	var unknown *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another program has this address, perhaps another sngate: end it, or " + advice
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		advice = "a port below 1024 needs a privilege (CAP_NET_BIND_SERVICE): set " + key + " to one with a higher port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this machine has no such address: set " + key + " to one that it has, or to one without a host for all of them"
	case errors.As(err, &unknown):
		advice = "this name is not known: set " + key + " to an address of this machine"
	case key == "listener.multicast":
		advice = "see listener.multicast and listener.multicast_interface"
	}
	return fmt.Errorf("%s: %w; %s", key, err, advice)
}
