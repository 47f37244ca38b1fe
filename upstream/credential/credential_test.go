package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// environment has the variables of these tests.
func environment(name string) (string, bool) {
	value, ok := map[string]string{"SITE": "hall-3", "EMPTY": "", "BROKEN": "a\xff", "NUL": "a\x00"}[name]
	return value, ok
}

func template(t testing.TB, text string, columns ...string) Template {
	t.Helper()
	parsed, err := Parse(text, append([]string{PlaceholderClientID, PlaceholderGateway}, columns...), environment)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return parsed
}

// table makes a table of a line of columns and lines of values.
func table(t testing.TB, lines ...string) *Table {
	t.Helper()
	made, err := NewTable(strings.Split(lines[0], ","))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		if err := made.Add(strings.Split(line, ",")); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return made
}

func TestTemplatesAreFilledIn(t *testing.T) {
	rows := table(t, "client_id,device_name,product_id", "pump-1,Pump 1,P{X}")
	for text, want := range map[string]string{
		"plain":                                  "plain",
		"{client_id}":                            "pump-1",
		"{client_id}{client_id}":                 "pump-1pump-1",
		"{gateway}/{client_id}":                  "gw/pump-1",
		"{product_id}{device_name};1;{env:SITE}": "P{X}Pump 1;1;hall-3",
		"{{client_id}":                           "{client_id}",
		"{{{client_id}}":                         "{pump-1}",
		"a}b":                                    "a}b",
		"{env:SITE}":                             "hall-3",
	} {
		b := NewBook(Rules{Gateway: "gw", Default: Account{Username: template(t, text, rows.Placeholders()...)}}, rows)
		got, err := b.Connect("pump-1", time.Time{})
		if err != nil || got.Username != want {
			t.Errorf("%s: %q (%v), want %q", text, got.Username, err, want)
		}
	}
}

func TestAWrongPlaceholderIsNamedWithThoseThatThereAre(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                  `has {}, which is no placeholder; want {client_id}, {site}, {env:NAME}`,
		"x{client-id}":        `has {client-id}, which is no placeholder; want {client_id}, {site}, {env:NAME}`,
		"{client_id":          `has a "{" without its "}"; want "{{" for a brace, or a placeholder: {client_id}, {site}, {env:NAME}`,
		"{env:HOME}":          `has {env:HOME}, and this variable of the environment is not set`,
		"{env:EMPTY}":         `has {env:EMPTY}, and this variable of the environment is not set`,
		"{env:BROKEN}":        `has {env:BROKEN}, and this variable of the environment is not text that MQTT can carry`,
		"{env:NUL}":           `has {env:NUL}, and this variable of the environment is not text that MQTT can carry`,
		"{password}":          `has {password}, which is no placeholder; want {client_id}, {site}, {env:NAME}`,
		"s3cret {client_id {": `has a "{" without its "}"; want "{{" for a brace, or a placeholder: {client_id}, {site}, {env:NAME}`,
	} {
		_, err := Parse(text, []string{"client_id", "site"}, environment)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestTheFirstEntryGoesBeforeTheRow(t *testing.T) {
	rows := table(t, "client_id,username,password,serial", "pump-1,row-1,rp-1,S1", "pump-2,,rp-2,S2", "meter-1,row-m,,S3", "lamp-1,,,")
	rules := Rules{
		Gateway: "gw",
		Default: Account{Username: template(t, "all-{gateway}"), Password: Literal("{literal}")},
		Entries: []Entry{
			{"meter-*", Account{ClientID: template(t, "m/{serial}", "serial"), Username: template(t, "entry-{client_id}")}},
			{"meter-1", Account{Username: Literal("never")}},
			{"door-?", Account{Password: Literal("door")}},
		},
	}
	for id, want := range map[string]Connect{
		"pump-1":  {"pump-1", true, "row-1", []byte("rp-1"), 0, Topics{}},
		"pump-2":  {"pump-2", true, "all-gw", []byte("rp-2"), 0, Topics{}},
		"meter-1": {"m/S3", true, "entry-meter-1", []byte("{literal}"), 0, Topics{}},
		"door-1":  {"door-1", true, "all-gw", []byte("door"), 0, Topics{}},
		"door-12": {"door-12", true, "all-gw", []byte("{literal}"), 0, Topics{}},
		"lamp-1":  {"lamp-1", true, "all-gw", []byte("{literal}"), 0, Topics{}},
	} {
		got, err := NewBook(rules, rows).Connect(id, time.Time{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", id, err, diff)
		}
	}
	if _, err := NewBook(rules, rows).Connect("meter-9", time.Time{}); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "{serial}") {
		t.Errorf("a client without the value its template needs: %v", err)
	}
}

func TestWhoHasNoCredentials(t *testing.T) {
	rows := table(t, "client_id,password", "known,p")
	entries := []Entry{{"pump-*", Account{Username: Literal("u")}}}
	for _, tt := range []struct {
		name  string
		rules Rules
		id    string
		known bool
	}{
		{"nobody needs any", Rules{}, "stranger", true},
		{"a row", Rules{Required: true, Default: Account{Username: Literal("u")}}, "known", true},
		{"an entry", Rules{Required: true, Entries: entries}, "pump-1", true},
		{"neither, and they are required", Rules{Required: true, Default: Account{Username: Literal("u"), Password: Literal("p")}}, "stranger", false},
		{"a password alone", Rules{}, "known", false},
	} {
		c, err := NewBook(tt.rules, rows).Connect(tt.id, time.Time{})
		if (err == nil) != tt.known || err != nil && (!errors.Is(err, ErrNone) || cmp.Diff(Connect{}, c) != "") {
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		}
	}
	if c, err := NewBook(Rules{}, nil).Connect("dev", time.Time{}); err != nil || cmp.Diff(Connect{ClientID: "dev"}, c) != "" {
		t.Errorf("without rules: %+v, %v", c, err)
	}
}

func TestTextsAreBounded(t *testing.T) {
	long := strings.Repeat("x", MaxText-1)
	for _, tt := range []struct {
		who Account
		id  string
		ok  bool
	}{
		{Account{Username: Literal(long + "x")}, "d", true},
		{Account{Username: Literal(long + "xx")}, "d", false},
		{Account{Username: template(t, "{client_id}"+long)}, "d", true},
		{Account{Username: template(t, "{client_id}"+long)}, "dd", false},
		{Account{ClientID: template(t, long+"{client_id}")}, "dd", false},
		{Account{Username: Literal("u"), Password: Literal(long + "xx")}, "d", false},
		{Account{}, long + "xx", false},
	} {
		if _, err := NewBook(Rules{Default: tt.who}, nil).Connect(tt.id, time.Time{}); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrTooLong) {
			t.Errorf("%.20s: %v", tt.id, err)
		}
	}
}

func TestTablesAreChecked(t *testing.T) {
	for columns, want := range map[string]string{
		"client_id,a b":                        "column 2 has no valid name",
		"client_id,":                           "column 2 has no valid name",
		"client_id,gateway":                    `the column "gateway" has the name of another placeholder`,
		"client_id,x,x":                        `column 3 has the name of another one; want the names of the columns in the first line`,
		"username,password":                    `there is no column "client_id"`,
		strings.Repeat("a,", 64) + "client_id": "there are more than 64 columns",
	} {
		if _, err := NewTable(strings.Split(columns, ",")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", columns, err, want)
		}
	}
	rows := table(t, "client_id,password", "a,secret")
	for _, tt := range []struct {
		row  []string
		want string
	}{
		{[]string{"b"}, "there are 1 values; want one for each of the 2 columns"},
		{[]string{"", "secret"}, "client_id is empty"},
		{[]string{"b", "secret\xff"}, "password is not well-formed UTF-8"},
		{[]string{"b", "secret\x00"}, "password contains the character U+0000"},
		{[]string{"b", strings.Repeat("s", MaxText+1)}, "password is longer than 65535 octets"},
		{[]string{"a", "secret"}, `the client id "a" is there twice`},
	} {
		if err := rows.Add(tt.row); err == nil || err.Error() != tt.want {
			t.Errorf("%.40q: %v, want %s", tt.row, err, tt.want)
		}
	}
	if rows.Len() != 1 {
		t.Errorf("%d rows", rows.Len())
	}
}

func TestTemplatesAreNotPrinted(t *testing.T) {
	secret := Rules{Default: Account{Password: Literal("hunter2")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, secret.Default.Password) + fmt.Sprintf(verb, secret); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e746572") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
