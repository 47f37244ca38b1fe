package test

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// On a machine without a clock of its own the date jumps by years when the network comes
// up. So in what serves devices, times are differences of readings in one process, which
// Go takes from the monotonic clock, and nothing that lasts longer has a date.

func TestArchNothingThatServesDevicesDependsOnTheDate(t *testing.T) {
	var faults []string
	for _, s := range sources(t, tree(t)) {
		top, _, _ := strings.Cut(s.dir, "/")
		if slices.Contains([]string{"gateway", "upstream", "store"}, top) && !s.isTest() && !hasDates(s) {
			faults = append(faults, dates(s)...)
		}
	}
	wantNoFaults(t, faults)
}

// hasDates reports whether a source is about dates: the passwords that hubs want have the date in
// them on which they end. When a connection is replaced because of that is a matter of the running
// time. Certificates are valid from one date to another, and it is said what the clock makes of them.
func hasDates(s source) bool {
	return s.path == "upstream/credential/signer.go" || s.path == "upstream/secure/fault.go"
}

// dates reports what makes or reads a date, or takes the monotonic reading off a time.
func dates(s source) []string {
	functions := []string{"Date", "Parse", "ParseInLocation", "Unix", "UnixMilli", "UnixMicro", "LoadLocation"}
	methods := []string{
		"Unix", "UnixMilli", "UnixMicro", "UnixNano", "Format", "AppendFormat", "UTC", "Local", "In",
		"Date", "Clock", "Year", "YearDay", "Month", "Day", "Weekday", "ISOWeek", "Hour", "Minute", "Second",
	}
	timeName := ""
	for _, imp := range s.ast.Imports {
		if path, _ := strconv.Unquote(imp.Path.Value); path == "time" {
			timeName = "time"
			if imp.Name != nil {
				timeName = imp.Name.Name
			}
		}
	}
	if timeName == "" {
		return nil
	}
	var faults []string
	ast.Inspect(s.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ofPackage := f.X.(*ast.Ident)
		ofPackage = ofPackage && x.Name == timeName
		if ofPackage && slices.Contains(functions, f.Sel.Name) || !ofPackage && slices.Contains(methods, f.Sel.Name) {
			faults = append(faults, s.at(n)+": "+f.Sel.Name+" is about a date: the clock may jump by years; use differences of time.Now, or the gateway's running time")
		}
		return true
	})
	return faults
}

func TestDatesAreFound(t *testing.T) {
	s := parse(t, file{"gateway/x.go", `package gateway

import clock "time"

func f() {
	start := clock.Now()
	_ = clock.Since(start) + clock.Hour
	_ = clock.Now().Before(start.Add(clock.Second))
	_ = clock.Now().Unix()
	_ = start.UTC()
	_ = clock.UnixMilli(1)
}
`})
	wantFaults(t, dates(s), "x.go:9: Unix", "x.go:10: UTC", "x.go:11: UnixMilli")
}
