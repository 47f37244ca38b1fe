package mosquitto

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect connects the stock client and ends it with the test.
func connect(t *testing.T, b *Broker, change func(*mqtt.ClientOptions)) (mqtt.Client, error) {
	t.Helper()
	opts := mqtt.NewClientOptions().AddBroker(b.URL()).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectTimeout(5 * time.Second)
	if change != nil {
		change(opts)
	}
	client := mqtt.NewClient(opts)
	token := client.Connect()
	token.Wait()
	if token.Error() == nil {
		t.Cleanup(func() { client.Disconnect(50) })
	}
	return client, token.Error()
}

func done(t *testing.T, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

// retained subscribes to topic and returns the first payload.
func retained(t *testing.T, b *Broker, topic string) string {
	t.Helper()
	client, err := connect(t, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	done(t, "subscribe", client.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) { got <- string(m.Payload()) }))
	select {
	case payload := <-got:
		return payload
	case <-time.After(5 * time.Second):
		t.Fatalf("no retained message on %q", topic)
		return ""
	}
}

func TestStateOutlivesStopAndKillWithPersistence(t *testing.T) {
	for name, end := range map[string]func(*Broker){"stop": (*Broker).Stop, "kill": (*Broker).Kill} {
		t.Run(name, func(t *testing.T) {
			b := Start(t, Options{Persistence: t.TempDir()})
			client, err := connect(t, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			done(t, "publish", client.Publish("state", 1, true, "kept"))
			// The second acknowledgement comes after the first message was saved.
			done(t, "publish", client.Publish("later", 1, true, "kept"))
			addr := b.Addr()
			end(b)
			if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
				t.Fatal("the broker still accepts connections")
			}
			b.Restart()
			if b.Addr() != addr {
				t.Fatalf("address after the restart is %s, want %s", b.Addr(), addr)
			}
			if got := retained(t, b, "state"); got != "kept" {
				t.Fatalf("retained payload %q, want %q", got, "kept")
			}
		})
	}
}

func TestUsersAreCheckedAndAnonymousIsRefused(t *testing.T) {
	b := Start(t, Options{Users: map[string]string{"gateway": "s3cret", "other": "pässword"}})
	for _, tc := range []struct {
		user, password string
		ok             bool
	}{
		{"gateway", "s3cret", true},
		{"other", "pässword", true},
		{"gateway", "wrong", false},
		{"", "", false},
	} {
		_, err := connect(t, b, func(o *mqtt.ClientOptions) { o.SetUsername(tc.user).SetPassword(tc.password) })
		if (err == nil) != tc.ok {
			t.Errorf("user %q password %q: error %v, want accepted %v", tc.user, tc.password, err, tc.ok)
		}
	}
}

func TestMaxInflightIsTheBrokersWindow(t *testing.T) {
	b := Start(t, Options{MaxInflight: 3})
	received := make(chan mqtt.Message, 10)
	slow, err := connect(t, b, func(o *mqtt.ClientOptions) { o.SetAutoAckDisabled(true) })
	if err != nil {
		t.Fatal(err)
	}
	done(t, "subscribe", slow.Subscribe("q", 1, func(_ mqtt.Client, m mqtt.Message) { received <- m }))
	sender, err := connect(t, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		done(t, "publish", sender.Publish("q", 1, false, fmt.Sprint(i)))
	}
	next := func() mqtt.Message {
		select {
		case m := <-received:
			return m
		case <-time.After(5 * time.Second):
			t.Fatalf("a message is missing; log:\n%s", b.Log())
			return nil
		}
	}
	first := next()
	next()
	next()
	select {
	case m := <-received:
		t.Fatalf("message %q arrived beyond the window of 3", m.Payload())
	case <-time.After(100 * time.Millisecond): // long enough on loopback to see a fourth
	}
	first.Ack()
	if got := string(next().Payload()); got != "3" {
		t.Fatalf("after one acknowledgement came %q, want %q", got, "3")
	}
}

func TestExtraLinesReachTheConfigurationAndAFaultIsShown(t *testing.T) {
	probe := &recorder{TB: t}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		Start(probe, Options{Extra: []string{"no_such_option true"}})
	}()
	<-finished
	if !strings.Contains(probe.fatal, "no_such_option") {
		t.Fatalf("the failure does not show mosquitto's complaint: %q", probe.fatal)
	}
}

func TestAMissingProgramIsAClearError(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := locate(nil)
	if err == nil || !strings.Contains(err.Error(), "install") {
		t.Fatalf("error %v does not say what to do", err)
	}
}

func TestTailKeepsTheNewestBytes(t *testing.T) {
	l := newTail(8)
	for i := range 100 {
		fmt.Fprintf(l, "%03d,", i)
	}
	if got := l.String(); got != "098,099," {
		t.Fatalf("tail %q, want %q", got, "098,099,")
	}
}

// recorder is a testing.TB that keeps the message of Fatal instead of failing.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
