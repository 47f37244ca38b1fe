package hub

import "strings"

// The topics that hubs give to their devices, as far as gateways may meet them.

// awsTopics are all but those that begin with "$", among which are some of the thing itself.
func awsTopics(d *Device, topic string, _ bool) Rule {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(topic, "$aws/things/"+d.ID+"/") {
		return RuleForeignTopic
	}
	return ""
}

// azureTopics are fixed. Of filters there is one for messages to the device.
func azureTopics(d *Device, topic string, subscribe bool) Rule {
	if subscribe {
		return exactly(topic, "devices/"+d.ID+"/messages/devicebound/#", "$iothub/methods/POST/#",
			"$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#")
	}
	return below(topic, "devices/"+d.ID+"/messages/events/", "$iothub/methods/res/", "$iothub/twin/")
}

func tencentTopics(d *Device, topic string, _ bool) Rule {
	own := d.Product + "/" + d.Name
	return below(topic, own+"/", "$shadow/operation/"+own, "$shadow/operation/result/"+own, "$ota/report/"+own, "$ota/update/"+own)
}

func alibabaTopics(d *Device, topic string, _ bool) Rule {
	own := d.Product + "/" + d.Name + "/"
	return below(topic, "/"+own+"user/", "/sys/"+own, "/shadow/update/"+own, "/ota/device/", "/broadcast/"+d.Product+"/")
}

// below wants a topic that begins as one of some.
func below(topic string, prefixes ...string) Rule {
	for _, p := range prefixes {
		if strings.HasPrefix(topic, p) {
			return ""
		}
	}
	return RuleForeignTopic
}

// exactly wants one of some filters.
func exactly(filter string, allowed ...string) Rule {
	for _, a := range allowed {
		if filter == a {
			return ""
		}
		if prefix := strings.TrimSuffix(a, "#"); strings.HasPrefix(filter, prefix) && strings.ContainsAny(filter[len(prefix):], "#+") {
			return RuleWildcard
		}
	}
	return RuleForeignTopic
}

// matches reports whether a filter takes a topic (MQTT 3.1.1 section 4.7).
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(t) || level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// checkTopic looks at a topic or filter.
func (h *Hub) checkTopic(d *Device, topic string, subscribe bool) *Violation {
	var rule Rule
	switch r := &h.rules; {
	case topic == "" || !subscribe && strings.ContainsAny(topic, "#+"):
		rule = RuleProtocol
	case r.MaxTopicBytes > 0 && len(topic) > r.MaxTopicBytes:
		rule = RuleTopicBytes
	case r.MaxTopicLevels > 0 && strings.Count(topic, "/")+1 > r.MaxTopicLevels:
		rule = RuleTopicLevels
	case r.topics != nil:
		rule = r.topics(d, topic, subscribe)
	}
	if rule == "" {
		return nil
	}
	return &Violation{Rule: rule, Detail: topic}
}
