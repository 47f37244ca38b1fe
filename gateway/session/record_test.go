package session

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Records are what a restart finds, perhaps of another version: their octets are a format of
// files. testdata/records.golden has one of each kind; no line of it may ever change.
func TestRecordsKeepTheirOctets(t *testing.T) {
	var got strings.Builder
	for _, r := range richRecords(t) {
		fmt.Fprintf(&got, "%s key=%x value=%x\n", recordNames[r.Kind], r.Key, r.Value)
	}
	want, err := os.ReadFile("testdata/records.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
}
