package crash

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sngate/snpacket/sn12"
)

// everybody is whom a line of the trace is about when all are meant.
const everybody = "all"

// trace is a file with everything that devices sent and received, for whoever looks into a
// failed run.
type trace struct {
	now func() time.Duration

	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
}

func newTrace(path string, now func() time.Duration) (*trace, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &trace{now: now, file: f, out: bufio.NewWriter(f)}, nil
}

func (t *trace) note(who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%9s %-4s ", clock(t.now()), who)
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *trace) datagram(who, arrow string, m sn12.Message) {
	switch m := m.(type) {
	case sn12.Publish:
		t.note(who, "%s PUBLISH DUP %v QoS %d id %d MsgId %d %q", arrow, m.DUP, m.QoS, m.TopicID, m.MsgID, m.Data)
	case sn12.Register:
		t.note(who, "%s REGISTER id %d MsgId %d %q", arrow, m.TopicID, m.MsgID, m.TopicName)
	case sn12.Subscribe:
		t.note(who, "%s SUBSCRIBE DUP %v MsgId %d %q", arrow, m.DUP, m.MsgID, m.TopicName)
	default:
		t.note(who, "%s %v %+v", arrow, m.Type(), m)
	}
}

// maxExcerpt is how many lines are shown of a trace.
const maxExcerpt = 60

// excerpt returns the first lines about one device, and about kills, between two times.
func (t *trace) excerpt(who string, from, to time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.out.Flush(); err != nil {
		return err.Error()
	}
	f, err := os.Open(t.file.Name())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var b strings.Builder
	shown := 0
	for lines := bufio.NewScanner(f); lines.Scan() && shown < maxExcerpt; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[1] != who && fields[1] != everybody {
			continue
		}
		at, err := strconv.ParseFloat(fields[0], 64)
		if err == nil && at >= from.Seconds() && at <= to.Seconds() {
			fmt.Fprintf(&b, "      %s\n", lines.Text())
			shown++
		}
	}
	return b.String()
}

func (t *trace) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.out.Flush(); err != nil {
		return err
	}
	return t.file.Close()
}
