// Package probe goes the way of a device's messages once, step by step, and says of each step
// whether it works and, if not, what is wrong in words for operators: to the broker as the
// gateway would, and to a gateway as a device would.
//
// It keeps nothing between two probes, holds no secret longer than one, and shows none: neither
// a user name nor a password is in a report.
package probe

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Result is how a step has ended, or all steps together.
type Result string

// How a step has ended.
const (
	OK      Result = "ok"
	Warning Result = "warning" // it works, and will soon not
	Failed  Result = "failed"
	Skipped Result = "skipped" // not tried, or not needed
)

// NotTried is the text of a step behind one that has failed.
const NotTried = "not tried"

// Names of the parts of a probe.
const (
	PartBroker  = "broker"
	PartGateway = "gateway"
)

// Names of steps.
const (
	StepCredentials = "credentials"
	StepResolve     = "resolve"
	StepTCP         = "tcp"
	StepTLS         = "tls"
	StepWebSocket   = "websocket"
	StepSearch      = "search"
	StepConnect     = "connect"
	StepRegister    = "register"
	StepSubscribe   = "subscribe"
	StepPublish     = "publish"
	StepReceive     = "receive"
	StepDisconnect  = "disconnect"
)

// Steps returns the names of the steps of a part, in their order.
func Steps(part string) []string {
	if part == PartBroker {
		return []string{StepCredentials, StepResolve, StepTCP, StepTLS, StepWebSocket, StepConnect, StepSubscribe, StepPublish, StepReceive, StepDisconnect}
	}
	return []string{StepResolve, StepSearch, StepConnect, StepRegister, StepSubscribe, StepPublish, StepReceive, StepDisconnect}
}

// Step is one step. Its name and reason are from fixed sets; texts are for people.
type Step struct {
	Name    string  `json:"name"`
	Result  Result  `json:"result"`
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`             // what was found, or what is wrong
	Reason  string  `json:"reason,omitempty"` // of a failure or warning
	Advice  string  `json:"advice,omitempty"` // what to look at
}

// Part is all steps on one way.
type Part struct {
	Name       string `json:"-"` // PartBroker or PartGateway
	Address    string `json:"address"`
	ClientID   string `json:"client_id"` // as which the device connects
	Result     Result `json:"result"`
	FailedStep string `json:"failed_step,omitempty"`
	// Text says why the whole part was skipped.
	Text             string   `json:"text,omitempty"`
	Seconds          float64  `json:"seconds"`
	RoundTripSeconds *float64 `json:"round_trip_seconds,omitempty"` // from PUBLISH until the message was back
	Addresses        []string `json:"addresses,omitempty"`          // what the name resolves to
	TLS              *TLS     `json:"tls,omitempty"`
	Steps            []Step   `json:"steps"`
}

// Report is one probe.
type Report struct {
	Result  Result    `json:"result"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Topic   string    `json:"topic"`
	Broker  *Part     `json:"broker,omitempty"`  // nil: it was not probed
	Gateway *Part     `json:"gateway,omitempty"` // nil: it was not probed
}

// Parts returns the parts that were probed.
func (r *Report) Parts() []*Part {
	return slices.DeleteFunc([]*Part{r.Broker, r.Gateway}, func(p *Part) bool { return p == nil })
}

// First returns the first step that has ended like this, and its part; nil: there is none.
func (r *Report) First(result Result) (*Part, *Step) {
	for _, p := range r.Parts() {
		for i := range p.Steps {
			if p.Steps[i].Result == result {
				return p, &p.Steps[i]
			}
		}
	}
	return nil, nil
}

// Aim says what is probed.
type Aim struct {
	Broker  *Broker  // nil: no broker
	Gateway *Gateway // nil: no gateway
	Topic   string   // to which one message is published, and from which it is to come back, as the device has it
	// NoReceive leaves SUBSCRIBE out, and waits for no message.
	NoReceive bool
	Limits    Limits // of the broker; those of connects are kept also between the two parts
	// Timeout bounds each of the two parts. It must be more than 0.
	Timeout time.Duration
	// Told is called for each step when it is over, with its part; nil: nobody is told.
	Told func(p *Part, s *Step)
}

// Run probes once. It takes no longer than twice Timeout, Limits.ConnectInterval, and a few seconds for goodbyes,
// and ends early when ctx is done.
func Run(ctx context.Context, a Aim) *Report {
	r := &Report{Result: Skipped, Started: time.Now(), Topic: a.Topic}
	text := newText(a.Limits.MaxPayload)
	if a.Broker != nil {
		r.Broker = a.Broker.probe(ctx, &a, text)
	}
	if a.Broker != nil && a.Gateway != nil { // which connects to the broker as the same client
		select {
		case <-time.After(a.Limits.ConnectInterval):
		case <-ctx.Done():
		}
	}
	if a.Gateway != nil {
		r.Gateway = a.Gateway.probe(ctx, &a, text)
	}
	for _, p := range r.Parts() {
		r.Result = worse(r.Result, p.Result)
	}
	r.Seconds = seconds(time.Since(r.Started))
	return r
}

func worse(a, b Result) Result {
	order := []Result{Skipped, OK, Warning, Failed}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// seconds rounds to microseconds: more is noise.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e6 }

// outcome is what a step has come to.
type outcome struct {
	result               Result
	text, reason, advice string
}

func found(format string, args ...any) outcome {
	return outcome{result: OK, text: fmt.Sprintf(format, args...)}
}

func skipped(text string) outcome { return outcome{result: Skipped, text: text} }

func failed(reason, text, advice string) outcome {
	return outcome{result: Failed, reason: reason, text: text, advice: advice}
}

// course carries out the steps of a part. After one that has failed no other is tried.
type course struct {
	part    *Part
	began   time.Time
	told    func(*Part, *Step)
	stopped bool // nothing else is tried
}

func newCourse(a *Aim, p *Part) *course {
	p.Result, p.Steps = Skipped, []Step{}
	return &course{part: p, began: time.Now(), told: a.Told}
}

// step carries out one step and reports whether to go on.
func (c *course) step(name string, do func() outcome) bool {
	o := skipped(NotTried)
	begin := time.Now()
	if !c.stopped {
		o = do()
	}
	s := Step{Name: name, Result: o.result, Text: o.text, Reason: o.reason, Advice: o.advice}
	if s.Result != Skipped {
		s.Seconds = seconds(time.Since(begin))
	}
	if s.Result == Failed {
		c.stopped, c.part.FailedStep = true, name
	}
	c.part.Result = worse(c.part.Result, s.Result)
	c.part.Steps = append(c.part.Steps, s)
	if c.told != nil {
		c.told(c.part, &s)
	}
	return !c.stopped
}

// end ends the part: the steps that were not reached are named, so that each report has all.
func (c *course) end() *Part {
	c.stopped = true
	for _, name := range Steps(c.part.Name)[len(c.part.Steps):] {
		c.step(name, nil)
	}
	c.part.Seconds = seconds(time.Since(c.began))
	if c.part.Text != "" {
		c.part.Result = Skipped
	}
	return c.part
}
