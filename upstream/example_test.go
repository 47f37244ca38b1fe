package upstream_test

import (
	"fmt"
	"time"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// The owner of a Link is a loop of one goroutine: it takes Inputs from its Inbox, obeys
// deadlines, acts on events, and flushes once for all of it.
func Example() {
	b := upstreamtest.NewBroker()
	defer b.Close()
	d, err := upstream.NewDialer(upstream.Options{Address: "broker.example:1883", Dial: b.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()

	start := time.Now()
	now := func() time.Duration { return time.Since(start) }
	inbox := make(upstreamtest.Inbox, 64)
	link := d.NewLink(inbox, nil)
	link.Connect(now(), &upstream.Connect{ClientID: "pump-1", CleanSession: true, KeepAlive: 60})

	var events []upstream.Event
	for closed := false; !closed; {
		select {
		case in := <-inbox:
			link.Input(now(), &in)
		case <-time.After(min(link.Deadline(), now()+time.Hour) - now()):
			link.Advance(now())
		}
		for events = link.AppendEvents(events[:0]); len(events) > 0; events = link.AppendEvents(events[:0]) {
			for _, e := range events {
				switch e.Kind {
				case upstream.EventConnected:
					fmt.Println("connected")
					link.Subscribe(now(), 1, "pumps/+/set", 1)
				case upstream.EventSubscribed:
					fmt.Println("subscribed with QoS", e.Granted)
					link.Publish(now(), upstream.Publish{Token: 2, Topic: "pumps/1/set", Payload: []byte("on"), QoS: 1})
				case upstream.EventMessage:
					fmt.Printf("%s: %s\n", e.Topic, e.Payload)
					link.Ack(now(), e.Handle)
					link.Close(now(), upstream.CloseDrain)
				case upstream.EventClosed:
					fmt.Println("closed")
					closed = true
				}
			}
		}
		link.Flush(now())
	}
	// Output:
	// connected
	// subscribed with QoS 1
	// pumps/1/set: on
	// closed
}
