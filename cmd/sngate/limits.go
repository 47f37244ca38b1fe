package main

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"sngate/conf"
)

// spareDescriptors is what the process needs beside the connections of devices.
const spareDescriptors = 64

// capacity is what the system lets a process have of what each device needs.
type capacity struct {
	descriptors uint64 // open at once; 0: not known
	ports       int    // of one address, for connections to one broker; 0: not known
}

func systemCapacity() capacity {
	return capacity{maxDescriptors(), localPorts(os.DirFS("/"))}
}

// shortages warns of what session.max_sessions devices need and the system does not give:
// devices beyond would be refused one by one.
func shortages(cfg *conf.Config, has capacity) (list []conf.Warning) {
	const key = "session.max_sessions"
	devices := cfg.Session.MaxSessions
	warn := func(format string, args ...any) {
		list = append(list, conf.Warning{Key: key, Msg: fmt.Sprintf("%d devices need ", devices) + fmt.Sprintf(format, args...)})
	}
	need := devices + spareDescriptors
	if cfg.Broker.Embedded() {
		need += devices // the other ends are in this process, too
	}
	if has.descriptors > 0 && has.descriptors < uint64(need) {
		warn("%d file descriptors, and a process that is started here may open %d; raise the limit (LimitNOFILE of a service, ulimit -n of a shell) or lower the number",
			need, has.descriptors)
	}
	sources := max(len(cfg.Broker.LocalAddresses), 1)
	need = devices + 1 // the gateway's own connection
	if ports := has.ports * sources; ports > 0 && ports < need {
		warn("%d ports towards the broker, and there are %d, %d for each source address; name more in broker.local_addresses, widen net.ipv4.ip_local_port_range or lower the number",
			need, ports, has.ports)
	}
	return list
}

// localPorts is the number of ports that connections may come from by what a file of Linux
// says, which holds for IPv6 as well; 0 if it is not known.
func localPorts(root fs.FS) int {
	f := strings.Fields(read(root, "proc/sys/net/ipv4/ip_local_port_range"))
	if len(f) != 2 {
		return 0
	}
	low, err1 := strconv.Atoi(f[0])
	high, err2 := strconv.Atoi(f[1])
	if err1 != nil || err2 != nil || low > high {
		return 0
	}
	return high - low + 1
}
