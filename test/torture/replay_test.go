package torture

import (
	"fmt"
	"testing"
	"time"
)

// A QoS 2 message of the device is on its way to the broker when the device says goodbye, and a message for it comes.
func TestMessageThatComesWhileTheSpoolDrainsIsDeliveredOnReturn(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			scene(t, nil, func(w *world, d *device) {
				d.publish(upTopic, 2, false)
				d.reaches()
				d.goodbye() // the broker has not answered PUBREC
				d.reaches()
				w.passes(10 * time.Millisecond)
				w.broker.publish(d, downTopic, qos, false)
				d.mqtt().write(false)
				w.look()
				d.hears()
				d.connect(false)
				d.reaches()
				w.broker.publish(d, downTopic, 2, false)
				w.broker.publish(d, downTopic, 1, false)
			})
		})
	}
}

// The same with a message that the device was being sent at its goodbye.
func TestDeliveryThatAGoodbyeInterruptsWhileTheSpoolDrainsGoesOnOnReturn(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			scene(t, nil, func(w *world, d *device) {
				d.publish(upTopic, 2, false)
				d.reaches()
				w.broker.publish(d, downTopic, qos, false)
				w.broker.publish(d, downTopic, 1, false)
				w.writes()
				d.misses()
				d.goodbye()
				d.reaches()
				d.hears()
				d.connect(false)
				d.reaches()
			})
		})
	}
}

func TestQoS2MessageWhosePUBRECWasLostBeforeAGoodbyeComesOnce(t *testing.T) {
	for _, restart := range []string{"no restart", "restart while away", "restart after the return"} {
		for _, drains := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, spool drains %v", restart, drains), func(t *testing.T) {
				scene(t, nil, func(w *world, d *device) {
					w.broker.publish(d, downTopic, 2, false)
					w.broker.publish(d, downTopic, 2, false)
					w.writes()
					if d.hears(); drains {
						d.publish(upTopic, 2, false)
						d.up = d.up[1:]
					} else {
						d.up = nil // PUBREC is lost
					}
					d.goodbye()
					d.reaches()
					d.hears()
					if !drains {
						w.serves()
					}
					if restart == "restart while away" {
						w.process.kill()
						w.process.start()
					}
					d.connect(false)
					d.reaches()
					if w.serves(); restart == "restart after the return" {
						w.process.kill()
						w.process.start()
					}
				})
			})
		}
	}
}

// The device has a QoS 2 message, but neither the gateway nor the broker has heard so when another
// one is published.
func TestQoS2MessagesComeOnceAndInOrderThoughTheDeviceLeftInTheMiddle(t *testing.T) {
	scene(t, nil, func(w *world, d *device) {
		d.publish(upTopic, 2, false)
		d.reaches()
		for range 3 {
			w.broker.publish(d, downTopic, 2, false)
		}
		w.writes()
		d.hears()
		d.goodbye() // after its PUBREC, which the gateway has
		d.reaches()
		d.hears()
		d.connect(false)
		d.reaches()
	})
}

// An identifier is free when the broker has its acknowledgement. What is sent with it next, for the first
// time on a connection that breaks, comes with DUP and is a new message.
func TestNewMessageWithAFreeIdentifierAndTheSamePayloadIsNoRepeat(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		for _, sleeps := range []bool{false, true} {
			for _, kill := range []bool{false, true} {
				t.Run(fmt.Sprintf("QoS %d, asleep %v, killed %v", qos, sleeps, kill), func(t *testing.T) {
					scene(t, nil, func(w *world, d *device) {
						if sleeps {
							d.sleep()
							w.runUntilIdle()
							w.passes(sleepMin)
						}
						topic := d.equalTopic("d", qos)
						w.broker.publish(d, topic, qos, true)
						if w.runUntilIdle(); len(w.broker.session(d.id).window) > 0 {
							t.Fatal("the first is not acknowledged")
						}
						w.broker.publish(d, topic, qos, true)
						if kill {
							w.process.kill()
							w.process.start()
						} else {
							w.outage()
							w.recover()
							w.passes(5 * time.Second)
						}
						w.runUntilIdle()
					})
				})
			}
		}
	}
}

// PUBCOMP frees an identifier. A gateway that is killed just then must not take the next message for the old one.
func TestGatewayThatIsKilledAfterPUBCOMPKnowsThatTheIdentifierIsFree(t *testing.T) {
	scene(t, func(p *profile) { p.window = 1 }, func(w *world, d *device) {
		topic := d.equalTopic("d", 2)
		w.broker.publish(d, topic, 2, true)
		for range 3 { // REGISTER, PUBLISH, PUBREC
			w.writes()
			d.hears()
			d.reaches()
		}
		w.serves()
		if window := w.broker.session(d.id).window; len(window) != 1 || !window[0].released {
			t.Fatal("the broker has no PUBREC")
		}
		w.process.store.SetDelay(time.Second)
		w.writes()                          // PUBREL
		w.broker.publish(d, topic, 2, true) // waits until the first is done
		w.process.kill()
		w.serves() // PUBCOMP, if the gateway has said it
		w.process.start()
	})
}

// A message that was delivered over a connection to the broker that broke is acknowledged when the broker
// repeats it, once. If the gateway acknowledges it before, and again when the broker repeats it, the second acknowledgement
// is taken for that of another message.
func TestAcknowledgementOfAnEarlierConnectionWaitsForTheRepeat(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			scene(t, nil, func(w *world, d *device) {
				w.broker.publish(d, downTopic, qos, false)
				w.writes()
				d.hears() // the device's acknowledgement is on its way
				d.closes()
				d.ping()
				d.w.passes(3 * time.Second)
				answer := d.up
				d.up = answer[len(answer)-1:] // PINGREQ
				d.reaches()
				d.w.passes(3 * time.Second)
				w.serves()
				d.mqtt().write(false) // CONNACK
				w.look()
				d.up = answer[:len(answer)-1]
				d.reaches()
				w.serves()
				w.broker.publish(d, d.equalTopic("d", 2), 2, true) // takes the identifier if it is free
				w.writes()
			})
		})
	}
}

// The broker closes at the first PUBLISH of each connection, several times in a row, while the device goes on.
func TestOrderHoldsHoweverOftenConnectionsBreak(t *testing.T) {
	for closes := 1; closes <= 12; closes++ {
		for mix := range 5 {
			qos := []string{"1", "2", "12", "21", "2122"}[mix]
			t.Run(fmt.Sprintf("%d times, QoS %s", closes, qos), func(t *testing.T) {
				scene(t, nil, func(w *world, d *device) {
					left, sent := closes, 0
					publish := func() {
						d.publish(upTopic, qos[sent%len(qos)]-'0', false)
						sent++
					}
					w.outage()
					w.passes(time.Second)
					for range 8 {
						publish()
						w.runUntilIdle()
					}
					w.recover()
					for n := range 600 {
						w.passes(100 * time.Millisecond)
						if d.req == nil {
							publish()
						} else if d.due() {
							d.repeat()
						}
						d.reaches()
						d.hears()
						if left == 0 {
							w.runUntilIdle()
						} else if d.breaksAtPublish() {
							left--
						}
						if n > 100 && left == 0 {
							break
						}
					}
				})
			})
		}
	}
}

// breaksAtPublish has the broker serve the connections, and close the device's before it takes a PUBLISH. It
// reports whether it has.
func (d *device) breaksAtPublish() bool {
	for _, c := range d.w.broker.open() {
		for c.ready() {
			if c.s != nil && c.s.dev == d && c.publishes() {
				c.cut(false)
				return true
			}
			c.serve()
			d.w.look()
		}
		for c.write(false) {
			d.w.look()
		}
	}
	return false
}

// publishes reports whether the next packet that has come is a PUBLISH.
func (c *brokerConn) publishes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return frame(c.in) > 0 && c.in[0]>>4 == 3
}

// The connection was paused at the limit of what is held, and all that is held had been acknowledged: PINGRESP
// waits for what the broker has still got.
func TestPINGRESPWaitsForWhatTheBrokerHasBehindAPausedConnection(t *testing.T) {
	for limit := 1; limit <= 4; limit++ {
		for window := 1; window <= 10; window += 3 {
			t.Run(fmt.Sprintf("limit %d, window %d", limit, window), func(t *testing.T) {
				scene(t, func(p *profile) { p.maxMessages, p.window = limit, window }, func(w *world, d *device) {
					d.sleep()
					w.runUntilIdle()
					for range 5 * limit {
						w.broker.publish(d, downTopic, 1, false)
					}
					w.runUntilIdle()
					w.passes(time.Minute)
					d.ping()
					w.runUntilIdle()
					if d.req != nil {
						t.Error("PINGREQ is not answered")
					}
				})
			})
		}
	}
}

// A slow store must not let PINGRESP go before what the broker sends at PUBCOMP.
func TestPINGRESPWaitsForWhatTheBrokerSendsAtPUBCOMPHoweverSlowTheStore(t *testing.T) {
	for _, asleep := range []bool{false, true} {
		t.Run(fmt.Sprint("published before the wake: ", asleep), func(t *testing.T) {
			scene(t, func(p *profile) { p.window = 1 }, func(w *world, d *device) {
				d.sleep()
				w.runUntilIdle()
				if w.process.store.SetDelay(30 * time.Millisecond); !asleep {
					w.outage() // the broker has them all when the device wakes
				}
				for range 3 {
					w.broker.publish(d, downTopic, 2, false)
				}
				w.recover()
				w.passes(5 * time.Second)
				w.runUntilIdle()
				d.ping()
				for range 100 {
					w.runUntilIdle()
					w.passes(10 * time.Millisecond)
				}
			})
		})
	}
}

// One wake delivers ten times sleep.max_messages at most. It ends though the broker has more.
func TestWakeEndsThoughTheBrokerHasMoreThanOneWakeDelivers(t *testing.T) {
	for limit := 1; limit <= 3; limit++ {
		for window := 1; window <= 10; window += 3 {
			t.Run(fmt.Sprintf("limit %d, window %d", limit, window), func(t *testing.T) {
				scene(t, func(p *profile) { p.maxMessages, p.window = limit, window }, func(w *world, d *device) {
					d.sleep()
					w.runUntilIdle()
					for range 25 * limit {
						w.broker.publish(d, downTopic, 1, false)
					}
					w.runUntilIdle()
					for range 3 {
						w.passes(time.Minute)
						d.ping()
						if w.runUntilIdle(); d.req != nil {
							t.Fatal("PINGREQ is not answered")
						}
					}
				})
			})
		}
	}
}

// A sleeper wakes when its connection to the broker has just come back: what the broker is about to send
// belongs to this wake.
func TestPINGRESPWaitsForWhatTheBrokerSendsOnANewConnection(t *testing.T) {
	scene(t, nil, func(w *world, d *device) {
		d.sleep()
		w.runUntilIdle()
		w.outage()
		w.broker.publish(d, downTopic, 1, false)
		w.recover()
		w.passes(5 * time.Second)
		w.serves()
		d.mqtt().write(false) // CONNACK
		d.ping()
		w.runUntilIdle()
	})
}

// The gateway ends while it repeats the subscriptions. What it has delivered on that connection it has delivered.
func TestQoS2MessageComesOnceThoughTheGatewayIsKilledWhileItSubscribesAgain(t *testing.T) {
	scene(t, nil, func(w *world, d *device) {
		w.outage()
		w.forget(d)
		w.recover()
		w.passes(5 * time.Second)
		d.speaks()
		w.serves()
		c := d.mqtt()
		for len(c.out) > 0 && c.s.subs == nil {
			c.write(false) // CONNACK without session
			w.look()
			c.serve() // the first SUBSCRIBE, whose SUBACK waits
		}
		w.look()
		for w.serve() {
			w.look()
		}
		w.broker.publish(d, downTopic, 2, false)
		c.out = c.out[len(c.out)-1:] // SUBACKs are slow
		w.writes()
		d.hears()
		answer := d.up
		d.up = nil
		w.process.kill()
		w.process.start()

		d.up = answer
	})
}
