package hub

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"sngate/upstream/secure/securetest"
	"sngate/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "hub.example"

// rig is a hub with two devices, in a bubble.
type rig struct {
	t   *testing.T
	h   *Hub
	ca  *securetest.CA
	tls *tls.Config // of clients
	key []byte
}

func newRig(t *testing.T, profile string, change func(*Options)) *rig {
	r := &rig{t: t, ca: securetest.NewCA(t, "devices"), key: []byte("secret")}
	o := Options{Profile: profile, Host: host, Authorities: r.ca.Pool(), Devices: []Device{
		{ID: "pump-1", Product: "PID", Name: "pump1", Key: r.key, Username: "pump", Password: "secret"},
		{ID: "pump-2", Product: "PID", Name: "pump2", Key: r.key, Username: "other", Password: "other"},
	}}
	if profile != "tencent-iot-hub" {
		o.Certificate = r.ca.Issue(t, securetest.Certificate{DNS: []string{host}}).TLS(t)
		r.tls = &tls.Config{ServerName: host, RootCAs: r.ca.Pool(), Certificates: []tls.Certificate{r.certificate("pump-1")}}
	}
	if change != nil {
		change(&o)
	}
	r.h = New(t, o)
	return r
}

func (r *rig) certificate(name string) tls.Certificate {
	return r.ca.Issue(r.t, securetest.Certificate{Name: name}).TLS(r.t)
}

// good is a CONNECT of the first device that the hub takes.
func (r *rig) good() *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.Keepalive, p.ClientIdentifier = "MQTT", 4, 60, "pump-1"
	user, password := "", ""
	switch r.h.o.Profile {
	case "azure-iot-hub":
		user, password = host+"/pump-1/?api-version=2021-04-12", r.sas("pump-1", time.Hour)
	case "azure-event-grid":
		user = "pump-1"
	case "tencent-iot-hub":
		p.ClientIdentifier = "PIDpump1"
		user = "PIDpump1;12010126;AAAAA;" + strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
		password = hex.EncodeToString(mac(sha256.New, r.key, user)) + ";hmacsha256"
	case "alibaba-iot":
		p.ClientIdentifier, user = "pump-1|securemode=2,signmethod=hmacsha256,timestamp=789|", "pump1&PID"
		password = hex.EncodeToString(mac(sha256.New, r.key, "clientIdpump-1deviceNamepump1productKeyPIDtimestamp789"))
	case "emqx-cloud", "hivemq-cloud":
		user, password = "pump", "secret"
	}
	p.UsernameFlag, p.Username = user != "", user
	p.PasswordFlag, p.Password = password != "", []byte(password)
	return p
}

func (r *rig) sas(id string, life time.Duration) string {
	resource, end := url.QueryEscape(host+"/devices/"+id), strconv.FormatInt(time.Now().Add(life).Unix(), 10)
	signature := base64.StdEncoding.EncodeToString(mac(sha256.New, r.key, resource+"\n"+end))
	return "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(signature) + "&se=" + end
}

// client is one connection to the hub.
type client struct {
	t  *testing.T
	nc net.Conn
}

// dial connects, with TLS if the rig has it. The handshake may fail.
func (r *rig) dial() *client {
	near, far := upstreamtest.Pipe(0)
	r.h.Serve(far)
	c := &client{r.t, near}
	if r.tls != nil {
		c.nc = tls.Client(near, r.tls)
	}
	r.t.Cleanup(func() { near.Close() })
	return c
}

func (c *client) send(p packets.ControlPacket) { _ = p.Write(c.nc) }

// next returns the next packet; nil: the connection has ended.
func (c *client) next() packets.ControlPacket {
	p, err := packets.ReadPacket(c.nc)
	if err != nil {
		return nil
	}
	return p
}

// connected sends a CONNECT that is accepted.
func (r *rig) connected(change func(*packets.ConnectPacket)) *client {
	r.t.Helper()
	p := r.good()
	if change != nil {
		change(p)
	}
	c := r.dial()
	c.send(p)
	if ack, ok := c.next().(*packets.ConnackPacket); !ok || ack.ReturnCode != 0 {
		r.t.Fatalf("CONNECT is not accepted: %v; %v", ack, r.h.Violations())
	}
	return c
}

// refused sends a CONNECT that ends the connection, perhaps with a return code.
func (r *rig) refused(change func(*packets.ConnectPacket)) {
	r.t.Helper()
	p := r.good()
	change(p)
	c := r.dial()
	c.send(p)
	if ack, ok := c.next().(*packets.ConnackPacket); ok && ack.ReturnCode == 0 {
		r.t.Error("CONNECT is accepted")
	}
	c.wantEnd()
}

func (c *client) wantEnd() {
	c.t.Helper()
	for range 300 {
		if c.next() == nil {
			return
		}
	}
	c.t.Error("the connection does not end")
}

func (c *client) publish(topic, payload string, qos byte, retain bool) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.Retain, p.MessageID = topic, []byte(payload), qos, retain, 1
	c.send(p)
}

func (c *client) subscribe(qos byte, filters ...string) {
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID = 7
	for _, f := range filters {
		p.Topics, p.Qoss = append(p.Topics, f), append(p.Qoss, qos)
	}
	c.send(p)
}

// own is a topic that the first device of each hub may publish to.
var own = map[string]string{
	"aws-iot": "pump/1", "azure-iot-hub": "devices/pump-1/messages/events/", "azure-event-grid": "pump/1", "tencent-iot-hub": "PID/pump1/event",
	"alibaba-iot": "/PID/pump1/user/up", "emqx-cloud": "pump/1", "hivemq-cloud": "pump/1",
}

// after returns what a device does that is connected.
func after(act func(c *client)) func(r *rig) {
	return func(r *rig) {
		c := r.connected(nil)
		act(c)
		c.wantEnd()
	}
}

// at returns a CONNECT that is not taken.
func at(change func(r *rig, p *packets.ConnectPacket)) func(r *rig) {
	return func(r *rig) { r.refused(func(p *packets.ConnectPacket) { change(r, p) }) }
}

func withWill(topic string, qos byte, retain bool) func(*rig, *packets.ConnectPacket) {
	return func(_ *rig, p *packets.ConnectPacket) {
		p.WillFlag, p.WillTopic, p.WillQos, p.WillRetain, p.WillMessage = true, topic, qos, retain, []byte("gone")
	}
}

func keepAlive(seconds uint16) func(*rig, *packets.ConnectPacket) {
	return func(_ *rig, p *packets.ConnectPacket) { p.Keepalive = seconds }
}

// breaches has a client for each rule of each hub that breaks it, and no other.
//
// long function: a table.
func breaches() map[string]map[Rule][]func(*rig) {
	type breach = []func(*rig)
	list := map[string]map[Rule][]func(*rig){
		"aws-iot": {
			RuleTLS: breach{func(r *rig) {
				r.tls = nil
				r.refused(func(*packets.ConnectPacket) {})
			}},
			RuleServerName: breach{func(r *rig) {
				r.tls.ServerName, r.tls.InsecureSkipVerify = "", true
				r.refused(func(*packets.ConnectPacket) {})
			}},
			RuleCertificate: breach{func(r *rig) {
				r.tls.Certificates = nil
				r.refused(func(*packets.ConnectPacket) {})
			}, func(r *rig) {
				r.tls.Certificates = []tls.Certificate{securetest.NewCA(r.t, "unknown").Issue(r.t, securetest.Certificate{Name: "pump-1"}).TLS(r.t)}
				r.refused(func(*packets.ConnectPacket) {})
			}},
			RuleClientID: breach{
				at(func(_ *rig, p *packets.ConnectPacket) { p.ClientIdentifier = "pump-2" }),
				at(func(_ *rig, p *packets.ConnectPacket) { p.ClientIdentifier = strings.Repeat("x", 129) }),
			},
			RuleProtocol:  breach{at(func(_ *rig, p *packets.ConnectPacket) { p.ProtocolVersion = 5 })},
			RuleKeepAlive: breach{at(keepAlive(29)), at(keepAlive(1201)), at(keepAlive(0))},
			RuleConnectInterval: breach{func(r *rig) {
				r.connected(nil).send(packets.NewControlPacket(packets.Disconnect))
				r.refused(func(*packets.ConnectPacket) {})
			}},
			RuleOneConnection: breach{func(r *rig) {
				c := r.connected(nil)
				time.Sleep(2 * time.Second)
				r.connected(nil)
				c.wantEnd()
			}},
			RuleSilence: breach{after(func(*client) {})},
			RuleQoS: breach{
				after(func(c *client) { c.publish("a", "", 2, false) }), after(func(c *client) { c.subscribe(2, "a") }),
				at(withWill("a", 2, false)),
			},
			RuleFilters:      breach{after(func(c *client) { c.subscribe(1, strings.Split("1 2 3 4 5 6 7 8 9", " ")...) })},
			RuleTopicBytes:   breach{after(func(c *client) { c.publish(strings.Repeat("x", 257), "", 0, false) })},
			RuleTopicLevels:  breach{after(func(c *client) { c.publish("1/2/3/4/5/6/7/8/9", "", 0, false) }), after(func(c *client) { c.subscribe(0, "1/2/3/4/5/6/7/8/#") })},
			RuleForeignTopic: breach{after(func(c *client) { c.subscribe(0, "$SYS/#") }), after(func(c *client) { c.publish("$aws/things/pump-2/shadow", "", 0, false) })},
			RulePayload:      breach{after(func(c *client) { c.publish("a", strings.Repeat("x", 128<<10+1), 0, false) })},
			RulePublishRate: breach{after(func(c *client) {
				for range 101 {
					c.publish("a", "", 0, false)
				}
			})},
		},
		"azure-iot-hub": {
			RuleClientID: breach{at(func(_ *rig, p *packets.ConnectPacket) { p.ClientIdentifier = "pump-3" })},
			RuleUsername: breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Username = host + "/pump-1" }), at(func(_ *rig, p *packets.ConnectPacket) { p.Username = "" })},
			RuleSignature: breach{at(func(r *rig, p *packets.ConnectPacket) { p.Password = []byte(r.sas("pump-2", time.Hour)) }), at(func(_ *rig, p *packets.ConnectPacket) { p.Password[30]++ }), at(func(r *rig, p *packets.ConnectPacket) {
				r.key = []byte("x")
				p.Password = []byte(r.sas("pump-1", time.Hour))
			})},
			RuleExpired: breach{
				at(func(r *rig, p *packets.ConnectPacket) { p.Password = []byte(r.sas("pump-1", -time.Second)) }),
				func(r *rig) {
					begin := time.Now()
					r.connected(func(p *packets.ConnectPacket) { p.Password, p.Keepalive = []byte(r.sas("pump-1", time.Minute)), 60 }).wantEnd()
					if took := time.Since(begin); took < 59*time.Second || took > time.Minute {
						r.t.Errorf("it ends after %v", took)
					}
				},
			},
			RuleKeepAlive:    breach{at(keepAlive(1178)), at(keepAlive(0))},
			RuleRetain:       breach{after(func(c *client) { c.publish("devices/pump-1/messages/events/", "", 0, true) }), at(withWill("devices/pump-1/messages/events/", 1, true))},
			RuleForeignTopic: breach{after(func(c *client) { c.publish("devices/pump-2/messages/events/", "", 0, false) }), after(func(c *client) { c.subscribe(0, "a") }), at(withWill("a", 1, false))},
			RuleWildcard:     breach{after(func(c *client) { c.subscribe(0, "devices/pump-1/messages/devicebound/+/#") })},
		},
		"azure-event-grid": {
			RuleUsername:    breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Username = "pump-2" })},
			RuleCertificate: breach{func(r *rig) { r.tls.Certificates = nil; r.refused(func(*packets.ConnectPacket) {}) }},
			RuleQoS:         breach{after(func(c *client) { c.publish("a", "", 2, false) })},
			RuleRetain:      breach{after(func(c *client) { c.publish("a", "", 0, true) })},
			RuleKeepAlive:   breach{at(keepAlive(1161))},
		},
		"tencent-iot-hub": {
			RuleClientID:     breach{at(func(_ *rig, p *packets.ConnectPacket) { p.ClientIdentifier = "PID" })},
			RuleUsername:     breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Username = "PIDpump1;1;2" })},
			RuleSignature:    breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Password = append(p.Password, '6') }), at(func(_ *rig, p *packets.ConnectPacket) { p.Username += "0" })},
			RuleExpired:      breach{func(r *rig) { r.connected(keepAliveOf(0)).wantEnd() }},
			RuleWill:         breach{at(withWill("PID/pump1/event", 0, false))},
			RuleRetain:       breach{after(func(c *client) { c.publish("PID/pump1/event", "", 0, true) })},
			RuleQoS:          breach{after(func(c *client) { c.publish("PID/pump1/event", "", 2, false) })},
			RuleKeepAlive:    breach{at(keepAlive(901))},
			RuleFilters:      breach{after(func(c *client) { c.subscribe(0, "PID/pump1/control", "PID/pump1/data") })},
			RuleForeignTopic: breach{after(func(c *client) { c.publish("PID/pump2/event", "", 0, false) })},
			RuleConnectInterval: breach{func(r *rig) {
				r.connected(nil)
				time.Sleep(4 * time.Second)
				r.refused(func(*packets.ConnectPacket) {})
			}},
		},
		"alibaba-iot": {
			RuleClientID: breach{at(func(_ *rig, p *packets.ConnectPacket) { p.ClientIdentifier = "pump-1" }), at(func(_ *rig, p *packets.ConnectPacket) {
				p.ClientIdentifier = "pump-1|securemode=3,signmethod=hmacsha256|"
			})},
			RuleUsername:     breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Username = "pump3&PID" })},
			RuleSignature:    breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Username = "pump2&PID" })},
			RuleKeepAlive:    breach{at(keepAlive(29)), at(keepAlive(1201)), at(keepAlive(0))},
			RuleWill:         breach{at(withWill("/PID/pump1/user/x", 0, false))},
			RuleRetain:       breach{after(func(c *client) { c.publish("/PID/pump1/user/x", "", 0, true) })},
			RuleQoS:          breach{after(func(c *client) { c.publish("/PID/pump1/user/x", "", 2, false) })},
			RuleForeignTopic: breach{after(func(c *client) { c.publish("/PID/pump2/user/x", "", 0, false) })},
		},
		"emqx-cloud": {
			RuleUsername:  breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Username = "nobody" })},
			RuleSignature: breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Password = []byte("other") })},
			RulePublishRate: breach{after(func(c *client) {
				for range 11 {
					c.publish("a", "", 0, false)
				}
			})},
		},
		"hivemq-cloud": {
			RuleServerName: breach{func(r *rig) {
				r.tls.ServerName, r.tls.InsecureSkipVerify = "192.0.2.1", true
				r.refused(func(*packets.ConnectPacket) {})
			}},
			RuleSignature: breach{at(func(_ *rig, p *packets.ConnectPacket) { p.Password = nil })},
		},
	}
	return list
}

func keepAliveOf(seconds uint16) func(*packets.ConnectPacket) {
	return func(p *packets.ConnectPacket) { p.Keepalive = seconds }
}

func TestEachRuleIsEnforced(t *testing.T) {
	for profile, rules := range breaches() {
		for rule, clients := range rules {
			for i, breaks := range clients {
				t.Run(profile+"/"+string(rule)+"/"+strconv.Itoa(i), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, profile, nil)
						breaks(r)
						synctest.Wait()
						var got []Rule
						for _, v := range r.h.Violations() {
							got = append(got, v.Rule)
						}
						if diff := cmp.Diff([]Rule{rule}, got); diff != "" {
							t.Errorf("%s%v", diff, r.h.Violations())
						}
					})
				})
			}
		}
	}
}

func TestThePortOfTheWebWantsItsProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "aws-iot", func(o *Options) { o.Port443 = true })
		r.tls.NextProtos = []string{"http/1.1"}
		r.refused(func(*packets.ConnectPacket) {})
		r.tls.NextProtos = []string{"x-amzn-mqtt-ca"}
		r.connected(nil)
		if diff := cmp.Diff([]Violation{{Rule: RuleALPN}}, r.h.Violations(), cmpopts.IgnoreFields(Violation{}, "Detail")); diff != "" {
			t.Error(diff)
		}
	})
}

// Who keeps to the rules is served as by any broker.
func TestAClientThatKeepsToTheRules(t *testing.T) {
	for _, profile := range Profiles() {
		t.Run(profile, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, profile, nil)
				c := r.connected(func(p *packets.ConnectPacket) { p.CleanSession = false })
				topic, filter := own[profile], own[profile]
				if profile == "azure-iot-hub" {
					filter = "devices/pump-1/messages/devicebound/#"
				}
				c.subscribe(1, filter)
				if ack, ok := c.next().(*packets.SubackPacket); !ok || ack.ReturnCodes[0] != 1 {
					t.Fatalf("SUBSCRIBE: %v", ack)
				}
				c.publish(topic, "up", 1, false)
				if profile != "azure-iot-hub" {
					if m, ok := c.next().(*packets.PublishPacket); !ok || string(m.Payload) != "up" {
						t.Fatalf("its own message: %v", m)
					}
				}
				if ack, ok := c.next().(*packets.PubackPacket); !ok || ack.MessageID != 1 {
					t.Fatalf("PUBLISH: %v", ack)
				}
				c.send(packets.NewControlPacket(packets.Disconnect))
				c.wantEnd()
				time.Sleep(10 * time.Second)
				r.h.Publish(strings.TrimSuffix(filter, "#"), "down", 1)
				c = r.connected(func(p *packets.ConnectPacket) { p.CleanSession = false })
				for { // its own message comes first, because it was not acknowledged
					m, ok := c.next().(*packets.PublishPacket)
					if !ok {
						t.Fatalf("the message that waits: %v", m)
					}
					if string(m.Payload) == "down" {
						break
					}
				}
				if list := r.h.Violations(); len(list) > 0 {
					t.Error(list)
				}
				if diff := cmp.Diff([]Message{{r.good().ClientIdentifier, topic, "up", 1, false}}, r.h.Messages()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// Where QoS 2, wills and retained messages are allowed they are what MQTT says.
func TestWhatAHubWithoutLimitsDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "hivemq-cloud", nil)
		c := r.connected(func(p *packets.ConnectPacket) { withWill("will", 1, true)(r, p) })
		for range 2 { // the second one is a repetition
			c.publish("a", "once", 2, false)
			if ack, ok := c.next().(*packets.PubrecPacket); !ok || ack.MessageID != 1 {
				t.Fatal("no PUBREC")
			}
		}
		c.nc.Close()
		synctest.Wait()
		c = r.connected(nil)
		c.subscribe(2, "#")
		c.next()
		if m, ok := c.next().(*packets.PublishPacket); !ok || string(m.Payload) != "gone" || !m.Retain {
			t.Errorf("the will is %v", m)
		}
		want := []Message{{"pump-1", "a", "once", 2, false}, {"pump-1", "will", "gone", 1, true}}
		if diff := cmp.Diff(want, r.h.Messages()); diff != "" || len(r.h.Violations()) > 0 {
			t.Errorf("%s%v", diff, r.h.Violations())
		}
	})
}

func TestElevenSubscriptionsAreOneTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "emqx-cloud", nil)
		c := r.connected(nil)
		c.subscribe(2, strings.Split("1 2 3 4 5 6 7 8 9 10 11", " ")...)
		ack, ok := c.next().(*packets.SubackPacket)
		if !ok || ack.ReturnCodes[9] != 2 || ack.ReturnCodes[10] != 0x80 || len(r.h.Violations()) > 0 {
			t.Errorf("SUBSCRIBE: %v; %v", ack, r.h.Violations())
		}
	})
}

func TestWhoDoesNotReadIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "hivemq-cloud", nil)
		c := r.connected(nil)
		c.subscribe(0, "a")
		synctest.Wait()
		for range 3 * maxUnsent {
			r.h.Publish("a", strings.Repeat("x", 100), 0)
		}
		synctest.Wait()
		if list := r.h.Violations(); len(list) == 0 || list[0].Rule != RuleSlow {
			t.Error(list)
		}
	})
}

// What the tables above do not break is broken by the tests below them.
func TestEachRuleHasAClientThatBreaksIt(t *testing.T) {
	tried := map[Rule]bool{RuleALPN: true, RuleSlow: true}
	for _, rules := range breaches() {
		for rule := range rules {
			tried[rule] = true
		}
	}
	source, err := os.ReadFile("rules.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`Rule = "(\w+)"`).FindAllSubmatch(source, -1)
	if len(names) < 20 {
		t.Fatalf("%d rules", len(names))
	}
	for _, name := range names {
		if !tried[Rule(name[1])] {
			t.Errorf("nobody breaks %s", name[1])
		}
	}
}
