package torture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// steps are numbers of steps in ascending order; nil is all of them.
type steps []int

func (s steps) contains(n int) bool {
	if s == nil {
		return true
	}
	_, ok := slices.BinarySearch(s, n)
	return ok
}

// list returns the numbers of s up to n.
func (s steps) list(n int) steps {
	if s != nil {
		return s
	}
	for i := range n {
		s = append(s, i)
	}
	return s
}

// String writes s as parseSteps reads it.
func (s steps) String() string {
	var parts []string
	for i := 0; i < len(s); {
		j := i
		for j+1 < len(s) && s[j+1] == s[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(s[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", s[i], s[j]))
		}
		i = j + 1
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ",")
}

// parseSteps reads "0-7,9"; "" is nil, "none" is empty.
func parseSteps(text string) (steps, error) {
	if text == "" {
		return nil, nil
	}
	s := steps{}
	if text == "none" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("steps %q: %w", text, err)
		}
		to, err := strconv.Atoi(last)
		if err != nil {
			return nil, fmt.Errorf("steps %q: %w", text, err)
		}
		for n := from; n <= to; n++ {
			s = append(s, n)
		}
	}
	slices.Sort(s)
	return s, nil
}

// shrink takes out of s what is not needed for fails to be true, in ever smaller pieces, until nothing
// can go any more or the time is over.
func shrink(s steps, end time.Time, fails func(steps) bool) steps {
	for size := (len(s) + 1) / 2; ; size = (size + 1) / 2 {
		removed := false
		for from := 0; from < len(s); {
			if time.Now().After(end) {
				return s
			}
			without := slices.Concat(s[:from], s[min(from+size, len(s)):])
			if without == nil {
				without = steps{}
			}
			if fails(without) {
				s, removed = without, true
			} else {
				from += size
			}
		}
		if size == 1 && !removed {
			return s
		}
	}
}
