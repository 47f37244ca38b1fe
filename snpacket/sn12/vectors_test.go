package sn12_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// vector is one row of testdata/vectors.json. Layer says who refuses the datagram:
// "ok" nobody, "frame" and "layout" the codec. "semantic" ones parse: what they mean
// is judged by the session, which may have to answer them with a return code.
type vector struct {
	Name   string         `json:"name"`
	Hex    string         `json:"hex"`
	Dir    string         `json:"dir"` // c2g, g2c or both
	Fields map[string]any `json:"fields"`
	Valid  bool           `json:"valid"`
	Why    string         `json:"why"`
	Layer  string         `json:"layer"`
}

func (v vector) parses() bool { return v.Layer == "ok" || v.Layer == "semantic" }

func loadVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var vectors []vector
	if err := dec.Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

func TestVectorsAreComplete(t *testing.T) {
	layers, names := map[string]int{}, map[string]bool{}
	for _, v := range loadVectors(t) {
		layers[v.Layer]++
		names[v.Name] = true
		if v.Valid != (v.Layer == "ok") {
			t.Errorf("%s: valid %v in layer %q", v.Name, v.Valid, v.Layer)
		}
	}
	want := map[string]int{"ok": 96, "frame": 19, "layout": 49, "semantic": 44}
	if d := cmp.Diff(want, layers); d != "" || len(names) != 208 {
		t.Errorf("%d names, want 208; vectors per layer (-want +got):\n%s", len(names), d)
	}
}

func TestVectorsParseToTheirFields(t *testing.T) {
	for _, v := range loadVectors(t) {
		if !v.parses() {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			datagram := unhex(t, v.Hex)
			m, err := sn12.Parse(datagram)
			if err != nil {
				t.Fatalf("%s: %v", v.Why, err)
			}
			if d := cmp.Diff(v.Fields, fieldsOf(t, m, datagram)); d != "" {
				t.Errorf("%s (-want +got):\n%s", v.Why, d)
			}
		})
	}
}

func TestVectorsReencode(t *testing.T) {
	for _, v := range loadVectors(t) {
		if !v.parses() {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			datagram := unhex(t, v.Hex)
			m, err := sn12.Parse(datagram)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Append(nil)
			if want := canonical(m.Type(), datagram); err != nil || !bytes.Equal(got, want) {
				t.Errorf("Append = %x, %v; want %x", got, err, want)
			}
			if m.Len() != len(got) {
				t.Errorf("Len = %d, Append wrote %d", m.Len(), len(got))
			}
		})
	}
}

func TestVectorsOfFrameAndLayoutAreRefused(t *testing.T) {
	for _, v := range loadVectors(t) {
		if v.parses() {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			m, err := sn12.Parse(unhex(t, v.Hex))
			if err == nil {
				t.Fatalf("%s: parsed to %+v", v.Why, m)
			}
			if v.Layer == "frame" && errors.Is(err, snpacket.ErrLayout) {
				t.Errorf("%s: %v, want an error of the frame", v.Why, err)
			}
		})
	}
}

func TestStrictPrefixesOfVectorsAreRefused(t *testing.T) {
	for _, v := range loadVectors(t) {
		if !v.parses() {
			continue
		}
		datagram := unhex(t, v.Hex)
		for n := range datagram {
			if m, err := sn12.Parse(datagram[:n]); err == nil {
				t.Errorf("%s: the first %d of %d octets parsed to %+v", v.Name, n, len(datagram), m)
			}
		}
	}
}

// usedFlags are the bits of the Flags octet that each message uses (section 5.3.4),
// written down here a second time so that the codec is not compared with itself.
var usedFlags = map[sn12.Type]byte{
	sn12.TypeConnect:      0b0000_1100,
	sn12.TypeWillTopic:    0b0111_0000,
	sn12.TypeWillTopicUpd: 0b0111_0000,
	sn12.TypePublish:      0b1111_0011,
	sn12.TypeSubscribe:    0b1110_0011,
	sn12.TypeSubAck:       0b0110_0000,
	sn12.TypeUnsubscribe:  0b0000_0011,
}

// canonical returns the datagram as this codec has to send it: shortest form of the
// Length field, unused flags zero.
func canonical(typ sn12.Type, datagram []byte) []byte {
	if typ == sn12.TypeEncapsulated {
		return datagram // what is inside is passed on untouched
	}
	out := bytes.Clone(datagram)
	if out[0] == 0x01 && len(out)-2 <= 255 {
		out = append([]byte{byte(len(out) - 2)}, out[3:]...)
	}
	header := 2
	if out[0] == 0x01 {
		header = 4
	}
	if used, ok := usedFlags[typ]; ok && len(out) > header {
		out[header] &= used
	}
	return out
}

// fieldsOf renders a message the way the vectors describe it. What the message no
// longer knows (Length and its form, the raw Flags and Ctrl) comes from the datagram.
// It is long because it has a case for each message.
func fieldsOf(t *testing.T, m sn12.Message, datagram []byte) map[string]any {
	t.Helper()
	f := map[string]any{"type": m.Type().String(), "length_form": 1.0, "length": float64(datagram[0])}
	header := 2
	if datagram[0] == 0x01 {
		header = 4
		f["length_form"], f["length"] = 3.0, float64(datagram[1])*256+float64(datagram[2])
	}
	num := func(key string, v int) { f[key] = float64(v) }
	flag := func(key string, v bool) {
		f[key] = 0.0
		if v {
			f[key] = 1.0
		}
	}
	octets := func(key string, b []byte) { f[key+"_hex"] = hex.EncodeToString(b) }
	text := func(key string, b []byte) {
		octets(key, b)
		if f[key] = any(nil); utf8.Valid(b) {
			f[key] = string(b)
		}
	}
	topic := func(typ sn12.TopicIDType, name []byte, id uint16, inPublish bool) {
		num("topic_id_type", int(typ))
		short := sn12.ShortName(id)
		switch {
		case typ == sn12.TopicIDShort:
			text("short_topic", short[:])
		case typ == sn12.TopicIDPredefined || inPublish:
			num("topic_id", int(id))
		case typ == sn12.TopicIDNormal:
			text("topic_name", name)
		default:
			octets("topic", name)
		}
	}
	willTopic := func(empty bool, qos uint8, retain bool, name []byte) {
		if empty {
			f["empty"] = true
			return
		}
		num("qos", int(qos))
		flag("retain", retain)
		text("will_topic", name)
	}
	if _, ok := usedFlags[m.Type()]; ok && len(datagram) > header {
		num("flags", int(datagram[header]))
	}

	switch m := m.(type) {
	case sn12.Advertise:
		num("gw_id", int(m.GwID))
		num("duration", int(m.Duration))
	case sn12.SearchGW:
		num("radius", int(m.Radius))
	case sn12.GWInfo:
		num("gw_id", int(m.GwID))
		octets("gw_add", m.GwAdd)
	case sn12.Connect:
		flag("will", m.Will)
		flag("clean_session", m.CleanSession)
		num("protocol_id", int(m.ProtocolID))
		num("duration", int(m.Duration))
		text("client_id", m.ClientID)
	case sn12.ConnAck:
		num("return_code", int(m.ReturnCode))
	case sn12.WillTopic:
		willTopic(m.Empty, m.QoS, m.Retain, m.Topic)
	case sn12.WillTopicUpd:
		willTopic(m.Empty, m.QoS, m.Retain, m.Topic)
	case sn12.WillMsg:
		octets("will_msg", m.Message)
	case sn12.WillMsgUpd:
		octets("will_msg", m.Message)
	case sn12.WillTopicResp:
		num("return_code", int(m.ReturnCode))
	case sn12.WillMsgResp:
		num("return_code", int(m.ReturnCode))
	case sn12.Register:
		num("topic_id", int(m.TopicID))
		num("msg_id", int(m.MsgID))
		text("topic_name", m.TopicName)
	case sn12.RegAck:
		num("topic_id", int(m.TopicID))
		num("msg_id", int(m.MsgID))
		num("return_code", int(m.ReturnCode))
	case sn12.Publish:
		flag("dup", m.DUP)
		num("qos", int(m.QoS))
		flag("retain", m.Retain)
		topic(m.TopicIDType, nil, m.TopicID, true)
		num("msg_id", int(m.MsgID))
		octets("data", m.Data)
	case sn12.PubAck:
		num("topic_id", int(m.TopicID))
		num("msg_id", int(m.MsgID))
		num("return_code", int(m.ReturnCode))
	case sn12.PubRec:
		num("msg_id", int(m.MsgID))
	case sn12.PubRel:
		num("msg_id", int(m.MsgID))
	case sn12.PubComp:
		num("msg_id", int(m.MsgID))
	case sn12.Subscribe:
		flag("dup", m.DUP)
		num("qos", int(m.QoS))
		num("msg_id", int(m.MsgID))
		topic(m.TopicIDType, m.TopicName, m.TopicID, false)
	case sn12.SubAck:
		num("qos", int(m.QoS))
		num("topic_id", int(m.TopicID))
		num("msg_id", int(m.MsgID))
		num("return_code", int(m.ReturnCode))
	case sn12.Unsubscribe:
		num("msg_id", int(m.MsgID))
		topic(m.TopicIDType, m.TopicName, m.TopicID, false)
	case sn12.UnsubAck:
		num("msg_id", int(m.MsgID))
	case sn12.PingReq:
		text("client_id", m.ClientID)
	case sn12.Disconnect:
		if f["duration"] = any(nil); m.HasDuration {
			num("duration", int(m.Duration))
		}
	case sn12.Encapsulated:
		num("ctrl", int(datagram[2]))
		num("radius", int(m.Radius))
		octets("wireless_node_id", m.NodeID)
		octets("inner", m.Inner)
		inner, err := sn12.Parse(m.Inner)
		if err != nil {
			t.Fatalf("inner message: %v", err)
		}
		f["inner"] = fieldsOf(t, inner, m.Inner)
	case sn12.WillTopicReq, sn12.WillMsgReq, sn12.PingResp: // header only
	default:
		t.Fatalf("no fields known for %T", m)
	}
	return f
}
