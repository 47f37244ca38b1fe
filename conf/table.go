package conf

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"sngate/upstream/credential"
)

// maxCredentials bounds a credentials file, in octets.
const maxCredentials = 64 << 20

// parseTable reads a credentials file by the suffix of its name; rows says what each row
// has to be like. The error names the file, the line and the column, and shows no value but
// a client id.
func parseTable(path string, data []byte, rows rowCheck) (*credential.Table, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var table *credential.Table
	var err error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		table, err = parseCSV(data, rows)
	case ".toml":
		table, err = parseTOML(data, rows)
	default:
		return nil, errors.New("want a file whose name ends in .csv or .toml")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return table, nil
}

// lineError is what is wrong in a line of a credentials file.
func lineError(line int, err error) error { return fmt.Errorf("line %d: %w", line, err) }

// parseCSV reads a line of columns and a line for each device.
func parseCSV(data []byte, rows rowCheck) (*credential.Table, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	columns, err := r.Read()
	switch {
	case err == io.EOF:
		return nil, errors.New("is empty; want a first line with the names of the columns, such as client_id,username,password")
	case err != nil:
		return nil, csvError(err)
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	table, err := credential.NewTable(columns)
	if err != nil {
		return nil, lineError(1, err)
	}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return table, nil
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := r.FieldPos(0)
		if err := addRow(table, row, rows); err != nil {
			return nil, lineError(line, err)
		}
	}
}

// csvError says what the reader has found; that is never a value.
func csvError(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return lineError(p.StartLine, p.Err)
	}
	return err
}

// parseTOML reads a [[device]] for each device, with a string for each column.
func parseTOML(data []byte, rows rowCheck) (*credential.Table, error) {
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		var p toml.ParseError
		errors.As(err, &p)
		return nil, lineError(max(p.Position.Line, 1), errors.New("is not valid TOML; more is not shown because of the secrets in it"))
	}
	lines := keyLines(string(data))
	for key := range tree {
		if key != "device" {
			return nil, lineError(lines[join("", key)], fmt.Errorf("unknown key %s; want [[device]] for each device", quote(key)))
		}
	}
	devices, ok := tree["device"].([]map[string]any)
	if !ok && len(tree) > 0 {
		return nil, lineError(lines["device"], errors.New("want [[device]] for each device"))
	}
	names := map[string]bool{credential.ColumnClientID: true}
	for _, device := range devices {
		for name := range device {
			names[name] = true
		}
	}
	columns := slices.Sorted(maps.Keys(names))
	table, err := credential.NewTable(columns)
	if err != nil {
		return nil, err
	}
	for i, device := range devices {
		row := make([]string, len(columns))
		for k, name := range columns {
			value, given := device[name]
			text, isText := value.(string)
			if given && !isText {
				return nil, lineError(lines[join(index("device", i), name)], fmt.Errorf("%s: want a string, got %s", name, got(value)))
			}
			row[k] = text
		}
		if err := addRow(table, row, rows); err != nil {
			return nil, lineError(lines[index("device", i)], err)
		}
	}
	return table, nil
}

// addRow adds the row of a device.
func addRow(table *credential.Table, row []string, rows rowCheck) error {
	at := func(column string) string {
		if i := slices.Index(table.Columns(), column); i >= 0 && i < len(row) {
			return row[i]
		}
		return ""
	}
	if err := rows.check(at); err != nil {
		return err
	}
	return table.Add(row)
}
