package session

import "slices"

// order says which messages have to wait for those before them that are on their way: the
// broker passes QoS 2 on at its PUBREL only, so what is not of QoS 2 would overtake. Behind
// a message that connections have ended of only those to its topic wait, all but one: the
// link may have to try it first. They may wait for long, so they take no room from others.
type order struct {
	all     bool
	topics  []string // of QoS 2 on its way
	doubted []string // of what connections have ended of
	behind  []string // of those with one behind it
	skipped []string // topics of those that wait: nothing goes past them
}

// pass goes by a message. It reports whether it counts towards what is with the link.
func (o *order) pass(m *spooled) (counts bool) {
	behind := slices.Contains(o.doubted, m.topic)
	switch {
	case m.doubted:
		o.doubted = append(o.doubted, m.topic)
	case behind:
		o.behind = append(o.behind, m.topic)
	}
	switch {
	case !m.unreleased():
	case m.doubted || behind:
		o.topics = append(o.topics, m.topic)
	default:
		o.all = true
	}
	return !m.doubted && !behind
}

func (o *order) skip(m *spooled) {
	if !slices.Contains(o.skipped, m.topic) {
		o.skipped = append(o.skipped, m.topic)
	}
}

func (o *order) holds(m *spooled) bool {
	return m.qos < 2 && (o.all || slices.Contains(o.topics, m.topic)) ||
		slices.Contains(o.behind, m.topic) || slices.Contains(o.skipped, m.topic)
}
