package credential

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Columns of a table that are more than values for templates.
const (
	ColumnClientID = "client_id" // of the device; each once
	ColumnUsername = "username"
	ColumnPassword = "password"
	ColumnKey      = "key"       // for a Signer
	ColumnCertFile = "cert_file" // paths of the client certificate and of its key
	ColumnKeyFile  = "key_file"
)

// Placeholders that every template has.
const (
	PlaceholderClientID = ColumnClientID // of the device
	PlaceholderGateway  = "gateway"      // the client id of the gateway
	PlaceholderHost     = "host"         // the name of the broker
)

// maxColumns bounds the columns of a table.
const maxColumns = 64

// Table is what is known of each device by its client id: a credentials file. It is not
// changed once it is in a Book.
type Table struct {
	columns []string
	rows    map[string][]string // by client id; a value for each column, "" for none
}

// NewTable returns a Table without rows. Names of columns are made of ASCII letters, digits, '_'
// and '-'.
func NewTable(columns []string) (*Table, error) {
	if len(columns) > maxColumns {
		return nil, fmt.Errorf("there are more than %d columns", maxColumns)
	}
	for i, name := range columns { // a file without a line of names has secrets here: they are not shown
		switch {
		case !validColumn(name):
			return nil, fmt.Errorf("column %d has no valid name; want letters, digits, '_' and '-'", i+1)
		case slices.Contains(reserved(), name):
			return nil, fmt.Errorf("the column %q has the name of another placeholder; want another name", name)
		case slices.Contains(columns[:i], name):
			return nil, fmt.Errorf("column %d has the name of another one; want the names of the columns in the first line", i+1)
		}
	}
	if !slices.Contains(columns, ColumnClientID) {
		return nil, fmt.Errorf("there is no column %q", ColumnClientID)
	}
	return &Table{columns: slices.Clone(columns), rows: make(map[string][]string)}, nil
}

func validColumn(name string) bool {
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// reserved are placeholders that are no columns.
func reserved() []string {
	return []string{PlaceholderGateway, PlaceholderHost, PlaceholderNow, PlaceholderNowMS, PlaceholderExpiry, PlaceholderMQTTClientID}
}

// Columns returns the names of the columns.
func (t *Table) Columns() []string { return t.columns }

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Add adds the row of one device: a value for each column, "" for none. The error names the
// column, and never shows a value but the client id. It keeps the slice.
func (t *Table) Add(row []string) error {
	if len(row) != len(t.columns) {
		return fmt.Errorf("there are %d values; want one for each of the %d columns", len(row), len(t.columns))
	}
	id := row[slices.Index(t.columns, ColumnClientID)]
	if id == "" {
		return fmt.Errorf("%s is empty", ColumnClientID)
	}
	for i, value := range row {
		if value == "" {
			continue
		}
		if err := validValue(value); err != nil {
			return fmt.Errorf("%s %w", t.columns[i], err)
		}
	}
	if _, twice := t.rows[id]; twice {
		return fmt.Errorf("the client id %q is there twice", shown(id))
	}
	t.rows[id] = row
	return nil
}

// validValue reports why MQTT cannot carry value.
func validValue(value string) error {
	switch {
	case len(value) > MaxText:
		return fmt.Errorf("is longer than %d octets", MaxText)
	case !utf8.ValidString(value):
		return errors.New("is not well-formed UTF-8")
	case strings.ContainsRune(value, 0):
		return errors.New("contains the character U+0000")
	}
	return nil
}

// row returns the row of a client id; nil if it has none.
func (t *Table) row(clientID string) []string {
	if t == nil {
		return nil
	}
	return t.rows[clientID]
}

// value returns the value of row, which may be nil, in a column; "" if there is none.
func (t *Table) value(row []string, column string) string {
	if row == nil {
		return ""
	}
	if i := slices.Index(t.columns, column); i >= 0 {
		return row[i]
	}
	return ""
}

// Placeholders returns the names that templates may use with this table, which may be nil:
// client_id, gateway and host, and each column but those that are secrets, paths or answers themselves.
func (t *Table) Placeholders() []string {
	names := []string{PlaceholderClientID, PlaceholderGateway, PlaceholderHost}
	if t == nil {
		return names
	}
	for _, column := range t.columns {
		switch column {
		case ColumnClientID, ColumnUsername, ColumnPassword, ColumnKey, ColumnCertFile, ColumnKeyFile:
		default:
			names = append(names, column)
		}
	}
	return names
}
