package conf

import "strings"

// checkLimits checks what the gateway itself publishes against what the broker takes.
func checkLimits(d *decoder, cfg *Config) {
	const status = "gateway.status_topic"
	topic, l := cfg.Gateway.StatusTopic, &cfg.Broker.Limits
	levels := strings.Count(topic, "/") + 1
	switch {
	case topic == "" || d.bad[status]:
	case l.MaxTopicBytes > 0 && len(topic) > l.MaxTopicBytes:
		d.fault(status, "has %d octets, and broker.limits.max_topic_bytes is %d", len(topic), l.MaxTopicBytes)
	case l.MaxTopicLevels > 0 && levels > l.MaxTopicLevels:
		d.fault(status, "has %d levels, and broker.limits.max_topic_levels is %d", levels, l.MaxTopicLevels)
	}
}

// statusWarnings warns of a status that the broker will not keep, or not correct.
func statusWarnings(cfg *Config) []Warning {
	const status = "gateway.status_topic"
	if cfg.Gateway.StatusTopic == "" {
		return nil
	}
	var list []Warning
	if cfg.Broker.Limits.Retain != "pass" {
		list = append(list, Warning{status, "the status is not retained (broker.limits.retain): whoever subscribes later is not told it"})
	}
	if cfg.Broker.Limits.Will != "pass" {
		list = append(list, Warning{status, `the broker has no will of the gateway (broker.limits.will): "offline" is published at a stop only, not when the gateway dies`})
	}
	return list
}
