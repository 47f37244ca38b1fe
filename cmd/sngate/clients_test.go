package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/gateway/admin"
)

// fakeAPI answers as a gateway with the given sessions does, three in a page.
func fakeAPI(t *testing.T, sessions ...admin.SessionDetail) string {
	t.Helper()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if cursor := r.URL.Query().Get("cursor"); cursor != "" {
			if _, err := fmt.Sscan(cursor, &from); err != nil {
				t.Errorf("cursor %q", cursor)
			}
		}
		page := admin.SessionPage{Sessions: []admin.SessionInfo{}}
		for i := from; i < min(from+3, len(sessions)); i++ {
			page.Sessions = append(page.Sessions, sessions[i].SessionInfo)
		}
		if from+3 < len(sessions) {
			page.NextCursor = fmt.Sprint(from + 3)
		}
		answer(w, 200, page)
	})
	mux.HandleFunc("GET /api/v1/sessions/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range sessions {
			if s.ClientID == r.PathValue("id") {
				answer(w, 200, s)
				return
			}
		}
		answer(w, 404, map[string]any{"error": "no session of this client id", "refusals": []admin.Refusal{{Reason: "client_not_allowed", Times: 2, AgoSeconds: 5, Packet: "CONNECT", Advice: "see session.allow"}}})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func sampleSession() admin.SessionDetail {
	id, heard := uint16(7), 62.4
	refusal := admin.Refusal{Reason: "unknown_topic_id", Times: 3, AgoSeconds: 9.6, Packet: "PUBLISH", TopicID: &id, TopicIDType: "normal", Advice: "REGISTER the topic name"}
	return admin.SessionDetail{
		SessionInfo: admin.SessionInfo{
			ClientID: "pump-1", State: "asleep", Address: "192.0.2.1:5000", LastHeardSeconds: &heard, CleanSession: true, KeepAliveSeconds: 60,
			SleepSeconds: 300, BrokerConnection: "up", WillTopic: "lost/pump-1", TopicCount: 2, SubscriptionCount: 1, InFlight: 1,
			Held: admin.Amount{Messages: 4, Bytes: 400}, Spooled: admin.Amount{Messages: 5, Bytes: 500}, LastRefusal: &refusal,
		},
		Topics:        []admin.Topic{{ID: 1, Name: "a/b", Known: true}, {ID: 2, Name: "c\x1b[2Jd"}},
		Subscriptions: []admin.Subscription{{Filter: "cmd/#", QoS: 1}},
		Refusals:      []admin.Refusal{refusal},
	}
}

func TestClientShowsASession(t *testing.T) {
	want := `client id          pump-1
state              asleep
address            192.0.2.1:5000
last heard         1m2s ago
keep-alive         1m0s
sleeps for         5m0s
clean session      true
broker connection  up
will topic         lost/pump-1
in flight          1 messages of the device wait for an answer
held               4 messages for the device, 400 octets
spooled            5 messages of the device, 500 octets

topic ids (2)
      1  a/b
      2  "c\x1b[2Jd"  (the device has not been told)

subscriptions (1)
  QoS 1  cmd/#

dropped or refused (1)
  unknown_topic_id: PUBLISH topic id 7 (normal), 3 times, last 10s ago
      REGISTER the topic name
`
	code, stdout, stderr := call(t, "", "client", "pump-1", "--ops", fakeAPI(t, sampleSession()))
	if d := cmp.Diff(want, stdout); code != exitOK || stderr != "" || d != "" {
		t.Errorf("code %d, %q, (-want +got):\n%s", code, stderr, d)
	}
}

func TestClientsListsAllPages(t *testing.T) {
	var all []admin.SessionDetail
	for i := range 8 {
		s := admin.SessionDetail{SessionInfo: admin.SessionInfo{ClientID: fmt.Sprint("meter-", i), State: "active"}}
		all = append(all, s)
	}
	all = append(all, sampleSession())
	ops := fakeAPI(t, all...)
	code, stdout, stderr := call(t, "", "clients", "--ops", ops)
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if code != exitOK || stderr != "" || len(lines) != 10 {
		t.Fatalf("code %d, %q, %d lines:\n%s", code, stderr, len(lines), stdout)
	}
	want := []string{
		"CLIENT ID STATE ADDRESS LAST HEARD TOPIC IDS SUBSCRIPTIONS HELD SPOOLED LAST REFUSAL",
		"meter-0 active - not since the gateway started 0 0 0 0 -",
		"pump-1 asleep 192.0.2.1:5000 1m2s ago 2 1 4 5 unknown_topic_id, 10s ago",
	}
	for i, line := range []string{lines[0], lines[1], lines[9]} {
		if got := strings.Join(strings.Fields(line), " "); got != want[i] {
			t.Errorf("line %q, want %q", got, want[i])
		}
	}
	code, stdout, _ = call(t, "", "clients", "--json", "--ops", ops)
	var page admin.SessionPage
	if err := json.Unmarshal([]byte(stdout), &page); code != exitOK || err != nil || len(page.Sessions) != 9 || page.NextCursor != "" {
		t.Errorf("--json: code %d, %v, %d sessions", code, err, len(page.Sessions))
	}
	if code, stdout, _ = call(t, "", "clients", "--json", "--ops", fakeAPI(t)); code != exitOK || !strings.Contains(stdout, `"sessions": []`) {
		t.Errorf("no session: code %d, %q", code, stdout)
	}
}

func TestClientWithoutASessionEndsWithCode3AndTellsWhy(t *testing.T) {
	ops := fakeAPI(t)
	code, stdout, stderr := call(t, "", "client", "meter-1", "--ops", ops)
	if code != exitUnknown || !strings.Contains(stderr, "no session of meter-1") || !strings.Contains(stdout, "client_not_allowed: CONNECT, 2 times, last 5s ago\n      see session.allow\n") {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, stderr = call(t, "", "client", "meter-1", "--json", "--ops", ops)
	if code != exitUnknown || stderr != "" || !json.Valid([]byte(stdout)) {
		t.Errorf("--json: code %d, %q, %q", code, stdout, stderr)
	}
}

func TestClientIDsReachTheGatewayAsTheyAre(t *testing.T) {
	for _, id := range []string{"a/b", "a b", "%2F", "..", ".", "ä", "a?b#c", "--json", "-x"} {
		s := admin.SessionDetail{SessionInfo: admin.SessionInfo{ClientID: id, State: "active"}}
		code, stdout, stderr := call(t, "", "client", "--ops", fakeAPI(t, s), "--", id)
		if code != exitOK || !strings.HasPrefix(stdout, "client id          "+id+"\n") {
			t.Errorf("%q: code %d, %q, %q", id, code, stdout, stderr)
		}
	}
}

func TestClientsFindsTheAddressInTheConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	ops := fakeAPI(t, sampleSession())
	file := write(t, "gateway.toml", fmt.Sprintf("[ops]\naddress = %q\n", ops))
	if code, stdout, stderr := call(t, "", "client", "pump-1", "-c", file); code != exitOK || !strings.Contains(stdout, "asleep") {
		t.Errorf("-c: code %d, %q", code, stderr)
	}
	_, port, _ := strings.Cut(ops, ":")
	for _, address := range []string{":" + port, "0.0.0.0:" + port} {
		t.Setenv("SNGATE_OPS_ADDRESS", address)
		if code, _, stderr := call(t, "", "client", "pump-1"); code != exitOK {
			t.Errorf("%s: code %d, %q", address, code, stderr)
		}
	}
	t.Setenv("SNGATE_OPS_ADDRESS", "")
	if code, _, stderr := call(t, "", "clients"); code != exitFailure || !strings.Contains(stderr, "ops.address is empty") {
		t.Errorf("no address: code %d, %q", code, stderr)
	}
	bad := write(t, "bad.toml", "[ops]\nadress = 1\n")
	if code, _, stderr := call(t, "", "clients", "-c", bad); code != exitFailure || !strings.Contains(stderr, "did you mean ops.address?") {
		t.Errorf("bad file: code %d, %q", code, stderr)
	}
}

func TestClientsTellsThatThereIsNoGateway(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	ops := strings.TrimPrefix(server.URL, "http://")
	for _, args := range [][]string{{"clients"}, {"client", "x"}} {
		if code, _, stderr := call(t, "", append(args, "--ops", ops)...); code != exitFailure || !strings.Contains(stderr, "is this ops.address of a gateway?") {
			t.Errorf("%v at another server: code %d, %q", args, code, stderr)
		}
	}
	server.Close()
	if code, _, stderr := call(t, "", "clients", "--ops", ops); code != exitFailure || !strings.Contains(stderr, "no answer of a gateway at "+ops) {
		t.Errorf("nobody there: code %d, %q", code, stderr)
	}
}
