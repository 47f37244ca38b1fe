// Command shape counts how the code is cut, prints the counts beside their goals, and fails
// where one is above its ceiling. "make lint" runs it. A ceiling is lowered in [ceilings] when
// its count has come down, and is never raised.
//
// It reads the product's packages as they are built for Linux: all but test/ and the packages
// that only tests import, whose names end in "test". The comment of each counting function says
// what exactly it counts.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/tools/go/packages"
)

// module is the path that all packages begin with.
const module = "sngate/"

// The packages and the type that the counts are about.
const (
	sessionPath  = module + "gateway/session"
	dialoguePath = module + "gateway/session/sn12" // the MQTT-SN 1.2 dialogue
	sessionType  = "Session"
	codecPath    = module + "snpacket/sn12"
)

// ceiling is the bound of one count.
type ceiling struct {
	count string // as in [counts]
	max   int    // a count above it is a fault
	goal  int    // where it shall come to
}

// ceilings are the bounds of all counts. When a count has come down its ceiling follows.
func ceilings() []ceiling {
	return []ceiling{
		{"methods of one type", 60, 60},
		{"files with methods of one type", 6, 6},
		{"fields of one struct with state", 24, 24},
		{"session fields assigned in more than 2 files", 0, 0},
		{"tests of \"is there a store\" in the session", 5, 5},
		{"session files outside the dialogue that name sn12", 0, 0},
		{"references up, gateway/session", 10, 18},
		{"references up, gateway", 9, 13},
		{"references up, upstream", 0, 0},
		{"references up, store", 0, 1},
		{"references up, elsewhere", 0, 4},
	}
}

// figure is the result of one count.
type figure struct {
	count string
	n     int
	where string // what is counted there, for the reader
}

// counts makes all figures, in the order of the table.
func counts(pkgs []*packages.Package) []figure {
	var product, session []*packages.Package
	for _, p := range pkgs {
		if !isProduct(p.PkgPath) {
			continue
		}
		product = append(product, p)
		if p.PkgPath == sessionPath || strings.HasPrefix(p.PkgPath, sessionPath+"/") {
			session = append(session, p)
		}
	}
	figures := methods(product)
	figures = append(figures, fields(product), spread(session), storeTests(session), codecFiles(session))
	return append(figures, upward(product)...)
}

// isProduct reports whether a package is part of what is built for users.
func isProduct(path string) bool {
	rest, ours := strings.CutPrefix(path, module)
	return ours && rest != "test" && !strings.HasPrefix(rest, "test/") && !strings.HasSuffix(rest, "test")
}

// load reads and type-checks the packages below dir.
func load(dir string, patterns ...string) ([]*packages.Package, error) {
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo,
		Dir: dir,
		Env: append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0"),
	}, patterns...)
	if err != nil {
		return nil, err
	}
	for _, p := range pkgs {
		if len(p.Errors) > 0 {
			return nil, p.Errors[0]
		}
	}
	return pkgs, nil
}

// report prints the table, and returns what is wrong: counts above their ceilings, and ceilings
// that bound nothing.
func report(w io.Writer, figures []figure, bounds []ceiling) (faults []string) {
	byCount := make(map[string]ceiling, len(bounds))
	for _, c := range bounds {
		byCount[c.count] = c
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "count\tnow\tceiling\tgoal\twhere")
	for _, f := range figures {
		c, bounded := byCount[f.count]
		delete(byCount, f.count)
		if !bounded {
			faults = append(faults, fmt.Sprintf("%s: no ceiling", f.count))
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\n", f.count, f.n, c.max, c.goal, f.where)
		if f.n > c.max {
			faults = append(faults, fmt.Sprintf("%s: %d, more than %d: %s", f.count, f.n, c.max, f.where))
		}
	}
	for _, c := range bounds {
		if _, left := byCount[c.count]; left {
			faults = append(faults, fmt.Sprintf("%s: a ceiling without a count", c.count))
		}
	}
	table.Flush()
	return faults
}

func main() {
	pkgs, err := load(".", "./...")
	if err != nil {
		fmt.Fprintln(os.Stderr, "shape:", err)
		os.Exit(1)
	}
	faults := report(os.Stdout, counts(pkgs), ceilings())
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, "shape:", f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}
