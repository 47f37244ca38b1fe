package conf

import (
	"errors"
	"slices"
	"strings"

	"sngate/topicreg"
	"sngate/upstream/credential"
)

// checkTopicMap checks what can be said without the rows of a credentials file.
func checkTopicMap(d *decoder, m *TopicMap) {
	const at = "broker.topic_map.deliver_as"
	if m.DeliverAs == "" || d.bad[at] {
		return
	}
	if err := topicreg.ValidName(m.DeliverAs); err != nil {
		d.fault(at, "%v", err)
	}
	if m.Subscribe == "" && !d.bad["broker.topic_map.subscribe"] {
		d.fault(at, "is set without broker.topic_map.subscribe, which says what is delivered so")
	}
}

// topics reads the templates; what is wrong with one is told with its key.
func (m *TopicMap) topics(known []string, env credential.Environment, fault func(key string, err error)) credential.TopicMap {
	prefix := func(key, text string) credential.Template {
		key = "broker.topic_map." + key
		t, err := credential.Parse(text, known, env)
		switch {
		case err != nil:
			fault(key, err)
		case strings.ContainsAny(text, "#+"):
			fault(key, errors.New("has a wildcard; want the levels before the topics of a device"))
		case slices.Contains([]byte(text), 0):
			fault(key, errors.New("contains the character U+0000"))
		default:
			if err := credential.CheckPrefix(text); err != nil {
				fault(key, err)
			}
		}
		return t
	}
	return credential.TopicMap{
		Publish: prefix("publish", m.Publish), Subscribe: prefix("subscribe", m.Subscribe), DeliverAs: m.DeliverAs,
	}
}
