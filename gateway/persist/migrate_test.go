package persist

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sngate/gateway/session"
	"sngate/store"
	"sngate/store/storetest"
)

func TestMigrationFromSchema1(t *testing.T) {
	at := Entry{Ended: -1, Home: "h"}
	before := string(at.append(nil))
	for name, tt := range map[string]struct {
		bucket           store.Bucket
		key, value, want string
	}{
		"a session":                        {store.Sessions, "a\x00S", before + "\x01rest", before + "\x02\x01rest"},
		"a session without its part":       {store.Sessions, "a\x00S", before, before},
		"a session that makes no sense":    {store.Sessions, "a\x00S", "short", "short"},
		"a subscription":                   {store.Sessions, "a\x00F+", "\x01", "\x01"},
		"a message":                        {store.Held, "a\x00S", "\x01\x00", "\x01\x00"},
		"an unknown key":                   {store.Sessions, "aS", before + "\x01", before + "\x01"},
		"a record of the gateway's own":    {store.Sessions, clockKey, before + "\x01", before + "\x01"},
		"an empty one of a client's topic": {store.Topics, "a\x00\x00\x01", "", ""},
	} {
		got, err := Migrations()[0](tt.bucket, []byte(tt.key), []byte(tt.value))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
	_, err := Migrations()[0](store.Sessions, []byte("dev\x00S"), []byte(before+"\x03rest"))
	wantVersionError(t, err, `client id "dev"`, "version 3")
}

// A record is migrated by its own key, without the client id.
func TestMigrationFromSchema2(t *testing.T) {
	at := Entry{Ended: -1, Home: "h"}
	before := string(at.append(nil))
	for name, tt := range map[string]struct {
		bucket           store.Bucket
		key, value, want string
	}{
		"a session":             {store.Sessions, "a\x00S", before + "\x02rest", before + "\x03rest"},
		"a message of a broker": {store.Sessions, "a\x00X\x00\x05", "12345678", "\x00\x0512345678"},
		"a message for one":     {store.Spool, "a\x00\x00\x00\x00\x01", "\x80\x01rest", "\x00\x02rest"},
	} {
		got, err := Migrations()[1](tt.bucket, []byte(tt.key), []byte(tt.value))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
	_, err := Migrations()[1](store.Sessions, []byte("dev\x00S"), []byte(before+"\x04rest"))
	wantVersionError(t, err, `client id "dev"`, "version 4")
}

func wantVersionError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, session.ErrRecordVersion) {
		t.Fatalf("err = %v", err)
	}
	for _, part := range append(parts, "start the newer program again", "move the file away") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

func TestRecordOfAnotherVersionEndsTheLoading(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	k := New(s, func() time.Duration { return 0 })
	submit(t, k, "dev", session.Record{Kind: session.RecordSession})
	_, err := k.Load(func([]byte, []byte, *Entry) error {
		return fmt.Errorf("%w: it has version 3", session.ErrRecordVersion)
	}, nil)
	wantVersionError(t, err, `client id "dev"`, "version 3")
}
