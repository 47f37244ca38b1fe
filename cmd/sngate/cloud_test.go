package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/cloud"
	"sngate/test/hub"
)

// cloudAnswers is what docs/CLOUD.md says that a device gets at a hub.
type cloudAnswers struct {
	qos2     byte // the QoS that the hub has for QoS 2
	retained bool
	granted  byte // for SUBSCRIBE with QoS 2
	renewed  bool // the password ends
}

// answersOf are those of each profile.
func answersOf(profile string) cloudAnswers {
	switch profile {
	case "aws-iot":
		return cloudAnswers{1, true, 1, false}
	case "azure-event-grid", "alibaba-iot":
		return cloudAnswers{1, false, 1, false}
	case "azure-iot-hub", "tencent-iot-hub":
		return cloudAnswers{1, false, 1, true}
	}
	return cloudAnswers{2, true, 2, false}
}

// In each cloud a device does all that a device may do, for half a day. It gets the answers that
// the page says, notices nothing of passwords that end, and the hub has nothing to complain of.
func TestADeviceInEachCloud(t *testing.T) {
	sections := cloud.Sections(t, "../../docs/CLOUD.md")
	var have []string
	for _, s := range sections {
		have = append(have, s.Profile)
		t.Run(s.Profile, func(t *testing.T) {
			t.Chdir(t.TempDir())
			synctest.Test(t, func(t *testing.T) { aDayInTheCloud(t, newCloudRig(t, &s), answersOf(s.Profile)) })
		})
	}
	if diff := cmp.Diff(hub.Profiles(), have); diff != "" {
		t.Errorf("hubs (-) and sections of the page (+): %s", diff)
	}
}

func aDayInTheCloud(t *testing.T, r *cloudRig, want cloudAnswers) {
	topics := r.Topics()
	d := r.device(cloud.Device, "10.0.1.1:5000", &snclient.Will{Topic: topics.Up, Message: []byte("gone"), QoS: 2, Retain: true})
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v; %v", err, r.hub.Violations())
		}
	}
	publish := func(text string, qos uint8, retain bool) {
		t.Helper()
		must(d.Publish(ctx, snclient.Name(topics.Up), []byte(text), qos, retain))
	}
	must(d.Connect(ctx))
	publish("0", 0, false)
	publish("1", 1, false)
	publish("2", 2, false)
	publish("kept", 1, true)
	granted, err := d.Subscribe(ctx, snclient.Name(topics.Filter), 2)
	if must(err); granted != want.granted {
		t.Errorf("SUBSCRIBE is granted QoS %d, want %d", granted, want.granted)
	}
	var got []string
	take := func() {
		synctest.Wait()
		for len(d.Messages()) > 0 {
			if m := <-d.Messages(); strings.HasPrefix(string(m.Payload), "down") { // the wildcard has the device's own too
				got = append(got, string(m.Payload))
				if m.Topic.Name != topics.Got {
					t.Errorf("%s comes on %q, want %q", m.Payload, m.Topic.Name, topics.Got)
				}
			}
		}
	}
	r.hub.Publish(topics.Down, "down awake", 1)
	take()

	wantRefusals(ctx, t, r, d)
	rules, _ := hub.RulesOf(r.Profile)
	for range rules.PublishRate + 5 { // one after the other, as fast as they are acknowledged
		publish("quick", 1, false)
	}
	for range 2 { // at once
		must(d.Disconnect(ctx))
		must(d.Connect(ctx))
	}

	must(d.Sleep(ctx, 4*time.Hour))
	time.Sleep(time.Hour)
	r.hub.Publish(topics.Down, "down asleep", 1)
	time.Sleep(2 * time.Hour)
	must(d.Wake(ctx))
	take()
	must(d.Connect(ctx))
	for range 16 {
		publish("hourly", 1, false)
		time.Sleep(15 * time.Minute)
	}
	r.hub.Publish(topics.Down, "down at last", 1)
	take()
	if diff := cmp.Diff([]string{"down awake", "down asleep", "down at last"}, got); diff != "" {
		t.Errorf("to the device: %s", diff)
	}
	d.Close()
	time.Sleep(2 * deviceKeepAlive)

	var sent []hub.Message
	id := r.MQTTClientID(t, cloud.Device)
	message := func(text string, qos byte, retain bool) {
		sent = append(sent, hub.Message{ClientID: id, Topic: topics.AtHub, Payload: text, QoS: qos, Retain: retain})
	}
	message("0", 0, false)
	message("1", 1, false)
	message("2", want.qos2, false)
	message("kept", 1, want.retained)
	for range rules.PublishRate + 5 {
		message("quick", 1, false)
	}
	for range 16 {
		message("hourly", 1, false)
	}
	message("gone", want.qos2, want.retained)
	if diff := cmp.Diff(sent, slices.DeleteFunc(r.hub.Messages(), func(m hub.Message) bool { return m.ClientID == "" })); diff != "" {
		t.Errorf("at the hub: %s", diff)
	}
	if list := r.hub.Violations(); len(list) > 0 {
		t.Errorf("the hub complains: %v", list)
	}
	if n := r.hub.Connects(id); want.renewed != (n > 4) {
		t.Errorf("%d connects in 11 hours", n)
	}
}

// wantRefusals asks for what the hub does not take. The device is told so, and the hub is not asked.
func wantRefusals(ctx context.Context, t *testing.T, r *cloudRig, d *snclient.Client) {
	t.Helper()
	notSupported := func(what string, err error) {
		t.Helper()
		var refused *snclient.ReturnCodeError
		if !errors.As(err, &refused) || refused.Code != sn12.RejectedNotSupported {
			t.Errorf("%s: %v, want %v", what, err, sn12.RejectedNotSupported)
		}
	}
	topics := r.Topics()
	rules, _ := hub.RulesOf(r.Profile)
	if n := rules.MaxTopicBytes; n > 0 {
		long := topics.Up + strings.Repeat("x", n+1-len(topics.AtHub))
		notSupported("a long topic", d.Publish(ctx, snclient.Name(long), nil, 1, false))
	}
	if n := rules.MaxTopicLevels; n > 0 {
		deep := topics.Up + strings.Repeat("/x", n-strings.Count(topics.AtHub, "/"))
		notSupported("a deep topic", d.Publish(ctx, snclient.Name(deep), nil, 1, false))
		_, err := d.Subscribe(ctx, snclient.Name(deep+"/#"), 1)
		notSupported("a deep filter", err)
	}
	if n := rules.MaxPayload; n < 60000 {
		notSupported("a large message", d.Publish(ctx, snclient.Name(topics.Up), make([]byte, n+1), 1, false))
	}
	if r.Profile == "azure-iot-hub" {
		_, err := d.Subscribe(ctx, snclient.Name("site/#"), 1)
		notSupported("a wildcard", err)
		_, err = d.Subscribe(ctx, snclient.Name("site/commands"), 1)
		notSupported("a topic that the hub has not", err)
	}
	notSupported("a device that nobody knows", r.device("stranger", "10.0.1.2:5000", nil).Connect(ctx))
}
