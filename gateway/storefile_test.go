package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/persist"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/store/bolt"
	"sngate/store/storetest"
)

// storeFiles are what gateways of all versions have left behind when they were killed: they are
// never written again, so that what a later version does with such a file is tested with one
// that is real. A file of another version is added to them, and is made by
//
//	go test ./gateway -run TestStoreFileOfAnEarlierVersion -write-store-file testdata/store-NAME.db.gz
var storeFiles = []struct {
	path string
	from uint32 // its schema version; 0: the present one
}{
	{"testdata/store-schema1.db.gz", 1},
	{"testdata/store-schema2.db.gz", 2},
	{"testdata/store-schema3.db.gz", 0},
}

var writeStoreFile = flag.String("write-store-file", "", "make a store file with sessions and messages in all states, compressed, and test it")

// openStoreFile opens a file that is migrated from a schema version; 0: it is not.
func openStoreFile(t *testing.T, path string, from uint32) store.Store {
	t.Helper()
	s, report, err := bolt.Open(path, bolt.Options{Version: "test", Migrations: persist.Migrations()})
	if err != nil {
		t.Fatal(err)
	}
	if report.Lost() || report.SchemaFrom != from {
		t.Fatalf("the file is not taken as one of schema version %d: %v", from, report)
	}
	return s
}

// newStoreFileRig is a rig whose gateway is yet to be started, on the store in path.
func newStoreFileRig(t *testing.T, path string, from uint32) *rig {
	t.Helper()
	s := openStoreFile(t, path, from)
	t.Cleanup(func() { // when the gateway has stopped
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := newRig(t, func(o *Options) {
		o.SpoolTotalBytes = 64 << 20
		c := o.Session
		c.Spool, c.SpoolMessages, c.SpoolBytes, c.SpoolAge = true, 1000, 1<<20, 24*time.Hour
	})
	r.crash()
	r.opts.Store = s
	return r
}

// fillStoreFile makes the file: a gateway with devices in many states is killed.
func fillStoreFile(t *testing.T, path string) {
	r := newStoreFileRig(t, path, 0)
	r.start()
	sleeper := r.device("10.0.1.1:5000")
	sleeper.connectWith(false, 60, "sleeper")
	sleeper.register("up/sleeper")
	sleeper.subscribe("held/#", 2)
	sleeper.sleep(3600)
	r.publish("held/1", "first", 1)
	r.publish("held/2", "second", 2)
	r.publish("held/1", "third", 1)

	down := r.device("10.0.1.2:5000")
	down.connectWith(false, 600, "down")
	topic := down.subscribe("down", 2)
	r.publish("down", "half", 2)
	down.wantMessage("delivered", sn12.Publish{QoS: 2, TopicID: topic, MsgID: 1, Data: []byte("half")})
	down.sendMessage(sn12.PubRec{MsgID: 1})
	down.wantMessage("released", sn12.PubRel{MsgID: 1})

	up := r.device("10.0.1.3:5000")
	up.connectWith(false, 600, "up")
	up.sendMessage(sn12.Publish{QoS: 2, TopicID: up.register("up"), MsgID: 7, Data: []byte("twice")})
	up.wantMessage("received", sn12.PubRec{MsgID: 7})

	gone := r.device("10.0.1.4:5000")
	gone.connectWith(false, 600, "gone")
	gone.subscribe("gone", 1)
	gone.send("02 18")
	gone.wantMessage("goodbye", sn12.Disconnect{})

	r.device("10.0.1.5:5000").connectWillKept("willed", "will", "over", 600)

	spooler := r.device("10.0.1.6:5000")
	spooler.connectWith(false, 600, "spooler")
	id := spooler.register("spooled")
	r.broker.Kill(true)
	synctest.Wait()
	for i, text := range []string{"one", "two", "three"} {
		spooler.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: uint16(i + 1), Data: []byte(text)})
		spooler.wantMessage("in the store", sn12.PubAck{TopicID: id, MsgID: uint16(i + 1)})
	}
	spooler.sendMessage(sn12.Publish{QoS: 2, TopicID: id, MsgID: 4, Data: []byte("four")})
	spooler.wantMessage("in the store", sn12.PubRec{MsgID: 4})
	spooler.sendMessage(sn12.PubRel{MsgID: 4})
	spooler.wantMessage("complete", sn12.PubComp{MsgID: 4})

	r.crash()
}

func TestStoreFileOfAnEarlierVersion(t *testing.T) {
	if *writeStoreFile != "" {
		path := filepath.Join(t.TempDir(), "sngate.db")
		synctest.Test(t, func(t *testing.T) { fillStoreFile(t, path) })
		pack(t, path, *writeStoreFile)
	}
	for _, f := range storeFiles {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sngate.db")
			unpack(t, f.path, path)
			synctest.Test(t, func(t *testing.T) { restoreStoreFile(t, path, f.from) })
			wantPresentForm(t, path, 0)
		})
		t.Run(filepath.Base(f.path)+" opened before", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sngate.db")
			unpack(t, f.path, path)
			wantPresentForm(t, path, f.from)
			if _, _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, bolt.ErrNewerSchema) {
				t.Errorf("a program of schema version 1 opens it: %v", err)
			}
			synctest.Test(t, func(t *testing.T) { restoreStoreFile(t, path, 0) })
		})
	}
}

// wantPresentForm opens the file and expects its six sessions in the present form.
func wantPresentForm(t *testing.T, path string, from uint32) {
	t.Helper()
	s := openStoreFile(t, path, from)
	defer storetest.Close(t, s)
	sessions := 0
	l, err := keeperOf(s).Load(func(clientID, record []byte, at *persist.Entry) error {
		if at != nil {
			sessions++
			if record[0] != 3 {
				t.Errorf("%s has version %d", clientID, record[0])
			}
		}
		return nil
	}, func([]byte, store.Bucket, int) {})
	if err != nil || l.Records > 0 || sessions != 6 {
		t.Errorf("%d sessions, %d bad records, %v", sessions, l.Records, err)
	}
}

func keeperOf(s store.Store) *persist.Keeper {
	return persist.New(s, func() time.Duration { return 0 })
}

// A session of another version keeps the gateway from starting, and stays as it is, as do all
// others.
func TestSessionOfAnotherVersionEndsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		for id, addr := range map[string]string{"before": "10.0.1.1:5000", "dev": "10.0.1.2:5000", "late": "10.0.1.3:5000"} {
			r.device(addr).connectWith(false, 60, id)
		}
		r.crash()
		version := setVersion(t, r.store, "dev", 4)
		keys, submitted := len(r.store.Keys()), r.store.Submitted()
		_, err := Start(r.opts)
		if !errors.Is(err, session.ErrRecordVersion) || !strings.Contains(err.Error(), `client id "dev"`) {
			t.Errorf("err = %v", err)
		}
		if len(r.store.Keys()) != keys || r.store.Submitted() != submitted {
			t.Errorf("%d keys are left of %d after %d batches", len(r.store.Keys()), keys, r.store.Submitted()-submitted)
		}
		setVersion(t, r.store, "dev", version)
		r.start()
		r.wantSessions("all are there again", 3)
	})
}

// setVersion changes the version of a session's records, and returns what it was.
func setVersion(t *testing.T, s store.Store, id string, version uint8) (was uint8) {
	t.Helper()
	var record []byte
	var where persist.Entry
	k := keeperOf(s)
	_, err := k.Load(func(clientID, value []byte, at *persist.Entry) error {
		if string(clientID) == id && at != nil {
			record, where = bytes.Clone(value), *at
		}
		return nil
	}, func([]byte, store.Bucket, int) {})
	if err != nil || record == nil {
		t.Fatalf("no session of %s: %v", id, err)
	}
	was, record[0] = record[0], version
	answered := make(chan error, 1)
	k.Submit(id, []session.Record{{Kind: session.RecordSession, Value: record}}, func() persist.Entry { return where }, func(err error) { answered <- err }, false)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	return was
}

// restoreStoreFile expects that all devices continue as if nothing had happened. The broker has
// forgotten what it knew, so all that they get comes from the file.
func restoreStoreFile(t *testing.T, path string, from uint32) {
	r := newStoreFileRig(t, path, from)
	got := r.observe()
	r.start()
	r.wantSessions("all of them", 6)
	r.wantState("as it was", session.StateAsleep, 1)
	r.wantState("as they were", session.StateActive, 4)
	r.wantState("as it was", session.StateDisconnected, 1)

	got.want(t, "spooled, in their order", "spooler spooled one 1", "spooler spooled two 1", "spooler spooled three 1", "spooler spooled four 2")
	spooler := r.device("10.0.1.6:5000")
	id := spooler.register("spooled")
	spooler.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9, Data: []byte("five")})
	spooler.wantMessage("acknowledged", sn12.PubAck{TopicID: id, MsgID: 9})
	got.want(t, "under the topic id that the device has had", "spooler spooled five 1")

	sleeper := r.device("10.0.1.1:5000")
	if texts := sleeper.wake("sleeper"); !slices.Equal(texts, []string{"first", "second", "third"}) {
		t.Errorf("the sleeper gets %q", texts)
	}
	r.publish("held/3", "fourth", 2)
	if texts := sleeper.wake("sleeper"); !slices.Equal(texts, []string{"fourth"}) {
		t.Errorf("the sleeper gets %q: its subscription is kept", texts)
	}

	down := r.device("10.0.1.2:5000")
	down.ping("still connected")
	down.sendMessage(sn12.PubRec{MsgID: 1})
	down.wantMessage("released again, and not sent again", sn12.PubRel{MsgID: 1})
	down.sendMessage(sn12.PubComp{MsgID: 1})
	r.publish("down", "next", 2)
	if texts := down.receive(time.Second); !slices.Equal(texts, []string{"next"}) {
		t.Errorf("the device with a QoS 2 message in progress gets %q after it", texts)
	}

	up := r.device("10.0.1.3:5000")
	up.sendMessage(sn12.Publish{DUP: true, QoS: 2, TopicID: up.register("up"), MsgID: 7, Data: []byte("twice")})
	up.wantMessage("received", sn12.PubRec{MsgID: 7})
	up.sendMessage(sn12.PubRel{MsgID: 7})
	up.wantMessage("complete", sn12.PubComp{MsgID: 7})
	got.want(t, "the broker had it before")

	gone := r.device("10.0.1.4:5000")
	gone.connectWith(false, 600, "gone")
	r.publish("gone", "back", 1)
	if texts := gone.receive(time.Second); !slices.Equal(texts, []string{"back"}) {
		t.Errorf("the device that has come back gets %q: its subscription is kept", texts)
	}

	r.device("10.0.1.5:5000")
	time.Sleep(700 * time.Second)
	r.wantWill("of a device that is not heard of again", "will", "over")
}

func pack(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is valid
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
