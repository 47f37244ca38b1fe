package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sngate/internal/explain"
)

// maxHex bounds what decode reads: a datagram of 64 KiB as "0x00, " and more.
const maxHex = 1 << 20

func setupDecode() (options, action) { return nil, decode }

func decode(_ context.Context, s streams, operands []string) error {
	if len(operands) == 0 {
		return usagef("no datagram given")
	}
	text := strings.Join(operands, " ")
	if text == "-" {
		input, err := io.ReadAll(io.LimitReader(s.stdin, maxHex))
		if err != nil {
			return err
		}
		text = string(input)
	}
	datagram, err := parseHex(text)
	if err != nil {
		return err
	}
	err = explain.Datagram(s.stdout, datagram)
	var fault *explain.Error
	if errors.As(err, &fault) { // the explanation ends with it
		return &exitError{exitFailure}
	}
	return err
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
			return nil, fmt.Errorf("%q is no hexadecimal octets: %s", group, hexFault(err))
		}
		datagram = append(datagram, octets...)
	}
	if len(datagram) == 0 {
		return nil, errors.New("no hexadecimal digits given")
	}
	return datagram, nil
}

func hexFault(err error) string {
	if errors.Is(err, hex.ErrLength) {
		return "odd number of digits"
	}
	return strings.TrimPrefix(err.Error(), "encoding/hex: ")
}
