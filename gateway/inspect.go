package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sngate/gateway/session"
)

// What can be asked of a running gateway about its sessions. A session is its shard's, so
// the shard is asked through its mailbox, and answers between two turns.

const (
	// inspectTimeout is how long a shard may take to answer.
	inspectTimeout = 2 * time.Second
	// maxInspections is how many questions are under way at once: what an impatient
	// client can leave in the mailboxes.
	maxInspections = 4
	// maxPage is the longest page of sessions.
	maxPage = 1000
)

// Errors of Sessions and Session.
var (
	// ErrNoSession: there is no session of that client id.
	ErrNoSession = errors.New("no session of this client id")
	// ErrCursor: not the NextCursor of an earlier page.
	ErrCursor = errors.New("the cursor is not one of an earlier page")
	// ErrBusyShard: the gateway did not answer in time, or too many ask.
	ErrBusyShard = errors.New("the gateway is too busy to answer")
)

// SessionInfo is one session as the API shows it; docs/API.md describes the fields.
type SessionInfo struct {
	ClientID          string   `json:"client_id"`
	State             string   `json:"state"`
	Address           string   `json:"address,omitempty"`
	LastHeardSeconds  *float64 `json:"last_heard_seconds"`
	CleanSession      bool     `json:"clean_session"`
	KeepAliveSeconds  int      `json:"keep_alive_seconds"`
	SleepSeconds      int      `json:"sleep_seconds,omitempty"`
	BrokerConnection  string   `json:"broker_connection"`
	WillTopic         string   `json:"will_topic,omitempty"`
	TopicCount        int      `json:"topic_count"`
	SubscriptionCount int      `json:"subscription_count"`
	InFlight          int      `json:"in_flight"`
	Held              Amount   `json:"held"`
	Spooled           Amount   `json:"spooled"`
	// LastRefusal is the newest of Refusals.
	LastRefusal *Refusal `json:"last_refusal,omitempty"`
}

// Amount is a number of messages and their octets as the limits count them.
type Amount struct {
	Messages int `json:"messages"`
	Bytes    int `json:"bytes"`
}

// Refusal is a reason for which something of a device, or for it, was dropped or refused.
type Refusal struct {
	Reason      string  `json:"reason"`
	Times       uint64  `json:"times"`
	AgoSeconds  float64 `json:"ago_seconds"` // since the last
	Packet      string  `json:"packet,omitempty"`
	TopicID     *uint16 `json:"topic_id,omitempty"`
	TopicIDType string  `json:"topic_id_type,omitempty"`
	Topic       string  `json:"topic,omitempty"`
	Advice      string  `json:"advice,omitempty"`
}

// Topic is a topic id of a device.
type Topic struct {
	ID    uint16 `json:"id"`
	Name  string `json:"name"`
	Known bool   `json:"known_to_device"`
}

// Subscription is what the broker has granted to a device.
type Subscription struct {
	Filter string `json:"filter"`
	QoS    uint8  `json:"qos"`
}

// SessionDetail is SessionInfo with its lists.
type SessionDetail struct {
	SessionInfo
	Topics        []Topic        `json:"topics"`
	Subscriptions []Subscription `json:"subscriptions"`
	Refusals      []Refusal      `json:"refusals"`
}

// SessionPage is one page of sessions.
type SessionPage struct {
	Sessions   []SessionInfo `json:"sessions"`
	NextCursor string        `json:"next_cursor,omitempty"` // "": this was the last page
}

// Sessions returns up to limit sessions (1 to 1000), in no order that has a meaning. cursor
// is "" for the first page and NextCursor of the one before for the others. A session that
// is there all the time is in exactly one page.
func (g *Gateway) Sessions(ctx context.Context, cursor string, limit int) (SessionPage, error) {
	index, serial, err := parseCursor(cursor, len(g.shards))
	if err != nil {
		return SessionPage{}, err
	}
	limit = min(max(limit, 1), maxPage)
	page := SessionPage{Sessions: []SessionInfo{}}
	for ; index < len(g.shards); index, serial = index+1, 0 {
		s, room := g.shards[index], limit-len(page.Sessions)
		if room == 0 {
			page.NextCursor = fmt.Sprintf("%d.0", index)
			break
		}
		full, last, found := false, uint64(0), []SessionInfo(nil)
		err := s.ask(ctx, func() {
			entries := s.roster.page(serial, room)
			for _, e := range entries {
				found = append(found, s.summary(e))
				last = e.serial
			}
			full = len(entries) == room
		})
		if err != nil {
			return SessionPage{}, err
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
		return 0, 0, ErrCursor
	}
	return index, serial, nil
}

// Session returns one session. Without one, ErrNoSession comes with the refusals of that
// client id that are remembered all the same.
func (g *Gateway) Session(ctx context.Context, clientID string) (SessionDetail, error) {
	s := g.shardOf([]byte(clientID))
	var d SessionDetail
	found := false
	err := s.ask(ctx, func() {
		if e := s.clients[clientID]; e != nil {
			d, found = s.detail(e), true
		} else if r := s.past.byID[clientID]; r != nil {
			d.Refusals = s.refusalList(r)
		}
	})
	switch {
	case err != nil:
		return SessionDetail{}, err // d may still be written
	case !found:
		return d, ErrNoSession
	}
	return d, nil
}

// ask has f run by the shard, and waits for it.
func (s *shard) ask(ctx context.Context, f func()) error {
	select {
	case s.gw.inspections <- struct{}{}:
	default:
		return ErrBusyShard
	}
	// The shard may come to it after the wait is over: then nobody looks at what f has made.
	done := make(chan struct{})
	s.posted.post(func() {
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
		return ErrBusyShard
	case <-ctx.Done():
		return ctx.Err()
	case <-s.gw.stopped:
		return ErrBusyShard
	}
}

func (s *shard) summary(e *entry) SessionInfo {
	info := s.info(e, e.session.Summary())
	for _, r := range s.refusalsShown(e) {
		if info.LastRefusal == nil || r.AgoSeconds < info.LastRefusal.AgoSeconds {
			info.LastRefusal = &r
		}
	}
	return info
}

func (s *shard) detail(e *entry) SessionDetail {
	v := e.session.Inspect()
	d := SessionDetail{
		SessionInfo: s.summary(e), Refusals: s.refusalsShown(e),
		Topics: make([]Topic, len(v.Topics)), Subscriptions: make([]Subscription, len(v.Subscriptions)),
	}
	for i, t := range v.Topics {
		d.Topics[i] = Topic{ID: t.ID, Name: t.Name, Known: t.Announced}
	}
	for i, sub := range v.Subscriptions {
		d.Subscriptions[i] = Subscription{Filter: sub.Filter, QoS: sub.QoS}
	}
	return d
}

func (s *shard) info(e *entry, v session.View) SessionInfo {
	info := SessionInfo{
		ClientID: e.session.ClientID(), State: v.State.String(), CleanSession: v.CleanSession,
		KeepAliveSeconds: int(v.KeepAlive), BrokerConnection: v.BrokerLink, WillTopic: v.WillTopic, InFlight: v.InFlight,
		Held:    Amount{Messages: v.HeldMessages, Bytes: v.HeldOctets},
		Spooled: Amount{Messages: v.SpooledMessages, Bytes: v.SpooledOctets},
	}
	info.TopicCount, info.SubscriptionCount = e.session.Counts()
	if e.bound {
		info.Address = e.peer.String()
	}
	if v.State == session.StateAsleep || v.State == session.StateAwake {
		info.SleepSeconds = int(v.Sleep)
	}
	if e.heardAt != never {
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
func (s *shard) refusalsShown(e *entry) []Refusal {
	list := []Refusal{}
	if e.refusals != nil {
		list = s.refusalList(e.refusals)
	}
	for _, o := range []struct {
		why session.Reason
		n   uint32
	}{
		{session.ReasonDatagramRate, e.overload.rate.Load()},
		{session.ReasonShardFull, e.overload.queue.Load()},
	} {
		if o.n > 0 {
			list = append(list, Refusal{
				Reason: o.why.String(), Times: uint64(o.n), Advice: adviceFor[o.why],
				AgoSeconds: s.since(time.Duration(e.overload.last.Load())),
			})
		}
	}
	return list
}

func (s *shard) refusalList(r *refusals) []Refusal {
	list := make([]Refusal, len(r.recent))
	for i := range r.recent {
		f := &r.recent[i]
		list[i] = Refusal{
			Reason: f.reason.String(), Times: f.count, AgoSeconds: s.since(f.last),
			Packet: f.packet, Topic: f.topic, Advice: f.advice,
		}
		if f.hasTopicID {
			id := f.topicID
			list[i].TopicID, list[i].TopicIDType = &id, f.topicIDType
		}
	}
	return list
}
