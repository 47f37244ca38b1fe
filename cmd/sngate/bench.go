package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sngate/internal/loadgen"
)

// benchOptions are those of one load: what the options say of the gateway's address is in
// host and port, all else in load.
type benchOptions struct {
	load     loadgen.Options
	host     string
	port     uint16
	password string // file
	json     bool
}

func setupBench() (options, action) {
	b := &benchOptions{
		host: "127.0.0.1", port: 1883,
		load: loadgen.Options{
			Broker: "127.0.0.1:1883", Devices: 100, QoS: 1, Payload: 32, Seed: 1, AtOnce: 100,
			RetryInterval: 10 * time.Second, RetryCount: 3, KeepAlive: 3600,
			WarmUp: 2 * time.Second, Duration: 10 * time.Second, Drain: 30 * time.Second, Hold: 5 * time.Second, Messages: 10,
		},
	}
	l := &b.load
	return options{
		{[]string{"-h", "--host"}, "HOST", "name or address of the gateway, default 127.0.0.1", toText(&b.host)},
		{[]string{"-p", "--port"}, "PORT", "its UDP port, default 1883", toInt(&b.port, 1, 65535)},
		{[]string{"--broker"}, "ADDRESS", "host:port of the gateway's broker, default 127.0.0.1:1883", toText(&l.Broker)},
		{[]string{"-u", "--username"}, "NAME", "user name for the broker, default none", toText(&l.Username)},
		{[]string{"--password-file"}, "FILE", "file with the password for the broker", toText(&b.password)},
		{[]string{"-n", "--devices"}, "COUNT", "devices, 1 to 1000000, default 100", toInt(&l.Devices, 1, loadgen.MaxDevices)},
		{[]string{"-q", "--qos"}, "QOS", "QoS of the messages, 0 to 2, default 1", toInt(&l.QoS, 0, 2)},
		{[]string{"-s", "--size"}, "OCTETS", "size of a message, 16 to 8192, default 32", toInt(&l.Payload, loadgen.MinPayload, loadgen.MaxPayload)},
		{[]string{"-r", "--rate"}, "RATE", "messages per second of all devices together, default 0: each sends when the one before has arrived", toNumber(&l.Rate, 10_000_000)},
		{[]string{"--loss"}, "PERCENT", "throw away so many of 100 datagrams in either direction, 0 to 99, default 0", toPercent(&l.Loss)},
		{[]string{"--at-once"}, "COUNT", "devices that connect, or wake up, at the same time, default 100", toInt(&l.AtOnce, 1, loadgen.MaxDevices)},
		{[]string{"--duration"}, "SECONDS", "how long to measure, default 10", toFraction(&l.Duration)},
		{[]string{"--warm-up"}, "SECONDS", "load before that, default 2", toFraction(&l.WarmUp)},
		{[]string{"--drain"}, "SECONDS", "longest wait for what is under way in the end, default 30", toFraction(&l.Drain)},
		{[]string{"--hold"}, "SECONDS", "connect: how long the devices are idle; sleep: how long they sleep on when all is published; default 5", toFraction(&l.Hold)},
		{[]string{"--messages"}, "COUNT", "sleep: messages for each device, default 10", toInt(&l.Messages, 1, 1_000_000)},
		{[]string{"-k", "--keepalive"}, "SECONDS", "keep-alive of the devices, 0 to 65535, default 3600", toInt(&l.KeepAlive, 0, maxSeconds)},
		{[]string{"--retry-interval"}, "SECONDS", "time to wait for an answer before repeating (Tretry), default 10", toFraction(&l.RetryInterval)},
		{[]string{"--retry-count"}, "COUNT", "how often to repeat (Nretry), 0 to 100, default 3", toInt(&l.RetryCount, 0, 100)},
		{[]string{"--ops"}, "ADDRESS", "host:port of the gateway's ops.address: tell what the gateway used", toText(&l.Ops)},
		{[]string{"--pid"}, "PID", "process id of the gateway on this machine (Linux): tell what it used", toInt(&l.PID, 1, math.MaxInt32)},
		{[]string{"--json"}, "", "print the result as JSON", toSwitch(&b.json, true)},
	}, b.run
}

func (b *benchOptions) run(ctx context.Context, s streams, operands []string) error {
	var modes []string
	for _, m := range loadgen.Modes() {
		modes = append(modes, string(m))
	}
	switch {
	case len(operands) == 0:
		return usagef("give a mode: one of %s", strings.Join(modes, ", "))
	case len(operands) > 1:
		return usagef("unexpected argument %q", operands[1])
	}
	b.load.Mode = loadgen.Mode(operands[0])
	if !strings.Contains(" "+strings.Join(modes, " ")+" ", " "+operands[0]+" ") {
		return usagef("unknown mode %q: want one of %s", operands[0], strings.Join(modes, ", "))
	}
	if b.password != "" {
		if b.load.Username == "" {
			return usagef("--password-file needs --username: MQTT has no password without a user name")
		}
		secret, err := os.ReadFile(b.password)
		if err != nil {
			return err
		}
		b.load.Password = bytes.TrimRight(secret, "\r\n")
	}
	b.load.Gateway = net.JoinHostPort(b.host, strconv.Itoa(int(b.port)))
	if isTerminal(s.stderr) {
		b.load.Progress = func(p loadgen.Progress) { showProgress(s.stderr, p) }
	}
	result, err := loadgen.Run(ctx, b.load)
	if b.load.Progress != nil {
		fmt.Fprint(s.stderr, clearLine)
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if b.json {
		enc := json.NewEncoder(s.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	printResult(s.stdout, result)
	return nil
}

// clearLine takes back what is on the last line of a terminal (ECMA-48: EL).
const clearLine = "\r\x1b[K"

func showProgress(w io.Writer, p loadgen.Progress) {
	fmt.Fprintf(w, clearLine+"%s: %d devices connected, %d messages sent, %d received, %d repeats",
		p.Phase, p.Connected, p.Sent, p.Received, p.Repeats)
}

// printResult tells people what was measured.
func printResult(w io.Writer, r *loadgen.Result) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	load := "closed loop"
	if r.Rate > 0 {
		load = fmt.Sprintf("%g messages per second", r.Rate)
	}
	row("load", "%s, %d devices, QoS %d, %d octets, %s, %g %% loss", r.Mode, r.Devices, r.QoS, r.Payload, load, 100*r.Loss)
	c := r.Connect
	row("connected", "%d of %d in %.2f s, %.0f per second, %d repeats, %d refused", c.Connected, r.Devices, c.Seconds, c.PerSecond, c.Repeats, c.Rejected)
	if c.Failed > 0 {
		row("failed", "%d devices took no part to the end", c.Failed)
	}
	row("CONNACK", "%s", latency(c.Connack))
	if win := r.Window; win != nil {
		row("throughput", "%.1f per second sent, %.1f received, over %.1f s", win.SentPerSecond, win.ReceivedPerSecond, win.Seconds)
	}
	stream := func(name string, s *loadgen.Stream) {
		if s != nil {
			row(name, "%d sent, %d received, %d lost, %d duplicates, %d out of order", s.Sent, s.Received, s.Lost, s.Duplicates, s.Reordered)
			row(name+" latency", "%s", latency(s.EndToEnd))
		}
	}
	stream("up", r.Up)
	stream("down", r.Down)
	if r.Ack != nil {
		row("acknowledgement", "%s", latency(r.Ack))
	}
	if r.Late != nil {
		row("sent late", "%s", latency(r.Late))
	}
	row("devices", "%d repeats, %d given up, %d refused, %d disconnected by the gateway", r.Repeats, r.GivenUp, r.Refused, r.Disconnects)
	if r.Timeouts+r.Invalid+r.ThrownAway > 0 {
		row("", "%d timeouts of the closed loop, %d invalid, %d datagrams thrown away", r.Timeouts, r.Invalid, r.ThrownAway)
	}
	if z := r.Sleep; z != nil {
		row("sleep", "%d messages in the first of %d wakes, %d too early, %d devices miss messages", z.FirstWake, z.Wakes, z.Early, z.Incomplete)
		row("wake", "%s", latency(z.Wake))
	}
	printGateway(row, r)
	row("CPU of others", "%.2f cores; this program %.2f", r.OtherCores, r.SelfCores)
}

func printGateway(row func(name, format string, args ...any), r *loadgen.Result) {
	g := r.Gateway
	if g == nil {
		return
	}
	row("gateway CPU", "%.1f us per connect", g.MicrosPerConnect)
	switch r.Mode {
	case loadgen.Connect:
		row("", "%.4f cores while idle", g.IdleCores)
	case loadgen.Sleep:
		row("", "%.1f us per message", g.MicrosPerMessage)
	default:
		row("", "%.1f us per message, %.3f cores", g.MicrosPerMessage, g.Cores)
	}
	row("gateway memory", "%.1f MiB, %.1f MiB before; %.0f octets per device", mebi(g.Bytes), mebi(g.StartBytes), g.BytesPerDevice)
	if r.Sleep != nil {
		row("", "%.0f octets per message held", g.BytesPerHeld)
	}
	if g.Goroutines == 0 {
		return // the rest is known from its metrics alone
	}
	row("gateway", "%d goroutines, %d datagrams dropped by the system", g.Goroutines, g.SocketDrops)
	row("gateway store", "%.0f octets written per message, file of %.1f MiB", g.StorePerMessage, mebi(g.StoreFile))
}

func latency(l *loadgen.Latency) string {
	if l == nil {
		return "-"
	}
	ms := func(us float64) string { return strconv.FormatFloat(us/1000, 'f', 2, 64) }
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, longest %s ms", ms(l.P50), ms(l.P99), ms(l.P999), ms(l.Max))
}

func mebi(octets int64) float64 { return float64(octets) / (1 << 20) }

// toNumber takes a number from 0 to high.
func toNumber(p *float64, high float64) func(string) error {
	return func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f >= 0 && f <= high) {
			return fmt.Errorf("want a number from 0 to %.0f", high)
		}
		*p = f
		return nil
	}
}

// toPercent takes a percentage for a probability.
func toPercent(p *float64) func(string) error {
	return func(s string) error {
		if err := toNumber(p, 99)(s); err != nil {
			return err
		}
		*p /= 100
		return nil
	}
}
