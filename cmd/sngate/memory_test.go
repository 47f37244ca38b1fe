package main

import (
	"testing"
	"testing/fstest"
)

func TestMemoryLimit(t *testing.T) {
	const meminfo = "MemTotal:        1048576 kB\nMemFree:          524288 kB\n"
	tests := []struct {
		name       string
		configured int64
		files      map[string]string
		want       int64
	}{
		{"configured", 5 << 20, map[string]string{"proc/meminfo": meminfo}, 5 << 20},
		{"a quarter of the machine", 0, map[string]string{"proc/meminfo": meminfo}, 256 << 20},
		{"not known", 0, nil, unknownMemoryLimit},
		{"not readable", 0, map[string]string{"proc/meminfo": "MemTotal: lots kB\nMemTotal:\n", "proc/self/cgroup": "nonsense\n1:\n"}, unknownMemoryLimit},
		{"control group v2", 0, map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/sngate.service\n",
			"sys/fs/cgroup/system.slice/sngate.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "134217728\n",
		}, 32 << 20},
		{"in a container", 0, map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../elsewhere\n", "sys/fs/cgroup/memory.max": "67108864\n",
		}, 16 << 20},
		{"control group v1", 0, map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "536870912\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
		}, 128 << 20},
		{"a group above the machine", 0, map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "8589934592\n",
		}, 256 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := memoryLimit(tt.configured, root); got != tt.want {
				t.Errorf("limit is %d octets, want %d", got, tt.want)
			}
		})
	}
}
