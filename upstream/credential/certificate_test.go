package credential

import (
	"errors"
	"strings"
	"testing"
)

func TestEachClientHasThePathsOfItsCertificate(t *testing.T) {
	table, err := NewTable([]string{ColumnClientID, ColumnCertFile, ColumnKeyFile, "name", "password"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]string{
		{"pump-1", "own/{1}.pem", "own/{1}.key", "Pump 1", ""},
		{"pump-2", "", "", "site/Pump 2", ""},
		{"pump-3", "", "", "", ""},
		{"meter-1", "row.pem", "row.key", "M", ""},
		{"x/y", "", "", "slash", ""},
		{"..", "dots.pem", "dots.key", "", ""},
	} {
		if err := table.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if names := strings.Join(table.Placeholders(), " "); names != "client_id gateway host name" {
		t.Errorf("the placeholders are %s", names)
	}
	path := func(text string) Template { return template(t, text, table.Placeholders()...) }
	book := NewBook(Rules{
		Gateway: "gw", Host: "h",
		Default: Account{CertFile: path("certs/{gateway}/{name}.pem"), KeyFile: path("certs/{host}/{name}.key")},
		Entries: []Entry{
			{"meter-*", Account{CertFile: path("m/{client_id}.pem"), KeyFile: path("m/{client_id}.key")}},
			{"*/*", Account{CertFile: path("all.pem"), KeyFile: path("k/{client_id}")}},
			{"lamp*", Account{CertFile: path("{client_id}"), KeyFile: path("all.key")}},
		},
	}, table)
	for _, tt := range []struct{ id, cert, key, err string }{
		{"pump-1", "own/{1}.pem", "own/{1}.key", ""},
		{"pump-2", "certs/gw/site/Pump 2.pem", "certs/h/site/Pump 2.key", ""},
		{"pump-3", "", "", "there is no value for {name}"},
		{"stranger", "", "", "there is no value for {name}"},
		{"meter-1", "m/meter-1.pem", "m/meter-1.key", ""},
		{"meter-...", "m/meter-....pem", "m/meter-....key", ""},
		{"x/y", "", "", `"x/y" is no name of a file`},
		{"meter-/../../x", "", "", "is no name of a file"},
		{`meter-\..`, "", "", "is no name of a file"},
		{"lamp\x00", "", "", "is no name of a file"},
		{"lamp", "lamp", "all.key", ""},
		{"..", "dots.pem", "dots.key", ""},
	} {
		cert, key, err := book.Certificate(tt.id)
		if cert != tt.cert || key != tt.key || (err == nil) != (tt.err == "") || err != nil && (!errors.Is(err, ErrNone) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %q, %q, %v; want %q, %q, %q", tt.id, cert, key, err, tt.cert, tt.key, tt.err)
		}
	}
	for _, id := range []string{"", ".", "..", "../x", "a/b", "/etc/x"} {
		own := NewBook(Rules{Default: Account{CertFile: path("certs/{client_id}"), KeyFile: path("certs/{client_id}")}}, nil)
		if cert, _, err := own.Certificate(id); !errors.Is(err, ErrNone) {
			t.Errorf("%q has the certificate %s: %v", id, cert, err)
		}
	}
	if cert, key, err := NewBook(Rules{}, nil).Certificate("../x"); cert != "" || key != "" || err != nil {
		t.Errorf("without any: %q, %q, %v", cert, key, err)
	}
}
