package main

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// unknownMemoryLimit is gateway.memory_limit where nobody says how much memory there is.
const unknownMemoryLimit = 256 << 20

// memoryLimit is the limit in force: what is configured, or a quarter of the memory that
// the system in root has for this process.
func memoryLimit(configured int64, root fs.FS) int64 {
	if configured > 0 {
		return configured
	}
	if n := availableMemory(root); n > 0 {
		return n / 4
	}
	return unknownMemoryLimit
}

// availableMemory is the memory of the machine, or the limit of the control groups this
// process is in where that is less; 0 if it is not known. These are files of Linux; other
// systems do not have them.
func availableMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	for line := range strings.Lines(read(root, "proc/meminfo")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				least = n << 10
			}
		}
	}
	for line := range strings.Lines(read(root, "proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) != 3:
		case f[1] == "":
			least = min(least, leastLimit(root, "sys/fs/cgroup", f[2], "memory.max"))
		case slices.Contains(strings.Split(f[1], ","), "memory"):
			least = min(least, leastLimit(root, "sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes"))
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// leastLimit is the least of the limits of a group and of those it is in. In a container
// the group may have another path than inside, and its limit is that of mount.
func leastLimit(root fs.FS, mount, group, file string) int64 {
	least := int64(math.MaxInt64)
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		// No number is "max": no limit.
		if n, err := strconv.ParseInt(strings.TrimSpace(read(root, path.Join(mount, dir, file))), 10, 64); err == nil && n > 0 {
			least = min(least, n)
		}
		if dir == "/" {
			return least
		}
	}
}

// read returns a file of root, "" if there is none.
func read(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return string(b)
}
