package secure_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
)

func TestEachDeviceHasItsCertificate_Case171(t *testing.T) {
	s := newSite(t)
	s.peer.ClientAuth = tls.RequireAndVerifyClientCert
	for _, name := range []string{"gateway", "pump-1", "pump-2", "..."} {
		s.client("cn of "+name, name)
	}
	files := securetest.Files(s.at("{client_id}"))
	s.opt.Files = func(client string) (string, string, error) {
		if client == "stranger" {
			return "", "", errors.New("not known")
		}
		return files(client)
	}
	for _, name := range []string{"gateway", "pump-1", "pump-2", "..."} {
		s.must(name, "cn of "+name, false)
	}
	for client, want := range map[string]string{
		"pump-3":   "pump-3.pem cannot be read: no such file or directory",
		"stranger": "there is no client certificate: not known",
	} {
		var f *secure.FileError
		if _, err := s.connect(client); !errors.As(err, &f) || f.Key != "cert_file" || !f.Missing || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", client, err, want)
		}
	}
	if n := s.stats.Failures[secure.BadFile].Load(); n != 2 {
		t.Errorf("%d failures are counted", n)
	}
	if handshake, err := s.tls.For("plain.example:1883", "pump-3"); handshake != nil || err != nil {
		t.Errorf("a broker without TLS: %v", err)
	}
	s.client("cn of pump-3", "pump-3") // it may come later
	s.must("pump-3", "cn of pump-3", false)
}

// What is resumed has the identity of the session's beginning, so that it must be of the same
// certificate. The broker's configuration does not tell one from the other.
func TestSessionsAreResumedAsTheSameClientOnly_Case171(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := newSite(t)
		s.peer.ClientAuth, s.peer.MaxVersion = tls.RequireAndVerifyClientCert, version
		s.client("one", "one")
		s.client("two", "two")
		s.opt.Files = securetest.Files(s.at("{client_id}"))
		s.must("one", "one", false)
		s.must("one", "one", true)
		s.must("two", "two", false)
		s.must("two", "two", true)
		s.must("one", "one", true)
		if full, resumed := s.stats.Full.Load(), s.stats.Resumed.Load(); full != 2 || resumed != 3 {
			t.Errorf("%d handshakes are full and %d resumed", full, resumed)
		}
	}
}

func TestDevicesWithTheSameCertificateShareSessions(t *testing.T) {
	s := newSite(t)
	s.must("one", "", false)
	for i := range 10 {
		s.must(fmt.Sprint("device ", i), "", true)
	}
	s.peer.Certificates = []tls.Certificate{s.issue("another", "mqtt.example")}
	s.peer.SetSessionTicketKeys([][32]byte{{1}}) // the broker has been started again
	s.must("one", "", false)
	s.must("two", "", true)
}

// change is what is told of files.
type change struct {
	path string
	err  error
}

func TestFilesAreReadAgainWhenTheyChange_Case171(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.peer.ClientAuth = tls.RequireAndVerifyClientCert
		s.client("first", "a")
		s.opt.Files = securetest.Files(s.at("a"))
		var told []change
		s.opt.Changed = func(path string, err error) { told = append(told, change{path, err}) }
		want := func(path, text string, why string) {
			t.Helper()
			if len(told) != 1 || told[0].path != path || text == "" && told[0].err != nil || text != "" && !strings.Contains(fmt.Sprint(told[0].err), text) {
				t.Fatalf("%s: told %v, want %q of %s", why, told, text, path)
			}
			told = nil
		}
		s.must("dev", "first", false)
		s.client("second", "a")
		s.must("dev", "first", true) // it is not looked at all the time
		<-time.After(time.Second)
		s.must("dev", "second", false)
		want(s.at("a.pem"), "", "a new certificate")
		s.must("dev", "second", true)

		s.client("third", "b") // whose key is not copied yet
		if err := os.Rename(s.at("b.pem"), s.at("a.pem")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			<-time.After(time.Second)
			s.must("dev", "second", true)
		}
		want(s.at("a.pem"), "is not the key of the certificate in", "half of a change")
		if err := os.Rename(s.at("b.key"), s.at("a.key")); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		s.must("dev", "third", false)
		want(s.at("a.pem"), "", "the other half")

		if err := os.Remove(s.at("a.key")); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		s.must("dev", "third", true)
		<-time.After(time.Second)
		s.must("dev", "third", true)
		want(s.at("a.pem"), "cannot be read: no such file", "no key any more")

		// What was verified by other authorities is not resumed.
		other := securetest.NewCA(t, "other ca")
		other.Write(t, s.opt.CAFile)
		<-time.After(time.Second)
		s.wantFault("dev", secure.UnknownCA, `but "CN=site ca"`)
		want(s.opt.CAFile, "", "other authorities")
		if err := os.WriteFile(s.opt.CAFile, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		s.wantFault("dev", secure.UnknownCA)
		want(s.opt.CAFile, "has no certificate in it", "an empty file")
		if n := s.stats.BadFiles.Load(); n != 3 {
			t.Errorf("%d bad files are counted", n)
		}
	})
}

func TestIdentitiesAreBounded(t *testing.T) {
	s := newSite(t)
	pair := s.ca.Issue(t, securetest.Certificate{Name: "all"})
	s.opt.Files = securetest.Files(s.at("{client_id}"))
	s.start()
	pair.Write(t, s.at("d1.pem"), s.at("d1.key"))
	s.must("d1", "", false)
	for i := range secure.MaxIdentities + 10 {
		id := fmt.Sprint("d", i)
		if i == 1 {
			continue
		}
		pair.Write(t, s.at(id+".pem"), s.at(id+".key"))
		if _, err := s.tls.For(broker, id); err != nil {
			t.Fatal(err)
		}
		if _, err := s.tls.For(broker, "d0"); err != nil { // it is used all the time
			t.Fatal(err)
		}
	}
	if n := secure.Known(s.tls); n != secure.MaxIdentities {
		t.Errorf("%d identities are kept", n)
	}
	if err := os.Remove(s.at("d0.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.tls.For(broker, "d0"); err != nil {
		t.Errorf("what was used last is forgotten: %v", err)
	}
	s.must("d1", "", true) // its certificate is read again, and its TLS session is still here
	s.must("d2", "", false)
	for i := range secure.MaxIdentities {
		if _, err := s.tls.For(broker, fmt.Sprint("d", i+3)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(s.at("d1.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.tls.For(broker, "d1"); err == nil {
		t.Error("what was not used for long is kept")
	}
}

func TestTLSSessionsAreBounded(t *testing.T) {
	s := newSite(t)
	s.opt.MaxClients = 2
	s.opt.Files = securetest.Files(s.at("{client_id}"))
	for _, id := range []string{"one", "two", "three"} {
		s.client(id, id)
		s.must(id, "", false)
	}
	s.must("two", "", true)
	s.must("three", "", true)
	if n := secure.Sessions(s.tls); n != 2 {
		t.Errorf("the sessions of %d clients are kept", n)
	}
}

// A broker that cannot go on with a TLS session, and says so by an alert, must not be offered it
// for ever.
func TestASessionThatHasFailedIsNotTriedAgain(t *testing.T) {
	s := newSite(t)
	s.must("dev", "", false)
	s.must("dev", "", true)
	s.peer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not now") }
	s.wantFault("dev", secure.Other, "the broker says: internal error")
	s.peer.GetConfigForClient = nil
	s.must("dev", "", false)
	s.must("dev", "", true)
}

// systemd lets the user of a service in by the group of what it has loaded.
func TestAKeyThatSystemdHasLoaded(t *testing.T) {
	s := newSite(t)
	s.client("dev", "a")
	if err := os.Chmod(s.at("a.key"), 0o440); err != nil {
		t.Fatal(err)
	}
	for loaded, want := range map[string]string{"": "others than its owner", s.dir: "", s.dir + "/": "", s.dir + "x": "others than its owner"} {
		if _, err := secure.ReadPair(s.at("a.pem"), s.at("a.key"), loaded); want == "" && err != nil || want != "" && !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("loaded in %q: %v", loaded, err)
		}
	}
	if err := os.Chmod(s.at("a.key"), 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := secure.ReadPair(s.at("a.pem"), s.at("a.key"), s.dir); err == nil {
		t.Error("anybody may read it")
	}
}

// A disk that takes its time holds up one connect, and the others use what was read before.
func TestASlowDiskHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.peer.ClientAuth = tls.RequireAndVerifyClientCert
		s.client("first", "a")
		s.opt.Files = securetest.Files(s.at("a"))
		s.must("dev", "first", false)
		s.client("second", "a")
		<-time.After(2 * time.Second)
		over := secure.Reading(s.tls)
		s.must("dev", "first", true)
		over()
		s.must("dev", "second", false)
	})
}

// What systemd has loaded goes before a file of the same name in the working directory.
func TestFilesThatSystemdHasLoadedAreFound(t *testing.T) {
	s := newSite(t)
	t.Chdir(t.TempDir())
	s.peer.ClientAuth = tls.RequireAndVerifyClientCert
	for _, name := range []string{"both", "loaded"} {
		s.client("loaded", name)
		if err := os.Chmod(s.at(name+".key"), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"both", "here"} {
		s.ca.Issue(t, securetest.Certificate{Name: "here"}).Write(t, name+".pem", name+".key")
	}
	securetest.NewCA(t, "another").Write(t, "ca.pem")
	s.opt.Loaded, s.opt.CAFile, s.opt.Files = s.dir, "ca.pem", securetest.Files("{client_id}")
	s.must("both", "loaded", false)
	s.must("loaded", "loaded", false)
	s.must("here", "here", false)
	for _, client := range []string{"none", "../here"} {
		if _, err := s.connect(client); err == nil {
			t.Errorf("%s has a certificate", client)
		}
	}
}

// Where the files of a client are may change with what is known of it.
func TestAnotherPathIsAnotherCertificate(t *testing.T) {
	s := newSite(t)
	s.peer.ClientAuth = tls.RequireAndVerifyClientCert
	s.client("first", "a")
	s.client("second", "b")
	name := "a"
	s.opt.Files = func(string) (string, string, error) { return s.at(name + ".pem"), s.at(name + ".key"), nil }
	s.must("dev", "first", false)
	s.must("dev", "first", true)
	name = "b"
	s.must("dev", "second", false)
	s.opt.Files = nil
	s.start()
	if _, err := s.connect("dev"); err == nil {
		t.Error("a client without a path has a certificate")
	}
}
