package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

// The datagrams of these tests, and what is said of them.
const (
	pingReq = "0216"
	connect = "08040401003c6c33"
	badAck  = "0405013c" // an octet too many
)

func explained(t *testing.T, datagrams ...string) string {
	t.Helper()
	var all []string
	for _, d := range datagrams {
		_, stdout, _ := call(t, "", "decode", d)
		if !strings.HasPrefix(stdout, "datagram of ") {
			t.Fatalf("%s: %q", d, stdout)
		}
		all = append(all, stdout)
	}
	return strings.Join(all, "\n")
}

func TestDecodeReadsHexDumps(t *testing.T) {
	want := explained(t, connect)
	if !strings.Contains(want, "CONNECT") {
		t.Fatalf("got %q", want)
	}
	for _, args := range [][]string{
		{"08", "04", "04", "01", "00", "3c", "6c", "33"},
		{"0804", "0401", "003c", "6c33"},
		{"08:04:04:01:00:3C:6C:33"},
		{"0x0804", "0X04", "0x01,0x00,0x3c", "6c-33"},
		{" 08 04\t04 01\r\n003c6c33 "},
	} {
		code, got, stderr := call(t, "", append([]string{"decode"}, args...)...)
		if code != exitOK || got != want {
			t.Errorf("%q: code %d, %q, %q", args, code, got, stderr)
		}
	}
	for arg, want := range map[string]string{
		"080": "odd number of digits", "08 0g": "invalid byte", "0x": "\"0x\"", " ": "no hexadecimal digits",
		strings.Repeat("x", 1000): strings.Repeat("x", 40) + "...\"",
	} {
		if code, _, stderr := call(t, "", "decode", arg); code != exitFailure || !strings.Contains(stderr, want) {
			t.Errorf("%q: code %d, %q, want %q", arg, code, stderr, want)
		}
	}
}

func TestDecodeTakesSeveralDatagrams(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		code   int
		want   []string // datagrams
		stderr string
	}{
		{[]string{pingReq, connect}, exitOK, []string{pingReq, connect}, ""},
		{[]string{pingReq, pingReq}, exitOK, []string{pingReq, pingReq}, ""},
		{[]string{connect + "\n" + pingReq + "\n"}, exitOK, []string{connect, pingReq}, ""},
		{[]string{badAck, connect}, exitFailure, []string{badAck, connect}, ""},
		{[]string{connect, "zz", pingReq}, exitFailure, []string{connect, pingReq}, "sngate decode: datagram 2: \"zz\" is no hexadecimal octets: invalid byte: U+007A 'z'\n"},
		{[]string{connect, connect[:14]}, exitFailure, []string{connect, connect[:14]}, ""},
		{[]string{pingReq, "0205"}, exitFailure, []string{pingReq, "0205"}, ""},
		{[]string{"0205", pingReq}, exitFailure, []string{"0205", pingReq}, ""},
		// Groups of octets that break off are one datagram.
		{[]string{"08", "04", "04"}, exitFailure, []string{"080404"}, ""},
		{[]string{"0804", "0401", "00"}, exitFailure, []string{"0804040100"}, ""},
	} {
		code, stdout, stderr := call(t, "", append([]string{"decode"}, tt.args...)...)
		if code != tt.code || stdout != explained(t, tt.want...) || stderr != tt.stderr {
			t.Errorf("%q: code %d,\n%s\n%s", tt.args, code, stdout, stderr)
		}
	}
}

func TestDecodeTakesOneDatagramALine(t *testing.T) {
	long := strings.Repeat("00", maxHex)
	for _, tt := range []struct {
		input  string
		code   int
		want   []string
		stderr []string
	}{
		{connect + "\n", exitOK, []string{connect}, nil},
		{"08 04 04 01 00 3c 6c 33\n02:16", exitOK, []string{connect, pingReq}, nil},
		{"\n" + connect + "\r\n\n \n" + pingReq + "\n\n", exitOK, []string{connect, pingReq}, nil},
		{badAck + "\nzz\n" + pingReq, exitFailure, []string{badAck, pingReq}, []string{`line 2: "zz" is no hexadecimal octets`}},
		{"zz\n080\n" + connect, exitFailure, []string{connect}, []string{"line 1: ", "line 2: "}},
		{pingReq + "\n" + long + "\n" + connect, exitFailure, []string{pingReq, connect}, []string{fmt.Sprintf("line 2: is longer than %d characters", maxHex)}},
		{pingReq + "\n" + long, exitFailure, []string{pingReq}, []string{"line 2: is longer than"}},
	} {
		for _, args := range [][]string{{"decode"}, {"decode", "-"}} {
			code, stdout, stderr := call(t, tt.input, args...)
			if code != tt.code || stdout != explained(t, tt.want...) {
				t.Errorf("%.60q: code %d,\n%s", tt.input, code, stdout)
			}
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if stderr == "" {
				lines = nil
			}
			if len(lines) != len(tt.stderr) {
				t.Errorf("%.60q: %q", tt.input, lines)
				continue
			}
			for i := range lines {
				if !strings.HasPrefix(lines[i], "sngate decode: "+tt.stderr[i]) {
					t.Errorf("%.60q: %q, want %q", tt.input, lines[i], tt.stderr[i])
				}
			}
		}
	}
}

func TestDecodeFailsWithItsInput(t *testing.T) {
	var out, errs bytes.Buffer
	in := iotest.ErrReader(errors.New("broken pipe"))
	if code := run(t.Context(), []string{"decode", "-"}, in, &out, &errs); code != exitFailure || !strings.Contains(errs.String(), "broken pipe") {
		t.Errorf("code %d, %q", code, errs.String())
	}
}
