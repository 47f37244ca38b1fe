package upstreamtest

import (
	"strings"
	"time"
)

// The functions below return the habits of brokers as docs/BROKERS.md has them; package
// test/brokers checks that they do. What a restart does to a broker is left to its caller.

// Mosquitto returns the habits of mosquitto 2.0.
func Mosquitto() Habits {
	deep := func(name string) bool { return strings.Count(name, "/") > 199 }
	return Habits{
		Deny:       func(_ string, m Message) bool { return deep(m.Topic) || strings.ContainsFunc(m.Topic, control) },
		DenyFilter: func(_, filter string) bool { return deep(filter) },
	}
}

func control(r rune) bool { return r < ' ' }

// RabbitMQ returns the habits of RabbitMQ 3.10, whose MQTT plugin turns topics into AMQP
// routing keys and has no QoS 2.
func RabbitMQ() Habits {
	return Habits{
		QoS2WithPuback:   true,
		Suback:           GrantAtMost(1),
		Topic:            strings.NewReplacer("*", "+", ".", "/").Replace,
		NoWillAtTakeover: true,
		Window:           10,
		NewIDs:           true,
	}
}

// NATS returns the habits of NATS server 2.15, whose subjects allow no blanks and for which
// `.`, `*` and `>` mean something in a client id.
func NATS() Habits {
	return Habits{
		RefuseID:         RefuseIDsWith(".*> "),
		NoWillAtTakeover: true,
		Deny:             func(_ string, m Message) bool { return strings.Contains(m.Topic, " ") || len(m.Payload) > 1<<20 },
		Suback: func(_, filter string, code byte) byte {
			if strings.Contains(filter, " ") {
				return 0x80
			}
			return code
		},
		Overlap:        true,
		Window:         1024,
		RedeliverAfter: 30 * time.Second,
	}
}

// Ejabberd returns the habits of ejabberd 23.01, which speaks MQTT 5 inside.
func Ejabberd() Habits {
	return Habits{
		Suback: func(_, filter string, code byte) byte {
			if strings.Count(filter, "/") > 7 {
				return 0x8f
			}
			return code
		},
		DenyFilter: func(_, filter string) bool { return strings.HasPrefix(filter, "$share/") },
		Overlap:    true,
		Window:     1,
	}
}

// Mochi returns the habits of mochi 2.7.
func Mochi() Habits {
	return Habits{Goodbye: GoodbyePlain(), Window: 8192}
}

// BuiltIn returns the habits of sngate's own broker.
func BuiltIn() Habits {
	return Habits{Deny: DenyLarger(1 << 20), Window: 1024}
}
