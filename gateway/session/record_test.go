package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Records are what a restart finds, perhaps of another version: their octets are a format of
// files. testdata/records-N.golden has records of each kind in version N; no line of one may
// ever change.
func TestRecordsKeepTheirOctets(t *testing.T) {
	var got strings.Builder
	for _, r := range richRecords(t) {
		fmt.Fprintf(&got, "%s key=%x value=%x\n", recordNames[r.Kind], r.Key, r.Value)
	}
	want := readFile(t, fmt.Sprintf("testdata/records-%d.golden", recordVersion))
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
}

func readFile(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// goldenRecords reads the records of an older version.
func goldenRecords(tb testing.TB, version int) (records []Record) {
	tb.Helper()
	for line := range strings.Lines(readFile(tb, fmt.Sprintf("testdata/records-%d.golden", version))) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " key=")
		key, value, ok := strings.Cut(rest, " value=")
		k, err1 := hex.DecodeString(key)
		v, err2 := hex.DecodeString(value)
		kind := slices.Index(recordNames[:], name)
		if err := errors.Join(err1, err2); err != nil || !ok || kind < 1 {
			tb.Fatalf("%q: %v", line, err)
		}
		records = append(records, Record{Kind: RecordKind(kind), Key: k, Value: v})
	}
	return records
}

// What is in records of an older version is what was in them.
func TestRecordsOfOlderVersionsAreMigrated(t *testing.T) {
	for i, migrate := range []Migration{MigrateFrom1, MigrateFrom2} {
		version := i + 1
		records := goldenRecords(t, version)
		for i := range records {
			r := &records[i]
			before := bytes.Clone(r.Value)
			migrated, err := migrate(r.Kind, r.Key, r.Value)
			if err != nil || !bytes.Equal(r.Value, before) {
				t.Fatalf("%s: %v; it was %x and is %x", describeRecord(*r), err, before, r.Value)
			}
			r.Value = migrated
		}
		sameRecords(t, records, goldenRecords(t, version+1))
		for _, r := range goldenRecords(t, version+1) {
			if _, err := migrate(r.Kind, r.Key, r.Value); errors.Is(err, ErrRecordVersion) != (r.Kind == RecordSession) {
				t.Errorf("a %s of version %d is migrated once more: %v", describeRecord(r), version+1, err)
			}
		}
		if v, err := migrate(RecordSession, nil, nil); err != nil || len(v) > 0 {
			t.Errorf("an empty record: %x, %v", v, err)
		}
	}
}

// The broker knows the exchanges of version 2 by the packet identifiers that were in the records,
// and so does the link after the migration.
func TestExchangesOfVersion2GoOn(t *testing.T) {
	for _, c := range []struct {
		kind             RecordKind
		key, value, want string
	}{
		{RecordSpool, "00000006", "8000" + "02", "0001" + "02"},
		{RecordSpool, "00000006", "fffe" + "0200", "7fff" + "0200"},
		{RecordSpool, "00000006", "0000" + "01", "0000" + "01"},
		{RecordSpool, "00000006", "00", "00"}, // makes no sense
		{RecordExchange, "0005", "856a5aa88cdc1683", "0005" + "856a5aa88cdc1683"},
		{RecordExchange, "05", "856a5aa88cdc1683", "856a5aa88cdc1683"},
		{RecordExchange, "0005", "856a5aa88cdc16", "856a5aa88cdc16"},
		{RecordOutgoing, "", "0001" + "0005" + "00000000" + "856a5aa88cdc1683" + "00", "0001" + "0005856a5aa88cdc1683" + "00000000" + "856a5aa88cdc1683" + "00"},
		{RecordOutgoing, "", "0001" + "0000" + "00000007" + "856a5aa88cdc1683" + "08", "0001" + "00000000000000000000" + "00000007" + "856a5aa88cdc1683" + "08"},
		{RecordOutgoing, "", "0001" + "0005" + "00000000" + "856a5aa88cdc1683", "0001" + "0005" + "00000000" + "856a5aa88cdc1683"},
	} {
		key, _ := hex.DecodeString(c.key)
		value, _ := hex.DecodeString(c.value)
		got, err := MigrateFrom2(c.kind, key, value)
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%s %s: %x, %v, want %s", recordNames[c.kind], c.value, got, err, c.want)
		}
	}
}

// A record of another version is not taken, and told from one that makes no sense.
func TestRecordsOfAnotherVersionAreRefused(t *testing.T) {
	value := richRecords(t)[0].Value
	for version := range 256 {
		value[0] = byte(version)
		s := newSession(durableConfig(), "dev")
		err := s.Load(RecordSession, nil, value)
		if errors.Is(err, ErrRecordVersion) != (version != recordVersion) || s.journal.known != (version == recordVersion) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	s := newSession(durableConfig(), "dev")
	if err := s.Load(RecordSession, nil, nil); err == nil || errors.Is(err, ErrRecordVersion) {
		t.Errorf("an empty record has no version: %v", err)
	}
	value[0], value[1] = recordVersion, 2
	if err := s.Load(RecordSession, nil, value); err == nil || errors.Is(err, ErrRecordVersion) {
		t.Errorf("another version of MQTT-SN: %v", err)
	}
}
