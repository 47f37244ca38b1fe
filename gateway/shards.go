package gateway

import (
	"fmt"
	"time"

	"sngate/gateway/admin"
	"sngate/gateway/metrics"
	"sngate/gateway/session"
)

// stuckAfter is how long a shard may take for one turn of its loop before the process
// counts as stuck.
const stuckAfter = 30 * time.Second

// count adds the sessions in each state to byState.
func (l shards) count(byState []int64) {
	for _, s := range l {
		for i := range byState {
			byState[i] += s.gauges.byState[i].Load()
		}
	}
}

// states is how many sessions are in each state.
func (l shards) states() []admin.StateCount {
	names := session.StateNames()
	byState := make([]int64, len(names))
	l.count(byState)
	counts := make([]admin.StateCount, len(names))
	for i, name := range names {
		counts[i] = admin.StateCount{State: name, Count: byState[i]}
	}
	return counts
}

// queued is what waits for each.
func (l shards) queued() []metrics.QueueLengths {
	lengths := make([]metrics.QueueLengths, len(l))
	for i, s := range l {
		lengths[i] = s.queues.lengths()
	}
	return lengths
}

// held is what they hold for devices.
func (l shards) held() (messages, octets int64) {
	for _, s := range l {
		messages += s.gauges.heldMessages.Load()
		octets += s.gauges.heldOctets.Load()
	}
	return messages, octets
}

// spooled is how many messages wait for the broker.
func (l shards) spooled() (messages int64) {
	for _, s := range l {
		messages += s.gauges.spoolMessages.Load()
	}
	return messages
}

// unsaved is how many clients the store may not have what it should of.
func (l shards) unsaved() (clients int64) {
	for _, s := range l {
		clients += s.repairs.n.Load()
	}
	return clients
}

// loading reports whether there are sessions in the store that are still to be restored.
func (l shards) loading() bool { return l[0].loads.count.left.Load() > 0 }

// stuck says which have been in one turn for too long.
func (l shards) stuck(now time.Duration) (faults []string) {
	for i, s := range l {
		if since := now - time.Duration(s.lastTurn.Load()); since > stuckAfter {
			faults = append(faults, fmt.Sprintf("shard %d has been busy for %s", i, since.Round(time.Second)))
		}
	}
	return faults
}
