package gateway

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sngate/gateway/admin"
	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/internal/deadline"
)

// What can be asked of a running gateway about its sessions. A session is its shard's, so
// the shard is asked through its mailbox, and answers between two turns.

const (
	// inspectTimeout is how long a shard may take to answer.
	inspectTimeout = 2 * time.Second
	// maxInspections is how many questions are under way at once: what an impatient
	// client can leave in the mailboxes.
	maxInspections = 4
)

// Sessions returns up to limit sessions (1 to 1000), in no order that has a meaning. cursor
// is "" for the first page and NextCursor of the one before for the others. A session that
// is there all the time is in exactly one page.
func (g *Gateway) Sessions(ctx context.Context, cursor string, limit int) (admin.SessionPage, error) {
	index, serial, err := parseCursor(cursor, len(g.shards))
	if err != nil {
		return admin.SessionPage{}, err
	}
	limit = min(max(limit, 1), admin.MaxPage)
	page := admin.SessionPage{Sessions: []admin.SessionInfo{}}
	for ; index < len(g.shards); index, serial = index+1, 0 {
		s, room := g.shards[index], limit-len(page.Sessions)
		if room == 0 {
			page.NextCursor = fmt.Sprintf("%d.0", index)
			break
		}
		full, last, found := false, uint64(0), []admin.SessionInfo(nil)
		err := s.ask(ctx, func() {
			entries := s.roster.page(serial, room)
			for _, e := range entries {
				found = append(found, s.summary(e))
				last = e.serial
			}
			full = len(entries) == room
		})
		if err != nil {
			return admin.SessionPage{}, err
		}
		page.Sessions = append(page.Sessions, found...)
		if full {
			page.NextCursor = fmt.Sprintf("%d.%d", index, last)
			break
		}
	}
	return page, nil
}

// parseCursor takes apart what Sessions has made: the shard and the last serial number.
func parseCursor(cursor string, shards int) (index int, serial uint64, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	first, rest, _ := strings.Cut(cursor, ".")
	index, err1 := strconv.Atoi(first)
	serial, err2 := strconv.ParseUint(rest, 10, 64)
	if err1 != nil || err2 != nil || index < 0 || index >= shards {
		return 0, 0, admin.ErrCursor
	}
	return index, serial, nil
}

// Session returns one session. Without one, ErrNoSession comes with the refusals of that
// client id that are remembered all the same.
func (g *Gateway) Session(ctx context.Context, clientID string) (admin.SessionDetail, error) {
	s := g.shardOf([]byte(clientID))
	var d admin.SessionDetail
	found := false
	err := s.ask(ctx, func() {
		if e := s.roster.find(clientID); e != nil {
			d, found = s.detail(e), true
		} else if r := s.report.past.Find(clientID); r != nil {
			d.Refusals = r.Shown(s.now)
		}
	})
	switch {
	case err != nil:
		return admin.SessionDetail{}, err // d may still be written
	case !found:
		return d, admin.ErrNoSession
	}
	return d, nil
}

// ask has f run by the shard, and waits for it.
func (s *shard) ask(ctx context.Context, f func()) error {
	select {
	case s.gw.inspections <- struct{}{}:
	default:
		return admin.ErrBusy
	}
	// The shard may come to it after the wait is over: then nobody looks at what f has made.
	done := make(chan struct{})
	s.queues.post(func() {
		f()
		<-s.gw.inspections
		close(done)
	})
	timeout := time.NewTimer(inspectTimeout)
	defer timeout.Stop()
	select {
	case <-done:
		return nil
	case <-timeout.C:
		return admin.ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	case <-s.gw.stopped:
		return admin.ErrBusy
	}
}

func (s *shard) summary(e *entry) admin.SessionInfo {
	info := s.info(e, e.session.Summary())
	for _, r := range s.refusalsShown(e) {
		if info.LastRefusal == nil || r.AgoSeconds < info.LastRefusal.AgoSeconds {
			info.LastRefusal = &r
		}
	}
	return info
}

func (s *shard) detail(e *entry) admin.SessionDetail {
	v := e.session.Inspect()
	d := admin.SessionDetail{
		SessionInfo: s.summary(e), Refusals: s.refusalsShown(e),
		Topics: make([]admin.Topic, len(v.Topics)), Subscriptions: make([]admin.Subscription, len(v.Subscriptions)),
	}
	for i, t := range v.Topics {
		d.Topics[i] = admin.Topic{ID: t.ID, Name: t.Name, Known: t.Announced}
	}
	for i, sub := range v.Subscriptions {
		d.Subscriptions[i] = admin.Subscription{Filter: sub.Filter, QoS: sub.QoS}
	}
	return d
}

func (s *shard) info(e *entry, v session.View) admin.SessionInfo {
	info := admin.SessionInfo{
		ClientID: e.session.ClientID(), State: v.State.String(), CleanSession: v.CleanSession,
		KeepAliveSeconds: int(v.KeepAlive), BrokerConnection: v.BrokerLink, WillTopic: v.WillTopic, InFlight: v.InFlight,
		Held:    admin.Amount{Messages: v.HeldMessages, Bytes: v.HeldOctets},
		Spooled: admin.Amount{Messages: v.SpooledMessages, Bytes: v.SpooledOctets},
	}
	info.TopicCount, info.SubscriptionCount = e.session.Counts()
	if e.bound {
		info.Address = e.peer.String()
	}
	if v.State == session.StateAsleep || v.State == session.StateAwake {
		info.SleepSeconds = int(v.Sleep)
	}
	if e.heardAt != deadline.Never {
		ago := s.since(e.heardAt)
		info.LastHeardSeconds = &ago
	}
	return info
}

// since is the time since then in seconds, to the millisecond.
func (s *shard) since(then time.Duration) float64 {
	return max(s.now-then, 0).Round(time.Millisecond).Seconds()
}

// refusalsShown lists what the shard and the readers have dropped of a device.
func (s *shard) refusalsShown(e *entry) []admin.Refusal {
	list := []admin.Refusal{}
	if e.refusals != nil {
		list = e.refusals.Shown(s.now)
	}
	for _, o := range []struct {
		why session.Reason
		n   uint32
	}{
		{session.ReasonDatagramRate, e.overload.rate.Load()},
		{session.ReasonShardFull, e.overload.queue.Load()},
	} {
		if o.n > 0 {
			list = append(list, admin.Refusal{
				Reason: o.why.String(), Times: uint64(o.n), Advice: oplog.Advice(o.why),
				AgoSeconds: s.since(time.Duration(e.overload.last.Load())),
			})
		}
	}
	return list
}
