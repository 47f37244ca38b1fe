package upstream

// Where the broker has the topics of a client, of which its owner knows nothing.

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	"sngate/upstream/credential"
	"sngate/upstream/mqtt"
)

// errOutside is why a message is not delivered: what the client has subscribed to is below the
// prefix, so it has not subscribed to this, at least not by the topic map of today.
var errOutside = errors.New("upstream: its topic is outside of the topic map")

// topicMap maps the topics of one client. The zero value leaves them as they are.
type topicMap struct{ credential.Topics }

// has reports whether there are messages for a filter of the client. Where all have one name they
// are subscribed to by that name alone: a hub that has one place for them refuses parts of it, or
// ends the connection.
func (m *topicMap) has(filter string) bool { return m.DeliverAs == "" || filter == m.DeliverAs }

// delivered returns the topic that the client knows of one of the broker; ok is false outside of
// the map.
func (m *topicMap) delivered(topic string) (name string, ok bool) {
	rest, below := strings.CutPrefix(topic, m.Subscribe)
	if m.DeliverAs != "" { // the filter with "#" matches the level above, too
		return m.DeliverAs, below || topic == strings.TrimSuffix(m.Subscribe, "/")
	}
	return rest, below && rest != ""
}

// published returns the topic that the client knows of one that it publishes to.
func (m *topicMap) published(topic string) string { return strings.TrimPrefix(topic, m.Publish) }

// will returns a will as the broker is told it.
func (m *topicMap) will(w *Will) *mqtt.Will {
	if w == nil {
		return nil
	}
	own := mqtt.Will(*w)
	own.Topic = m.Publish + w.Topic
	return &own
}

// mapMark tells the filters of one topicMap from those of another; 0: it has none.
type mapMark uint32

func (m *topicMap) mark() mapMark {
	if m.Subscribe == "" && m.DeliverAs == "" {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(m.Subscribe + "\x00" + m.DeliverAs)) // a hash does not fail
	return mapMark(max(h.Sum32(), 1))
}

// markBehind stands between the address of a broker and the mark of a map, in Link.Home.
const markBehind = "#"

// withMark returns what Link.Home says of the address of a broker.
func withMark(address string, mark mapMark) string {
	if mark == 0 {
		return address
	}
	return fmt.Sprintf("%s%s%08x", address, markBehind, uint32(mark))
}

// splitMark takes that apart. A mark that is none is that of a map that nobody has.
func splitMark(home string) (address string, mark mapMark) {
	address, text, marked := strings.Cut(home, markBehind)
	if !marked {
		return address, 0
	}
	n, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		n = math.MaxUint32
	}
	return address, mapMark(n)
}
