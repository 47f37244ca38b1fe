package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/gateway/admin"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store/storetest"
)

// ask asks the gateway's HTTP handler.
func (r *rig) ask(path string, v any) int {
	r.t.Helper()
	w := httptest.NewRecorder()
	admin.Handler(r.gateway.opsOptions()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if v != nil {
		if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
			r.t.Fatalf("%s: %d %q: %v", path, w.Code, w.Body, err)
		}
	}
	return w.Code
}

func seconds64(f float64) *float64 { return &f }

func id16(n uint16) *uint16 { return &n }

func TestASessionIsShownByTheAPI_Case186(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "pump-1")
		d.sendMessage(sn12.Register{MsgID: 2, TopicName: []byte("a/b")})
		d.subscribeAfter("cmd/#")
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: 7, MsgID: 3, Data: []byte("hidden")})
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: 7, MsgID: 3, Data: []byte("hidden")})
		d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: 900})
		time.Sleep(90 * time.Second)
		r.publish("cmd/x", "hidden", 1)
		var got admin.SessionDetail
		if status := r.ask("/api/v1/sessions/pump-1", &got); status != 200 {
			t.Fatalf("status %d", status)
		}
		refusal := admin.Refusal{
			Reason: "unknown_topic_id", Times: 2, AgoSeconds: 90, Packet: "PUBLISH", TopicID: id16(7), TopicIDType: "normal",
			Advice: "REGISTER the topic name and use the id of the REGACK; a CONNECT with CleanSession=1 ends earlier ids; the device has 3 (a/b)",
		}
		want := admin.SessionDetail{
			SessionInfo: admin.SessionInfo{
				ClientID: "pump-1", State: "asleep", Address: "10.0.1.1:5000", LastHeardSeconds: seconds64(90),
				KeepAliveSeconds: 600, SleepSeconds: 900, BrokerConnection: "up", TopicCount: 1, SubscriptionCount: 1,
				Held: admin.Amount{Messages: 1, Bytes: len("cmd/xhidden") + 64}, LastRefusal: &refusal,
			},
			Topics:        []admin.Topic{{ID: 3, Name: "a/b", Known: true}},
			Subscriptions: []admin.Subscription{{Filter: "cmd/#", QoS: 1}},
			Refusals:      []admin.Refusal{refusal},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// Neither payloads nor secrets are in any answer.
func TestTheAPIShowsNoPayloadAndNoPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Upstream.Username, o.Upstream.Password = "gateway", []byte("open-sesame") })
		d := r.device("10.0.1.1:5000")
		d.sendMessage(sn12.Connect{Will: true, CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: []byte("pump-1")})
		d.sendMessage(sn12.WillTopic{Topic: []byte("will/topic")})
		d.sendMessage(sn12.WillMsg{Message: []byte("will-message")})
		d.subscribeAfter("cmd/#")
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: 7, MsgID: 3, Data: []byte("payload-up")})
		d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: 900})
		r.publish("cmd/x", "payload-down", 1)
		for _, path := range []string{"/api/v1/sessions", "/api/v1/sessions/pump-1"} {
			w := httptest.NewRecorder()
			admin.Handler(r.gateway.opsOptions()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			body := w.Body.String()
			if w.Code != 200 || !strings.Contains(body, "will/topic") {
				t.Errorf("%s: %d %s", path, w.Code, body)
			}
			for _, secret := range []string{"open-sesame", "will-message", "payload"} {
				if strings.Contains(body, secret) {
					t.Errorf("%s has %q in it:\n%s", path, secret, body)
				}
			}
		}
	})
}

func (d *device) subscribeAfter(filter string) {
	d.discard()
	d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: 77, TopicName: []byte(filter)})
	d.discard()
}

func TestSessionsComeInPages(t *testing.T) {
	for _, shards := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Shards = shards })
			connect := func(i int) {
				r.device(fmt.Sprintf("10.0.1.%d:5000", 1+i)).connect(fmt.Sprintf("dev-%02d", i))
			}
			for i := range 25 {
				connect(i)
			}
			var got []string
			path, pages := "/api/v1/sessions?limit=4", 0
			for {
				var page admin.SessionPage
				if status := r.ask(path, &page); status != 200 || len(page.Sessions) > 4 {
					t.Fatalf("%s: status %d, %d sessions", path, status, len(page.Sessions))
				}
				for _, s := range page.Sessions {
					got = append(got, s.ClientID)
				}
				if pages++; pages == 2 { // between two pages one comes and one of the first goes
					connect(25)
					r.gateway.shardOf([]byte(got[0])).queues.post(func() {
						s := r.gateway.shardOf([]byte(got[0]))
						s.forget(s.roster.find(got[0]))
					})
					synctest.Wait()
				}
				if page.NextCursor == "" {
					break
				}
				path = "/api/v1/sessions?limit=4&cursor=" + url.QueryEscape(page.NextCursor)
			}
			slices.Sort(got)
			seen := slices.Compact(slices.Clone(got))
			if len(seen) != len(got) || len(seen) < 25 {
				t.Errorf("%d shards: %d sessions in all pages, %d different ones: %q", shards, len(got), len(seen), got)
			}
		})
	}
}

func TestQuestionsThatMakeNoSenseAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for path, want := range map[string]int{
			"/api/v1/sessions?limit=0":       400,
			"/api/v1/sessions?limit=1001":    400,
			"/api/v1/sessions?limit=x":       400,
			"/api/v1/sessions?limit=":        400,
			"/api/v1/sessions?limit=1&limit": 400,
			"/api/v1/sessions?size=1":        400,
			"/api/v1/sessions?cursor=x":      400,
			"/api/v1/sessions?cursor=1.0":    400, // no such shard
			"/api/v1/sessions?cursor=-1.0":   400,
			"/api/v1/sessions?cursor=0.9":    200,
			"/api/v1/sessions?limit=1000":    200,
			"/api/v1/sessions/nobody":        404,
			"/api/v1/sessions/":              404,
			"/api/v1/other":                  404,
		} {
			var body map[string]any
			var v any = &body
			if path == "/api/v1/sessions/" || path == "/api/v1/other" {
				v = nil
			}
			if status := r.ask(path, v); status != want || want != 200 && v != nil && body["error"] == nil {
				t.Errorf("%s: status %d, %v; want %d", path, status, body, want)
			}
		}
	})
}

func TestClientIDsAreEscapedInThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for i, id := range []string{"a/b", "a b", "%2F", "ä", "?x=1", "#", "a//b", "a/../b", "..", "."} {
			r.device(fmt.Sprintf("10.0.1.%d:5000", 1+i)).connect(id)
			var got admin.SessionDetail
			escaped := strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
			if status := r.ask("/api/v1/sessions/"+escaped, &got); status != 200 || got.ClientID != id {
				t.Errorf("%q as %q: status %d, client id %q", id, escaped, status, got.ClientID)
			}
		}
	})
}

// A device that was refused at its CONNECT has no session, and the reason can be asked for.
func TestRefusalsOfADeviceWithoutASessionCanBeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.Allow = []string{"pump-*"} })
		r.device("10.0.1.1:5000").connectUnanswered("meter-1")
		r.broker.Refuse = func(string, string, []byte) byte { return 5 }
		r.device("10.0.1.2:5000").connectUnanswered("pump-1")
		time.Sleep(time.Second)
		for id, want := range map[string]string{"meter-1": "client_not_allowed", "pump-1": "broker_refused"} {
			var got admin.ApiError
			if status := r.ask("/api/v1/sessions/"+id, &got); status != 404 || len(got.Refusals) != 1 || got.Refusals[0].Reason != want {
				t.Errorf("%s: status %d, %+v; want %s", id, status, got, want)
			}
		}
		// A session takes them over.
		r.broker.Refuse = nil
		r.device("10.0.1.2:5001").connect("pump-1")
		var got admin.SessionDetail
		if status := r.ask("/api/v1/sessions/pump-1", &got); status != 200 || len(got.Refusals) != 1 || got.Refusals[0].Reason != "broker_refused" {
			t.Errorf("status %d, %+v", status, got)
		}
	})
}

// What readers drop before the shard has seen it is shown as well.
func TestOverloadOfADeviceIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.DatagramRate = 10 })
		d := r.device("10.0.1.1:5000")
		d.connect("pump-1")
		for range 50 {
			d.send("02 16")
		}
		var got admin.SessionDetail
		if r.ask("/api/v1/sessions/pump-1", &got); len(got.Refusals) != 1 || got.Refusals[0].Reason != "datagram_rate" || got.Refusals[0].Times < 25 {
			t.Errorf("%+v", got.Refusals)
		}
		r.wantLogged("dropped or refused", []string{"level", "client_id", "reason", "packet"}, "info | pump-1 | datagram_rate | PINGREQ")
	})
}

// A shard that does not come to it costs the question, and not the server.
func TestAQuestionToABusyShardIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.device("10.0.1.1:5000").connect("pump-1")
		release := make(chan struct{})
		r.gateway.shards[0].queues.post(func() { <-release })
		synctest.Wait()
		begin := time.Now()
		for range maxInspections {
			if status := r.ask("/api/v1/sessions", nil); status != 503 {
				t.Errorf("status %d", status)
			}
		}
		if took := time.Since(begin); took != maxInspections*inspectTimeout {
			t.Errorf("given up after %v", took)
		}
		// What is posted and not answered is bounded.
		if status := r.ask("/api/v1/sessions/pump-1", nil); status != 503 || time.Since(begin) != maxInspections*inspectTimeout {
			t.Errorf("one question too many: status %d", status)
		}
		if n := len(r.gateway.shards[0].queues.posted.take()); n != maxInspections {
			t.Errorf("%d questions left with the shard", n)
		}
		for range maxInspections {
			<-r.gateway.inspections
		}
		close(release)
		synctest.Wait()
		if status := r.ask("/api/v1/sessions/pump-1", nil); status != 200 {
			t.Errorf("status %d when it is free again", status)
		}
	})
}

// After a restart it is not known when a device was last heard.
func TestLastHeardIsNotKnownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Store = storetest.New(); o.OnStop = StopKeep })
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "pump-1")
		if err := r.gateway.Stop(4 * time.Second); err != nil {
			t.Fatal(err)
		}
		r.start()
		var got admin.SessionDetail
		if status := r.ask("/api/v1/sessions/pump-1", &got); status != 200 || got.LastHeardSeconds != nil || got.State != "active" {
			t.Errorf("status %d, %+v", status, got.SessionInfo)
		}
		d.send("02 16")
		if r.ask("/api/v1/sessions/pump-1", &got); got.LastHeardSeconds == nil || *got.LastHeardSeconds != 0 {
			t.Errorf("last heard %v", got.LastHeardSeconds)
		}
	})
}

func TestRosterKeepsItsPlacesWhileEntriesComeAndGo(t *testing.T) {
	r, config := newRoster(), sessionConfig(t)
	entries := make([]*entry, 1000)
	for i := range entries {
		entries[i] = &entry{session: session.New(config, strconv.Itoa(i), spoken())}
		r.add(entries[i])
	}
	for i := range entries {
		if i%10 != 3 {
			r.remove(entries[i])
			r.remove(entries[i]) // twice does no harm
		}
	}
	if len(r.list) > 200 {
		t.Errorf("%d places for 100 entries", len(r.list))
	}
	var got []*entry
	for serial := uint64(0); ; {
		page := r.page(serial, 7)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		serial = page[len(page)-1].serial
	}
	if len(got) != 100 {
		t.Fatalf("%d entries in all pages", len(got))
	}
	for i, e := range got {
		if e != entries[10*i+3] {
			t.Fatalf("entry %d is not in its place", i)
		}
	}
}

// A session that was given up while its device was away is explained to who asks for it.
func TestASessionThatHasExpiredIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Expiry = time.Hour })
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "pump-1")
		d.send("02 18")
		time.Sleep(90 * time.Minute)
		var got admin.ApiError
		if status := r.ask("/api/v1/sessions/pump-1", &got); status != 404 || len(got.Refusals) != 1 || got.Refusals[0].Reason != "session_expired" {
			t.Errorf("status %d, %+v", status, got)
		}
	})
}

// What was refused because a client id has a session elsewhere shows where that is looked up.
func TestARefusedMoveShowsAtTheSessionThatIsDefended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.AddressChange = AddressChangeDeny })
		r.device("10.0.1.1:5000").connectWith(false, 600, "pump-1")
		moved := r.device("10.0.1.1:5001")
		moved.sendMessage(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("pump-1")})
		moved.wantMessage("refused", sn12.Disconnect{})
		var got admin.SessionDetail
		if status := r.ask("/api/v1/sessions/pump-1", &got); status != 200 {
			t.Fatalf("status %d", status)
		}
		if len(got.Refusals) != 1 || got.Refusals[0].Reason != "address_change" || got.Refusals[0].Times != 1 {
			t.Errorf("refusals %+v", got.Refusals)
		}
	})
}
