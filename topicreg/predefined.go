package topicreg

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxClient bounds the Client field of an Entry, in octets.
const maxClient = 1024

// Entry is one predefined topic of the configuration.
type Entry struct {
	ID   uint16 // 0x0001..0xFFFE
	Name string // a topic name: no wildcards
	// Client says whose id it is: "" every client's, otherwise an exact client id or a
	// pattern with '*' (any run of characters) and '?' (one character).
	Client string
}

// EntryError is one fault of one entry.
type EntryError struct {
	Index int    // of the entry in the list given to NewPredefined
	Field string // "id", "name" or "client"
	Msg   string
	Other int // the entry it clashes with, or -1
}

func (e *EntryError) Error() string {
	text := fmt.Sprintf("predefined topic %d: %s: %s", e.Index, e.Field, e.Msg)
	if e.Other >= 0 {
		text += fmt.Sprintf(" (entry %d)", e.Other)
	}
	return text
}

// Predefined is the set of predefined topics (MQTT-SN 1.2 section 6.7). It is immutable
// and safe for concurrent use. A nil *Predefined is an empty set, as is a zero one.
//
// Where several entries apply to a client, the more specific one wins: an exact client
// id before a pattern, a pattern with more literal characters before one with fewer,
// and any of them before an entry for every client.
type Predefined struct {
	entries  []Entry
	exact    map[string]*scope
	patterns []*scope // most specific first
	global   scope
}

// scope holds the entries of one Client text, as indices into Predefined.entries.
type scope struct {
	client   string
	literals int // of a pattern
	byID     map[uint16]int
	byName   map[string]int
}

func newScope(client string) *scope {
	return &scope{
		client:   client,
		literals: specificity(client),
		byID:     make(map[uint16]int),
		byName:   make(map[string]int),
	}
}

// NewPredefined checks the entries and builds the set. The error joins one *EntryError
// per fault: a reserved id, an invalid name or client, and each clash, which is the same
// id with different names or the same name with different ids, either in one scope or
// in two patterns of equal specificity that some client id matches both. An entry given
// twice is no clash.
func NewPredefined(entries []Entry) (*Predefined, error) {
	p := &Predefined{entries: slices.Clone(entries), exact: make(map[string]*scope), global: *newScope("")}
	var errs []error
	for i, e := range entries {
		faults := e.check(i)
		if len(faults) == 0 {
			faults = p.add(i, e)
		}
		for _, f := range faults {
			errs = append(errs, f)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	slices.SortStableFunc(p.patterns, func(a, b *scope) int { return cmp.Compare(b.literals, a.literals) })
	return p, nil
}

// check looks at an entry by itself.
func (e Entry) check(i int) (faults []*EntryError) {
	if e.ID < minID || e.ID > maxID {
		faults = append(faults, &EntryError{i, "id", fmt.Sprintf("%d is reserved; want 1..65534", e.ID), -1})
	}
	if err := ValidName(e.Name); err != nil {
		faults = append(faults, &EntryError{i, "name", err.Error(), -1})
	}
	if msg := badClient(e.Client); msg != "" {
		faults = append(faults, &EntryError{i, "client", msg, -1})
	}
	return faults
}

func badClient(client string) string {
	switch {
	case len(client) > maxClient:
		return fmt.Sprintf("is longer than %d octets", maxClient)
	case !utf8.ValidString(client):
		return string(ErrNotUTF8)
	case strings.ContainsRune(client, 0):
		return string(ErrNUL)
	}
	return ""
}

// add puts a checked entry into its scope, or says what it clashes with.
func (p *Predefined) add(i int, e Entry) []*EntryError {
	s := p.scope(e.Client)
	faults := p.clash(s, i)
	for _, other := range p.patterns {
		if !isPattern(e.Client) || other == s || other.literals != s.literals {
			continue
		}
		if f := p.clash(other, i); len(f) > 0 && overlap(e.Client, other.client) {
			faults = append(faults, f...)
		}
	}
	if len(faults) == 0 {
		s.byID[e.ID], s.byName[e.Name] = i, i
	}
	return faults
}

// scope returns the scope of a client text, made when it is new.
func (p *Predefined) scope(client string) *scope {
	switch {
	case client == "":
		return &p.global
	case !isPattern(client):
		if p.exact[client] == nil {
			p.exact[client] = newScope(client)
		}
		return p.exact[client]
	}
	for _, s := range p.patterns {
		if s.client == client {
			return s
		}
	}
	s := newScope(client)
	p.patterns = append(p.patterns, s)
	return s
}

// clash says how entry i contradicts a scope: at most one fault of each kind.
func (p *Predefined) clash(s *scope, i int) (faults []*EntryError) {
	e, whose := p.entries[i], ""
	if s.client != e.Client {
		whose = fmt.Sprintf(" for client %q, which can match the same client ids", s.client)
	}
	if k, ok := s.byID[e.ID]; ok && p.entries[k].Name != e.Name {
		msg := fmt.Sprintf("%d already stands for %q%s", e.ID, p.entries[k].Name, whose)
		faults = append(faults, &EntryError{i, "id", msg, k})
	}
	if k, ok := s.byName[e.Name]; ok && p.entries[k].ID != e.ID {
		msg := fmt.Sprintf("%q already has the id %d%s", e.Name, p.entries[k].ID, whose)
		faults = append(faults, &EntryError{i, "name", msg, k})
	}
	return faults
}

// Name returns the topic name that a predefined id stands for when client uses it.
// It allocates nothing.
func (p *Predefined) Name(client string, id uint16) (string, bool) {
	if p == nil {
		return "", false
	}
	if s := p.exact[client]; s != nil {
		if i, ok := s.byID[id]; ok {
			return p.entries[i].Name, true
		}
	}
	for _, s := range p.patterns {
		if i, ok := s.byID[id]; ok && Match(s.client, client) {
			return p.entries[i].Name, true
		}
	}
	if i, ok := p.global.byID[id]; ok {
		return p.entries[i].Name, true
	}
	return "", false
}

// ID returns the predefined id that stands for a topic name when client uses it, so
// that Name(client, id) is that name: an id that a more specific entry gives another
// meaning is not returned. It allocates nothing.
func (p *Predefined) ID(client, name string) (uint16, bool) {
	if p == nil {
		return 0, false
	}
	if s := p.exact[client]; s != nil {
		if i, ok := s.byName[name]; ok {
			return p.entries[i].ID, true
		}
	}
	for _, s := range p.patterns {
		if i, ok := s.byName[name]; ok && Match(s.client, client) && p.means(client, p.entries[i]) {
			return p.entries[i].ID, true
		}
	}
	if i, ok := p.global.byName[name]; ok && p.means(client, p.entries[i]) {
		return p.entries[i].ID, true
	}
	return 0, false
}

// means reports whether the id of an entry has the entry's meaning for client.
func (p *Predefined) means(client string, e Entry) bool {
	name, ok := p.Name(client, e.ID)
	return ok && name == e.Name
}

// Digest returns a hash of the entries, the same in every version for the same set: their
// order does not matter, nor that one is given twice.
func (p *Predefined) Digest() [sha256.Size]byte {
	var entries []Entry
	if p != nil {
		entries = slices.Clone(p.entries)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
	})
	var b []byte
	for _, e := range slices.Compact(entries) {
		b = binary.BigEndian.AppendUint16(b, e.ID)
		for _, text := range []string{e.Name, e.Client} { // neither has a zero octet
			b = append(append(b, text...), 0)
		}
	}
	return sha256.Sum256(b)
}

// All yields every predefined id that has a meaning for client, with its topic name, in id
// order. It is for people to read, and takes time in proportion to the set.
func (p *Predefined) All(client string, yield func(id uint16, name string) bool) {
	if p == nil {
		return
	}
	var ids []uint16
	for _, e := range p.entries {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if name, ok := p.Name(client, id); ok && !yield(id, name) {
			return
		}
	}
}
