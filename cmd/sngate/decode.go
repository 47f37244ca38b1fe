package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sngate/internal/explain"
)

// maxHex bounds what decode reads as one datagram: 64 KiB as "0x00, " and more.
const maxHex = 1 << 20

func setupDecode() (options, action) { return nil, decode }

// decode explains datagrams: those of the arguments, or one for each line of the standard
// input. One that is wrong does not keep it from the others; the exit code tells of it.
func decode(_ context.Context, s streams, operands []string) error {
	e := &explainer{streams: s}
	switch {
	case len(operands) > 1 || len(operands) == 1 && operands[0] != "-":
		e.arguments(operands)
	case len(operands) == 0 && isTerminal(s.stdin):
		return usagef("no datagram given")
	default:
		if err := e.lines(); err != nil {
			return err
		}
	}
	switch {
	case !e.given:
		return usagef("no datagram given: the standard input is empty")
	case e.err == nil && e.bad:
		return &exitError{exitFailure}
	}
	return e.err
}

// explainer explains one datagram after the other.
type explainer struct {
	streams
	given   bool  // there was something to explain
	printed bool  // and something was explained
	bad     bool  // something was wrong
	err     error // from writing; nothing is written after it
}

// one explains a datagram in hexadecimal digits; where says which it is.
func (e *explainer) one(text, where string) {
	e.given = true
	datagram, err := parseHex(text)
	if err != nil {
		e.bad = true
		fmt.Fprintf(e.stderr, "sngate decode: %s%v\n", where, err)
		return
	}
	if e.printed && e.err == nil {
		_, e.err = fmt.Fprintln(e.stdout)
	}
	if e.err != nil {
		return
	}
	e.printed = true
	err = explain.Datagram(e.stdout, datagram)
	var fault *explain.Error
	if errors.As(err, &fault) { // the explanation ends with it
		e.bad = true
	} else {
		e.err = err
	}
}

// arguments explains what the arguments, or the lines in them, have.
func (e *explainer) arguments(operands []string) {
	pieces := strings.FieldsFunc(strings.Join(operands, "\n"), func(r rune) bool { return r == '\n' })
	if together(pieces) {
		e.one(strings.Join(pieces, " "), "")
		return
	}
	for i, piece := range pieces {
		e.one(piece, fmt.Sprintf("datagram %d: ", i+1))
	}
}

// together reports whether pieces are one datagram: hex dumps come in groups of octets. They
// are if they can be decoded only when put together, or if they are groups of one or two
// octets and none is a datagram.
func together(pieces []string) bool {
	whole := 0
	groups := true
	for _, piece := range pieces {
		if decodable(piece) {
			whole++
		}
		groups = groups && isGroup(piece)
	}
	if len(pieces) < 2 || whole < len(pieces) && decodable(strings.Join(pieces, " ")) {
		return true
	}
	return groups && whole == 0
}

// decodable reports whether a text is a datagram without a fault.
func decodable(text string) bool {
	datagram, err := parseHex(text)
	return err == nil && explain.Datagram(io.Discard, datagram) == nil
}

// isGroup reports whether a text is one or two octets, as hex dumps group them.
func isGroup(text string) bool {
	octets, err := parseHex(text)
	return err == nil && len(octets) <= 2
}

// lines explains the lines of the standard input, but for empty ones, each as it comes.
func (e *explainer) lines() error {
	in := bufio.NewReader(e.stdin)
	for n := 1; ; n++ {
		line, err := readLine(in)
		where := fmt.Sprintf("line %d: ", n)
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			e.given, e.bad = true, true
			fmt.Fprintf(e.stderr, "sngate decode: %sis longer than %d characters\n", where, maxHex)
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case strings.TrimSpace(line) != "":
			e.one(line, where)
		}
		if errors.Is(err, io.EOF) || e.err != nil {
			return nil
		}
	}
}

// readLine reads a line, with the last one's io.EOF. One beyond maxHex is skipped and
// bufio.ErrTooLong.
func readLine(in *bufio.Reader) (string, error) {
	var line []byte
	tooLong := false
	for {
		part, more, err := in.ReadLine()
		if len(line)+len(part) > maxHex {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		switch {
		case err == nil && more:
		case tooLong: // the next call meets the end of the input again
			return "", bufio.ErrTooLong
		default:
			return string(line), err
		}
	}
}

// parseHex reads octets as hex dumps have them: digits in groups of any even size,
// each with or without "0x", separated by white space, ':', ',' or '-'.
func parseHex(text string) ([]byte, error) {
	var datagram []byte
	groups := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n:,-", r) })
	for _, group := range groups {
		digits := group
		if len(group) > 2 && (strings.HasPrefix(group, "0x") || strings.HasPrefix(group, "0X")) {
			digits = group[2:]
		}
		octets, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("%q is no hexadecimal octets: %s", shorten(group), hexFault(err))
		}
		datagram = append(datagram, octets...)
	}
	if len(datagram) == 0 {
		return nil, errors.New("no hexadecimal digits given")
	}
	return datagram, nil
}

// shorten cuts a text that is too long for a message.
func shorten(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}

func hexFault(err error) string {
	if errors.Is(err, hex.ErrLength) {
		return "odd number of digits"
	}
	return strings.TrimPrefix(err.Error(), "encoding/hex: ")
}
