package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// shownOffences bounds what a failed run tells of each kind.
const shownOffences = 3

// row is one line of the table.
type row struct{ sent, acked, refused, arrived, doubled, lost int }

// report is the table of what was sent and what came of it.
func (l *ledger) report() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows [2][3]row
	var unwanted row
	for _, s := range l.streams {
		direction := 1
		if s.up {
			direction = 0
		}
		for _, m := range s.messages {
			if m.unwanted {
				unwanted.add(m)
				continue
			}
			rows[direction][m.qos].add(m)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-17s %3s %8s %13s %8s %8s %8s %6s\n", "", "QoS", "sent", "acknowledged", "refused", "arrived", "doubled", "lost")
	for i, name := range []string{"device to broker", "broker to device"} {
		for qos, r := range rows[i] {
			fmt.Fprintf(&b, "%-17s %3d %8d %13d %8d %8d %8d %6d\n", name, qos, r.sent, r.acked, r.refused, r.arrived, r.doubled, r.lost)
		}
	}
	kills := make(map[string]int)
	for _, k := range l.kills {
		kills[k.what]++
	}
	for _, what := range slices.Sorted(maps.Keys(kills)) {
		fmt.Fprintf(&b, "kills of %s: %d\n", what, kills[what])
	}
	fmt.Fprintf(&b, "sent after UNSUBACK: %d, arrived: %d\n", unwanted.sent, unwanted.arrived)
	fmt.Fprintf(&b, "devices: %+v\nlongest time without any acknowledgement: %v\n", l.counts, l.silence)
	return b.String()
}

func (r *row) add(m *message) {
	r.sent++
	if m.acked > 0 {
		r.acked++
	}
	if m.refused {
		r.refused++
	}
	if n := len(m.arrivals); n > 0 {
		r.arrived++
		r.doubled += n - 1
	}
	if m.lost() {
		r.lost++
	}
}

// complaint lists the offences by kind, the first of each with their history; "" if there
// are none. What happened to the devices then is taken from the trace.
func (l *ledger) complaint(t *trace) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := make(map[string][]offence)
	for _, o := range l.offences {
		kinds[o.kind] = append(kinds[o.kind], o)
	}
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		list := kinds[kind]
		fmt.Fprintf(&b, "%s: %d\n", kind, len(list))
		for i, o := range list[:min(len(list), shownOffences)] {
			fmt.Fprintf(&b, "  %s  %s\n", clock(o.at), o.text)
			if o.m != nil {
				fmt.Fprintf(&b, "    %s\n", l.history(o.m))
			}
			if i == 0 {
				b.WriteString(o.excerpt(t))
			}
		}
	}
	return b.String()
}

// excerpt is what the trace has about an offence: the kills, and what the device did from
// the sending of the message to the offence, or shortly before it.
func (o offence) excerpt(t *trace) string {
	who, from, to := o.who, o.at-2*time.Second, o.at+100*time.Millisecond
	if m := o.m; m != nil {
		who, from = m.stream.to, m.sent-100*time.Millisecond
		if m.stream.up {
			who = m.stream.from
		}
		to = min(to, from+10*time.Second) // a loss is found at the end
	}
	return t.excerpt(who, from, to)
}
