package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sngate"

// layers is the import order: for each part of the project, the parts its
// non-test files may import. A part is a folder with all below it, unless a
// longer name covers those.
func layers() map[string][]string {
	return map[string][]string{
		"snpacket":                 {},
		"topicreg":                 {},
		"gateway/session":          {"gateway/session/dialogue", "snpacket", "topicreg", "internal/binrec", "internal/rate"},
		"gateway/session/dialogue": {"snpacket"}, // what versions of MQTT-SN have in common
		"gateway/session/sn12":     {"gateway/session/dialogue", "snpacket", "topicreg"},
		"upstream":                 {"upstream/credential", "upstream/dial", "upstream/mqtt", "upstream/secure", "upstream/websocket", "internal/eventloop", "internal/rate"},
		"upstream/credential":      {"topicreg"},
		"upstream/dial":            {"upstream/mqtt", "internal/rate", "internal/eventloop"},
		"upstream/mqtt":            {},
		"upstream/secure":          {"internal/secretfile"},                             // TLS, of connections that others make
		"upstream/upstreamtest":    {"upstream", "upstream/mqtt", "internal/eventloop"}, // for tests only
		"upstream/websocket":       {},                                                  // WebSocket and HTTP proxies, over connections that others make
		"store":                    {},
		"store/bolt":               {"store", "internal/binrec"},
		"store/storetest":          {"store"},                // for tests only: nothing but them may import it
		"internal/deadline":        {},                       // who is to be woken next
		"internal/rate":            {},                       // one token bucket for all
		"internal/binrec":          {},                       // one reader and writer of records
		"internal/explain":         {"snpacket", "topicreg"}, // what a datagram says, for the log and for people
		"gateway/listen":           {"snpacket"},
		"gateway/discovery":        {"gateway/listen", "gateway/session", "snpacket", "internal/rate"},
		"gateway/metrics":          {"gateway/listen", "gateway/session", "gateway/session/dialogue", "snpacket", "store", "upstream", "upstream/secure", "upstream/websocket"},
		"gateway/admin":            {},
		"gateway/oplog":            {"gateway/admin", "gateway/listen", "gateway/session", "snpacket", "topicreg", "internal/explain", "internal/rate"},
		"gateway/persist":          {"gateway/session", "store", "internal/binrec"},
		"gateway":                  {"gateway/oplog", "gateway/persist", "gateway/listen", "gateway/discovery", "gateway/metrics", "gateway/admin", "snpacket", "topicreg", "gateway/session", "gateway/session/dialogue", "gateway/session/sn12", "upstream", "store", "internal/deadline", "internal/eventloop", "internal/rate"},
		"conf":                     {"topicreg", "internal/secretfile", "upstream/credential", "upstream/secure", "upstream/websocket"},
		"embeddedbroker":           {"internal/rate"},
		"internal/loadgen":         {"snpacket", "upstream/mqtt"}, // devices on one side, the broker on the other
		"internal/probe":           {"internal", "snpacket", "topicreg", "upstream/credential", "upstream/mqtt", "upstream/secure", "upstream/websocket"},
		"internal":                 {"snpacket", "topicreg"},
		"cmd":                      {"snpacket", "topicreg", "gateway", "gateway/listen", "gateway/admin", "gateway/persist", "gateway/session", "upstream", "upstream/credential", "upstream/dial", "upstream/mqtt", "upstream/secure", "upstream/websocket", "store", "store/bolt", "conf", "embeddedbroker", "internal", "internal/explain", "internal/loadgen", "internal/probe", "internal/rate"},
		"test":                     {"snpacket", "topicreg", "gateway", "gateway/listen", "gateway/admin", "gateway/session", "upstream", "upstream/secure", "upstream/websocket", "store", "store/bolt", "conf", "embeddedbroker", "internal", "internal/explain", "internal/loadgen", "internal/binrec", "internal/rate", "internal/secretstest", "cmd"},
		"internal/secretfile":      {},
		"internal/secretstest":     {"upstream/credential"}, // for tests only
		"internal/eventloop":       {},                      // epoll, for one goroutine
	}
}

// banned are imports a part must not have: directly, for they would be a way
// to do what the part must not do, or "deep" also through others.
func banned() []ban {
	return []ban{
		{part: "snpacket", deep: true, paths: []string{"fmt", "net"}, why: "the codec is bytes and messages only"},
		{part: "gateway/session", deep: true, paths: []string{"net", "context", "log", "log/slog"}, why: "the session is a pure machine"},
		{part: "gateway/session/sn12", deep: true, paths: []string{"net", "context", "log", "log/slog"}, why: "a dialogue is a part of the session machine"},
		{part: "upstream/credential", paths: []string{"os", "net", "sync", "sync/atomic", "context", "log", "log/slog", "crypto/rand", "math/rand", "math/rand/v2"}, why: "credentials are computed, and read elsewhere"},
		{part: "gateway/session/sn12", paths: []string{"sync", "os", "time"}, why: "a dialogue has no state"},
		{part: "gateway/session", paths: []string{"sync", "sync/atomic", "os", "math/rand", "math/rand/v2", "crypto/rand", "runtime"}, why: "the session is a pure machine"},
	}
}

// reserved are modules that only the named parts may import.
func reserved() map[string][]string {
	return map[string][]string{
		"github.com/mochi-mqtt/server":         {"embeddedbroker"},
		"go.etcd.io/bbolt":                     {"store/bolt"},
		"golang.org/x/crypto/":                 {"internal/binrec"},
		"github.com/BurntSushi/toml":           {"conf", "test"},
		"github.com/eclipse/paho.mqtt.golang":  {"upstream/mqtt", "upstream/upstreamtest", "test"},
		"github.com/gorilla/websocket":         {"upstream/websocket"},
		"github.com/prometheus/client_golang/": {"gateway/metrics", "cmd"},
	}
}

type ban struct {
	part, why string
	deep      bool
	paths     []string
}

// pkg is what "go list" tells of a package.
type pkg struct {
	ImportPath string
	Imports    []string // of its non-test files
	Deps       []string // of those, through all levels
}

func TestArchImportOrder(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no package")
	}
	wantNoFaults(t, importFaults(pkgs))
}

// importFaults reports every import that breaks the order.
func importFaults(pkgs []pkg) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, p := range pkgs {
		from := part(p.ImportPath)
		if _, known := layers()[from]; !known {
			fault("%s belongs to no part of the project: give it a place in the import order", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if to := part(imp); to != "" && to != from && !slices.Contains(layers()[from], to) {
				fault("%s imports %s: %s may import only %v", p.ImportPath, imp, from, layers()[from])
			}
			for mod, parts := range reserved() {
				if strings.HasPrefix(imp, mod) && !slices.Contains(parts, from) {
					fault("%s imports %s: only %v may", p.ImportPath, imp, parts)
				}
			}
		}
		for _, b := range banned() {
			imports := p.Imports
			if b.deep {
				imports = p.Deps
			}
			for _, path := range b.paths {
				if from == b.part && slices.Contains(imports, path) {
					fault("%s imports %s (deep: %v): %s", p.ImportPath, path, b.deep, b.why)
				}
			}
		}
	}
	return faults
}

// part is the part of the project an import path belongs to, "" for others.
func part(importPath string) string {
	rest, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return ""
	}
	best := ""
	for name := range layers() {
		if (rest == name || strings.HasPrefix(rest, name+"/")) && len(name) > len(best) {
			best = name
		}
	}
	if best == "" {
		return rest
	}
	return best
}

func TestImportFaultsAreFound(t *testing.T) {
	wantFaults(t, importFaults([]pkg{
		{ImportPath: "sngate/upstream", Imports: []string{"sngate/gateway/session"}},
		{ImportPath: "sngate/conf", Imports: []string{"sngate/topicreg", "sngate/gateway"}},
		{ImportPath: "sngate/snpacket/sn12", Imports: []string{"sngate/snpacket"}, Deps: []string{"errors", "fmt"}},
		{ImportPath: "sngate/gateway/session", Imports: []string{"sync", "time"}, Deps: []string{"os", "sync", "time"}},
		{ImportPath: "sngate/gateway", Imports: []string{"net", "sync", "sngate/gateway/session", "sngate/upstream"}},
		{ImportPath: "sngate/cmd/sngate", Imports: []string{"github.com/mochi-mqtt/server/v2"}},
		{ImportPath: "sngate/gateway/other", Imports: []string{"sngate/test/mosquitto"}},
		{ImportPath: "sngate/upstream", Imports: []string{"sngate/store"}},
		{ImportPath: "sngate/gateway", Imports: []string{"sngate/store", "go.etcd.io/bbolt"}},
		{ImportPath: "sngate/elsewhere"},
	}),
		"upstream imports sngate/gateway/session", "conf imports sngate/gateway", "sn12 imports fmt",
		"session imports sync", "only [embeddedbroker]", "imports sngate/test/mosquitto",
		"upstream imports sngate/store", "only [store/bolt]", "belongs to no part")
}

func TestArchSessionNeitherReadsClocksNorStartsGoroutines(t *testing.T) {
	var faults []string
	for _, s := range sources(t, tree(t)) {
		if s.dir == "gateway/session" && !s.isTest() {
			faults = append(faults, impurities(s)...)
		}
	}
	wantNoFaults(t, faults)
}

// impurities reports uses of package time beyond durations, and concurrency.
func impurities(s source) []string {
	var faults []string
	fault := func(n ast.Node, what string) { faults = append(faults, s.at(n)+": "+what) }
	timeName := ""
	for _, imp := range s.ast.Imports {
		if path, _ := strconv.Unquote(imp.Path.Value); path == "time" {
			timeName = "time"
			if imp.Name != nil {
				timeName = imp.Name.Name
			}
		}
	}
	durations := []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && !slices.Contains(durations, n.Sel.Name) {
				fault(n, "time."+n.Sel.Name+": the session knows durations only, its clock is an argument")
			}
		case *ast.GoStmt:
			fault(n, "goroutine in the session")
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			fault(n, "channel in the session")
		}
		return true
	})
	return faults
}

func TestImpuritiesAreFound(t *testing.T) {
	s := parse(t, file{"gateway/session/x.go", `package session

import clock "time"

func f(d clock.Duration) {
	_ = clock.Now()
	clock.AfterFunc(d, func() {})
	go f(clock.Second)
	var c chan int
	c <- 1
}
`})
	wantFaults(t, impurities(s), "x.go:6: time.Now", "x.go:7: time.AfterFunc", "x.go:8: goroutine", "x.go:9: channel", "x.go:10: channel")
}
