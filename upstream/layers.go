package upstream

import (
	"context"
	"net"

	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// layers are what connections to brokers go over, above TCP.
type layers struct {
	tls *secure.TLS
	web *websocket.WebSocket
}

func newLayers(o *Options, stats *Stats) (*layers, error) {
	t, err := secure.New(o.TLS, &stats.TLS)
	if err != nil {
		return nil, err
	}
	web, err := websocket.New(o.WebSocket, &stats.WebSocket)
	return &layers{t, web}, err
}

// over is Secure of the Greeting of a client: TLS, and WebSocket above it. An error says why it
// cannot connect at all.
func (l *layers) over(address, client string) (func(context.Context, net.Conn) (net.Conn, error), error) {
	handshake, err := l.tls.For(address, client)
	upgrade := l.web.For(address)
	switch {
	case err != nil:
		return nil, err
	case upgrade == nil:
		return handshake, nil
	case handshake == nil:
		return upgrade, nil
	}
	return func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		nc, err := handshake(ctx, nc)
		if err != nil {
			return nil, err
		}
		return upgrade(ctx, nc)
	}, nil
}
