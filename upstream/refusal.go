package upstream

import (
	"errors"
	"fmt"

	"sngate/upstream/mqtt"
)

// Refusal is how a broker refuses a connection or a subscription. Its zero value is none.
type Refusal struct {
	Kind RefusalKind
	Text string // what the broker has answered, in words for people; "" if it did not answer
}

// RefusalKind says what can be done about a refusal.
type RefusalKind uint8

// What can be done about a refusal.
const (
	NotRefused      RefusalKind = iota
	RefusedForNow               // the broker is not available: it may pass by itself
	RefusedClientID             // another client identifier may be accepted
	RefusedForGood              // it does not pass by itself
	// RefusedByClosing: the broker has closed the connections of this client at CONNECT, several
	// times, while it serves others: it does not want this client, or not like this.
	RefusedByClosing
	// RefusedWithoutCredentials: this side does not know as whom to connect, and has sent nothing.
	RefusedWithoutCredentials
)

// unknown is why it is not known as whom to connect.
type unknown struct{ error }

func (u unknown) Unwrap() error { return u.error }

// refusalOf is why a connect was refused that ended with err, or with a return code of CONNACK.
func refusalOf(err error, code uint8) Refusal {
	if errors.As(err, new(unknown)) {
		return Refusal{Kind: RefusedWithoutCredentials}
	}
	return connackRefusal(code)
}

// connackRefusal is what a return code of CONNACK says (MQTT 3.1.1 section 3.2.2.3).
func connackRefusal(code uint8) Refusal {
	r := Refusal{Kind: RefusedForGood, Text: mqtt.ConnackText(code)}
	switch code {
	case mqtt.CodeAccepted:
		return Refusal{}
	case mqtt.CodeClientID:
		r.Kind = RefusedClientID
	case mqtt.CodeUnavailable:
		r.Kind = RefusedForNow
	}
	return r
}

// subackAnswer is what a return code of SUBACK says (MQTT 3.1.1 section 3.9.3).
func subackAnswer(code uint8) (granted uint8, r Refusal) {
	if code == mqtt.CodeFailure {
		return 0, Refusal{RefusedForGood, fmt.Sprintf("return code 0x%02x", code)}
	}
	return code, Refusal{}
}

// passes reports whether a new try is likely to change anything.
func (r *Refusal) passes() bool { return r.Kind == NotRefused || r.Kind == RefusedForNow }
