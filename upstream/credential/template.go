package credential

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxText bounds each text of a Connect, in octets: MQTT writes their lengths in 16 bits
// (MQTT 3.1.1 section 1.5.3).
const MaxText = 65535

// Template is a text with placeholders, which was read once and is filled in for each connect.
// The zero Template is none: whoever has it leaves the text out.
type Template struct{ parts []part }

// part is either a text or the name of a placeholder.
type part struct{ text, name string }

// Environment is where a placeholder "{env:NAME}" has its value from: ok is false where NAME is
// not set.
type Environment func(name string) (value string, ok bool)

const envPrefix = "env:"

// Literal returns the Template that is text itself, braces and all; none for "".
func Literal(text string) Template {
	if text == "" {
		return Template{}
	}
	return Template{[]part{{text: text}}}
}

// Parse reads a text in which "{name}" stands for a value and "{{" for "{". A name is one of
// known, or "env:NAME" for what env says now; env is not kept. The error names the placeholder
// and those that there are, and nothing else of the text.
func Parse(text string, known []string, env Environment) (Template, error) {
	var t Template
	plain := ""
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		plain += before
		if !found {
			break
		}
		if after, ok := strings.CutPrefix(rest, "{"); ok {
			plain, text = plain+"{", after
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		text = after
		switch variable, isEnv := strings.CutPrefix(name, envPrefix); {
		case !closed:
			return Template{}, fmt.Errorf("has a \"{\" without its \"}\"; want \"{{\" for a brace, or a placeholder: %s", List(known))
		case isEnv:
			value, ok := env(variable)
			switch {
			case !ok || value == "":
				return Template{}, fmt.Errorf("has {%s}, and this variable of the environment is not set", shown(name))
			case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
				return Template{}, fmt.Errorf("has {%s}, and this variable of the environment is not text that MQTT can carry", shown(name))
			}
			plain += value
		case slices.Contains(known, name):
			if plain != "" {
				t.parts = append(t.parts, part{text: plain})
				plain = ""
			}
			t.parts = append(t.parts, part{name: name})
		default:
			return Template{}, fmt.Errorf("has {%s}, which is no placeholder; want %s", shown(name), List(known))
		}
	}
	if plain != "" {
		t.parts = append(t.parts, part{text: plain})
	}
	return t, nil
}

// List names the placeholders that there are, for a message.
func List(known []string) string {
	text := ""
	for _, name := range known {
		text += "{" + name + "}, "
	}
	return text + "{" + envPrefix + "NAME}"
}

// shown cuts a name that is too long to be one.
func shown(name string) string {
	if r := []rune(name); len(r) > 40 {
		return string(r[:40]) + "..."
	}
	return name
}

// None reports whether there is no text at all.
func (t Template) None() bool { return len(t.parts) == 0 }

// Start returns the text before the first placeholder. whole: there is none, so that is all.
func (t Template) Start() (text string, whole bool) {
	if len(t.parts) > 0 && t.parts[0].name == "" {
		text = t.parts[0].text
	}
	return text, len(t.Names()) == 0
}

// Names returns the names in the placeholders of t.
func (t Template) Names() []string {
	var names []string
	for _, p := range t.parts {
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	return names
}

// has reports whether there is a placeholder with a name in t.
func (t Template) has(name string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.name == name })
}

// Format keeps what may be a password out of whatever prints a Template.
func (t Template) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

// fill returns the text of t with the values of a client in it.
func (t Template) fill(of *values) (string, error) {
	var text strings.Builder
	for _, p := range t.parts {
		value := p.text
		if p.name != "" {
			if value = of.value(p.name); value == "" {
				return "", fmt.Errorf("%w: there is no value for {%s}", ErrNone, p.name)
			}
		}
		if text.Len()+len(value) > MaxText {
			return "", ErrTooLong
		}
		text.WriteString(value)
	}
	return text.String(), nil
}
