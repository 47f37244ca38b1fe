package gateway

// The state of the shell, declared in one place: a gateway, its shards, their entries, and the
// parts that each of these gives its state to. What they do is in files of their own.

import (
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/admin"
	"sngate/gateway/discovery"
	"sngate/gateway/listen"
	"sngate/gateway/metrics"
	"sngate/gateway/oplog"
	"sngate/gateway/persist"
	"sngate/gateway/session"
	"sngate/internal/deadline"
	"sngate/internal/eventloop"
	"sngate/internal/rate"
	"sngate/snpacket"
	"sngate/upstream"
)

// Gateway is a running gateway. Its fields are set by Start and not changed after,
// unless they say otherwise.
type Gateway struct {
	opts       Options
	lines      *oplog.Log    // the log, bounded: for all that others can cause
	tracer     *oplog.Tracer // nil: nothing is traced
	start      time.Time
	seed       maphash.Seed
	listeners  []listen.Listener
	pool       *listen.Pool // of all readers
	shards     shards
	directory  *directory
	admission  *admission
	limits     *limits
	keeper     *persist.Keeper
	dialer     *upstream.Dialer
	broker     *broker
	discoverer *discovery.Discoverer
	metrics    *metrics.Metrics
	ops        *admin.Server
	// inspections has room for the questions of operators that are under way.
	inspections chan struct{}

	started bool // run was called

	stopping atomic.Bool
	stop     struct {
		once sync.Once
		err  error
	}
	stopped chan struct{}  // closed when the shards have to end
	turning sync.WaitGroup // of the shards
	wg      sync.WaitGroup // of all other goroutines
}

// now is the monotonic time since the gateway started.
func (g *Gateway) now() time.Duration { return time.Since(g.start) }

// shard owns the sessions of the client ids that hash to it: one goroutine, run, does
// all that is done to them, one datagram or event after the other. Other goroutines
// leave their things in the queues.
type shard struct {
	gw       *Gateway
	index    int
	queues   queues // where other goroutines leave what they have for it
	counters *metrics.Counters
	lastTurn atomic.Int64 // gateway time, ns

	gauges gauges

	// Owned by run.
	roster  roster
	spares  spares
	holders holders
	own     *ownConnection // the gateway's own connection; shard 0 only
	timers  deadline.Heap[*entry]
	now     time.Duration // read once per turn
	out     session.Out
	report  reporter
	answers []answer // not yet told
	repairs repairs
	loads   loads
	events  []upstream.Event
	frame   []byte // for encapsulation
	replies replyLimits
	loop    *eventLoop      // nil: the shard waits for its queues only
	closing int             // links whose EventClosed is awaited
	left    chan<- struct{} // Stop waits for closing to become 0; nil: it does not
	frozen  bool            // for good: sessions stay as they are, no deadline of theirs counts
}

// shards are all shards of a gateway, and what can be asked of them by any goroutine.
type shards []*shard

// entry is one device as its shard keeps it: the session, its link to the broker, and
// where it is. All of it belongs to the shard's goroutine, except that the directory
// maps its address to it, and that readers use flow and the client id.
//
// The gateway's own connection is an entry without a session.
type entry struct {
	deadline.Slot
	shard   *shard
	session *session.Session
	serial  uint64        // in shard.roster
	link    upstream.Link // nil until the first ActionConnect
	home    string        // until then: which broker had the session in an earlier process

	// flow counts all that the device sends against session.datagram_rate, before it takes a
	// place in a queue. When the device moves, two readers may meet here.
	flow     rate.AtomicBucket
	overload overload // what readers have dropped of it
	peer     listen.Peer
	// unreachable: the shard has yet to be told that the network says so.
	unreachable atomic.Bool
	bound       bool // the directory maps peer to this entry

	loading loading

	ended   *list.Element // in shard.ended; nil: not there
	endedAt time.Duration // when it was put there

	holder holder // of shard.holders

	halfOpen *list.Element // in shard.halfOpen; nil: not there

	heardAt  time.Duration   // when the device last spoke; never: not in this process
	refusals *oplog.Refusals // nil: none

	claim bool // see shard.claims; not in shard.clients

	accepted   bool          // it has been active
	acceptedAt time.Duration // since when
	gone       bool          // forgotten; what still refers to it is late

	counted counted
}

// answer is an event for the session of an entry that was made while that, or another one,
// was in the middle of a step: the store's answer, or what a link has given back.
type answer struct {
	entry *entry
	event session.Event
}

// ownConnection is the gateway's own session with the broker, in shard 0. It carries
// the QoS -1 messages of devices that are not connected, and tells whether the broker
// can be reached.
type ownConnection struct {
	shard   *shard
	entry   *entry        // with the link, and without a session
	retryAt time.Duration // when it is tried again after it was refused or lost alone
	wait    time.Duration // before that, doubling
	broker  int           // which one was tried; see upstream.Dialer.InUse

	strays rate.Limiter // QoS -1 without a session

	parked bool // the link is, so retryAt is when it is nudged

	announcing bool // "online" is published and not acknowledged
}

// boundTo is the place of an entry in holders.
type holder struct {
	place *list.Element // nil: in none
	class int
}

// holders finds the device of a shard that holds most, to within a factor of two, among
// those that hold any QoS 0 messages: the others have nothing to drop. Classes are
// the number of bits of the octets held.
type holders struct {
	classes  [64]list.List // of *entry
	occupied uint64        // bit i: classes[i] has entries
}

// connecting is a CONNECT that waits in a shard's queue. What its sender sends after it is
// put into the same queue, or it would come first and be answered with DISCONNECT.
type connecting struct {
	peer  listen.Peer
	shard *shard
	id    string      // the client id it gets, if it has none
	done  atomic.Bool // the shard has handled it

	waiting *atomic.Int64 // of its table

	awaits string // the shard's: the client id whose session it waits for, while that is being loaded
}

// directory finds the session of an address. Readers look addresses up while shards
// change them. Which session an address belongs to is decided here alone: an entry is
// bound to at most one address, and an address to at most one entry.
type directory struct {
	stripes [directoryStripes]stripe
}

// spares are the sessions of a shard that may be given up for others, or for their age. They
// belong to the shard; the zero value is empty.
type spares struct {
	// ended are sessions kept without a connection, the one ended first in front: in the
	// order in which they expire.
	ended list.List // of *entry
	// halfOpen are will dialogues that were never accepted, the one that began first in front.
	halfOpen list.List // of *entry
	// expireAt is when the next of ended may be given up, for the pace of it.
	expireAt time.Duration
}

// roster has the entries of a shard: by client id, and in the order in which they were made,
// so that a page of them costs its length and not that of the list. Claims are beside them.
// It belongs to the shard.
type roster struct {
	byID    map[string]*entry
	claimed map[string]*entry // claims by client id

	list   []*entry // by serial; nil where one has gone
	serial []uint64 // of each
	gone   int
	last   uint64
}

// reporter tells operators of what a shard drops and refuses, and of what becomes of devices:
// in the metrics, in the log, and for who asks about a device. It belongs to the shard.
type reporter struct {
	log         *oplog.Log
	counters    *metrics.Counters
	roster      *roster // of the shard
	quiet       bool    // Options.QuietSessions
	maxClientID int
	brokerReady func() bool

	cause cause       // what the step is about
	past  *oplog.Past // refusals of devices without a session
	// seen are senders without a session that have been logged in this minute.
	seen *oplog.Seen
}

// queues are the ways by which other goroutines reach a shard.
type queues struct {
	arrivals  chan arrival  // of the devices whose address is known
	strangers chan *arrival // of all others; each waits for a turn of its own. There is room for thousands, which is seldom used
	boxes     sync.Pool     // of *arrival, for strangers
	inputs    chan upstream.Input
	posted    mailbox
	stopped   <-chan struct{} // closed when the shard has ended
	looper    *shard          // the shard, if it has an event loop
	wake      func()          // has a shard with an event loop look at its queues; nil: it waits for them
}

// arrival is one datagram on its way to a shard.
type arrival struct {
	datagram *listen.Datagram // recycled by the shard
	frame    snpacket.Frame   // the MQTT-SN message in it, without encapsulation
	peer     listen.Peer
	entry    *entry      // whose address it came from; nil when it is to be found by client id
	connect  *connecting // of a CONNECT in the queue for strangers; of what is behind one, that CONNECT
	assigned string      // the client id for a CONNECT that has none; "": it gets none
	kind     arrivalKind
}

// arrivalKind says how the session of an arrival is found.
type arrivalKind uint8

const (
	byAddress arrivalKind = iota // arrival.entry
	byConnect                    // CONNECT: by client id, made if there is none
	byWake                       // PINGREQ with client id
	byTopic                      // QoS -1: there is no session
)

// mailbox takes functions from other goroutines to be run by the shard. It is bounded
// by what posts: each entry once at a time, the loads that are asked of the store, the gateway
// itself, and the few questions of operators that Gateway.inspections has room for.
type mailbox struct {
	mu   sync.Mutex
	jobs []func()
	wake chan struct{} // has room for one
}

// loads are the entries of a shard that are being loaded (see loading), and the datagrams
// that wait for them. It belongs to the shard, but for count.
type loads struct {
	count     *loadCount // of all shards
	directory *directory
	report    *reporter

	queue   []*entry // in the order in which they are restored; some may be urgent, or done, by now
	urgent  []*entry // those whose devices have spoken: they come before the others
	failed  []*entry // those that the store could not read
	asked   int      // what is asked of the store or has failed: at most loadsAtOnce
	waiting map[*entry][]waiter
}

// waiter is a datagram that waits for the session of its device.
type waiter struct {
	arrival
	boundTo *entry // which had its address when it came; nil: none had
}

// loading is how far an entry has come whose session is being loaded from the store. Until then
// the session knows what its RecordSession says, and nothing else: it is shown and counted, but
// no step is made with it, and nothing of it is stored or erased. The zero value is a session
// that is loaded, as those are that have not come from the store.
type loading struct {
	on      bool
	asked   bool // the store, or it has failed and will be
	urgent  bool // the device has spoken
	evicted bool // its address is another device's now, and it has yet to be told
}

// loadCount is how far all shards have come with the sessions of the start.
type loadCount struct {
	log  zerolog.Logger
	left atomic.Int64 // still to be loaded, and 1 more until it is known how many there are

	mu     sync.Mutex
	loaded int // sessions that have been restored
	faults persist.Faults
}

// connectingTable remembers them. It is a reader's own, and does not grow.
type connectingTable struct {
	seed  maphash.Seed
	slots [connectingSlots]*connecting
	// waiting is how many have not been handled; more than there are slots, if others have taken
	// their places.
	waiting atomic.Int64
	added   int // since slots were cleared
}

// counted is what the gauges count of an entry.
type counted struct {
	state         session.State
	inState       bool // state is counted
	heldMessages  int
	heldOctets    int
	spoolMessages int
	spoolOctets   int
	footprint     int
}

// cause is what a session is being fed with: it tells what was dropped.
type cause struct {
	datagram []byte
	event    *upstream.Event
}

type stripe struct {
	mu     sync.RWMutex
	byKey  map[uint64]*entry // see place
	byPeer map[listen.Peer]*entry
	_      [24]byte // a cache line each
}

// gauges count what a shard has, for metrics and for the limits that all shards share. The
// shard writes them; what one entry has a part in is noted in its counted.
type gauges struct {
	limits        *limits
	byState       []atomic.Int64
	heldMessages  atomic.Int64
	heldOctets    atomic.Int64
	spoolMessages atomic.Int64
}

const (
	directoryStripeBits = 6
	directoryStripes    = 1 << directoryStripeBits
)

// connectingSlots is how many of them a reader remembers. Which one gives way is a matter
// of chance; its sender is treated as if it had not sent CONNECT yet.
const connectingSlots = 16384

// connectingKept is how many of those that have been handled a reader may have left in memory.
const connectingKept = 1024

// eventLoop is how a shard waits where the system has epoll: in its own goroutine it reads the
// sockets of devices and the connections of its links, and sends to devices. What comes from
// other goroutines goes through the queues all the same. It belongs to the shard.
type eventLoop struct {
	*eventloop.Loop
	s       *shard
	sockets []listen.Socket // by listener: all for sending, some for reading
	fds     []int           // of them
}

// shardOf picks the shard of a client id, for as long as the gateway runs.
func (g *Gateway) shardOf(clientID []byte) *shard {
	if len(g.shards) == 1 {
		return g.shards[0]
	}
	return g.shards[maphash.Bytes(g.seed, clientID)%uint64(len(g.shards))]
}
