package snclient

import (
	"context"
	"net"
)

// New makes a Client on a transport, which it then owns: Close closes it. Nothing
// is sent before the first request. It fails on options out of range.
func New(conn Conn, o Options) (*Client, error) {
	c, err := newClient(conn, o)
	if err != nil {
		return nil, err
	}
	go c.read()
	return c, nil
}

// Dial makes a Client on a UDP socket connected to address ("host:port").
func Dial(ctx context.Context, address string, o Options) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	c, err := New(conn, o)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}
