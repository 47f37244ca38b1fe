package brokers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"sngate/upstream/upstreamtest"
)

// scripted is the broker in memory of the tests, with the habits of another.
type scripted struct{ *upstreamtest.Broker }

func (scripted) Addr() string  { return "memory" }
func (scripted) URL() string   { return "memory" }
func (scripted) Login() string { return "" }
func (scripted) Log() string   { return "" }
func (s scripted) Kill()       { s.Broker.Kill(true) }
func (s scripted) Restart()    { s.Start() }

func (s scripted) Dial() (net.Conn, error) {
	return s.Broker.Dial(context.Background(), "tcp", "memory")
}

// different are the rows in which the scripted broker does not do as the broker does,
// because nothing depends on it: with "" for all of them.
func different() map[string][]string {
	return map[string][]string{
		"Empty client id, CleanSession=0":                                     {"mosquitto", "RabbitMQ", "NATS", "ejabberd", "mochi", "built-in"}, // never sent
		"Retained message on `t` for a new subscription to `/#`":              {"ejabberd"},
		"Message on `$x/y` arrives on":                                        {"ejabberd"},
		"30 QoS 1 messages for a client that is away, CleanSession=0, arrive": {"mochi", "built-in"},
	}
}

// The scripted broker does what docs/BROKERS.md says of the broker whose habits it has.
func TestScriptedBrokerHasTheHabitsOfThePage(t *testing.T) {
	p := readPage(t)
	presets := []func() upstreamtest.Habits{
		upstreamtest.Mosquitto, upstreamtest.RabbitMQ, upstreamtest.NATS, upstreamtest.Ejabberd, upstreamtest.Mochi, upstreamtest.BuiltIn,
	}
	for i, k := range kinds() {
		for _, q := range append(questions(), lastQuestions()[0]) { // the others ask for its memory
			if slices.Contains(different()[q.text], k.name) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", k.name, q.text), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := upstreamtest.NewBroker()
					t.Cleanup(b.Close)
					b.SetHabits(presets[i]())
					if got, want := q.probe(t, scripted{b}), p.cells[q.text][i]; got != want {
						t.Errorf("the scripted broker does %q, %s %q", got, k.name, want)
					}
				})
			})
		}
	}
}
