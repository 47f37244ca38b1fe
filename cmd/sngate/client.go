package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"sngate/internal/explain"
	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
)

// clientOptions are the options pub and sub have in common.
type clientOptions struct {
	host, id      string
	port          uint16
	keepAlive     time.Duration
	clean         bool
	trace         bool
	will          snclient.Will
	willGiven     bool // an option of the will other than its topic
	retryInterval time.Duration
	retryCount    int
	short         bool
	topics        []string
	predefined    []uint16
}

func newClientOptions() *clientOptions {
	return &clientOptions{
		host: "127.0.0.1", port: 1883, keepAlive: time.Minute, clean: true,
		retryInterval: 10 * time.Second, retryCount: 3,
	}
}

func (c *clientOptions) options() options {
	return options{
		{[]string{"-h", "--host"}, "HOST", "name or address of the gateway, default 127.0.0.1", toText(&c.host)},
		{[]string{"-p", "--port"}, "PORT", "its UDP port, default 1883", toInt(&c.port, 1, 65535)},
		{[]string{"-i", "--id"}, "ID", "client id, default sngate_COMMAND_ and the process id", toText(&c.id)},
		{[]string{"-k", "--keepalive"}, "SECONDS", "keep-alive, 0 to 65535, default 60; 0 for none", toSeconds(&c.keepAlive, 0)},
		{[]string{"-c"}, "", "keep the session: connect without CleanSession; needs -i", toSwitch(&c.clean, false)},
		{[]string{"--clean"}, "", "connect with CleanSession, the default", toSwitch(&c.clean, true)},
		{[]string{"--short"}, "", "TOPIC is a short topic name of exactly two octets", toSwitch(&c.short, true)},
		{[]string{"--will-topic"}, "TOPIC", "topic of the will", toText(&c.will.Topic)},
		{[]string{"--will-payload"}, "TEXT", "message of the will, default empty", func(s string) error {
			c.will.Message, c.willGiven = []byte(s), true
			return nil
		}},
		{[]string{"--will-qos"}, "QOS", "QoS of the will, 0 to 2, default 0", func(s string) error {
			c.willGiven = true
			return toInt(&c.will.QoS, 0, 2)(s)
		}},
		{[]string{"--will-retain"}, "", "the will is retained", func(string) error {
			c.will.Retain, c.willGiven = true, true
			return nil
		}},
		{[]string{"--retry-interval"}, "SECONDS", "time to wait for an answer before repeating (Tretry), default 10", toFraction(&c.retryInterval)},
		{[]string{"--retry-count"}, "COUNT", "how often to repeat (Nretry), 0 to 100, default 3", toInt(&c.retryCount, 0, 100)},
		{[]string{"-d", "--debug"}, "", "explain every datagram on the standard error", toSwitch(&c.trace, true)},
	}
}

// check refuses what does not go together, and fills in the client id.
func (c *clientOptions) check(command string) error {
	if c.willGiven && c.will.Topic == "" {
		return usagef("--will-payload, --will-qos and --will-retain need --will-topic")
	}
	if !c.clean && c.id == "" {
		return usagef("-c needs a client id (-i): a session that is kept has to be found again")
	}
	if c.id == "" {
		c.id = fmt.Sprintf("sngate_%s_%d", command, os.Getpid())
	}
	for _, t := range c.topics {
		if t == "" {
			return usagef("-t: the topic is empty")
		}
		if c.short && len(t) != 2 {
			return usagef("--short: %q has %d octets, a short topic name has exactly 2", t, len(t))
		}
	}
	return nil
}

// all returns the topics of the command line.
func (c *clientOptions) all() []snclient.Topic {
	var list []snclient.Topic
	for _, t := range c.topics {
		if c.short {
			list = append(list, snclient.Short(t))
		} else {
			list = append(list, snclient.Name(t))
		}
	}
	for _, id := range c.predefined {
		list = append(list, snclient.Predefined(id))
	}
	return list
}

// client makes the MQTT-SN client. handler may be nil when nothing is subscribed to.
func (c *clientOptions) client(ctx context.Context, s streams, handler func(snclient.Message) bool) (*snclient.Client, error) {
	o := snclient.Options{
		ClientID:      c.id,
		CleanSession:  c.clean,
		KeepAlive:     c.keepAlive,
		RetryInterval: c.retryInterval,
		RetryCount:    c.retryCount,
		Handler:       handler,
	}
	if c.retryCount == 0 {
		o.RetryCount = -1
	}
	if c.will.Topic != "" {
		o.Will = &c.will
	}
	if c.trace {
		o.Trace = tracer(s.stderr)
	}
	return snclient.Dial(ctx, net.JoinHostPort(c.host, strconv.Itoa(int(c.port))), o)
}

// connect connects and makes errors readable.
func (c *clientOptions) connect(ctx context.Context, client *snclient.Client) error {
	err := client.Connect(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("cannot connect to the gateway at %s port %d: %w", c.host, c.port, err)
}

// tracer explains datagrams on w. It is called from several goroutines.
func tracer(w io.Writer) func(bool, []byte) {
	var mu sync.Mutex
	return func(sent bool, datagram []byte) {
		var b bytes.Buffer
		direction := "received"
		if sent {
			direction = "sent"
		}
		fmt.Fprintf(&b, "%s %s, %d octets\n", time.Now().Format("15:04:05.000"), direction, len(datagram))
		_ = explain.Datagram(&b, datagram) // the text says what is wrong with it
		mu.Lock()
		defer mu.Unlock()
		_, _ = w.Write(b.Bytes())
	}
}

// The pause before another attempt to connect: doubling, with some variation so that
// many clients do not come back at the same moment.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// reconnect connects until it succeeds or ctx is done. A refusal other than
// "congestion" is final.
func (c *clientOptions) reconnect(ctx context.Context, s streams, client *snclient.Client, why error) error {
	fmt.Fprintf(s.stderr, "connection lost: %v; reconnecting\n", why)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		err := client.Connect(ctx)
		if err == nil {
			fmt.Fprintln(s.stderr, "connected again")
			return nil
		}
		var refused *snclient.ReturnCodeError
		if errors.As(err, &refused) && refused.Code != sn12.RejectedCongestion {
			return err
		}
	}
}

// isLoss reports whether err means that the connection is gone, or that nothing can be
// sent for now, so that connecting again may help.
func isLoss(err error) bool {
	var socket *net.OpError
	return errors.Is(err, snclient.ErrTimeout) || errors.Is(err, snclient.ErrDisconnected) ||
		errors.Is(err, snclient.ErrNotConnected) || errors.As(err, &socket)
}

// goodbye is how long the end of a connection may take.
const goodbye = 2 * time.Second

// leave ends the connection, also when ctx is done.
func leave(ctx context.Context, client *snclient.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	// Whatever comes of it, the client ends: without an answer the gateway will find
	// out by itself.
	_ = client.Disconnect(ctx)
	_ = client.Close()
}
