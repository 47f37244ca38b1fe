package outage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sngate/snpacket/sn12"
	"sngate/test/testgateway"
)

const pageSize = 4096

// storeFile is the path of the gateway's store.
func (s *scene) storeFile() string { return filepath.Join(s.Dir(), "sngate.db") }

// damage flips octets in the pages of the store for which hit holds.
func (s *scene) damage(whole []byte, hit func(page int) bool) {
	s.t.Helper()
	b := slices.Clone(whole)
	for page := range len(b) / pageSize {
		for i := range 64 {
			if hit(page) {
				b[page*pageSize+i*32] ^= 0xA5
			}
		}
	}
	if err := os.WriteFile(s.storeFile(), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) readStore() []byte {
	s.t.Helper()
	b, err := os.ReadFile(s.storeFile())
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// wantToldToConnect checks that the gateway, which knows nothing of them any more, tells
// the devices so in answer to whatever they send.
func (s *scene) wantToldToConnect(c *cast) {
	s.t.Helper()
	c.keeper.Send(sn12.Publish{QoS: 1, TopicID: c.keeper.topicID, MsgID: 9, Data: []byte("x")})
	testgateway.Want[sn12.Disconnect](c.keeper.Node)
	c.sleeper.Send(sn12.PingReq{ClientID: []byte("sleeper")})
	testgateway.Want[sn12.Disconnect](c.sleeper.Node)
}

// beginAnew has the devices do what DISCONNECT asks of them.
func (s *scene) beginAnew(c *cast) {
	s.t.Helper()
	// The broker has its session still, and sends what came meanwhile.
	s.observer.Send("down/keeper", []byte("kept by the broker"), 1, false)
	c.keeper.MustConnect("keeper", false, 60)
	if got := c.keeper.receive("down/keeper"); got != "kept by the broker" {
		s.t.Errorf("received %q", got)
	}
	c.keeper.topicID = c.keeper.Register("up/keeper")
	s.wantBothWays(c.keeper, "anew")
	c.sleeper.MustConnect("sleeper", false, 60)
	c.sleeper.topicID = c.sleeper.Register("up/sleeper")
	s.wantBothWays(c.sleeper, "anew")
}

// storeErrors are the lines at level error about the store.
func (s *scene) storeErrors() (list []testgateway.LogLine) {
	for _, l := range s.LogLines() {
		if l.Level == "error" && strings.Contains(l.Message, "store") {
			list = append(list, l)
		}
	}
	return list
}

func TestStoreDamaged_Case148(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	c := s.cast()
	s.Crash()
	s.damage(s.readStore(), func(page int) bool { return page >= 2 }) // all but where the two transactions begin
	s.Restart()
	lines := s.storeErrors()
	if len(lines) != 1 || lines[0].MovedTo != s.storeFile()+".damaged-1" {
		t.Errorf("the log says %+v", lines)
	}
	if _, err := os.Stat(s.storeFile() + ".damaged-1"); err != nil {
		t.Error(err)
	}
	s.AwaitReady(200)
	s.wantToldToConnect(c)
	s.beginAnew(c)
}

// Whichever page is damaged: the gateway starts, and a device is served or told to connect.
// What it publishes never arrives at another topic.
func TestStoreWithOneDamagedPage_Case148(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	d := s.device("d", false)
	for i := range 60 {
		d.Register(fmt.Sprintf("up/%0200d", i))
	}
	s.Crash()
	whole := s.readStore()
	var served, told, reported int
	for page := range len(whole) / pageSize {
		s.damage(whole, func(p int) bool { return p == page })
		s.Restart()
		s.AwaitReady(200)
		text := fmt.Sprint("page ", page)
		switch m := d.send(1, text).(type) {
		case sn12.PubAck:
			served++
			if m.ReturnCode != sn12.Accepted {
				t.Errorf("page %d: PUBACK %v", page, m.ReturnCode)
				break
			}
			s.wantUp("up/d", false, text)
		case sn12.Disconnect:
			told++
		default:
			t.Errorf("page %d: PUBLISH is answered by %v %+v", page, m.Type(), m)
		}
		reported += min(1, len(s.storeErrors()))
		d.MustConnect("d", false, 60)
		s.Crash()
	}
	t.Logf("%d pages: %d damages reported, device served %d times, told to connect %d times", len(whole)/pageSize, reported, served, told)
	if reported < told || reported < 3 || served == 0 {
		t.Error("a loss that is not reported, or nothing was tested")
	}
}

func TestStoreDeleted_Case148(t *testing.T) {
	t.Parallel()
	s := standard(t, nil)
	c := s.cast()
	s.Stop()
	if err := os.Remove(s.storeFile()); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	s.AwaitReady(200)
	if lines := s.storeErrors(); len(lines) != 0 {
		t.Errorf("a new store is no error: %+v", lines)
	}
	s.wantToldToConnect(c)
	s.beginAnew(c)
}
