package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"sngate/internal/snclient"
	"sngate/test/testgateway"
)

// device is a device with the client library, connected.
type device struct {
	*snclient.Client
	t   testing.TB
	ctx context.Context
}

// dial makes a device without connecting it.
func dial(t testing.TB, addr string, o snclient.Options) *device {
	t.Helper()
	c, err := snclient.Dial(t.Context(), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &device{Client: c, t: t, ctx: t.Context()}
}

func connect(t testing.TB, addr string, o snclient.Options) *device {
	t.Helper()
	d := dial(t, addr, o)
	d.must(d.Connect(d.ctx))
	return d
}

func (d *device) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) subscribe(topic snclient.Topic, qos uint8) {
	d.t.Helper()
	granted, err := d.Subscribe(d.ctx, topic, qos)
	d.must(err)
	if granted != qos {
		d.t.Fatalf("SUBSCRIBE to %v with QoS %d is granted QoS %d", topic, qos, granted)
	}
}

func (d *device) publish(topic snclient.Topic, payload []byte, qos uint8, retain bool) {
	d.t.Helper()
	d.must(d.Publish(d.ctx, topic, payload, qos, retain))
}

func (d *device) receive() snclient.Message {
	d.t.Helper()
	select {
	case m := <-d.Messages():
		return m
	case <-time.After(testgateway.Patience):
		d.t.Fatalf("no message within %v; %+v", testgateway.Patience, d.Stats())
		return snclient.Message{}
	}
}

// wantLost waits for the gateway's DISCONNECT.
func (d *device) wantLost() {
	d.t.Helper()
	select {
	case err := <-d.Lost():
		if !errors.Is(err, snclient.ErrDisconnected) {
			d.t.Fatalf("the device is lost by %v, want a DISCONNECT", err)
		}
	case <-time.After(testgateway.Patience):
		d.t.Fatalf("no DISCONNECT within %v", testgateway.Patience)
	}
}
