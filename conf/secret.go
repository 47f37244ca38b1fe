package conf

import (
	"fmt"
	"io"
)

// Secret is a text that must not be shown. However it is printed, logged or marshalled, it
// reads "***"; only Reveal gives the text. The zero value is an empty text.
type Secret struct {
	// A pointer, so that a print of an unexported field, which cannot call the methods
	// below, shows an address.
	text *string
}

const hidden = "***"

// NewSecret makes a Secret of a text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

func (s Secret) String() string               { return hidden }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Equal compares two secrets by their text.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }
