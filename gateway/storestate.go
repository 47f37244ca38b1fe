package gateway

// This file is what the gateway does about a store that fails, and says of it.

// degraded returns what the gateway does without for now. It goes on relaying, so
// nobody should take it out of service or restart it for that.
func (g *Gateway) degraded() []string {
	if err := g.storeFault(); err != nil {
		return []string{"store: " + err.Error()}
	}
	return nil
}

// storeFault returns why something that should be in the store is not, or nil.
func (g *Gateway) storeFault() error {
	n := int64(0)
	for _, s := range g.shards {
		n += s.repairs.n.Load()
	}
	return g.keeper.Fault(n)
}

// storeWorks lets sessions use the store again after a failure.
func (g *Gateway) storeWorks() {
	if g.keeper.Works() {
		g.broker.save()
		g.savePredefined()
		for _, s := range g.shards {
			s.queues.post(s.repair)
		}
	}
}
