package upstream

// Habit is something a broker does that MQTT 3.1.1 does not allow and that a Link copes
// with.
type Habit uint8

// What brokers do.
const (
	// HabitNoQoS2: it answers a PUBLISH of QoS 2 with PUBACK, so QoS 2 is worth no more than
	// QoS 1 there.
	HabitNoQoS2 Habit = iota + 1
)

func (h Habit) String() string {
	if h == HabitNoQoS2 {
		return "QoS 2 answered with PUBACK, treated as QoS 1, messages may be doubled"
	}
	return ""
}
