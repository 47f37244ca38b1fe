package session

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sngate/gateway/session/dialogue"
	version12 "sngate/gateway/session/sn12"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// epoch is when every test begins: not 0, so that a zero time is noticed.
const epoch = 1000 * time.Hour

// testConfig is the configuration of tests that do not bring their own.
func testConfig() *Config {
	return &Config{
		RetryInterval:    10 * time.Second,
		RetryCount:       3,
		BrokerWait:       20 * time.Second,
		ToleranceShort:   50,
		ToleranceLong:    10,
		IdleProbe:        time.Hour,
		CongestionWait:   5 * time.Minute,
		BarrierTimeout:   5 * time.Second,
		QoSMinusOne:      true,
		MaxPacketSize:    65535,
		MaxClientID:      256,
		MaxInFlight:      16,
		MaxTopics:        1000,
		MaxSubscriptions: 100,
		MaxMessages:      100,
		MaxBytes:         65536,
	}
}

// newSession returns the session of a device that speaks MQTT-SN 1.2.
func newSession(cfg *Config, clientID string) *Session {
	return New(cfg, clientID, version12.Dialogue{})
}

// parsed is what a session is given of a datagram.
func parsed(t *testing.T, datagram []byte) dialogue.Message {
	t.Helper()
	f, err := snpacket.ParseFrame(datagram)
	if err != nil {
		t.Fatal(err)
	}
	var m dialogue.Message
	version12.Dialogue{}.Parse(f, &m)
	return m
}

// rig drives one session step by step. Everything a step puts out has to be expected
// by a want... call before the next step, or the test fails: there is no output nobody
// asked for. Outputs are expected in order, datagrams and actions each for themselves.
type rig struct {
	t    *testing.T
	s    *Session
	now  Time
	env  Env // but for its Now
	out  Out
	sent [][]byte // datagrams not expected yet
	acts []Action // actions not expected yet, ActionState left out
	// drops of the last step; checked by wantDrop, and by nothing else.
	drops []Reason
	freed bool
	// lost are the ActionGivenUp of the last step; checked by wantLost, and by nothing else.
	lost []string

	store   *modelStore // nil: none
	records []Record    // put out since the last wantRecords
}

func newRig(t *testing.T, cfg *Config) *rig {
	t.Helper()
	if cfg == nil {
		cfg = testConfig()
	}
	r := &rig{t: t, s: newSession(cfg, "dev"), now: epoch, env: envAt(epoch)}
	t.Cleanup(func() { r.settled("at the end of the test") })
	return r
}

// envAt is an environment in which nothing is short.
func envAt(now Time) Env {
	return Env{Now: now, StoreOK: true, SpoolRoom: true, HeldRoom: true, FootprintLimit: math.MaxInt, Allowance: math.MaxInt}
}

// at is the environment of the next step.
func (r *rig) at() Env {
	r.env.Now = r.now
	return r.env
}

// step runs f on a session whose earlier output has been expected, and collects.
func (r *rig) step(what string, f func()) {
	r.t.Helper()
	r.settled("before " + what)
	r.drops, r.lost = nil, nil
	f()
	for i := range r.out.Datagrams() {
		r.sent = append(r.sent, bytes.Clone(r.out.Datagram(i)))
	}
	for _, a := range r.out.Actions {
		a.Payload = bytes.Clone(a.Payload)
		switch a.Kind {
		case ActionState:
		case ActionGivenUp:
			r.lost = append(r.lost, fmt.Sprintf("%v %s QoS %d, %d octets", a.Reason, a.Topic, a.QoS, len(a.Payload)))
		case ActionFree:
			r.freed = true
		default:
			r.acts = append(r.acts, a)
		}
	}
	r.drops = slices.Clone(r.out.Drops)
	if r.store != nil {
		r.store.submit(&r.out)
		r.records = append(r.records, r.out.Records...)
	}
	r.out.Reset()
	if d := r.s.Deadline(); d <= r.now && d != Never {
		// A deadline that has passed without Advance having been called is due now.
		if what != "advance" {
			return
		}
		r.t.Fatalf("%s: deadline %v is not after now %v: the shell would spin", what, d-epoch, r.now-epoch)
	}
}

func (r *rig) settled(when string) {
	r.t.Helper()
	for _, b := range r.sent {
		r.t.Errorf("%s: unexpected datagram %s", when, describe(b))
	}
	for _, a := range r.acts {
		r.t.Errorf("%s: unexpected action %s", when, describeAction(a))
	}
	if len(r.sent)+len(r.acts) > 0 {
		r.t.FailNow()
	}
}

// send feeds a message of the device. The datagram is overwritten after the step, so
// that a session that keeps a slice of it is found out.
func (r *rig) send(m sn12.Message) {
	r.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		r.t.Fatalf("append %v: %v", m, err)
	}
	r.sendRaw(b)
}

// sendHex feeds a datagram written as hex, spaces allowed.
func (r *rig) sendHex(s string) {
	r.t.Helper()
	r.sendRaw(unhex(r.t, s))
}

func (r *rig) sendRaw(b []byte) {
	r.t.Helper()
	r.step("datagram "+hex.EncodeToString(b[:min(len(b), 40)]), func() { r.s.Datagram(r.at(), b, &r.out) })
	for i := range b {
		b[i] = 0xA5
	}
}

// event feeds an event of the upstream link.
func (r *rig) event(ev Event) {
	r.t.Helper()
	r.step(fmt.Sprintf("event %d", ev.Kind), func() { r.s.Upstream(r.at(), &ev, &r.out) })
}

// advance lets time pass in one go, calling Advance at each deadline on the way. What
// the deadlines bring has to be expected afterwards, all together.
func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	r.settled("before advance")
	r.drops, r.lost = nil, nil
	end := r.now + d
	for range 1000 {
		next := r.s.Deadline()
		if next > end {
			r.now = end
			return
		}
		r.now = max(r.now, next)
		drops := r.drops
		sent, acts, lost := r.sent, r.acts, r.lost
		r.sent, r.acts = nil, nil
		r.step("advance", func() { r.s.Advance(r.at(), &r.out) })
		r.sent, r.acts, r.drops = append(sent, r.sent...), append(acts, r.acts...), append(drops, r.drops...)
		r.lost = append(lost, r.lost...)
	}
	r.t.Fatalf("advance: more than 1000 deadlines in %v", d)
}

// want expects the next datagram for the device. why says why it has to come.
func (r *rig) want(why string, m sn12.Message) {
	r.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		r.t.Fatalf("append %v: %v", m, err)
	}
	r.wantRaw(why, b)
}

// wantHex expects the next datagram, written as hex.
func (r *rig) wantHex(why, s string) {
	r.t.Helper()
	r.wantRaw(why, unhex(r.t, s))
}

func (r *rig) wantRaw(why string, b []byte) {
	r.t.Helper()
	if len(r.sent) == 0 {
		r.t.Fatalf("%s: want %s, nothing was sent", why, describe(b))
	}
	got := r.sent[0]
	r.sent = r.sent[1:]
	if !bytes.Equal(got, b) {
		r.t.Fatalf("%s:\n got %s\nwant %s", why, describe(got), describe(b))
	}
}

// wantAction expects the next action for the link. A want with Token 0 takes any token;
// the action is returned for its token.
func (r *rig) wantAction(why string, want Action) Action {
	r.t.Helper()
	if len(r.acts) == 0 {
		r.t.Fatalf("%s: want %s, nothing was asked of the link", why, describeAction(want))
	}
	got := r.acts[0]
	r.acts = r.acts[1:]
	cmp := got
	if want.Token == 0 {
		cmp.Token = 0
	}
	if describeAction(cmp) != describeAction(want) {
		r.t.Fatalf("%s:\n got %s\nwant %s", why, describeAction(got), describeAction(want))
	}
	return got
}

// wantQuiet expects that the last step put nothing out.
func (r *rig) wantQuiet(why string) {
	r.t.Helper()
	r.settled(why)
}

func (r *rig) wantState(why string, s State) {
	r.t.Helper()
	if r.s.State() != s {
		r.t.Fatalf("%s: state is %v, want %v", why, r.s.State(), s)
	}
}

// wantDrop expects that the last step counted exactly these drops.
func (r *rig) wantDrop(why string, reasons ...Reason) {
	r.t.Helper()
	if !slices.Equal(r.drops, reasons) {
		r.t.Fatalf("%s: drops are %v, want %v", why, r.drops, reasons)
	}
}

// wantLost expects that the last step gave up exactly these messages for the device.
func (r *rig) wantLost(why string, messages ...string) {
	r.t.Helper()
	if !slices.Equal(r.lost, messages) {
		r.t.Fatalf("%s: given up are %q, want %q", why, r.lost, messages)
	}
}

func (r *rig) wantFreed(why string, freed bool) {
	r.t.Helper()
	if r.freed != freed {
		r.t.Fatalf("%s: freed is %v, want %v", why, r.freed, freed)
	}
}

// connect brings the session to active: CONNECT without will, accepted by the broker.
func (r *rig) connect(clean bool, keepAlive uint16) {
	r.t.Helper()
	r.send(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: keepAlive, ClientID: []byte("dev")})
	r.wantAction("CONNECT opens the broker session", Action{Kind: ActionConnect, Clean: clean, KeepAlive: keepAlive})
	r.event(Event{Kind: EventConnected})
	if r.store != nil {
		r.wantQuiet("CONNACK waits for the store")
		durableRig{r}.stored()
	}
	r.want("the broker has accepted", sn12.ConnAck{})
	r.wantState("connected", StateActive)
}

// connectWill brings the session to active through the will dialogue.
func (r *rig) connectWill(clean bool, w *Will) {
	r.t.Helper()
	r.send(sn12.Connect{CleanSession: clean, Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.want("Will=1", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)})
	r.want("then the message", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: w.Message})
	r.wantAction("the will goes up with CONNECT", Action{Kind: ActionConnect, Clean: clean, KeepAlive: 60, Will: w})
	r.event(Event{Kind: EventConnected})
	if r.store != nil {
		r.wantQuiet("CONNACK waits for the store")
		durableRig{r}.stored()
	}
	r.want("the broker has accepted", sn12.ConnAck{})
	r.wantState("connected", StateActive)
}

// later lets so much time pass that nothing can be a late duplicate any more.
func (r *rig) later() {
	r.t.Helper()
	r.advance(lateWindow)
}

// register has the device register topic and returns its id.
func (r *rig) register(topic string) uint16 {
	r.t.Helper()
	r.send(sn12.Register{MsgID: 0x7001, TopicName: []byte(topic)})
	if len(r.sent) != 1 {
		r.t.Fatalf("REGISTER %q: %d answers", topic, len(r.sent))
	}
	var ack sn12.RegAck
	_, body, err := snpacket.Split(r.sent[0])
	if err != nil || ack.Parse(body) != nil || ack.ReturnCode != sn12.Accepted {
		r.t.Fatalf("REGISTER %q: answer %s", topic, describe(r.sent[0]))
	}
	r.sent = nil
	return ack.TopicID
}

// subscribe has the device subscribe to filter by name and returns the topic id.
func (r *rig) subscribe(filter string, qos uint8) uint16 {
	r.t.Helper()
	r.send(sn12.Subscribe{QoS: qos, MsgID: 0x7002, TopicName: []byte(filter)})
	a := r.wantAction("SUBSCRIBE goes up", Action{Kind: ActionSubscribe, Topic: filter, QoS: qos})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: qos})
	var ack sn12.SubAck
	if len(r.sent) != 1 {
		r.t.Fatalf("SUBSCRIBE %q: %d answers", filter, len(r.sent))
	}
	_, body, err := snpacket.Split(r.sent[0])
	if err != nil || ack.Parse(body) != nil || ack.ReturnCode != sn12.Accepted {
		r.t.Fatalf("SUBSCRIBE %q: answer %s", filter, describe(r.sent[0]))
	}
	r.sent = nil
	return ack.TopicID
}

// sleep puts the device to sleep.
func (r *rig) sleep(seconds uint16) {
	r.t.Helper()
	r.send(sn12.Disconnect{HasDuration: true, Duration: seconds})
	r.want("sleep is confirmed", sn12.Disconnect{})
	r.wantState("asleep", StateAsleep)
}

// fromBroker is an EventMessage; those of QoS 1 and 2 have a handle of n, and those of QoS 2 an
// identity of n and their content, as a link makes it.
func fromBroker(topic, payload string, qos uint8, n uint16) Event {
	ev := Event{Kind: EventMessage, Topic: topic, Payload: []byte(payload), QoS: qos}
	if qos > 0 {
		ev.Handle = Handle(n)
	}
	if qos == 2 {
		ev.Identity = identityOf(n, topic, payload)
	}
	return ev
}

func identityOf(n uint16, topic, payload string) (x Identity) {
	binary.BigEndian.PutUint16(x[:], n)
	binary.BigEndian.PutUint64(x[2:], contentSum(topic, []byte(payload)))
	return x
}

// semanticVector is a datagram that parses but means nothing good.
type semanticVector struct{ Name, Hex, Why, Layer string }

// loadSemanticVectors reads the codec's test vectors whose layer is "semantic".
func loadSemanticVectors(t *testing.T) []semanticVector {
	t.Helper()
	text, err := os.ReadFile("../../snpacket/sn12/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []semanticVector
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(v semanticVector) bool { return v.Layer != "semantic" })
	if len(all) == 0 {
		t.Fatal("no vector is semantic")
	}
	return all
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func describe(b []byte) string {
	if m, err := sn12.Parse(b); err == nil {
		return fmt.Sprintf("%v %+v [%x]", m.Type(), m, b[:min(len(b), 64)])
	}
	return fmt.Sprintf("%x", b)
}

func describeAction(a Action) string {
	s := fmt.Sprintf("%v token=%d qos=%d retain=%v clean=%v keepalive=%d handle=%d awaited=%v identity=%x topic=%q payload=%q",
		a.Kind, a.Token, a.QoS, a.Retain, a.Clean, a.KeepAlive, a.Handle, a.Awaited, a.Identity, a.Topic, a.Payload)
	if a.Will != nil {
		s += fmt.Sprintf(" will=%+v", *a.Will)
	}
	if a.Wanted {
		s += " wanted"
	}
	return s
}
