package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sngate/internal/snclient"
)

// pending is how many messages may wait to be printed. More are not acknowledged and
// so come again; at QoS 0 they are lost.
const pending = 256

// The reasons for which sub ends by itself.
var (
	errEnough  = errors.New("as many messages as asked for")
	errTimeout = errors.New("timed out")
)

type subOptions struct {
	*clientOptions
	qos        uint8
	verbose    bool
	noRetained bool
	noNewline  bool
	count      int // 0: no limit
	timeout    time.Duration
	sleep      time.Duration
}

func setupSub() (options, action) {
	o := &subOptions{clientOptions: newClientOptions()}
	opts := options{
		{[]string{"-t", "--topic"}, "TOPIC", "topic filter to subscribe to; may be repeated", func(s string) error {
			o.topics = append(o.topics, s)
			return nil
		}},
		{[]string{"--predefined"}, "ID", "pre-defined topic id to subscribe to, 1 to 65534; may be repeated", predefinedID(&o.predefined)},
		{[]string{"-q", "--qos"}, "QOS", "highest QoS to receive, 0 to 2, default 0", toInt(&o.qos, 0, 2)},
		{[]string{"-v", "--verbose"}, "", "print the topic before each message; #ID for a pre-defined id", toSwitch(&o.verbose, true)},
		{[]string{"-N"}, "", "print no line end after a message", toSwitch(&o.noNewline, true)},
		{[]string{"-R"}, "", "leave out retained messages", toSwitch(&o.noRetained, true)},
		{[]string{"-C"}, "COUNT", "end after COUNT messages", toInt(&o.count, 1, 1<<31-1)},
		{[]string{"-W"}, "SECONDS", "end this long after connecting, with exit code 27", toSeconds(&o.timeout, 1)},
		{[]string{"--sleep"}, "SECONDS", "sleep, and wake up every so many seconds to fetch messages", toSeconds(&o.sleep, 1)},
	}
	return append(opts, o.options()...), o.run
}

func (o *subOptions) run(ctx context.Context, s streams, operands []string) error {
	if err := noOperands(operands); err != nil {
		return err
	}
	if len(o.topics)+len(o.predefined) == 0 {
		return usagef("give at least one of -t and --predefined")
	}
	if err := o.check("sub"); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	messages := make(chan snclient.Message, pending)
	client, err := o.client(ctx, s, o.taker(messages))
	if err != nil {
		return err
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		if err := o.print(s.stdout, messages); err != nil {
			end(err)
		}
	}()
	err = o.receive(ctx, s, client, end)
	leave(ctx, client) // the reading goroutine, which fills messages, has ended now
	close(messages)
	<-printed
	return o.outcome(ctx, s, err)
}

// outcome turns the end of the subscription into that of the program: a signal and
// enough messages are a clean end.
func (o *subOptions) outcome(ctx context.Context, s streams, err error) error {
	cause := context.Cause(ctx)
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(cause, errTimeout):
		fmt.Fprintln(s.stderr, "Timed out")
		return &exitError{exitTimeout}
	case errors.Is(cause, errEnough), errors.Is(cause, context.Canceled):
		return nil
	}
	return cause
}

// taker accepts messages for printing. Beyond -C they are not accepted, and so not
// acknowledged: they are left for the next client with this session.
func (o *subOptions) taker(messages chan<- snclient.Message) func(snclient.Message) bool {
	taken := 0 // touched by the client's reading goroutine only
	return func(m snclient.Message) bool {
		if o.noRetained && m.Retain {
			return true
		}
		if o.count > 0 && taken == o.count {
			return false
		}
		select {
		case messages <- m:
			taken++
			return true
		default:
			return false
		}
	}
}

// print writes messages until the channel is closed. It returns errEnough after the
// last one that -C asks for, and what the writer says.
func (o *subOptions) print(w io.Writer, messages <-chan snclient.Message) error {
	n := 0
	for m := range messages {
		var line []byte
		if o.verbose {
			line = append(line, m.Topic.String()...)
			line = append(line, ' ')
		}
		line = append(line, m.Payload...)
		if !o.noNewline {
			line = append(line, '\n')
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if n++; n == o.count {
			return errEnough
		}
	}
	return nil
}

// receive holds the connection until ctx is done or going on makes no sense.
func (o *subOptions) receive(ctx context.Context, s streams, client *snclient.Client, end context.CancelCauseFunc) error {
	if err := o.connect(ctx, client); err != nil {
		return err
	}
	if o.timeout > 0 {
		timer := time.AfterFunc(o.timeout, func() { end(errTimeout) })
		defer timer.Stop()
	}
	for {
		err := o.subscribe(ctx, s, client)
		if err == nil {
			err = o.stayConnected(ctx, client)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !isLoss(err) {
			return err
		}
		if err := o.reconnect(ctx, s, client, err); err != nil {
			return err
		}
	}
}

// subscribe makes all subscriptions. It fails when none is granted.
func (o *subOptions) subscribe(ctx context.Context, s streams, client *snclient.Client) error {
	granted := 0
	for _, t := range o.all() {
		_, err := client.Subscribe(ctx, t, o.qos)
		var refused *snclient.ReturnCodeError
		switch {
		case err == nil:
			granted++
		case errors.As(err, &refused):
			fmt.Fprintf(s.stderr, "subscription to %v: %v\n", t, err)
		default:
			return err
		}
	}
	if granted == 0 {
		return errors.New("all subscriptions were refused")
	}
	return nil
}

// stayConnected stays connected, awake or sleeping, and returns when the connection is lost
// or ctx is done.
func (o *subOptions) stayConnected(ctx context.Context, client *snclient.Client) error {
	if o.sleep == 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-client.Lost():
			return lossOf(err)
		}
	}
	if err := client.Sleep(ctx, o.sleep); err != nil {
		return err
	}
	// Counted from waking to waking: the gateway counts anew after each PINGRESP, so
	// a long delivery cannot make the next waking late.
	timer := time.NewTimer(o.sleep)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-client.Lost():
			return lossOf(err)
		case <-timer.C:
			timer.Reset(o.sleep)
			if err := client.Wake(ctx); err != nil {
				return err
			}
		}
	}
}

// lossOf makes sure that an event of the Lost channel reads as a loss, whatever it
// was.
func lossOf(err error) error {
	if isLoss(err) {
		return err
	}
	return fmt.Errorf("%w: %w", snclient.ErrNotConnected, err)
}
