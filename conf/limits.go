package conf

import "strings"

// checkLimits checks [broker.limits], and what the gateway itself publishes against it.
func checkLimits(d *decoder, cfg *Config) {
	checkKeepAlive(d, cfg.Broker.Limits.KeepAlive)
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

// checkKeepAlive wants none, or both bounds of the keep-alive.
func checkKeepAlive(d *decoder, bounds []int) {
	const at = "broker.limits.keep_alive"
	for i := range bounds {
		if d.bad[index(at, i)] {
			return
		}
	}
	switch {
	case len(bounds) == 0 || d.bad[at]:
	case len(bounds) != 2:
		d.fault(at, "has %d values; want the least and the most, such as [30, 1200], or []", len(bounds))
	case bounds[1] == 0:
		d.fault(at, "ends with 0, which is no keep-alive; want the most in seconds, such as [0, 900]")
	case bounds[0] > bounds[1]:
		d.fault(at, "begins with %d, which is above %d; want the least first", bounds[0], bounds[1])
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
