package upstreamtest_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestBrokerTellsWhatItQueuesPublishesAndGivesUp(t *testing.T) {
	with(t, func(b *upstreamtest.Broker, dial func(string) *user) {
		var told []string
		b.Queued = func(id string, m upstreamtest.Message) { told = append(told, "queued "+id+" "+m.Topic) }
		b.Will = func(id string, m upstreamtest.Message) { told = append(told, "will "+id+" "+m.Topic) }
		b.Ended = func(id string) { told = append(told, "ended "+id) }
		clean, kept := dial("clean"), dial("kept")
		clean.Connect(clean.now(), &upstream.Connect{ClientID: "clean", CleanSession: true, Will: &upstream.Will{Topic: "will"}})
		kept.Connect(kept.now(), &upstream.Connect{ClientID: "kept"})
		for _, u := range []*user{clean, kept} {
			u.kinds()
			u.Subscribe(u.now(), 1, "t", 1)
			u.want("SUBACK", "kind7 1 false")
		}
		b.Publish(upstreamtest.Message{Topic: "t", QoS: 1})
		b.Publish(upstreamtest.Message{Topic: "t"})
		clean.kinds()
		clean.Close(clean.now(), upstream.CloseAbort)
		clean.want("closed", "kind11 0 false")
		synctest.Wait()
		b.Kill(true)
		b.Kill(false)
		slices.Sort(told[:min(2, len(told))]) // whose turn it is first is chance
		want := []string{"queued clean t", "queued kept t", "ended clean", "will clean will", "ended kept"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
