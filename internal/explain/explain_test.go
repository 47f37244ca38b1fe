package explain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata from what Datagram prints")

// A golden file is a list of blocks: "#" and what is shown, ">" and the datagram as
// hex, the explanation, an empty line. A case is added by writing the first two lines
// and running the test with -update.
func TestDatagramGolden(t *testing.T) {
	cases := 0
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for line := range strings.Lines(string(golden)) {
				switch line[0] {
				case '#':
					got.WriteString(line)
				case '>':
					got.WriteString(line)
					datagram, err := hex.DecodeString(strings.TrimSpace(line[1:]))
					if err != nil {
						t.Fatalf("%s: %v", strings.TrimSpace(line), err)
					}
					checkAgainstCodec(t, datagram, explainTo(&got, datagram))
					got.WriteString("\n")
					cases++
				}
			}
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(strings.Split(string(golden), "\n"), strings.Split(got.String(), "\n")); d != "" {
				t.Errorf("(-golden +got):\n%s", d)
			}
		})
	}
	if want := 60; cases < want {
		t.Errorf("%d cases in the golden files, want at least %d", cases, want)
	}
}

// explainTo calls Datagram and puts both of its results into one value.
func explainTo(w *bytes.Buffer, datagram []byte) result {
	start := w.Len()
	err := Datagram(w, datagram)
	return result{text: string(w.Bytes()[start:]), err: err}
}

type result struct {
	text string
	err  error
}

// checkAgainstCodec: an error for exactly the datagrams that the codec refuses, of the
// same kind, within the datagram, and told in the last line.
func checkAgainstCodec(t *testing.T, datagram []byte, got result) {
	t.Helper()
	_, want := sn12.Parse(datagram)
	if want == nil {
		if got.err != nil {
			t.Errorf("%x: %v, but the codec accepts it", datagram, got.err)
		}
		return
	}
	var e *Error
	if !errors.As(got.err, &e) || !errors.Is(e, want) {
		t.Errorf("%x: error %v, the codec's is %q", datagram, got.err, want)
		return
	}
	if e.Offset < 0 || e.Offset > len(datagram) {
		t.Errorf("%x: error at offset %d of %d octets", datagram, e.Offset, len(datagram))
	}
	if last := "error " + e.Error() + "\n"; !strings.HasSuffix(got.text, "\n"+last) {
		t.Errorf("%x: the last line is not %q:\n%s", datagram, last, got.text)
	}
}

type vector struct{ Name, Hex, Layer string }

func loadVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("../../snpacket/sn12/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 200 {
		t.Fatalf("%d vectors", len(vectors))
	}
	return vectors
}

// Who sent a datagram cannot be seen in it, so these faults get no warning.
var needsDirection = map[string]bool{
	"register-client-topicid":          true,
	"register-gw-topic-0000":           true,
	"disconnect-duration-from-gateway": true,
}

func TestVectorsAreJudgedLikeInTheirTable(t *testing.T) {
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			datagram, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			got := explainTo(&out, datagram)
			checkAgainstCodec(t, datagram, got)
			want := v.Layer == "semantic" && !needsDirection[v.Name]
			if warned := strings.Contains(got.text, "\nwarning: "); got.err == nil && warned != want {
				t.Errorf("warned: %v, want %v:\n%s", warned, want, got.text)
			}
		})
	}
}

func TestWriteErrorIsReturned(t *testing.T) {
	r, w := io.Pipe()
	want := errors.New("disk full")
	r.CloseWithError(want)
	for _, datagram := range [][]byte{{2, 0x16}, {3, 0x16}} {
		if err := Datagram(w, datagram); !errors.Is(err, want) {
			t.Errorf("Datagram(%x) = %v, want %v", datagram, err, want)
		}
	}
}

func TestErrorWrapsTheCodecsError(t *testing.T) {
	err := Datagram(io.Discard, []byte{0x06, 0x04, 0x04, 0x01, 0x00, 0x3C})
	var e *Error
	if !errors.As(err, &e) || e.Offset != 6 || !errors.Is(err, sn12.ErrNoClientID) || !errors.Is(err, snpacket.ErrLayout) {
		t.Errorf("CONNECT without a ClientId: %#v", err)
	}
}

// A field that is too long to be shown is counted, however long it is.
func TestOutputIsBounded(t *testing.T) {
	datagram, err := sn12.Publish{Data: make([]byte, 60_000)}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Datagram(&out, datagram); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 2000 || !strings.Contains(out.String(), "and 59968 octets more") {
		t.Errorf("%d octets of explanation:\n%s", out.Len(), out.String())
	}
}

// octetColumns matches the offset and the octets of a row.
var octetColumns = regexp.MustCompile(`(?m)^([0-9a-f]{4})  ((?:[0-9a-f]{2} ){0,7}[0-9a-f]{2})(?: |$)`)

// FuzzDatagram: agreement with the codec, and every octet of the datagram stands in
// exactly one row, at its offset.
func FuzzDatagram(f *testing.F) {
	for _, v := range loadVectors(f) {
		datagram, err := hex.DecodeString(v.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(datagram)
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		var out bytes.Buffer
		got := explainTo(&out, datagram)
		checkAgainstCodec(t, datagram, got)
		if len(datagram) > perRow*maxRows {
			return // octets may have been left out
		}
		var shown []byte
		for _, m := range octetColumns.FindAllStringSubmatch(got.text, -1) {
			offset, err := hex.DecodeString(m[1])
			if err != nil || int(offset[0])<<8|int(offset[1]) != len(shown) {
				t.Fatalf("row at %s, want 0x%04x:\n%s", m[1], len(shown), got.text)
			}
			octets, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, octets...)
		}
		if !bytes.Equal(shown, datagram) {
			t.Fatalf("rows show %x of %x:\n%s", shown, datagram, got.text)
		}
	})
}
