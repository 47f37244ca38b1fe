package session

import (
	"math"
	"testing"

	"sngate/snpacket/sn12"
)

func (r *rig) yield(octets int) {
	r.t.Helper()
	r.env.Allowance = octets
	r.step("yield", func() { r.s.Yield(r.at(), &r.out) })
}

// hold has a sleeper hold a message of the given QoS for each octet of payloads.
func (r *rig) hold(qos uint8, payloads string) {
	r.t.Helper()
	for i, p := range payloads {
		r.event(fromBroker("a/b", string(p), qos, uint16(100*int(qos)+i)))
	}
}

func TestYieldDropsTheOldestQoS0First(t *testing.T) {
	r, id := subscriber(t, testConfig(), true, "a/b")
	r.sleep(60)
	r.hold(0, "12")
	r.hold(1, "3")
	r.hold(0, "4")
	r.yield(4 * size1)
	r.wantDrop("all fits")
	r.yield(3*size1 - 1)
	r.wantDrop("1 and 2", ReasonMemoryLimit, ReasonMemoryLimit)
	r.wantHeld("the rest", 2, 2*size1)
	r.yield(0)
	r.wantDrop("4", ReasonMemoryLimit)
	r.wantHeld("QoS 1 stays", 1, size1)
	r.wantAction("and no more comes", Action{Kind: ActionPause})
	r.yield(math.MaxInt)
	r.wantAction("until there is room again", Action{Kind: ActionResume})
	r.wake()
	r.want("3", pub(1, id, 1, "3"))
}

func TestAllowanceBoundsWhatIsHeld(t *testing.T) {
	r, id := subscriber(t, testConfig(), true, "a/b")
	r.sleep(60)
	r.env.Allowance = 2 * size1
	r.hold(0, "123")
	r.wantDrop("1 makes room for 3", ReasonMemoryLimit)
	r.wantHeld("within the allowance", 2, 2*size1)
	r.hold(1, "4")
	r.wantDrop("2 makes room for QoS 1", ReasonMemoryLimit)
	r.hold(1, "5")
	r.wantDrop("so does 3", ReasonMemoryLimit)
	r.wantAction("only QoS 1 is left", Action{Kind: ActionPause})
	r.event(fromBroker("a/b", "6", 1, 106)) // was on its way
	r.wantHeld("nothing of QoS 1 is dropped", 3, 3*size1)
	r.env.Allowance = 0
	r.wake()
	for n, p := range []string{"4", "5", "6"} {
		r.want("delivered", pub(1, id, uint16(n+1), p))
		r.send(sn12.PubAck{MsgID: uint16(n + 1)})
		r.wantAction("acknowledged", Action{Kind: ActionAck, Handle: Handle(map[string]int{"4": 100, "5": 100, "6": 106}[p])})
	}
	r.wantAction("the end of the wake", Action{Kind: ActionPing})
	r.wantAction("who holds nothing may have one more", Action{Kind: ActionResume})
}

// Without any room a sleeping device holds one QoS 1 message, and none of QoS 0; an
// active one is sent all, because nothing is held for it.
func TestWithoutAllowance(t *testing.T) {
	r, id := subscriber(t, testConfig(), true, "a/b")
	r.env.Allowance = 0
	r.hold(0, "1")
	r.want("sent, not held", pub(0, id, 0, "1"))
	r.sleep(60)
	r.hold(0, "2")
	r.wantDrop("no room", ReasonMemoryLimit)
	r.hold(1, "3")
	r.wantHeld("one", 1, size1)
	r.wantAction("and no more", Action{Kind: ActionPause})
}

func TestMaxBytesHoldsWhateverTheAllowance(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBytes = 2 * size1
	r, _ := subscriber(t, cfg, true, "a/b")
	r.sleep(60)
	r.env.Allowance = math.MaxInt
	r.hold(0, "123")
	r.wantDrop("its own bound", ReasonBufferFull)
}

func TestYieldGoesOnWithWhatWaitsForASubAck(t *testing.T) {
	r, _ := subscriber(t, nil, true, "a/b")
	r.subscribeVia(sn12.Subscribe{MsgID: 9, TopicName: []byte("c/d")}, "c/d")
	r.event(fromBroker("c/d", "x", 1, 1))
	r.wantQuiet("SUBACK first")
	r.yield(0)
	r.wantAction("no more may be held, so the broker's answer is not read", Action{Kind: ActionPause})
	r.want("the message is answer enough", sn12.SubAck{TopicID: 2, MsgID: 9})
	r.want("and goes", pub(1, 2, 1, "x"))
}
