package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
)

// maxPayload is what fits into a UDP datagram over IPv4 beside the 9 octets of a long
// PUBLISH header.
const maxPayload = 65507 - 9

type pubOptions struct {
	*clientOptions
	sources []func(s streams) ([]byte, error) // where the message comes from; exactly one is right
	lines   bool
	qos     int
	retain  bool
	timeout time.Duration
}

func setupPub() (options, action) {
	p := &pubOptions{clientOptions: newClientOptions()}
	source := func(read func(streams) ([]byte, error)) { p.sources = append(p.sources, read) }
	opts := options{
		{[]string{"-t", "--topic"}, "TOPIC", "topic name to publish to", func(s string) error {
			p.topics = append(p.topics, s)
			return nil
		}},
		{[]string{"--predefined"}, "ID", "pre-defined topic id to publish to, 1 to 65534", predefinedID(&p.predefined)},
		{[]string{"-m", "--message"}, "TEXT", "the message", func(text string) error {
			source(func(streams) ([]byte, error) { return []byte(text), nil })
			return nil
		}},
		{[]string{"-f", "--file"}, "FILE", "the message is the content of FILE", func(path string) error {
			source(func(streams) ([]byte, error) { return readMessageFile(path) })
			return nil
		}},
		{[]string{"-l", "--stdin-line"}, "", "every line of the standard input is a message", func(string) error {
			p.lines = true
			source(nil)
			return nil
		}},
		{[]string{"-n", "--null-message"}, "", "the message is empty", func(string) error {
			source(func(streams) ([]byte, error) { return nil, nil })
			return nil
		}},
		{[]string{"-s", "--stdin-file"}, "", "the message is the whole standard input", func(string) error {
			source(func(s streams) ([]byte, error) { return readMessage(s.stdin) })
			return nil
		}},
		{[]string{"-q", "--qos"}, "QOS", "QoS, -1 to 2, default 0; -1 needs no connection", toInt(&p.qos, -1, 2)},
		{[]string{"-r", "--retain"}, "", "the broker keeps the message as the topic's retained one", toSwitch(&p.retain, true)},
		{[]string{"--timeout"}, "SECONDS", "give up when the whole takes longer, default never", toFraction(&p.timeout)},
	}
	return append(opts, p.options()...), p.run
}

func predefinedID(list *[]uint16) func(string) error {
	return func(s string) error {
		var id uint16
		if err := toInt(&id, 1, 0xFFFE)(s); err != nil {
			return err
		}
		*list = append(*list, id)
		return nil
	}
}

func (p *pubOptions) run(ctx context.Context, s streams, operands []string) error {
	if err := noOperands(operands); err != nil {
		return err
	}
	topic, err := p.check()
	if err != nil {
		return err
	}
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("not done after %v (--timeout)", p.timeout))
		defer cancel()
	}
	err = p.publishAll(ctx, s, topic)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		if errors.Is(cause, context.Canceled) {
			return errors.New("interrupted")
		}
		return cause
	}
	return err
}

// check refuses what does not go together and returns the topic.
func (p *pubOptions) check() (snclient.Topic, error) {
	if len(p.topics)+len(p.predefined) != 1 {
		return snclient.Topic{}, usagef("give exactly one of -t and --predefined")
	}
	if len(p.sources) != 1 {
		return snclient.Topic{}, usagef("give exactly one of -m, -f, -l, -n and -s")
	}
	if p.qos == -1 {
		if len(p.topics) == 1 && len(p.topics[0]) != 2 {
			return snclient.Topic{}, usagef("-q -1 goes without a connection, so the topic %q cannot be registered: "+
				"use a short topic name of exactly two octets, or --predefined", p.topics[0])
		}
		if p.will.Topic != "" {
			return snclient.Topic{}, usagef("-q -1 goes without a connection, and so without a will")
		}
		p.short = true
	}
	if err := p.clientOptions.check("pub"); err != nil {
		return snclient.Topic{}, err
	}
	return p.all()[0], nil
}

func (p *pubOptions) publishAll(ctx context.Context, s streams, topic snclient.Topic) error {
	var message []byte
	if !p.lines {
		var err error
		if message, err = p.sources[0](s); err != nil {
			return err
		}
		if len(message) > maxPayload {
			return fmt.Errorf("a message of %d octets is too long for a datagram, at most %d fit", len(message), maxPayload)
		}
	}
	client, err := p.client(ctx, s, nil)
	if err != nil {
		return err
	}
	qos := uint8(p.qos)
	if p.qos == -1 {
		qos = sn12.QoSMinusOne
		defer client.Close()
	} else {
		defer leave(ctx, client)
		if err := p.connect(ctx, client); err != nil {
			return err
		}
	}
	if !p.lines {
		return client.Publish(ctx, topic, message, qos, p.retain)
	}
	return p.publishLines(ctx, s, client, topic, qos)
}

// publishLines publishes every line without its end.
func (p *pubOptions) publishLines(ctx context.Context, s streams, client *snclient.Client, topic snclient.Topic, qos uint8) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends readLines
	lines, failed := readLines(ctx, s.stdin)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case why := <-client.Lost():
			if err := p.reconnect(ctx, s, client, why); err != nil {
				return err
			}
		case line, more := <-lines:
			if !more {
				return <-failed
			}
			if err := p.publishLine(ctx, s, client, topic, line, qos); err != nil {
				return err
			}
		}
	}
}

// publishLine publishes one line. A lost connection is made again, and the message
// that was on its way then goes on. QoS -1 has no connection to lose.
func (p *pubOptions) publishLine(ctx context.Context, s streams, client *snclient.Client, topic snclient.Topic, line []byte, qos uint8) error {
	err := client.Publish(ctx, topic, line, qos, p.retain)
	for qos != sn12.QoSMinusOne && isLoss(err) {
		if err := p.reconnect(ctx, s, client, err); err != nil {
			return err
		}
		var doubt *snclient.IncompleteError
		if errors.As(err, &doubt) {
			err = client.Continue(ctx, doubt)
		} else {
			err = client.Publish(ctx, topic, line, qos, p.retain)
		}
	}
	return err
}

// readLines reads lines beside the caller, which has to watch over the connection
// meanwhile. lines is closed at the end of r; then failed has the error, or nil. The
// goroutine may outlive ctx in a Read that cannot be interrupted: it ends with it.
func readLines(ctx context.Context, r io.Reader) (lines <-chan []byte, failed <-chan error) {
	out, errs := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(out)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxPayload+2) // with the end of the line
		for n := 1; scanner.Scan(); n++ {
			line := append([]byte(nil), scanner.Bytes()...)
			if len(line) > maxPayload {
				errs <- fmt.Errorf("line %d is longer than %d octets", n, maxPayload)
				return
			}
			select {
			case out <- line:
			case <-ctx.Done():
				errs <- ctx.Err()
				return
			}
		}
		err := scanner.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("a line is longer than %d octets", maxPayload)
		}
		errs <- err
	}()
	return out, errs
}

func readMessageFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMessage(f)
}

// readMessage reads a message, and one octet more than fits to show that it is too
// long.
func readMessage(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, maxPayload+1))
}
