package bolt

import (
	"math"
	"os"
)

// mapSize is the number of bytes up to the high-water marks of the root pages; 0: there
// are none.
func mapSize(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0 // the engine finds out
	}
	defer f.Close()
	var pages uint64
	for slot := range 2 {
		if m, err := readMeta(f, slot); err == nil {
			pages = max(pages, m.pages)
		}
	}
	return int(min(pages*pageSize, math.MaxInt))
}
